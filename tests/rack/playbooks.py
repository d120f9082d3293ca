"""Runs the project's playbooks against the rack as an operator would, and reads what they said."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
INVENTORY = "tests/rack/inventory.yml"
_RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """How a playbook ended. ``changed`` counts the changed tasks of each host; ``seconds`` is wall time."""

    code: int
    output: str
    seconds: float

    @property
    def changed(self) -> Mapping[str, int]:
        return {host: int(changed) for host, changed, _, _ in _RECAP.findall(self.output)}

    def succeeded(self) -> "Run":
        assert self.code == 0, self.output[-6000:]
        return self


def command(*playbooks: str, extra: Mapping[str, Any] | None = None, options: tuple[str, ...] = ()) -> list[str]:
    """The command line, to be run in the checkout's root."""
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    return [program, "-i", INVENTORY, *playbooks, *(["-e", json.dumps(extra)] if extra else []), *options]


def environment() -> dict[str, str]:
    """That of the operator, with nothing that changes what Ansible prints."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", "ANSIBLE_NOCOLOR": "1"}


def play(*playbooks: str, extra: Mapping[str, Any] | None = None, options: tuple[str, ...] = (), seconds: float = 1800) -> Run:
    """Run playbooks to their end; ``seconds`` is when they are given up."""
    began = time.monotonic()
    done = subprocess.run(
        command(*playbooks, extra=extra, options=options),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Run(done.returncode, done.stdout, time.monotonic() - began)

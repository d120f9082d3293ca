"""A fleet of one, provisioned by the real playbooks into a directory and a port of its own, and stopped at the end."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@dataclass(frozen=True)
class Played:
    """A run of ansible-playbook: its exit code, what it printed, and how many tasks changed something."""

    exit_code: int
    output: str

    @property
    def changed(self) -> int:
        return sum(int(count) for count in re.findall(r"changed=(\d+)", self.output))


@dataclass(frozen=True)
class Trial:
    """``variables`` are what every playbook is run with."""

    state_dir: Path
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "FLEET_STATE_DIR": str(self.state_dir),
            "PIWHEELS_BUILDER_ETC": str(self.state_dir / "etc"),
            "ANSIBLE_NOCOLOR": "1",
        }

    @property
    def index_url(self) -> str:
        return f"http://{self.variables['index_listen']}"

    def start(self, playbook: str, *options: str, **variables: object) -> "subprocess.Popen[str]":
        """A playbook that goes on running, to be interrupted."""
        command = [str(BIN / "ansible-playbook"), playbook, "-e", json.dumps({**self.variables, **variables}), *options]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def play(self, playbook: str, *options: str, **variables: object) -> Played:
        running = self.start(playbook, *options, **variables)
        output, _ = running.communicate(timeout=300)
        return Played(running.returncode, output)

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [BIN / arguments[0], *arguments[1:]], env=self.environment, capture_output=True, text=True, check=False
        )

    def report(self, *projects: str) -> list[Mapping[str, Any]]:
        told = self.command("piwheels-builder", "report", "--json", *projects)
        return [json.loads(line) for line in told.stdout.splitlines()]

    def stop(self) -> None:
        subprocess.run([ROOT / "scripts/stop"], env=self.environment, check=True, capture_output=True)


@contextmanager
def trial_fleet(**variables: object) -> Iterator[Trial]:
    """Provisions nothing yet. As root the database runs as nobody, so that no user is made."""
    state_dir = Path(tempfile.mkdtemp(prefix="fleet-", dir="/tmp"))
    state_dir.chmod(0o755)
    usual: dict[str, object] = {
        "index_listen": f"127.0.0.1:{free_port()}",
        "fleet_build_policy": "all",
        "fleet_upstream_wins": False,
    }
    if os.geteuid() == 0:
        usual["database_user"] = "nobody"
    trial = Trial(state_dir, {**usual, **variables})
    try:
        yield trial
    finally:
        trial.stop()
        shutil.rmtree(state_dir)

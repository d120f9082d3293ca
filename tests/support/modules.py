"""Run one of the project's Ansible modules, as a program of its own with its arguments on its standard input.

That is how it runs on a host; what Ansible packs around it costs seconds a call, and is part of every test of a role.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run_module(name: str, arguments: Mapping[str, Any], *, check: bool = False) -> dict[str, Any]:
    """The module's result, with ``failed`` and ``msg`` where it failed; ``diff`` is always asked for."""
    asked = {"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_diff": True, "_ansible_check_mode": check}}
    command: list[str | Path] = [sys.executable, ROOT / "library" / f"{name}.py"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, cwd="/", check=False)
    try:
        result: dict[str, Any] = json.loads(done.stdout)
        # As ansible-core 2.19 and newer sends them to where a playbook runs, which shows their texts.
        result["warnings"] = [warning["event"]["msg"] for warning in result.get("warnings", [])]
    except ValueError:
        raise AssertionError(f"{name} told nothing: {done.stdout}{done.stderr}") from None
    return result

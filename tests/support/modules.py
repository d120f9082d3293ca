"""Run one of the project's Ansible modules as a playbook would, through Ansible itself."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run_module(name: str, arguments: Mapping[str, Any], *, check: bool = False) -> dict[str, Any]:
    """The module's result, with ``failed`` and ``msg`` where it failed; ``diff`` is always asked for."""
    command = [str(Path(sys.executable).with_name("ansible")), "-i", "localhost,", "-c", "local", "localhost", "-m", name]
    command += ["-a", json.dumps(arguments), "--diff", *(["--check"] if check else [])]
    environment = {
        **os.environ,
        "ANSIBLE_LIBRARY": str(ROOT / "library"),
        "ANSIBLE_MODULE_UTILS": str(ROOT / "plugins/module_utils"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/", check=False)
    try:
        told = json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"{name} told nothing: {done.stdout}{done.stderr}") from None
    result: dict[str, Any] = told["plays"][0]["tasks"][0]["hosts"]["localhost"]
    return result

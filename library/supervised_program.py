#!/usr/bin/python
"""Ansible module: have supervisord run a program as configured now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: supervised_program
short_description: Have supervisord run a program as configured now
description:
  - Writes the program's configuration and supervisord's own, starts supervisord where it does not run, and starts or restarts
    the program where it does not run as configured. One module, since each task costs more than all of this.
  - Compares what is configured with what runs, so that a run that died in between is made good by the next one.
options:
  name:
    description: What the program is called.
    type: str
    required: true
  program:
    description: The text of its configuration file, with one section C([program:NAME]).
    type: str
    required: true
  supervisord:
    description: The text of supervisord's configuration file. Supervisord is restarted, with all its programs, when it changes.
    type: str
    required: true
  state_dir:
    description: Holds etc/, run/ and log/ of the services; they are made where they are missing.
    type: path
    required: true
attributes:
  check_mode:
    description: Tells whether something would be written, started or restarted.
    support: full
  diff_mode:
    description: Shows the program's configuration.
    support: full
"""

EXAMPLES = r"""
- name: Run the index
  supervised_program:
    name: index
    program: "{{ lookup('ansible.builtin.template', 'program.conf.j2') }}"
    supervisord: "{{ lookup('ansible.builtin.template', 'supervisord.conf.j2') }}"
    state_dir: /var/lib/piwheels-builder
"""

RETURN = r"""
state:
  description: The program's state, as supervisord calls it, before anything was done; ABSENT where it does not know it.
  returned: always
  type: str
"""

import os
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from supervisor.xmlrpc import SupervisorTransport
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

#: How long supervisord, and then a program, may take to be up.
START_SECONDS = 30
_RUNS = ("STARTING", "RUNNING")


class Services:
    """supervisord and its configuration files under one state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self.configuration = state_dir / "etc/supervisord.conf"

    def program_file(self, name: str) -> Path:
        return self._state_dir / "etc/programs" / f"{name}.conf"

    def connect(self) -> Any:
        """Its XML-RPC interface; None where it does not run."""
        transport = SupervisorTransport(serverurl=f"unix://{self._state_dir}/run/supervisord.sock")
        supervisor = ServerProxy("http://127.0.0.1", transport=transport).supervisor
        try:
            supervisor.getState()
        except (OSError, Fault):
            return None
        return supervisor

    def write(self, path: Path, text: str) -> bool:
        """Replace a file in one step. Returns whether it had another text."""
        if read(path) == text:
            return False
        for directory in ("etc/programs", "run", "log"):
            (self._state_dir / directory).mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}")
        # A program's environment may hold a proxy's password.
        fresh.touch()
        fresh.chmod(0o600)
        fresh.write_text(text)
        fresh.rename(path)
        return True

    def start(self) -> Any:
        """Start supervisord, and with it all its programs. Raises TimeoutError."""
        command = [str(Path(sys.executable).with_name("supervisord")), "-c", str(self.configuration)]
        subprocess.run(command, check=True, cwd="/", stdin=subprocess.DEVNULL, capture_output=True)
        return wait_for(self.connect, "supervisord does not answer; log/supervisord.log says why")

    def stop(self, supervisor: Any) -> None:
        supervisor.shutdown()
        wait_for(lambda: not (self._state_dir / "run/supervisord.pid").exists(), "supervisord does not stop")


def read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def wait_for(condition: Any, complaint: str) -> Any:
    gives_up = time.monotonic() + START_SECONDS
    while not (answer := condition()):
        if time.monotonic() > gives_up:
            raise TimeoutError(complaint)
        time.sleep(0.1)
    return answer


def state_of(supervisor: Any, name: str) -> str:
    if supervisor is None:
        return "ABSENT"
    try:
        return str(supervisor.getProcessInfo(name)["statename"])
    except Fault:
        return "ABSENT"


def take_over(supervisor: Any, name: str) -> None:
    """Let supervisord run the program as its file says now."""
    added, changed, _ = supervisor.reloadConfig()[0]
    if name in changed:
        supervisor.stopProcessGroup(name)
        supervisor.removeProcessGroup(name)
    if name in changed or name in added:
        supervisor.addProcessGroup(name)
    elif state_of(supervisor, name) not in _RUNS:
        supervisor.startProcess(name, False)


def run(module: AnsibleModule) -> dict[str, Any]:
    name, program = module.params["name"], module.params["program"]
    services = Services(Path(module.params["state_dir"]))
    supervisor = services.connect()
    before, state = read(services.program_file(name)), state_of(supervisor, name)
    own_change = read(services.configuration) != module.params["supervisord"]
    changed = own_change or before != program or state not in _RUNS or is_pending(supervisor, name)
    result = {"changed": changed, "state": state, "diff": {"before": before, "after": program}}
    if not changed or module.check_mode:
        return result
    services.write(services.configuration, module.params["supervisord"])
    services.write(services.program_file(name), program)
    if supervisor is not None and own_change:
        services.stop(supervisor)
        supervisor = None
    if supervisor is None:
        supervisor = services.start()
    take_over(supervisor, name)
    complaint = f"{name} does not stay up; log/{name}.log says why"
    wait_for(lambda: state_of(supervisor, name) == "RUNNING", complaint)
    return result


def is_pending(supervisor: Any, name: str) -> bool:
    """Whether its file changed and supervisord was not told, as when a run died in between."""
    if supervisor is None:
        return True
    added, changed, _ = supervisor.reloadConfig()[0]
    return name in added or name in changed


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "program": {"type": "str", "required": True},
            "supervisord": {"type": "str", "required": True},
            "state_dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("supervisor"), exception=IMPORT_ERROR)
    os.umask(0o022)
    try:
        module.exit_json(**run(module))
    except subprocess.CalledProcessError as error:
        module.fail_json(msg=f"supervisord does not start: {error.stderr.decode(errors='replace').strip()}")
    except (OSError, Fault) as error:
        module.fail_json(msg=f"{module.params['name']} cannot be run: {error}")


if __name__ == "__main__":
    main()

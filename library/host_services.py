#!/usr/bin/python
"""Ansible module: have systemd run services as they are configured now."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_services
short_description: Have systemd run services as they are configured now
description:
  - Starts, stops, enables and disables units, all in one step.
  - A service that is older than its unit or than one of its files is restarted, or reloaded. What is configured is compared with
    what runs, so that a run that died between writing a file and restarting its service is made good by the next one.
  - Needs nothing but Python and systemd 248 or newer on the host.
options:
  services:
    description: The units, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The unit, with its suffix.
        type: str
        required: true
      state:
        description: Whether it should run. With V(unchanged) systemd only takes over what its unit says now.
        type: str
        choices: [started, stopped, unchanged]
        default: started
      enabled:
        description: Whether it should start with the host. Without it, that is left as it is.
        type: bool
      files:
        description: What it reads when it starts, besides its unit. A missing file counts as older.
        type: list
        elements: path
        default: []
      reload:
        description: Whether a change of its files asks for a reload, and not for a restart. A change of its unit restarts it.
        type: bool
        default: false
attributes:
  check_mode:
    description: Tells what would be done.
    support: full
  diff_mode:
    description: Names what is done, unit by unit.
    support: full
"""

EXAMPLES = r"""
- name: Run the builder's service
  host_services:
    services:
      - name: piwheels-builder.service
        enabled: true
        files: [/etc/piwheels-builder/builder.yml]
"""

RETURN = r"""
done:
  description: What was done, or would be, like C(restart piwheels-builder.service).
  returned: always
  type: list
"""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS = {
    "services": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["started", "stopped", "unchanged"], "default": "started"},
            "enabled": {"type": "bool"},
            "files": {"type": "list", "elements": "path", "default": []},
            "reload": {"type": "bool", "default": False},
        },
    },
}
#: When a service was last told to reload; systemd doesn't keep that. Gone with a reboot, like what it is about.
RELOADED = Path("/run/piwheels-builder-reloaded")
_UP = ("active", "reloading", "activating")
_ENABLED = ("enabled", "enabled-runtime", "static", "alias", "indirect", "generated")
_SHOWN = "Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,ActiveEnterTimestamp,FragmentPath,DropInPaths"


class Failed(Exception):
    """systemctl refused, or a service does not stay up; its words say which and why."""


@dataclass(frozen=True)
class Unit:
    """What systemd says of a unit."""

    shown: dict[str, str]

    @property
    def known(self) -> bool:
        return self.shown["LoadState"] != "not-found"

    @property
    def up(self) -> bool:
        return self.shown["ActiveState"] in _UP and self.shown["SubState"] != "auto-restart"

    @property
    def enabled(self) -> bool:
        return self.shown["UnitFileState"] in _ENABLED

    @property
    def needs_daemon_reload(self) -> bool:
        return self.shown["NeedDaemonReload"] == "yes"

    @property
    def own_files(self) -> list[Path]:
        return [Path(name) for name in (self.shown["FragmentPath"], *self.shown["DropInPaths"].split()) if name]

    @property
    def started_at(self) -> float:
        """Seconds since the epoch by the clock of that moment; 0 where it never ran."""
        said = self.shown["ActiveEnterTimestamp"]
        if not said or said == "n/a":
            return 0.0
        # Without the weekday, which Python would read in the language of this host.
        said = said.partition(" ")[2]
        return datetime.strptime(said, "%Y-%m-%d %H:%M:%S.%f %Z").replace(tzinfo=timezone.utc).timestamp()  # noqa: UP017 - any Python


def systemctl(*arguments: str) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    command = ["systemctl", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=environment)
    if done.returncode:
        raise Failed(f"systemctl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}{journal(arguments)}")
    return done.stdout


def journal(arguments: tuple[str, ...]) -> str:
    """The last words of a service that did not start."""
    if arguments[0] not in ("start", "restart", "reload"):
        return ""
    command = ["journalctl", "--unit", arguments[-1], "--lines", "15", "--output", "cat", "--no-pager"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return f"\nIts journal ends:\n{done.stdout.strip()}" if done.stdout.strip() else ""


def look(names: list[str]) -> list[Unit]:
    """The units, in the order asked for."""
    told = systemctl("show", "--timestamp=us+utc", f"--property={_SHOWN}", "--", *names)
    blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in told.strip().split("\n\n")]
    blank = dict.fromkeys(_SHOWN.split(","), "")
    return [Unit({**blank, **block}) for block in blocks]


def changed_at(paths: list[Path]) -> float:
    """When the newest of them was written; 0 where none is there."""
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)


def steps(wanted: dict[str, Any], unit: Unit) -> Iterator[str]:
    """The verbs of systemctl that are due, in their order."""
    if wanted["state"] == "stopped" and unit.up:
        yield "stop"
    if wanted["enabled"] is False and unit.enabled and unit.shown["UnitFileState"].startswith("enabled"):
        yield "disable"
    if wanted["enabled"] and not unit.enabled:
        yield "enable"
    if wanted["state"] == "started":
        yield from running(wanted, unit)


def running(wanted: dict[str, Any], unit: Unit) -> Iterator[str]:
    if not unit.up:
        yield "start"
    elif changed_at(unit.own_files) > unit.started_at:
        yield "restart"
    elif wanted["reload"]:
        reloaded = changed_at([RELOADED / wanted["name"]])
        if changed_at(list(map(Path, wanted["files"]))) > max(reloaded, unit.started_at):
            yield "reload"
    elif changed_at(list(map(Path, wanted["files"]))) > unit.started_at:
        yield "restart"


def perform(verb: str, name: str) -> None:
    """Raises Failed."""
    if verb == "reload":
        RELOADED.mkdir(exist_ok=True)
        # Before the reload: what is written while it goes on is for the next one.
        (RELOADED / name).touch()
        try:
            systemctl(verb, name)
        except Failed:
            (RELOADED / name).unlink()
            raise
        return
    if verb in ("start", "restart"):
        # What failed too often in a row would not be tried again.
        subprocess.run(["systemctl", "reset-failed", name], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    systemctl(verb, name)


def check_known(wanted: dict[str, Any], unit: Unit) -> None:
    if not unit.known and (wanted["state"] == "started" or wanted["enabled"]):
        raise Failed(f"there is no unit {wanted['name']} on this host")


def has_unseen(wanted: dict[str, Any], unit: Unit) -> bool:
    """Whether a drop-in of it lies in a directory that systemd hasn't looked into: it does not say so itself."""
    drop_ins = (Path(file) for file in wanted["files"] if "/systemd/system/" in file and file.endswith(".conf"))
    return unit.known and any(path.exists() and path not in unit.own_files for path in drop_ins)


def run(module: AnsibleModule) -> list[str]:
    services = module.params["services"]
    names = [service["name"] for service in services]
    units, done = look(names), []
    # A unit that was never loaded needs none, and one whose file was removed is still known.
    if any(unit.needs_daemon_reload or has_unseen(wanted, unit) for wanted, unit in zip(services, units, strict=True)):
        done.append("daemon-reload")
        if not module.check_mode:
            systemctl("daemon-reload")
            units = look(names)
    for wanted, unit in zip(services, units, strict=True):
        if not module.check_mode:
            check_known(wanted, unit)
        for verb in steps(wanted, unit):
            done.append(f"{verb} {wanted['name']}")
            if not module.check_mode:
                perform(verb, wanted["name"])
    return done


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    try:
        done = run(module)
    except Failed as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"systemd cannot be asked: {error}")
    module.exit_json(changed=bool(done), done=done, diff={"before": "", "after": "".join(f"{line}\n" for line in done)})


if __name__ == "__main__":
    main()

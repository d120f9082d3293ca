#!/usr/bin/python
"""Ansible module: what a builder's service is doing."""

from __future__ import annotations

DOCUMENTATION = r"""
module: builder_info
short_description: Tell what a builder's service is doing
description:
  - Reads the service's status, and whether it runs. Changes nothing.
options:
  state_dir:
    description: Holds the builder's spool, outbox and status.
    type: path
    required: true
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Changes nothing.
    support: none
"""

EXAMPLES = r"""
- name: Look at the builder
  builder_info:
    state_dir: "{{ fleet_state_dir }}/builder"
"""

RETURN = r"""
alive:
  description: Whether the service runs.
  returned: always
  type: bool
status:
  description: What it said last; empty before it said anything.
  returned: always
  type: dict
batches:
  description: How many batches lie in the spool, of which the status may not know yet.
  returned: always
  type: int
unrecorded:
  description: How many attempts lie in the outbox that the database does not know of yet.
  returned: always
  type: int
"""

import fcntl
import json
import os
import stat
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

_MOST_STATUS = 2**20


def main() -> None:
    module = AnsibleModule(argument_spec={"state_dir": {"type": "path", "required": True}}, supports_check_mode=True)
    state_dir = Path(module.params["state_dir"])
    try:
        module.exit_json(
            changed=False,
            alive=is_alive(state_dir),
            status=status(state_dir),
            batches=sum(1 for _ in (state_dir / "spool").glob("[!.]*.json")),
            # Of entries only, which have their result: what is refused lies deeper.
            unrecorded=sum(not (entry.parent / "recorded").exists() for entry in (state_dir / "outbox").glob("[!.]*/result.json")),
        )
    except OSError as error:
        module.fail_json(msg=f"{state_dir} cannot be read ({error}): run `ansible-playbook provision.yml`")


def is_alive(state_dir: Path) -> bool:
    """The service holds the lock for as long as it lives, however it ends."""
    lock = opened(state_dir / "lock")
    if lock is None:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def status(state_dir: Path) -> dict[str, Any]:
    """Empty, too, where it is nothing that a service writes: whoever shows progress must not stumble over it."""
    file = opened(state_dir / "status.json")
    if file is None:
        return {}
    with os.fdopen(file, "rb") as content:
        text = content.read(_MOST_STATUS + 1)
    try:
        told = json.loads(text) if len(text) <= _MOST_STATUS else None
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def opened(path: Path) -> int | None:
    """A file, of which nobody is waited for as for a FIFO's; None where there is none. Raises OSError."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(f"{path} is no file")
    return file


if __name__ == "__main__":
    main()

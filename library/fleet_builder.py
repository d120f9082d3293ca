#!/usr/bin/python
"""Ansible module: make a builder and its targets known to the fleet, or take it out of the fleet."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_builder
short_description: Make a builder and its targets known to the fleet, or take it out of it
description:
  - With O(state=present), registers the builder with its database login role C(builder_NAME), its memory class and the targets it
    builds for. A target nobody had before is made. One that was retired is a member again; one that is paused or quarantined
    stays so.
  - With O(state=retired), gives its leases back, has what it built and nobody collected built again, and lets it log in no more.
    Its name and its history stay.
  - Runs on the index host, by the interpreter of the environment that piwheels_builder is installed in.
options:
  database:
    description: libpq connection string as the owner role. Must hold no password.
    type: str
    required: true
  name:
    description: The builder's name; lower-case letters, digits, dots and dashes.
    type: str
    required: true
  state:
    description: Whether it is of the fleet.
    type: str
    choices: [present, retired]
    default: present
  memory_mb:
    description: Its memory, in MiB. Decides the largest memory class it is given. Required with O(state=present).
    type: int
  slots:
    description: Builds it runs at once.
    type: int
    default: 1
  slowness:
    description: How many times as long as on a Pi 4 a build takes. Its share of the work is as much smaller.
    type: float
    default: 1
  targets:
    description: What it builds for, each written like C(cp311-armv7l-bookworm). Required with O(state=present).
    type: list
    elements: str
  certificate:
    description:
      - Its client certificate, in PEM. From then on the database believes it with no other. Without it, what is known stays; a
        builder that never had one is believed on the Unix socket only.
    type: str
  host_keys:
    description: Its ssh host keys as pinned, each with its type. Without them, what is known stays.
    type: list
    elements: str
    no_log: false
  address:
    description: Where it is reached by ssh. Without it, what is known stays.
    type: str
  reason:
    description: Why it is retired; it stands with each build that goes back into the queue.
    type: str
    default: retired by the operator
attributes:
  check_mode:
    description: Tells whether something would change; the transaction is rolled back.
    support: full
  diff_mode:
    description: Shows what is known of it, before and after.
    support: full
"""

EXAMPLES = r"""
- name: Register the builder
  fleet_builder:
    database: "{{ fleet_database.owner }}"
    name: "{{ inventory_hostname }}"
    memory_mb: "{{ ansible_facts['memtotal_mb'] }}"
    targets: [cp311-armv7l-bookworm]

- name: Retire the builder
  fleet_builder:
    database: "{{ fleet_database.owner }}"
    name: "{{ inventory_hostname }}"
    state: retired
    reason: its card is worn out
"""

RETURN = r"""
memory_class:
  description: "0: up to 1 GiB, 1: up to 4 GiB, 2: more."
  returned: O(state=present)
  type: int
"""

import json
import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from piwheels_builder.db.connect import Connection, connected
    from piwheels_builder.errors import FleetError
    from piwheels_builder.queue.members import Identity, memory_class, register_builder, retire_builder, serial_of, told_of_builder
    from piwheels_builder.targets import Target
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

ARGUMENTS = {
    "database": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "retired"], "default": "present"},
    "memory_mb": {"type": "int"},
    "slots": {"type": "int", "default": 1},
    "slowness": {"type": "float", "default": 1},
    "targets": {"type": "list", "elements": "str"},
    "certificate": {"type": "str"},
    "host_keys": {"type": "list", "elements": "str", "no_log": False},
    "address": {"type": "str"},
    "reason": {"type": "str", "default": "retired by the operator"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS, supports_check_mode=True, required_if=[("state", "present", ["memory_mb", "targets"])]
    )
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder"), exception=IMPORT_ERROR)
    try:
        with connected(module.params["database"]) as connection:
            result = act(connection, module.params)
            if module.check_mode:
                connection.rollback()
    except FleetError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


def act(connection: Connection, params: dict[str, Any]) -> dict[str, Any]:
    """Register or retire, inside the caller's transaction."""
    before = told_of_builder(connection, params["name"])
    if params["state"] == "present":
        result = {"changed": register(connection, params), "memory_class": memory_class(params["memory_mb"])}
    else:
        result = {"changed": retire_builder(connection, params["name"], params["reason"])}
    after = told_of_builder(connection, params["name"])
    return {**result, "diff": {"before": shown(before), "after": shown(after)}}


def register(connection: Connection, params: dict[str, Any]) -> bool:
    targets = [Target.parse(target) for target in params["targets"]]
    serial = None if params["certificate"] is None else serial_of(params["certificate"])
    identity = Identity(serial, params["host_keys"], params["address"])
    return register_builder(
        connection, params["name"], params["memory_mb"], params["slots"], targets, slowness=params["slowness"], identity=identity
    )


def shown(told: dict[str, Any]) -> str:
    return "".join(f"{key}: {json.dumps(told[key])}\n" for key in sorted(told))


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""Ansible module: make a builder and its targets known to the fleet."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_builder
short_description: Make a builder and its targets known to the fleet
description:
  - Registers the builder with its database login role C(builder_NAME), its memory class and the targets it builds for. A
    target nobody had before is made.
options:
  database:
    description: libpq connection string as the owner role. Must hold no password.
    type: str
    required: true
  name:
    description: The builder's name; lower-case letters, digits, dots and dashes.
    type: str
    required: true
  memory_mb:
    description: Its memory, in MiB. Decides the largest memory class it is given.
    type: int
    required: true
  slots:
    description: Builds it runs at once.
    type: int
    default: 1
  targets:
    description: What it builds for, each written like C(cp311-armv7l-bookworm).
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: Tells whether something would change; the transaction is rolled back.
    support: full
  diff_mode:
    description: Nothing to show beyond changed.
    support: none
"""

EXAMPLES = r"""
- name: Register the builder
  fleet_builder:
    database: "{{ fleet_conninfo.owner }}"
    name: "{{ inventory_hostname }}"
    memory_mb: "{{ ansible_facts['memtotal_mb'] }}"
    targets: [cp311-armv7l-bookworm]
"""

RETURN = r"""
memory_class:
  description: "0: up to 1 GiB, 1: up to 4 GiB, 2: more."
  returned: always
  type: int
"""

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from piwheels_builder.db.connect import connected
    from piwheels_builder.errors import FleetError
    from piwheels_builder.queue.members import memory_class, register_builder
    from piwheels_builder.targets import Target
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

ARGUMENTS = {
    "database": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "memory_mb": {"type": "int", "required": True},
    "slots": {"type": "int", "default": 1},
    "targets": {"type": "list", "elements": "str", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder"), exception=IMPORT_ERROR)
    params = module.params
    try:
        targets = [Target.parse(target) for target in params["targets"]]
        with connected(params["database"]) as connection:
            changed = register_builder(connection, params["name"], params["memory_mb"], params["slots"], targets)
            if module.check_mode:
                connection.rollback()
    except FleetError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=changed, memory_class=memory_class(params["memory_mb"]))


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""Ansible module: have this host's PostgreSQL follow the fleet's database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: database_replica
short_description: Have this host's PostgreSQL follow the fleet's database
description:
  - Copies the database's files (pg_basebackup) where this host has none of them, those of another server, or such whose log the
    database no longer keeps. The server is stopped then, and not started again.
  - Refuses to replace databases of somebody else's.
options:
  name:
    description: The replica's name in the inventory. Its place in the database's log is called after it.
    type: str
    required: true
  data_dir:
    description: The server's files.
    type: path
    required: true
  primary:
    description: The libpq connection string to the database, as the role that copies.
    type: str
    required: true
  programs:
    description: Where PostgreSQL's programs are.
    type: path
    required: true
  unit:
    description: The server's systemd unit.
    type: str
    required: true
  run_as:
    description: The server's user.
    type: str
    default: postgres
attributes:
  check_mode:
    description: Tells whether the database would be copied.
    support: full
  diff_mode:
    description: Nothing to show beyond changed.
    support: none
"""

EXAMPLES = r"""
- name: Follow the database
  database_replica:
    name: "{{ inventory_hostname }}"
    data_dir: /var/lib/postgresql/15/main
    primary: host=db.example user=piwheels_replica sslmode=verify-full
    programs: /usr/lib/postgresql/15/bin
    unit: postgresql@15-main.service
"""

RETURN = r"""
slot:
  description: What the database calls this replica's place in its log.
  returned: always
  type: str
"""

import subprocess
import traceback
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from piwheels_builder.db.replica import Standby, copy, follows
    from piwheels_builder.db.replication import slot_of
    from piwheels_builder.errors import FleetError
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "data_dir": {"type": "path", "required": True},
    "primary": {"type": "str", "required": True},
    "programs": {"type": "path", "required": True},
    "unit": {"type": "str", "required": True},
    "run_as": {"type": "str", "default": "postgres"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder"), exception=IMPORT_ERROR)
    params = module.params
    standby = Standby(
        Path(params["data_dir"]), params["primary"], slot_of(params["name"]), Path(params["programs"]), params["run_as"]
    )
    try:
        changed = not follows(standby)
        if changed and not module.check_mode:
            copy(standby, lambda: subprocess.run(["systemctl", "stop", params["unit"]], check=True, capture_output=True))
    except FleetError as error:
        module.fail_json(msg=str(error))
    except (OSError, subprocess.CalledProcessError) as error:
        module.fail_json(msg=f"the database cannot be followed: {error}")
    module.exit_json(changed=changed, slot=standby.slot)


if __name__ == "__main__":
    main()

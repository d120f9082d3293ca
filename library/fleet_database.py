#!/usr/bin/python
"""Ansible module: prepare the embedded PostgreSQL of a fleet of one, and bring the schema of any fleet up to date."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_database
short_description: Prepare the embedded PostgreSQL of a fleet of one, and bring the schema of any fleet up to date
description:
  - With O(state=prepared), makes the data directory and its settings; the server itself is kept running by supervisord.
  - With O(state=migrated), makes the fleet's roles and database where they are missing, then applies the migrations that are. With
    O(conninfo), only the second.
options:
  state:
    description: What to do.
    type: str
    choices: [prepared, migrated]
    required: true
  data_dir:
    description: The embedded server's data directory. Without it, the server is Debian's, and not ours to prepare.
    type: path
  port:
    description: The port that names Debian's server's socket.
    type: int
    default: 5432
  socket_dir:
    description: Where its Unix socket is. The path must be short, see unix(7).
    type: path
  conninfo:
    description: The owner's libpq connection string to a database on another host, whose roles that host has made.
    type: str
  replicas:
    description: >-
      Names of the hosts that may copy Debian's server. No log is kept any longer for those that are none of them.
    type: list
    elements: str
    default: []
  run_as:
    description: The user that the embedded server runs as. Required when the module runs as root.
    type: str
  trusted_users:
    description: Users of the operating system who, in the embedded server, may log in as any role of the fleet.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Tells whether something would change. Migrations of a database that does not exist yet are all missing.
    support: full
  diff_mode:
    description: Names the migrations.
    support: full
"""

EXAMPLES = r"""
- name: Prepare the embedded database
  fleet_database:
    state: prepared
    data_dir: "{{ fleet_state_dir }}/database"
    socket_dir: "{{ fleet_state_dir }}/run"

- name: Bring the database of Debian's server to this version's schema
  fleet_database:
    state: migrated
    socket_dir: /run/postgresql
"""

RETURN = r"""
command:
  description: The command that runs the server, as a list.
  returned: O(state=prepared)
  type: list
steps:
  description: Names of the migrations applied, or missing in check mode, and what was done about replicas.
  returned: O(state=migrated)
  type: list
"""

import os
import subprocess
import traceback
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from piwheels_builder.db.connect import connected
    from piwheels_builder.db.embedded import EmbeddedDatabase, create_roles_and_database, is_prepared, prepare
    from piwheels_builder.db.migrate import migrate, pending_steps, steps
    from piwheels_builder.db.replication import settle
    from piwheels_builder.db.served import ServedDatabase
    from piwheels_builder.errors import BadInput, DatabaseRefused, FleetError
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

ARGUMENTS = {
    "state": {"type": "str", "choices": ["prepared", "migrated"], "required": True},
    "data_dir": {"type": "path"},
    "port": {"type": "int", "default": 5432},
    "socket_dir": {"type": "path"},
    "conninfo": {"type": "str"},
    "replicas": {"type": "list", "elements": "str", "default": []},
    "run_as": {"type": "str"},
    "trusted_users": {"type": "list", "elements": "str", "default": []},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_if=[("state", "prepared", ["data_dir", "socket_dir"])],
        required_one_of=[("socket_dir", "conninfo")],
    )
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder"), exception=IMPORT_ERROR)
    try:
        if module.params["state"] == "prepared":
            result = prepared(embedded(module.params), check=module.check_mode)
        elif module.params["conninfo"]:
            result = told(schema(module.params["conninfo"], check=module.check_mode))
        elif module.params["data_dir"]:
            result = told(migrated(embedded(module.params), check=module.check_mode))
        else:
            result = told(with_replicas(served(module.params), module.params["replicas"], check=module.check_mode))
    except FleetError as error:
        module.fail_json(msg=str(error))
    except (OSError, subprocess.CalledProcessError) as error:
        module.fail_json(msg=f"the database cannot be prepared: {error}")
    module.exit_json(**result)


def embedded(params: dict[str, Any]) -> EmbeddedDatabase:
    return EmbeddedDatabase(Path(params["data_dir"]), Path(params["socket_dir"]), params["run_as"], tuple(params["trusted_users"]))


def served(params: dict[str, Any]) -> ServedDatabase:
    return ServedDatabase(Path(params["socket_dir"]), params["port"])


def prepared(database: EmbeddedDatabase, *, check: bool) -> dict[str, Any]:
    if os.geteuid() == 0 and database.run_as is None:
        raise BadInput("PostgreSQL never runs as root: set run_as to an unprivileged user")
    changed = not is_prepared(database) if check else prepare(database)
    return {"changed": changed, "command": database.command}


def told(names: list[str]) -> dict[str, Any]:
    return {"changed": bool(names), "steps": names, "diff": {"before": "", "after": "".join(f"{name}\n" for name in names)}}


def with_replicas(database: ServedDatabase, names: list[str], *, check: bool) -> list[str]:
    done = migrated(database, check=check)
    try:
        with connected(database.superuser_conninfo(), autocommit=True) as connection:
            return done + settle(connection, names, check=check)
    except FleetError as error:
        if not check or isinstance(error, DatabaseRefused):
            raise
        # No server yet, and so no replica that has left.
        return done


def migrated(database: EmbeddedDatabase | ServedDatabase, *, check: bool) -> list[str]:
    return missing(database) if check else apply(database)


def schema(conninfo: str, *, check: bool) -> list[str]:
    with connected(conninfo) as connection:
        return [step.name for step in pending_steps(connection)] if check else migrate(connection)


def missing(database: EmbeddedDatabase | ServedDatabase) -> list[str]:
    try:
        return schema(database.conninfo("piwheels_owner"), check=True)
    except FleetError as error:
        if isinstance(error, DatabaseRefused):
            raise
        # No server or no database yet: a real run would make both.
        return [step.name for step in steps()]


def apply(database: EmbeddedDatabase | ServedDatabase) -> list[str]:
    create_roles_and_database(database)
    return schema(database.conninfo("piwheels_owner"), check=False)


if __name__ == "__main__":
    main()

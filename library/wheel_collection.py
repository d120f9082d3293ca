#!/usr/bin/python
"""Ansible module: bring wheels and logs from the builders' outboxes to the index host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: wheel_collection
short_description: Bring wheels and logs from the builders' outboxes to the index host
description:
  - Pulls, with rsync over ssh, exactly the files that the database awaits, several builders at once. What broke off is gone on with
    where it ended. What nobody awaits any more is removed from O(incoming).
  - A builder that is away or misbehaves stops no other.
  - Runs on the index host as the publisher, with the interpreter of the virtual environment that piwheels_builder is installed in.
options:
  database:
    description: libpq connection string of the publisher's role, without a password.
    type: str
    required: true
  incoming:
    description: The directory that each builder's files are brought into, by the builder's name.
    type: dict
    required: true
  private_key:
    description: The publisher's ssh key.
    type: path
    required: true
  known_hosts:
    description: Host keys of those builders that the database has none of.
    type: path
  user:
    description: Who to log in as on a builder; its key may read the outbox there and nothing else.
    type: str
    default: piwheels-collector
  port:
    description: Where the builders' ssh servers listen, but for those in O(ports).
    type: int
    default: 22
  ports:
    description: Where the ssh servers of single builders listen, by the builder's name.
    type: dict
    default: {}
  parallel:
    description: How many builders are pulled from at once.
    type: int
    default: 8
  seconds:
    description: How long one builder's turn may last. The next collection goes on from there.
    type: float
    default: 300
  silent_seconds:
    description: How long a connection may be silent.
    type: int
    default: 30
  kilobytes:
    description: The most that one builder sends, in KiB a second; 0 for as much as it can.
    type: int
    default: 0
attributes:
  check_mode:
    description: Tells how many files would be asked for; asks no builder.
    support: full
  diff_mode:
    description: Shows how many files come from each builder.
    support: full
"""

EXAMPLES = r"""
- name: Collect what the builders made
  wheel_collection:
    database: host=/run/postgresql dbname=piwheels user=piwheels_publisher
    incoming:
      pi-01: /var/lib/piwheels-builder/incoming/pi-01
    private_key: /etc/piwheels-builder/ssh/publisher
  register: collection
"""

RETURN = r"""
collected_at:
  description: The database's time at the start, as ISO 8601; C(recorded_before) of M(wheel_publication).
  type: str
  returned: success
collected:
  description: How many files came, by builder.
  type: dict
  returned: success
unreachable_builders:
  description: Why not all that is awaited came from a builder, by its name; C(uncollected) of M(wheel_publication).
  type: dict
  returned: success
"""

import traceback
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from piwheels_builder.db.connect import connected
    from piwheels_builder.errors import FleetError
    from piwheels_builder.index.collection import Collection, collect, foresee
    from piwheels_builder.index.rsync import Access
except ImportError:
    IMPORT_ERROR: str | None = traceback.format_exc()
else:
    IMPORT_ERROR = None

ARGUMENTS = {
    "database": {"type": "str", "required": True},
    "incoming": {"type": "dict", "required": True},
    "private_key": {"type": "path", "required": True, "no_log": False},
    "known_hosts": {"type": "path"},
    "user": {"type": "str", "default": "piwheels-collector"},
    "port": {"type": "int", "default": 22},
    "ports": {"type": "dict", "default": {}},
    "parallel": {"type": "int", "default": 8},
    "seconds": {"type": "float", "default": 300},
    "silent_seconds": {"type": "int", "default": 30},
    "kilobytes": {"type": "int", "default": 0},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if IMPORT_ERROR is not None:
        module.fail_json(msg=missing_required_lib("piwheels_builder"), exception=IMPORT_ERROR)
    try:
        done = run(module.params, check_mode=module.check_mode)
    except FleetError as error:
        module.fail_json(msg=str(error))
    for builder, why in done.unreachable.items():
        module.warn(f"{builder} was not collected: {why}")
    module.exit_json(
        changed=bool(done.collected),
        collected_at=done.collected_at.isoformat(),
        collected=done.collected,
        # Not just unreachable: a result of that name is one of a host that cannot be reached, and ends the play.
        unreachable_builders=done.unreachable,
        diff={"before": "", "after": "".join(f"{count} files from {name}\n" for name, count in sorted(done.collected.items()))},
    )


def run(parameters: dict[str, Any], *, check_mode: bool) -> Collection:
    incoming = {builder: Path(directory) for builder, directory in parameters["incoming"].items()}
    ports = {builder: int(port) for builder, port in parameters["ports"].items()}
    with connected(parameters["database"], autocommit=True) as connection:
        if check_mode:
            return foresee(connection, incoming)
        return collect(connection, incoming, access(parameters), ports, parameters["parallel"])


def access(parameters: dict[str, Any]) -> Access:
    known_hosts = parameters["known_hosts"]
    return Access(
        private_key=Path(parameters["private_key"]),
        known_hosts=Path(known_hosts) if known_hosts else None,
        **{name: parameters[name] for name in ("user", "port", "seconds", "silent_seconds", "kilobytes")},
    )


if __name__ == "__main__":
    main()

"""The command line of the database's commands. What they do is in commands.py, which is imported when one is asked for."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_COPY = """Copy the rows of the fleet's database into a directory, as of one moment, to be loaded into another PostgreSQL.

Refused while wheels or logs wait on builders, since they would stay behind. Part of `make move-database`.
"""
_LOAD = """Fill this fleet's database from a copy, in one transaction: all of it or nothing.

The database must be of the same version of this project and without builds. Builders that come along in name are retired until
they are provisioned here. A copy that was loaded before changes nothing.
"""
_KNOWN_HOSTS = """The builders' ssh host keys as the fleet knows them, as lines of known_hosts.

For a controller that has lost its file, or never had one; whatever it holds besides is not in the database.
"""
_REPLICAS = """The hosts that follow the database, and how far behind each is.

Exit code 75 where one was never made, is away, was away for too long, or is further behind than the options allow.
"""


def add_commands(commands: "Subparsers") -> None:
    """Register this room's commands."""
    copy = commands.add_parser("copy-database", help="copy the fleet's database into files", description=_COPY)
    copy.add_argument("directory", type=Path, help="replaced if it is there")
    copy.set_defaults(run="piwheels_builder.db.commands:run_copy")

    load = commands.add_parser("load-database", help="fill an empty fleet's database from a copy", description=_LOAD)
    load.add_argument("directory", type=Path)
    load.add_argument("--check", action="store_true", help="say whether it could be done, and do nothing")
    load.set_defaults(run="piwheels_builder.db.commands:run_load")

    known = commands.add_parser("known-hosts", help="print the builders' ssh host keys", description=_KNOWN_HOSTS)
    known.set_defaults(run="piwheels_builder.db.commands:run_known_hosts")

    replicas = commands.add_parser("replicas", help="how far behind replicas are", description=_REPLICAS)
    replicas.add_argument("--most-mb", type=int, default=64, help="of the database's log (default: %(default)s)")
    replicas.add_argument("--most-seconds", type=float, default=60, help="(default: %(default)s)")
    replicas.add_argument("--json", action="store_true", help="one object a line")
    replicas.set_defaults(run="piwheels_builder.db.commands:run_replicas")

"""Builders and targets as the database knows them. Who calls: the module fleet_builder, when a host is provisioned."""

from collections.abc import Sequence
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import Connection
from piwheels_builder.errors import BadInput
from piwheels_builder.targets import Target

_queries = aiosql.from_path(Path(__file__).with_name("members.sql"), "psycopg2")


def memory_class(memory_mb: int) -> int:
    """The largest memory class a builder with this much memory (MiB) is given.

    The limits lie above 1 and 4 GiB's worth as Linux reports it, which is never the round number.
    """
    return 0 if memory_mb <= 1024 else 1 if memory_mb <= 4096 else 2


def register_builder(connection: Connection, name: str, memory_mb: int, slots: int, targets: Sequence[Target]) -> bool:
    """Make the builder and its targets known, as the owner role. Returns whether anything changed. The caller commits."""
    if not targets:
        raise BadInput(f"{name} has no target to build for: set fleet_pythons for it")
    target_ids = [_register_target(connection, target) for target in targets]
    return bool(
        _queries.register_builder(connection, name=name, memory_class=memory_class(memory_mb), slots=slots, target_ids=target_ids)
    )


def _register_target(connection: Connection, target: Target) -> int:
    fields = {"python": target.python, "architecture": target.architecture, "os_release": target.os_release}
    found = _queries.target_id(connection, **fields)
    return int(found or _queries.make_target(connection, abi_order=target.abi_order, **fields))

"""Builders and targets as the database knows them. Who calls: the module fleet_builder, when a host is provisioned or retired."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiosql

from piwheels_builder.db.connect import Connection
from piwheels_builder.errors import BadInput
from piwheels_builder.targets import Target

_queries = aiosql.from_path(Path(__file__).with_name("members.sql"), "psycopg2")


@dataclass(frozen=True)
class Identity:
    """How a builder is known, and where it is reached; None leaves what the database has.

    ``certificate_serial`` is that of the only client certificate it is believed with, ``host_keys`` are lines as ssh-keyscan
    writes them, without the host.
    """

    certificate_serial: int | None = None
    host_keys: Sequence[str] | None = None
    address: str | None = None


def memory_class(memory_mb: int) -> int:
    """The largest memory class a builder with this much memory (MiB) is given.

    The limits lie above 1 and 4 GiB's worth as Linux reports it, which is never the round number.
    """
    return 0 if memory_mb <= 1024 else 1 if memory_mb <= 4096 else 2


def serial_of(certificate: str) -> int:
    """The serial number of a certificate in PEM. Raises BadInput for anything else."""
    # openssl is on every index host, where the fleet's authority is; the cryptography package has no wheel for every ARM.
    command = ["openssl", "x509", "-noout", "-serial"]
    done = subprocess.run(command, input=certificate, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BadInput(
            f"the certificate is none in PEM: {done.stderr.strip().splitlines()[0][:200] if done.stderr else 'no reason given'}"
        )
    return int(done.stdout.strip().removeprefix("serial="), 16)


def register_builder(
    connection: Connection,
    name: str,
    memory_mb: int,
    slots: int,
    targets: Sequence[Target],
    *,
    slowness: float = 1.0,
    identity: Identity | None = None,
) -> bool:
    """Make the builder and its targets known, as the owner role. Returns whether anything changed. The caller commits.

    ``slowness`` is how many times as long as on a Pi 4 a build takes.
    """
    if not targets:
        raise BadInput(f"{name} has no target to build for: set fleet_pythons for it")
    told = identity or Identity()
    return bool(
        _queries.register_builder(
            connection,
            name=name,
            memory_class=memory_class(memory_mb),
            slots=slots,
            target_ids=[_register_target(connection, target) for target in targets],
            certificate_serial=told.certificate_serial,
            host_keys=None if told.host_keys is None else list(told.host_keys),
            address=told.address,
            slowness=slowness,
        )
    )


def retire_builder(connection: Connection, name: str, reason: str) -> bool:
    """Take the builder out of the fleet, as the owner role. Returns whether it was in it. The caller commits."""
    return bool(_queries.retire_builder(connection, name=name, reason=reason))


def told_of_builder(connection: Connection, name: str) -> dict[str, Any]:
    """What the fleet's owner has said of a builder; nothing where its name is unknown."""
    return dict(_queries.told_of_builder(connection, name=name) or {})


def _register_target(connection: Connection, target: Target) -> int:
    fields = {"python": target.python, "architecture": target.architecture, "os_release": target.os_release}
    found = _queries.target_id(connection, **fields)
    return int(found or _queries.make_target(connection, abi_order=target.abi_order, **fields))

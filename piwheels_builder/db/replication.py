"""The database's side of its replicas: who may copy it, how much of its log is kept for whom, and how far behind each is.

A replica's place in the log is a replication slot that it makes itself when it begins to copy (replica.py). Those of replicas that
left the inventory are dropped here, or the log would be kept for ever. Who calls: the module fleet_database as the superuser, and
`piwheels-builder replicas` as a role that only reads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiosql
import psycopg2

from piwheels_builder.db.connect import Connection

_queries = aiosql.from_path(Path(__file__).with_name("replication.sql"), "psycopg2")
#: What the slots of replicas begin with; others are not ours.
SLOT_PREFIX = "replica_"
_MIB = 2**20
_TRIES = 10


@dataclass(frozen=True)
class Replica:
    """A replica as the database sees it. Bytes are of its log; None where there is nothing to measure."""

    name: str
    #: streaming; catching up; away: not connected; lost: more log was due to it than is kept; missing: it never began.
    state: str
    behind_bytes: int | None = None
    #: How long ago it was where it is, while it is connected and the database is written to.
    behind_seconds: float | None = None
    #: Log that the database keeps for it, and how much more it would.
    kept_bytes: int | None = None
    room_bytes: int | None = None

    def trouble(self, most_bytes: int, most_seconds: float) -> str | None:
        """What is wrong with it and what to do, for people; None where it follows."""
        remedies = {
            "missing": "was never made: ansible-playbook provision.yml",
            "lost": "was away for too long and is copied anew by: ansible-playbook provision.yml",
            "away": "is not connected: see its host, and the server's log there",
        }
        if self.state in remedies:
            return f"{self.name} {remedies[self.state]}"
        if (self.behind_bytes or 0) > most_bytes or (self.behind_seconds or 0) > most_seconds:
            return f"{self.name} is {self.behind}: its disk, its network, or a long query there holds it up"
        return None

    @property
    def behind(self) -> str:
        """How far it is behind, for people."""
        if self.behind_bytes is None:
            return "behind by nobody knows how much"
        seconds = f" and {self.behind_seconds:.1f} s" if self.behind_seconds is not None else ""
        return f"{self.behind_bytes / _MIB:.1f} MB{seconds} behind"


def slot_of(name: str) -> str:
    """The slot of a replica by its name in the inventory: what PostgreSQL allows in one."""
    return SLOT_PREFIX + "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in name.lower())


def settle(connection: Connection, names: Sequence[str], *, check: bool = False) -> list[str]:
    """Let these replicas copy the database and no others hold its log. Returns what was done, or, with ``check``, would be.

    As the superuser, in autocommit mode, since dropping a slot is no part of a transaction.
    """
    done = []
    if names and not _queries.replica_role_exists(connection):
        done.append("make the role piwheels_replica")
        if not check:
            _queries.make_replica_role(connection)
    for slot in _stale(connection, names):
        done.append(f"keep no log for {slot}")
        if not check:
            _drop(connection, slot)
    return done


def _stale(connection: Connection, names: Sequence[str]) -> Iterator[str]:
    wanted = {slot_of(name) for name in names}
    return (slot for (slot,) in list(_queries.slots(connection)) if slot not in wanted)


def _drop(connection: Connection, slot: str) -> None:
    for attempt in range(_TRIES):
        list(_queries.end_copying(connection, slot=slot))
        try:
            list(_queries.drop_slot(connection, slot=slot))
            return
        except psycopg2.errors.ObjectInUse:
            # One whose connection is ended connects again, at once the first time.
            if attempt == _TRIES - 1:
                raise


def replicas(connection: Connection, names: Sequence[str]) -> list[Replica]:
    """How each replica of the inventory stands, connected to the database itself as any role that reads."""
    found = {row[0]: row[1:] for row in _queries.replicas(connection)}
    return [Replica(name, *found.get(slot_of(name), ("missing",))) for name in names]

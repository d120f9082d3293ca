"""Pausing dispatch, to one builder or to all, and going on: by the operator, or by the breaker.

The breaker itself is in db/functions/breaker.sql. Who calls: the module version_batch before it leases, and the commands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import Connection

_queries = aiosql.from_path(Path(__file__).with_name("leasing.sql"), "psycopg2")
#: Standings that a person ends.
NOT_SERVED = ("paused", "quarantined")


@dataclass(frozen=True)
class Member:
    """A builder of the fleet, and whether it may be given work."""

    name: str
    standing: str
    standing_reason: str | None = None


@dataclass(frozen=True)
class FleetPause:
    """Nothing is handed out to anybody. ``since`` is UTC, written out."""

    reason: str
    by_whom: str
    since: str

    def __str__(self) -> str:
        return f"all dispatch was paused by {self.by_whom} at {self.since}: {self.reason}"


@dataclass(frozen=True)
class Trip:
    """What the breaker has paused a moment ago: a builder, or everything (None)."""

    builder: str | None
    reason: str

    def __str__(self) -> str:
        return f"{self.builder or 'all dispatch'} is paused now: {self.reason}"


def trip_breaker(connection: Connection) -> list[Trip]:
    """Pause what has left its history, as the dispatcher role. Returns what was paused by this call."""
    return [Trip(*row) for row in _queries.trip_breaker(connection)]


def fleet_pause(connection: Connection) -> FleetPause | None:
    """Why nobody is given work, or None."""
    rows = [FleetPause(*row) for row in _queries.fleet_pause(connection)]
    return rows[0] if rows else None


def members(connection: Connection) -> list[Member]:
    """Every builder of the fleet."""
    return [Member(*row) for row in _queries.members(connection)]


def why_stopped(pause: FleetPause | None, fleet: Sequence[Member]) -> str | None:
    """Why no builder of the fleet is given work, though some are paused: None where one is, or none is paused."""
    if pause is not None:
        return f"{pause}; `piwheels-builder resume --all` goes on"
    paused = [f"{member.name} ({member.standing_reason})" for member in fleet if member.standing in NOT_SERVED]
    if not paused or any(member.standing == "active" for member in fleet):
        return None
    return f"no builder is active, and paused or quarantined are {', '.join(paused)}; `piwheels-builder resume BUILDER` goes on"


def pause(connection: Connection, builder: str | None, reason: str) -> bool:
    """Hand out nothing more to a builder, or to anybody, as the dispatcher role. Returns whether that is new."""
    return bool(_queries.pause_dispatch(connection, builder=builder, reason=reason))


def resume(connection: Connection, builder: str | None) -> bool:
    """Hand out work again; the present rates of failure become the history, and a quarantined builder is believed.

    Returns whether anything was paused.
    """
    return bool(_queries.resume_dispatch(connection, builder=builder))

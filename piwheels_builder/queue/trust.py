"""Builders that are not believed: what they did, and how to unsay what they said.

What makes the database quarantine one is in db/functions/record.sql and trust.sql. Who calls: the commands status and distrust.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import Connection, translated_errors
from piwheels_builder.errors import BadInput, DatabaseRefused
from piwheels_builder.queue.plan import BuilderLoad

_queries = aiosql.from_path(Path(__file__).with_name("trust.sql"), "psycopg2")
#: What PostgreSQL calls no_data_found.
_NO_SUCH = "P0002"
#: Incidents older than this are for the database only.
SHOWN_DAYS = 7


@dataclass(frozen=True)
class Incident:
    """What a builder did that no honest one should have to. ``last_at`` is UTC, written out."""

    builder: str
    last_at: str
    times: int
    what: str

    def __str__(self) -> str:
        often = f", {self.times} times within an hour" if self.times > 1 else ""
        return f"{self.builder}, {self.last_at}{often}: {self.what}"


@dataclass(frozen=True)
class Unsaid:
    """A build of a distrusted builder. ``became`` is "queued again", or what its wheel is: "published" or "withdrawn"."""

    became: str
    project: str
    version: str
    target: str
    wheel: str | None

    def __str__(self) -> str:
        return f"{self.became}: {self.project} {self.version} for {self.target}{f', {self.wheel}' if self.wheel else ''}"


def incidents(connection: Connection, days: int = SHOWN_DAYS) -> list[Incident]:
    """What happened in the last days, the latest last."""
    return [Incident(*row) for row in _queries.incidents(connection, days=days)]


def quarantine_line(load: BuilderLoad) -> str:
    """What the operator is told of a quarantined builder, with what may be done."""
    return (
        f"{load.name} is quarantined: {load.standing_reason}; {load.wheels_held} wheels of it are held back. See to the host, then "
        f"`piwheels-builder resume {load.name}` believes it again, or "
        f"`piwheels-builder distrust {load.name} --since TIME --reason WHY` has built again what it made since"
    )


def distrust(connection: Connection, builder: str, since: datetime, reason: str, *, withdraw: bool = False) -> list[Unsaid]:
    """Believe nothing that the builder said since a moment, as the publisher role; one that retired may be named, too.

    Raises BadInput for a time without a zone, and for a name that no builder ever had.
    """
    if since.tzinfo is None:
        raise BadInput(f"{since} has no time zone: write 2026-01-31T12:00Z, for example")
    try:
        with translated_errors():
            rows = list(_queries.distrust_builder(connection, builder=builder, since=since, reason=reason, withdraw=withdraw))
    except DatabaseRefused as error:
        if getattr(error.__cause__, "pgcode", None) == _NO_SUCH:
            raise BadInput(
                f"no builder is called {builder}: `piwheels-builder status` lists those that have not retired"
            ) from error
        raise
    return [Unsaid(*row) for row in rows]

"""Demand: what users asked the index for and could not get. It goes before all else that is queued, and makes nothing wanted.

Who calls: the command ``demand``. New builds of what is demanded are queued as such by the database (db/functions/demand.sql).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import aiosql

from piwheels_builder.catalogue.policy import Choice
from piwheels_builder.db.connect import Connection
from piwheels_builder.errors import UnknownProject
from piwheels_builder.queue.access_log import Asked

_queries = aiosql.from_path(Path(__file__).with_name("demand.sql"), "psycopg2")


@dataclass(frozen=True)
class Demand:
    """A row of demand. ``version`` is None for the newest release, whichever that is; ``queued`` counts its unfinished builds."""

    project: str
    version: str | None
    asked: int
    asked_last_at: datetime
    queued: int


def note_demand(connection: Connection, choice: Choice) -> int:
    """Let all queued builds of a release go first, as the dispatcher role; how many did not before. Without a version: the newest.

    Raises UnknownProject for what is not in the catalogue. The caller commits.
    """
    hastened = _queries.note_demand(connection, project=choice.project, version=choice.version or "", times=1)
    if hastened is None:
        raise UnknownProject(f"{choice} is not in the catalogue: run `piwheels-builder sync {choice.project}` first")
    return int(hastened)


def note_asked(connection: Connection, asked: Iterable[Asked]) -> dict[str, int]:
    """Note what a log tells; how many builds go first of each project that is in the catalogue. The caller commits."""
    listed = list(asked)
    rows = _queries.note_demands(connection, projects=[one.project for one in listed], times=[one.addresses for one in listed])
    return dict(rows)


def drop_demand(connection: Connection, choice: Choice) -> bool:
    """Forget a demand: what is queued of it goes where it would have gone. Returns whether there was one. The caller commits."""
    return bool(_queries.drop_demand(connection, project=choice.project, version=choice.version or ""))


def demands(connection: Connection) -> list[Demand]:
    """Every demand, the most asked first."""
    return [Demand(*row) for row in _queries.demands(connection)]

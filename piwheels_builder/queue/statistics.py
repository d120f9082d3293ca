"""What there is of everything, for a page of statistics: from counts that are kept (db/functions/statistics.sql)."""

from dataclasses import dataclass
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import Connection

_queries = aiosql.from_path(Path(__file__).with_name("leasing.sql"), "psycopg2")


@dataclass(frozen=True)
class Statistic:
    """How many of what there are for a target (or none). ``amount`` is seconds of queue and attempts, bytes of wheels, else 0.

    ``what`` is "project", "release", "build STATE", "attempt OUTCOME", "wheel pure", "wheel compiled", "wheel withdrawn",
    "queue leased", "queue held", "queue waiting", or "queue free MEMORY_CLASS" (with those whose pause is not over).
    """

    what: str
    target: str | None
    number: int
    amount: float


def statistics(connection: Connection) -> list[Statistic]:
    """All of them, as of now, as the reader role."""
    return [Statistic(*row) for row in _queries.statistics(connection)]

"""What became of builds: for the table that ends a run, and for asking builds again."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiosql
from packaging.utils import NormalizedName

from piwheels_builder.db.connect import Connection

_queries = aiosql.from_path(Path(__file__).with_name("report.sql"), "psycopg2")


@dataclass(frozen=True)
class BuildReport:
    """One build with its last attempt. ``seconds`` is that attempt's wall time; ``wheel`` is what the index serves."""

    project: str
    version: str
    target: str
    build_id: int
    state: str
    reason: str
    outcome: str | None
    seconds: float | None
    error_line: str | None
    wheel: str | None
    #: What came of importing that wheel (states.ImportResult).
    import_result: str | None = None


def builds_of(connection: Connection, projects: Sequence[NormalizedName]) -> list[BuildReport]:
    """Every build of these projects."""
    return [BuildReport(*row) for row in _queries.builds_of(connection, projects=list(projects))]


def requeue(connection: Connection, builds: Sequence[BuildReport], reason: str) -> list[BuildReport]:
    """Ask for these builds again, as the dispatcher role. Returns those that were not unfinished already."""
    return [build for build in builds if _queries.requeue_build(connection, build_id=build.build_id, reason=reason)]

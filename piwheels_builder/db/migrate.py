"""Bring a database to this version's schema: ordered migrations once each, functions and grants whenever they changed.

Who runs it: the module fleet_database as the owner, from the role ``database``.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import Connection
from piwheels_builder.errors import DatabaseRefused

_HERE = Path(__file__).parent
_queries = aiosql.from_path(_HERE / "migrate.sql", "psycopg2")
_LOCK = 0x70697765  # any number, the same for every migration of every fleet


@dataclass(frozen=True)
class Step:
    """One .sql file. A repeatable one runs again whenever its text changed."""

    name: str
    sql: str
    repeatable: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def steps() -> Iterator[Step]:
    """All steps in order: migrations by number, then functions, then grants over everything that exists by then."""
    for path in sorted((_HERE / "migrations").glob("[0-9]*.sql")):
        yield Step(path.name, path.read_text(), repeatable=False)
    functions = "\n".join(path.read_text() for path in sorted((_HERE / "functions").glob("*.sql")))
    # One step, since grants name the functions and CREATE OR REPLACE keeps what an older grants.sql gave.
    yield Step("functions and grants", functions + (_HERE / "grants.sql").read_text(), repeatable=True)


def pending_steps(connection: Connection) -> list[Step]:
    """The steps this database still needs. Raises DatabaseRefused where a migration changed after it ran, or is unknown here."""
    applied = dict(_queries.applied_steps(connection)) if _queries.has_ledger(connection) else {}
    known = {step.name: step for step in steps()}
    for name, sha256 in applied.items():
        if name not in known:
            raise DatabaseRefused(f"the database has {name}, which this version does not know: upgrade piwheels_builder here")
        if not known[name].repeatable and known[name].sha256 != sha256:
            raise DatabaseRefused(f"{name} was changed after it ran on this database: add a new migration instead")
    return [step for name, step in known.items() if applied.get(name) != step.sha256]


def migrate(connection: Connection) -> list[str]:
    """Apply what is missing, all or nothing, one migrator at a time. Returns the names of the steps applied."""
    _queries.lock_out_other_migrators(connection, lock=_LOCK)
    missing = pending_steps(connection)
    if missing:
        _queries.make_ledger(connection)
        _queries.let_functions_name_later_ones(connection)
    for step in missing:
        with connection.cursor() as cursor:
            cursor.execute(step.sql)
        _queries.note_step(connection, name=step.name, sha256=step.sha256)
    connection.commit()
    return [step.name for step in missing]

"""A real PostgreSQL for the tests: one embedded server per test process, a fresh migrated database per test."""

import getpass
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from psycopg2.sql import SQL, Identifier

from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase, create_roles_and_database, running
from piwheels_builder.db.migrate import migrate
from tests.support.debian_database import debian_server

_numbers = count(1)


@contextmanager
def embedded_server() -> Iterator[EmbeddedDatabase]:
    """A server whose database ``template`` is migrated. Its directory is short, since socket paths must be.

    With TEST_POSTGRESQL=15 in the environment it is Debian's server of that version, for running any test on it.
    """
    if version := os.environ.get("TEST_POSTGRESQL"):
        with debian_server(int(version)) as database:
            yield database
        return
    place = Path(tempfile.mkdtemp(prefix="fleet-db-", dir="/tmp"))
    # As root the server runs as another user, who has to get there.
    place.chmod(0o755)
    run_as = "nobody" if os.geteuid() == 0 else None
    database = EmbeddedDatabase(place / "data", place / "run", run_as, (getpass.getuser(),), name="template")
    try:
        with running(database):
            create_roles_and_database(database)
            with connected(database.conninfo("piwheels_owner")) as connection:
                migrate(connection)
            yield database
    finally:
        shutil.rmtree(place)


@contextmanager
def fresh_database(server: EmbeddedDatabase) -> Iterator[EmbeddedDatabase]:
    """A copy of the migrated template, dropped at the end."""
    database = replace(server, name=f"fleet{next(_numbers)}")
    _as_superuser(server, "CREATE DATABASE {} TEMPLATE template OWNER piwheels_owner", database.name)
    try:
        yield database
    finally:
        _as_superuser(server, "DROP DATABASE {} WITH (FORCE)", database.name)


@contextmanager
def empty_database(server: EmbeddedDatabase) -> Iterator[EmbeddedDatabase]:
    """A database that no migration has seen, of the fleet's owner; dropped at the end."""
    database = replace(server, name=f"empty{next(_numbers)}")
    _as_superuser(server, "CREATE DATABASE {} TEMPLATE template0 OWNER piwheels_owner", database.name)
    with connected(server.superuser_conninfo(database.name)) as connection, connection.cursor() as cursor:
        cursor.execute("ALTER SCHEMA public OWNER TO piwheels_owner")
    try:
        yield database
    finally:
        _as_superuser(server, "DROP DATABASE {} WITH (FORCE)", database.name)


def _as_superuser(server: EmbeddedDatabase, statement: str, name: str) -> None:
    with connected(server.superuser_conninfo(), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(SQL(statement).format(Identifier(name)))


def rows(database: EmbeddedDatabase, statement: str, parameters: Sequence[object] = (), role: str = "piwheels_owner") -> list[Any]:
    """What a statement answers, committed."""
    with connected(database.conninfo(role)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []

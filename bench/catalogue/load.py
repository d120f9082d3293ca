"""Load a catalogue with its history into an empty, migrated database: COPY by several processes, keys and indexes afterwards.

Derived tables of later migrations are not filled by COPY. Whoever adds one fills it in ``settle`` below.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from io import StringIO
from multiprocessing import get_context
from pathlib import Path

import aiosql
import psycopg2

from bench.catalogue import shape
from bench.catalogue.generate import Catalogue
from bench.catalogue.rows import TABLES, lines_of
from piwheels_builder.db.connect import Connection, connected

queries = aiosql.from_path(Path(__file__).with_suffix(".sql"), "psycopg2")
#: Releases that a process copies at a time, about 10 MB of text.
_CHUNK = 5_000


def load(conninfo: str, catalogue: Catalogue, *, processes: int = 2, quiet: bool = False) -> None:
    """Fill the database of piwheels_owner at ``conninfo``. Raises ValueError where it has projects already."""
    began = time.monotonic()

    def say(what: str) -> None:
        if not quiet:
            print(f"{time.monotonic() - began:7.0f} s  {what}", flush=True)

    with connected(conninfo) as connection:
        _begin(connection)
    told = 0
    with connected(conninfo, autocommit=True) as connection:
        queries.stop_counting(connection, tables=list(TABLES))
        with without_indexes(connection, say):
            for releases in _copy_all(conninfo, catalogue, processes):
                if releases - told >= 500_000:
                    told = releases
                    say(f"{releases:,} of {catalogue.size.releases:,} releases copied")
            say("vacuum and analyze")
            queries.vacuum(connection)
        say("statistics")
        settle(connection)
    say("loaded")


@contextmanager
def without_indexes(connection: Connection, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Keys and indexes of the tables that a load fills are made again at the end: that takes a fraction of the time."""
    queries.set_aside(connection, tables=list(TABLES))
    queries.drop_what_is_set_aside(connection)
    yield
    queries.load_fast(connection)
    for table, name, definition in list(queries.what_is_set_aside(connection)):
        say(f"{table}: {name}")
        with connection.cursor() as cursor:
            cursor.execute(definition)
    queries.forget_what_was_set_aside(connection)


def settle(connection: Connection) -> None:
    """What follows from the rows: numbers of new ones, and whatever else later migrations derive."""
    queries.set_sequences(connection)
    queries.note_swept(connection)
    queries.count_again(connection, tables=list(TABLES))


def _begin(connection: Connection) -> None:
    if not queries.is_empty(connection):
        raise ValueError("this database has projects already: a catalogue is loaded into an empty one")
    queries.add_targets(connection, pythons=list(shape.PYTHONS), architecture=shape.ARCHITECTURE, os_release=shape.OS_RELEASE)
    queries.add_builders(connection, builders=shape.BUILDERS)


def _copy_all(conninfo: str, catalogue: Catalogue, processes: int) -> Iterator[int]:
    """Yields how many releases are copied."""
    global _copier  # noqa: PLW0603 - forked processes find it there, with the numbers of all releases
    _copier = _Copier(conninfo, catalogue)
    if processes == 1:
        yield from map(_copy_chunk, _chunks(catalogue))
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("fork")) as pool:
        yield from pool.map(_copy_chunk, _chunks(catalogue))


def _chunks(catalogue: Catalogue) -> Iterator[range]:
    """Ranges of projects that have about _CHUNK releases."""
    before, start = catalogue.releases_before, 0
    for number in range(1, catalogue.size.projects + 1):
        if before[number] - before[start] >= _CHUNK or number == catalogue.size.projects:
            yield range(start, number)
            start = number


class _Copier:
    """One process's way into the database; it connects when it is first used."""

    def __init__(self, conninfo: str, catalogue: Catalogue) -> None:
        self._conninfo, self._catalogue = conninfo, catalogue
        self._connection: Connection | None = None

    def copy(self, projects: range) -> int:
        """All rows of some projects, in one transaction. Returns how many releases there are up to the last of them."""
        lines: dict[str, list[str]] = {table: [] for table in TABLES}
        for number in projects:
            lines_of(self._catalogue, self._catalogue.project(number), lines)
        connection = self._connected()
        with connection.cursor() as cursor:
            for table in TABLES:
                cursor.copy_expert(getattr(queries, f"copy_{table}").sql, StringIO("".join(lines[table])))
        connection.commit()
        return self._catalogue.releases_before[projects.stop]

    def _connected(self) -> Connection:
        if self._connection is None:
            # Its process ends with the load, and the connection with it.
            self._connection = psycopg2.connect(self._conninfo)
            queries.load_fast(self._connection)
        return self._connection


_copier: _Copier


def _copy_chunk(projects: range) -> int:
    return _copier.copy(projects)

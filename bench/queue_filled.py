"""A database as large as a catalogue with its history, made by SQL alone: for the queue, which sees rows and no files."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiosql
from psycopg2.sql import SQL, Identifier, Literal

from bench.catalogue.load import without_indexes
from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from tests.support.database import embedded_server
from tests.support.outage import outage

#: The first run's catalogue, and today's upstream index.
FIRST, TODAY = 752_817, 8_234_245
#: What role database writes for a host of 8 GB (its templates/postgresql.conf.j2).
_OF_8_GB = {
    "shared_buffers": "2GB",
    "effective_cache_size": "4GB",
    "maintenance_work_mem": "512MB",
    "work_mem": "16MB",
    "max_wal_size": "4GB",
    "random_page_cost": "1.1",
}
queries = aiosql.from_path(Path(__file__).with_name("queue_shape.sql"), "psycopg2")
_FILLS = ("projects", "releases", "files", "builds", "attempts", "wheels", "queue")


@contextmanager
def server_of_8_gb() -> Iterator[EmbeddedDatabase]:
    """An embedded server with the memory that role database gives one on a host of 8 GB: a fleet of one has 32 MB, for one Pi."""
    with embedded_server() as server:
        with connected(server.superuser_conninfo(), autocommit=True) as connection, connection.cursor() as cursor:
            for name, value in _OF_8_GB.items():
                # An identifier cannot be a query's parameter; psycopg2 quotes it.
                cursor.execute(SQL("ALTER SYSTEM SET {} = {}").format(Identifier(name), Literal(value)))
        with outage(server):
            pass
        yield server


def fill(database: EmbeddedDatabase, releases: int, one_in: int = 100) -> dict[str, int]:
    """Releases with three targets, their whole history, and one build in so many wanted. Returns how many rows there are."""
    started = time.perf_counter()
    with connected(database.conninfo("piwheels_owner")) as connection:
        queries.fill_targets(connection, releases=releases)
    with connected(database.superuser_conninfo(database.name), autocommit=True) as connection:
        queries.leave_out_checks(connection)
        with without_indexes(connection):
            for what in _FILLS:
                share = {"one_in": one_in} if what == "builds" else {}
                getattr(queries, f"fill_{what}")(connection, releases=releases, **share)
        queries.recount(connection)
        # Else autovacuum comes while somebody measures.
        queries.vacuum(connection)
        counts = dict(queries.row_counts(connection))
        queries.checkpoint(connection)
    told = ", ".join(f"{number:,} {table}" for table, number in counts.items())
    print(f"filled in {time.perf_counter() - started:.0f} s: {told}", flush=True)
    return counts

"""A database as large as a catalogue with its history, made by SQL alone: for the queue, which sees rows and no files."""

import time
from pathlib import Path

import aiosql

from bench.catalogue.load import without_indexes
from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase

#: The first run's catalogue, and today's upstream index.
FIRST, TODAY = 752_817, 8_234_245
queries = aiosql.from_path(Path(__file__).with_name("queue_shape.sql"), "psycopg2")
_FILLS = ("projects", "releases", "files", "builds", "attempts", "wheels", "queue")


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

"""A catalogue is loaded whole: with the schema it found, rows that a fleet can go on with, and a second one refused."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.catalogue import databases
from bench.catalogue.__main__ import GOAL
from bench.catalogue.databases import database as kept_database
from bench.catalogue.generate import Catalogue
from bench.catalogue.load import load, queries
from bench.catalogue.shape import SIZES, Size
from piwheels_builder.db import migrate
from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.db.migrate import Step, steps
from tests.integration.test_database_schema import dump
from tests.support.database import rows

SMALL = Catalogue(Size("small", 300, 2_000, datetime(2024, 1, 1, tzinfo=UTC), built=0.6, wheel_only=0.1))


def owner(database: EmbeddedDatabase) -> str:
    return database.conninfo("piwheels_owner")


def test_loading_leaves_the_schema_as_it_was(database: EmbeddedDatabase) -> None:
    before = dump(database)
    load(owner(database), SMALL, processes=2, quiet=True)
    assert dump(database) == before
    assert rows(database, "SELECT count(*) FROM pg_constraint WHERE NOT convalidated") == [(0,)]
    assert rows(database, "SELECT (SELECT count(*) FROM project), (SELECT count(*) FROM release)") == [(300, 2_000)]


def test_a_loaded_database_is_not_loaded_again(database: EmbeddedDatabase) -> None:
    load(owner(database), SMALL, processes=1, quiet=True)
    with pytest.raises(ValueError, match="has projects already"):
        load(owner(database), SMALL, processes=1, quiet=True)


def test_a_fleet_goes_on_where_the_history_ended(database: EmbeddedDatabase) -> None:
    load(owner(database), SMALL, processes=1, quiet=True)
    leasable = rows(database, "SELECT count(*) FROM queue WHERE waits_for IS NULL AND memory_class = 0")[0][0]
    leased = rows(database, "SELECT build_id, filename FROM lease_batch('pi3', 1e9, 1000, '1 hour')", role="piwheels_dispatcher")
    assert len(leased) == leasable > 0
    assert rows(database, "INSERT INTO project (name) VALUES ('new') RETURNING project_id") == [(301,)]
    leaders = "FROM queue LEFT JOIN queue AS leader ON leader.build_id = queue.waits_for WHERE queue.waits_for IS NOT NULL"
    assert rows(database, f"SELECT count(*) {leaders} AND leader.build_id IS NULL") == [(0,)]


def test_a_release_with_its_history_takes_no_more_than_the_goal() -> None:
    with kept_database("percent") as database, connected(owner(database)) as connection:
        tables = list(queries.table_bytes(connection))
        assert {"attempt", "build", "upstream_file", "wheel"} <= {table for table, *_ in tables}
        assert sum(sum(sizes) for _, _, *sizes in tables) / SIZES["percent"].releases < GOAL


def test_a_kept_database_is_copied_and_migrated_for_a_checkout_with_more_migrations(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="kept-", dir="/tmp") as cache:
        Path(cache).chmod(0o755)
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
        with kept_database("percent", copy=False) as database:
            rows(database, "INSERT INTO project (name) VALUES ('zebra-mark')")
        with kept_database("percent") as database:
            rows(database, "INSERT INTO project (name) VALUES ('zebra-copied')")
        added = Step("9999_more.sql", "CREATE TABLE more (number integer)", repeatable=False)
        monkeypatch.setattr(databases, "steps", lambda: [*steps(), added])
        monkeypatch.setattr(migrate, "steps", lambda: [*steps(), added])
        with kept_database("percent") as database:
            assert rows(database, "SELECT count(*) FROM more") == [(0,)]
            assert rows(database, "SELECT name FROM project WHERE name LIKE 'zebra-%'") == [("zebra-mark",)]
        assert len(list(Path(cache).glob("*/percent-*"))) == 2

"""The schema is what its text says: migrations replay to schema.sql, and Python's enums are the database's."""

import os
import subprocess
from pathlib import Path

import pytest

from piwheels_builder import states, targets
from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.db.migrate import migrate, steps
from piwheels_builder.errors import DatabaseAway, DatabaseRefused
from tests.support.database import rows

SCHEMA = Path(__file__).parents[2] / "piwheels_builder/db/schema.sql"


def dump(database: EmbeddedDatabase) -> str:
    """The tables, types, views and rights of a database as text, without what differs from one pg_dump to the next."""
    options = ["--schema-only", "--schema=public", "--no-owner"]
    done = subprocess.run(
        [database.binaries / "pg_dump", *options, database.superuser_conninfo(database.name)],
        check=True,
        capture_output=True,
        text=True,
    )
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith(("--", "\\", "SET ", "SELECT pg_catalog"))]
    return "\n".join(lines) + "\n"


def test_replayed_migrations_give_the_schema_in_the_repository(database: EmbeddedDatabase) -> None:
    replayed = dump(database)
    if os.environ.get("WRITE_SCHEMA"):
        SCHEMA.write_text(replayed)
    assert replayed == SCHEMA.read_text(), "after a new migration, write it anew: make schema"


def test_migrating_again_applies_nothing(database: EmbeddedDatabase) -> None:
    with connected(database.conninfo("piwheels_owner")) as connection:
        assert migrate(connection) == []


def test_a_migration_changed_after_it_ran_is_refused(database: EmbeddedDatabase) -> None:
    with connected(database.conninfo("piwheels_owner")) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE schema_step SET sha256 = 'other' WHERE name LIKE '0001%%'")
        with pytest.raises(DatabaseRefused, match=r"0001_catalogue\.sql was changed"):
            migrate(connection)


def test_a_database_of_a_newer_version_is_refused(database: EmbeddedDatabase) -> None:
    with connected(database.conninfo("piwheels_owner")) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO schema_step VALUES ('9999_future.sql', 'x')")
        with pytest.raises(DatabaseRefused, match="upgrade piwheels_builder"):
            migrate(connection)


def test_changed_functions_run_again_and_migrations_do_not(database: EmbeddedDatabase) -> None:
    with connected(database.conninfo("piwheels_owner")) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE schema_step SET sha256 = 'older' WHERE name = 'functions and grants'")
        assert migrate(connection) == ["functions and grants"]


def test_migrations_are_numbered_without_a_gap() -> None:
    numbers = [int(step.name.partition("_")[0]) for step in steps() if not step.repeatable]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize(
    ("enum", "python"), [("build_state", states.BuildState), ("outcome", states.Outcome), ("blame", states.Blame)]
)
def test_enums_are_the_same_in_python(database: EmbeddedDatabase, enum: str, python: type[states.BuildState]) -> None:
    labels = rows(database, f"SELECT unnest(enum_range(NULL::{enum}))::text")
    assert [label for (label,) in labels] == [str(member) for member in python]


def test_every_outcome_has_the_same_blame_in_python(database: EmbeddedDatabase) -> None:
    blames = dict(rows(database, "SELECT outcome::text, blame::text FROM outcome_meaning"))
    assert blames == {str(outcome): str(outcome.blame) for outcome in states.Outcome}


def test_os_releases_are_the_same_in_python(database: EmbeddedDatabase) -> None:
    known = dict(rows(database, "SELECT os_release, glibc FROM os_release"))
    assert known == {name: f"{major}.{minor}" for name, (major, minor) in targets.GLIBC.items()}


def test_a_state_changes_only_along_a_known_transition(database: EmbeddedDatabase) -> None:
    known = {tuple(row) for row in rows(database, "SELECT before::text, after::text FROM build_transition")}
    with connected(database.conninfo("piwheels_owner")) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO project (name) VALUES ('demo')")
        cursor.execute("INSERT INTO release (project_id, version, spelling, newest_first) VALUES (1, '1', '1', 1)")
        cursor.execute(
            "INSERT INTO target (python, architecture, os_release, abi_order) VALUES ('cp311', 'x86_64', 'bookworm', 622)"
        )
        cursor.execute("INSERT INTO build (release_id, target_id, reason) VALUES (1, 1, 'test')")
        for before in states.BuildState:
            for after in states.BuildState:
                if before is after:
                    continue
                cursor.execute("ALTER TABLE build DISABLE TRIGGER USER")
                cursor.execute("UPDATE build SET state = %s", (before,))
                cursor.execute("ALTER TABLE build ENABLE TRIGGER USER")
                cursor.execute("SAVEPOINT before")
                try:
                    cursor.execute("UPDATE build SET state = %s", (after,))
                    allowed = True
                except Exception:
                    cursor.execute("ROLLBACK TO before")
                    allowed = False
                assert allowed == ((before, after) in known), f"{before} -> {after}"


def test_a_database_that_is_down_is_named_as_such() -> None:
    with pytest.raises(DatabaseAway, match="cannot be reached"), connected("host=/nonexistent dbname=piwheels"):
        pass

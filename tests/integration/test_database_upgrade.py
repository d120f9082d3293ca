"""A database of the first version, with a fleet at work in it, becomes one of this version and loses nothing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import aiosql
import pytest

from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.db.migrate import Step, migrate, steps
from piwheels_builder.errors import DatabaseRefused
from tests.integration.test_database_schema import SCHEMA, dump
from tests.support.database import empty_database
from tests.support.fleet import Fleet

#: Functions and grants as they were beside each of these migrations.
OLD_FUNCTIONS = {number: Path(__file__).parents[1] / f"support/database_{number:04}/functions_and_grants.sql" for number in (2, 3)}
LEDGER = aiosql.from_path(SCHEMA.with_name("migrate.sql"), "psycopg2")
OLD_RECORD = "SELECT record_attempt(%s, %s, %s, now(), 1.5::real, NULL::bigint, 'the error', 'log', 'gcc', %s, %s, %s)"


@pytest.fixture(params=OLD_FUNCTIONS)
def version(request: pytest.FixtureRequest) -> int:
    """The number of a version's last migration."""
    return int(request.param)


@pytest.fixture
def old(database_server: EmbeddedDatabase, version: int) -> Iterator[Fleet]:
    """A database of that version."""
    with empty_database(database_server) as database:
        with connected(database.conninfo("piwheels_owner")) as connection, connection.cursor() as cursor:
            LEDGER.make_ledger(connection)
            LEDGER.let_functions_name_later_ones(connection)
            functions = Step("functions and grants", OLD_FUNCTIONS[version].read_text(), repeatable=True)
            for step in [*[*steps()][:version], functions]:
                cursor.execute(step.sql)
                LEDGER.note_step(connection, name=step.name, sha256=step.sha256)
        yield Fleet(database)


@pytest.fixture
def at_work(old: Fleet) -> dict[str, int]:
    """One build has failed, one is built, one is leased; the attempts are those of the old functions."""
    old.ask("INSERT INTO target (python, architecture, os_release, abi_order) VALUES ('cp311', 'armv7l', 'bookworm', 622)")
    old.ask("SELECT register_builder('pi1', 2, 1, '{1}')")
    builds = {name: old.want(name) for name in ("failed", "built", "leased")}
    leases = {row["build_id"]: row["lease_id"] for row in old.lease_all("pi1")}
    old.ask(OLD_RECORD, leases[builds["failed"]], builds["failed"], "stalled", None, None, None, role="builder_pi1")
    wheel = ("built-1.0-py3-none-any.whl", "a" * 64, 1000)
    old.ask(OLD_RECORD, leases[builds["built"]], builds["built"], "built", *wheel, role="builder_pi1")
    return builds


def upgrade(fleet: Fleet) -> list[str]:
    with connected(fleet.database.conninfo("piwheels_owner")) as connection:
        return migrate(connection)


def test_it_becomes_the_schema_of_this_version(old: Fleet, at_work: dict[str, int]) -> None:
    assert at_work
    assert "0004_fleet.sql" in upgrade(old)
    assert dump(old.database) == SCHEMA.read_text()
    assert upgrade(old) == []


def test_attempts_stay_with_their_outcomes_and_know_their_projects(old: Fleet, at_work: dict[str, int]) -> None:
    upgrade(old)
    told = old.ask(
        "SELECT build_id, outcome::text, project.name, memory_class, mechanism, missing"
        " FROM attempt JOIN project USING (project_id) ORDER BY attempt_id"
    )
    assert told == [
        (at_work["failed"], "stalled", "failed", 0, None, None),
        (at_work["built"], "built", "built", 0, None, None),
    ]
    assert old.state(at_work["built"]) == "built"


def test_no_function_is_left_in_two_forms(old: Fleet) -> None:
    upgrade(old)
    twice = "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace GROUP BY proname HAVING count(*) > 1"
    assert old.ask(twice) == []
    assert old.ask("SELECT typname FROM pg_type WHERE typname = 'outcome_before'") == []


def test_a_builder_of_the_first_version_goes_on_with_its_leases(old: Fleet, at_work: dict[str, int]) -> None:
    upgrade(old)
    ((lease_id,),) = old.ask("SELECT lease_id FROM queue WHERE build_id = %s", at_work["leased"])
    old.ask("SELECT heartbeat(%s::uuid[], %s::bigint[], '1 hour')", [lease_id], [at_work["leased"]], role="builder_pi1")
    told = old.ask("SELECT last_seen_at > now() - interval '1 minute', temperature, memory_free, throttled FROM builder_load")
    assert told == [(True, None, None, None)]
    answer = old.ask(OLD_RECORD, lease_id, at_work["leased"], "timeout", None, None, None, role="builder_pi1")
    assert answer == [("recorded",)]
    assert old.state(at_work["leased"]) == "failed"


def test_a_builder_of_this_version_is_refused_by_the_first_versions_database(old: Fleet, at_work: dict[str, int]) -> None:
    with pytest.raises(DatabaseRefused, match="does not exist"):
        old.ask("SELECT heartbeat('{}', '{}', '1 hour', true, gen_random_uuid())", role="builder_pi1")
    assert old.state(at_work["leased"]) == "leased"


def test_an_upgrade_that_fails_changes_nothing(old: Fleet, at_work: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [replace(step, sql=step.sql + "SELECT 1 / 0;") if step.repeatable else step for step in steps()]
    monkeypatch.setattr("piwheels_builder.db.migrate.steps", lambda: iter(broken))
    with pytest.raises(DatabaseRefused, match="division by zero"):
        upgrade(old)
    answer = old.ask(
        OLD_RECORD,
        *old.ask("SELECT lease_id, build_id FROM queue WHERE build_id = %s", at_work["leased"])[0],
        "timeout",
        None,
        None,
        None,
        role="builder_pi1",
    )
    assert answer == [("recorded",)]


def test_what_was_leased_before_leases_were_kept_makes_no_thief(old: Fleet, at_work: dict[str, int]) -> None:
    upgrade(old)
    old.add_builder("pi2")
    ((lease_id,),) = old.ask("SELECT lease_id FROM queue WHERE build_id = %s", at_work["leased"])
    old.ask("UPDATE queue SET expires_at = now() - interval '1 second'")
    old.reclaim()
    assert old.record("pi1", lease_id, at_work["leased"]) == "lease lost"
    assert old.record("pi1", lease_id, at_work["failed"]) == "already recorded"
    assert old.record("pi2", lease_id, at_work["leased"]) == "refused"
    assert old.ask("SELECT name, standing FROM builder ORDER BY name") == [("pi1", "active"), ("pi2", "quarantined")]

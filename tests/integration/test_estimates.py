"""What attempts teach the queue about builds that are left, and batches that no slot waits beside."""

import pytest

from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.db.connect import connected
from piwheels_builder.queue.forecast import forecast
from piwheels_builder.queue.leasing import tend
from tests.support.fleet import BOOKWORM, TERM, Fleet


def learn(fleet: Fleet) -> None:
    with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
        tend(connection, TERM)


def add_release(fleet: Fleet, project: str, version: str) -> None:
    """Another release of a project that is there, with an sdist."""
    ((release_id,),) = fleet.ask(
        "INSERT INTO release (project_id, version, spelling, newest_first)"
        " SELECT project_id, %s, %s, 2 FROM project WHERE name = %s RETURNING release_id",
        version,
        version,
        project,
    )
    fleet.ask(
        "INSERT INTO upstream_file (project_id, filename, release_id, kind, url)"
        " SELECT project_id, 'old.tar.gz', release_id, 'sdist', 'http://upstream.invalid/old' FROM release WHERE release_id = %s",
        release_id,
    )
    fleet.releases[f"{project} {version}"] = release_id


@pytest.mark.parametrize(("took", "expected"), [(600, 600), (100, 60), (1, 1)])
def test_what_surprised_is_expected_of_the_projects_other_builds(fleet: Fleet, took: float, expected: float) -> None:
    newest = fleet.want("demo", priority=1, seconds=60)
    other = fleet.want("other", priority=2, seconds=60)
    leased = fleet.lease_all("pi1")
    fleet.record("pi1", leased[0]["lease_id"], newest)
    fleet.ask("UPDATE attempt SET seconds = %s", took)
    add_release(fleet, "demo", "0.9")
    # Queued before anything was learned.
    older = fleet.want("demo 0.9", priority=2, seconds=60)
    fleet.ask("UPDATE queue SET estimate_seconds = 60 WHERE build_id = %s", older)
    learn(fleet)
    assert (fleet.queued(older) or {})["estimate_seconds"] == expected
    assert (fleet.queued(other) or {})["estimate_seconds"] == 60
    # Learned once: what was changed since stays.
    fleet.ask("UPDATE queue SET estimate_seconds = 7 WHERE build_id = %s", older)
    learn(fleet)
    assert (fleet.queued(older) or {})["estimate_seconds"] == 7


def test_what_a_slow_builder_took_teaches_what_a_pi_4_would_take(fleet: Fleet) -> None:
    fleet.ask("UPDATE builder SET slowness = 2")
    newest = fleet.want("demo", priority=1, seconds=60)
    fleet.record("pi1", fleet.lease_all("pi1")[0]["lease_id"], newest)
    fleet.ask("UPDATE attempt SET seconds = 600")
    add_release(fleet, "demo", "0.9")
    older = fleet.want("demo 0.9", priority=2, seconds=60)
    fleet.ask("UPDATE queue SET estimate_seconds = 60 WHERE build_id = %s", older)
    learn(fleet)
    assert (fleet.queued(older) or {})["estimate_seconds"] == 300


@pytest.mark.parametrize(
    ("outcome", "peak", "its_class", "needed"),
    [
        ("out_of_memory", None, 0, 1),
        ("built", 600 * 2**20, 0, 1),
        # Nobody in this fleet has more.
        ("out_of_memory", None, 1, 1),
        ("built", 100 * 2**20, 0, 0),
        ("killed", 600 * 2**20, 0, 0),
    ],
)
def test_the_memory_that_one_needed_is_given_to_the_projects_other_builds(
    fleet: Fleet, outcome: str, peak: int | None, its_class: int, needed: int
) -> None:
    fleet.ask("UPDATE builder SET memory_class = 1")
    newest = fleet.want("demo", priority=1, seconds=60)
    leased = fleet.lease_all("pi1")
    fleet.record("pi1", leased[0]["lease_id"], newest)
    fleet.ask("UPDATE attempt SET outcome = %s, peak_memory = %s, memory_class = %s, seconds = 60", outcome, peak, its_class)
    add_release(fleet, "demo", "0.9")
    older = fleet.want("demo 0.9", priority=2, seconds=60)
    # Queued before anything was learned.
    fleet.ask("UPDATE queue SET memory_class = 0, estimate_seconds = 60 WHERE build_id = %s", older)
    learn(fleet)
    assert (fleet.queued(older) or {})["memory_class"] == needed


def test_an_attempt_remembers_what_was_expected_of_it(fleet: Fleet) -> None:
    build_id = fleet.want("demo", seconds=50)
    leased = fleet.lease_all("pi1")
    fleet.record("pi1", leased[0]["lease_id"], build_id)
    assert fleet.ask("SELECT estimate_seconds FROM attempt") == [(50,)]


def test_a_batch_has_a_build_for_every_slot_though_one_alone_is_worth_the_budget(fleet: Fleet) -> None:
    fleet.add_builder("four", BOOKWORM, slots=4)
    for number in range(6):
        fleet.want(f"long{number}", seconds=20_000)
    batch = fleet.lease("four", spool_seconds=7200)
    assert batch is not None
    assert len(batch.builds) >= 4


def test_the_plan_of_a_run_reads_the_queue_and_what_estimates_came_to(fleet: Fleet) -> None:
    done = fleet.want("done", seconds=50)
    leased = fleet.lease_all("pi1")
    fleet.record("pi1", leased[0]["lease_id"], done)
    fleet.ask("UPDATE attempt SET seconds = 100")
    fleet.want("demo", seconds=40)
    parked = fleet.want("parked", seconds=1000)
    fleet.ask("UPDATE queue SET held = 'by a test' WHERE build_id = %s", parked)
    with connected(fleet.database.conninfo("piwheels_reader")) as connection:
        found = forecast(connection, Policy("missing", None, None))
    (work,) = found.work
    assert (work.target, work.builds, work.seconds, work.longest) == (str(BOOKWORM), 1, 40, 40)
    assert work.slots >= 1
    assert found.error is not None
    assert found.error.attempts == 1
    assert found.error.bias == pytest.approx(2)
    assert found.slot_seconds == pytest.approx(80)
    assert (found.built, found.wheel_bytes) == (1, 1000)


def test_the_plan_of_a_run_knows_how_slow_the_fleet_is(fleet: Fleet) -> None:
    fleet.ask("UPDATE builder SET slowness = 2")
    done = fleet.want("done", seconds=50)
    fleet.record("pi1", fleet.lease_all("pi1")[0]["lease_id"], done)
    fleet.ask("UPDATE attempt SET seconds = 100")
    fleet.want("demo", seconds=40)
    with connected(fleet.database.conninfo("piwheels_reader")) as connection:
        found = forecast(connection)
    (work,) = found.work
    assert (work.seconds, work.longest, work.speed) == (40, 80, work.slots / 2)
    assert found.error is not None
    # It took a Pi 4's 50 seconds, as estimated.
    assert found.error.bias == pytest.approx(1)
    assert found.seconds_left == pytest.approx(80)

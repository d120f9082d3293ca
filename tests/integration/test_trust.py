"""What no honest builder does: it is refused, noted, and quarantines its builder. What an honest one may do never does."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from piwheels_builder.db.connect import connected, translated_errors
from piwheels_builder.errors import DatabaseAway
from piwheels_builder.queue.leasing import builder_loads, queue_totals
from piwheels_builder.states import Outcome
from tests.support.fleet import ARM64, Fleet

BEAT = "SELECT heartbeat('{}', '{}', '1 hour', true, %s)"


def standing(fleet: Fleet, name: str = "pi1") -> str:
    return str(fleet.ask("SELECT standing FROM builder WHERE name = %s", name)[0][0])


def deeds(fleet: Fleet) -> list[tuple[str, int]]:
    return [(what, times) for what, times in fleet.ask("SELECT what, times FROM incident ORDER BY incident_id")]


def lease_of(fleet: Fleet, builder: str = "pi1") -> UUID:
    batch = fleet.lease(builder)
    assert batch is not None
    return batch.lease_id


def wait_for_wheel(fleet: Fleet, project: str = "demo") -> int:
    """A build whose wheel waits to be published."""
    build_id = fleet.want(project)
    assert fleet.record("pi1", lease_of(fleet), build_id) == "recorded"
    return build_id


# What an honest builder may do.


def test_a_result_that_comes_after_its_lease_went_to_another_is_late_and_no_more(fleet: Fleet) -> None:
    fleet.add_builder("pi2")
    build_id = fleet.want("demo")
    lease_id = lease_of(fleet)
    fleet.expire(build_id)
    assert fleet.reclaim() == 1
    other = lease_of(fleet, "pi2")
    assert fleet.record("pi1", lease_id, build_id) == "lease lost"
    assert fleet.record("pi2", other, build_id) == "recorded"
    assert fleet.record("pi2", other, build_id) == "already recorded"
    assert (standing(fleet), standing(fleet, "pi2"), deeds(fleet)) == ("active", "active", [])


def test_a_spool_of_a_database_that_was_restored_is_dropped_and_no_more(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    unknown = uuid4()
    for _ in range(150):
        assert fleet.record("pi1", unknown, build_id, wheel="other-1.0-py3-none-any.whl") == "lease lost"
    assert standing(fleet) == "active"
    assert deeds(fleet) == [(f"a result of lease {unknown}, which nobody was given", 150)]


def test_a_restarted_service_and_what_its_old_one_said_on_the_way_are_one_host(fleet: Fleet) -> None:
    old, new = uuid4(), uuid4()
    fleet.ask(BEAT, old, role="builder_pi1")
    with connected(fleet.database.conninfo("builder_pi1"), autocommit=True) as connection, connection.cursor() as cursor:
        # Connected before the new one spoke, heard after it.
        cursor.execute("SELECT 1")
        assert fleet.ask(BEAT, new, role="builder_pi1") == [("alive",)]
        cursor.execute(BEAT, (old,))
        assert cursor.fetchall() == [("alive",)]
    assert (standing(fleet), deeds(fleet)) == ("active", [])


def test_only_the_last_fifty_sessions_are_kept(fleet: Fleet) -> None:
    fleet.ask("UPDATE builder SET former_sessions = array_fill(gen_random_uuid(), ARRAY[50]), session = gen_random_uuid()")
    assert fleet.ask(BEAT, uuid4(), role="builder_pi1") == [("alive",)]
    assert fleet.ask("SELECT cardinality(former_sessions) FROM builder") == [(50,)]


# What it never does.


def test_two_hosts_of_one_name_are_found_out(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    lease_id = lease_of(fleet)
    fleet.expire(build_id)
    first, second = uuid4(), uuid4()
    answers = [fleet.ask(BEAT, session, role="builder_pi1")[0][0] for session in (first, second, first, second)]
    assert answers == ["alive", "alive", "quarantined", "quarantined"]
    assert (standing(fleet), deeds(fleet)) == ("quarantined", [("two hosts call themselves pi1", 1)])
    fleet.ask("SELECT heartbeat(%s::uuid[], '{}', '1 hour')", [str(lease_id)], role="builder_pi1")
    assert fleet.reclaim() == 1, "a quarantined builder's leases are renewed"
    assert fleet.lease("pi1") is None
    # The operator switched one of them off; whichever is left is it from now on.
    fleet.ask("SELECT resume_dispatch('pi1')", role="piwheels_dispatcher")
    assert [fleet.ask(BEAT, first, role="builder_pi1")[0][0] for _ in range(2)] == ["alive", "alive"]


@pytest.mark.parametrize(
    "wheel",
    [
        "../demo-1.0-py3-none-any.whl",
        "simple/demo/demo-1.0-py3-none-any.whl",
        ".demo-1.0-py3-none-any.whl",
        "demo-1.0-py3-none-any.whl\n",
        "demo-1.0-py3-none-any.zip",
        "demo.whl",
        "other-1.0-py3-none-any.whl",
        "demo_other-1.0-py3-none-any.whl",
        "demo-1.1-py3-none-any.whl",
        "demo-1.0-" + "a" * 250 + "-none-any.whl",
        "demo-1.0-py3-none-any\x1b[2J.whl",
    ],
)
def test_a_wheel_of_something_else_is_refused(fleet: Fleet, wheel: str) -> None:
    build_id = fleet.want("demo")
    assert fleet.record("pi1", lease_of(fleet), build_id, wheel=wheel) == "refused"
    assert (standing(fleet), fleet.state(build_id)) == ("quarantined", "leased")
    assert fleet.ask("SELECT count(*) FROM attempt") == [(0,)]
    ((reason, what),) = fleet.ask("SELECT standing_reason, what FROM builder JOIN incident USING (builder_id)")
    assert reason == what
    assert what.isprintable()
    assert len(what) <= 500


@pytest.mark.parametrize(
    ("project", "version", "wheel"),
    [
        ("demo", "1", "demo-1-py3-none-any.whl"),
        ("demo", "1", "Demo-1.0.0-1-cp311-cp311-linux_armv7l.whl"),
        ("a-b", "1", "A.B-1.0-py3-none-any.whl"),
        ("a-b", "1", "a__b-1.0-py2.py3-none-any.whl"),
        ("demo", "2020.1", "demo-2020.01-py3-none-any.whl"),
        ("demo", "0.1", "demo-0.1-py3-none-any.whl"),
        ("demo", "0", "demo-0.0-py3-none-any.whl"),
        ("demo", "10", "demo-10-py3-none-any.whl"),
        ("demo", "1.0.post1", "demo-1.0.post1-py3-none-any.whl"),
        ("demo", "1+abc.1", "demo-1.0+abc.1-py3-none-any.whl"),
        ("demo", "1!1", "demo-1!1.0-py3-none-any.whl"),
        ("demo", "1rc1", "demo-1.0rc1-py3-none-any.whl"),
    ],
)
def test_the_wheels_of_honest_builders_pass(fleet: Fleet, project: str, version: str, wheel: str) -> None:
    build_id = fleet.want(project)
    fleet.ask("UPDATE release SET version = %s", version)
    assert fleet.record("pi1", lease_of(fleet), build_id, wheel=wheel) == "recorded"


def test_a_result_of_anothers_lease_is_refused(fleet: Fleet) -> None:
    fleet.add_builder("pi2")
    build_id = fleet.want("demo")
    lease_id = lease_of(fleet)
    assert fleet.record("pi2", lease_id, build_id) == "refused"
    assert (standing(fleet), standing(fleet, "pi2"), fleet.state(build_id)) == ("active", "quarantined", "leased")


def test_a_result_of_a_build_that_its_lease_does_not_hold_is_refused(fleet: Fleet) -> None:
    fleet.want("demo")
    lease_id = lease_of(fleet)
    wanted = fleet.want("wanted")
    assert fleet.record("pi1", lease_id, wanted) == "refused"
    assert (standing(fleet), fleet.state(wanted)) == ("quarantined", "pending")


def test_results_of_many_leases_that_nobody_gave_are_a_flood(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    with connected(fleet.database.conninfo("builder_pi1"), autocommit=True) as connection, connection.cursor() as cursor:
        for number in range(300):
            assert standing(fleet) == "active" or number > 100
            cursor.execute(
                "SELECT record_attempt(%s, %s, 'killed', now(), 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL)", (uuid4(), build_id)
            )
    assert standing(fleet) == "quarantined"
    ((rows, times),) = fleet.ask("SELECT count(*), sum(times) FROM incident")
    assert rows <= 202
    assert times >= 300


def test_a_transaction_that_does_not_end_is_ended(fleet: Fleet) -> None:
    with connected(fleet.database.conninfo("builder_pi1"), autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0; BEGIN; SELECT 1")
        fleet.ask("SELECT end_long_sessions('10 minutes')")
        cursor.execute("SELECT 1")
        fleet.ask("SELECT end_long_sessions('0 seconds')")
        with pytest.raises(DatabaseAway, match="database"), translated_errors():
            cursor.execute("SELECT 1")
    assert deeds(fleet) == [("a transaction of more than 00:00:00, which was ended", 1)]


def test_figures_that_are_none_do_not_reach_the_averages(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    fleet.ask(
        "SELECT record_attempt(%s, %s, 'stalled', 'infinity', 'NaN', NULL, repeat('e', 5000), repeat('l', 50000),"
        " repeat('t', 5000), NULL, NULL, NULL, repeat('m', 500), repeat('m', 500), -5)",
        lease_of(fleet),
        build_id,
        role="builder_pi1",
    )
    told = fleet.ask(
        "SELECT isfinite(started_at), seconds, log_size, length(error_line), length(log_tail), length(toolchain),"
        " length(mechanism), length(missing) FROM attempt"
    )
    assert told == [(True, 2592000, None, 1000, 20000, 1000, 100, 300)]


# What follows from it.


def test_what_a_quarantined_builder_made_waits_for_a_word(fleet: Fleet) -> None:
    build_id = wait_for_wheel(fleet)
    fleet.ask("SELECT suspect_builder('pi1', 'its wheel changed', true)", role="piwheels_publisher")
    fleet.publish(1)
    assert fleet.state(build_id) == "built"
    assert fleet.ask("SELECT adopt_wheel(1, 'demo-1.0-py3-none-any.whl')", role="piwheels_publisher") == [(False,)]
    with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
        (load,) = builder_loads(connection)
        assert (load.is_awaited, load.wheels_held, queue_totals(connection).unpublished) == (False, 1, 0)
    kept = fleet.ask("SELECT lease_id, build_id FROM attempt")
    ask = "SELECT * FROM settled(%s::uuid[], %s)"
    fleet.ask("UPDATE wheel SET refused_reason = 'it changed'")
    assert fleet.ask(ask, [kept[0][0]], [build_id], role="builder_pi1") == []
    fleet.ask("UPDATE wheel SET refused_reason = NULL")
    fleet.ask("SELECT resume_dispatch('pi1')", role="piwheels_dispatcher")
    assert fleet.ask("SELECT builder FROM wheel_awaiting") == [("pi1",)]
    fleet.publish(1)
    assert fleet.state(build_id) == "published"
    assert fleet.ask(ask, [kept[0][0]], [build_id], role="builder_pi1") == kept


def test_a_distrusted_builders_results_do_not_count(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    lease_id = lease_of(fleet)
    fleet.ask("UPDATE builder SET standing = 'quarantined', trusted_until = now()")
    assert fleet.record("pi1", lease_id, build_id) == "lease lost"
    assert (fleet.state(build_id), fleet.ask("SELECT count(*) FROM attempt")) == ("leased", [(0,)])


def test_nothing_is_leased_to_a_builder_whose_standing_changes_at_this_moment(fleet: Fleet) -> None:
    fleet.add_builder("pi2")
    wanted = fleet.want("demo")
    with connected(fleet.database.conninfo("piwheels_owner")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT suspect_builder('pi1', 'its wheel changed', true)")
        assert fleet.lease_all("pi1") == []
        assert [row["build_id"] for row in fleet.lease_all("pi2")] == [wanted]


@pytest.mark.parametrize(("said", "kept"), [(0, None), (1, 1), (36 * 2**20, 36 * 2**20), (36 * 2**20 + 1, None), (2**62, None)])
def test_a_log_has_a_size_that_logs_have(fleet: Fleet, said: int, kept: int | None) -> None:
    build_id = fleet.want("demo")
    fleet.record("pi1", lease_of(fleet), build_id, Outcome.BUILD_ERROR, log_size=said)
    assert fleet.ask("SELECT log_size FROM attempt") == [(kept,)]


def test_a_suspicion_is_noted_without_a_quarantine(fleet: Fleet) -> None:
    assert fleet.ask("SELECT suspect_builder('pi1', 'a file vanished', false)", role="piwheels_publisher") == [(True,)]
    assert fleet.ask("SELECT suspect_builder('pi9', 'a file vanished', true)", role="piwheels_publisher") == [(False,)]
    assert (standing(fleet), deeds(fleet)) == ("active", [("a file vanished", 1)])


def test_provisioning_does_not_lift_a_quarantine(fleet: Fleet) -> None:
    fleet.ask("SELECT suspect_builder('pi1', 'its wheel changed', true)", role="piwheels_publisher")
    fleet.add_builder("pi1")
    assert standing(fleet) == "quarantined"


# Logs.


def test_an_attempt_stays_in_the_outbox_until_its_log_is_stored(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    lease_id = lease_of(fleet)
    fleet.record("pi1", lease_id, build_id, Outcome.BUILD_ERROR, log_size=500)
    ask = ("SELECT build_id FROM settled(%s::uuid[], %s)", [str(lease_id)], [build_id])
    assert fleet.ask(*ask, role="builder_pi1") == []
    assert fleet.ask("SELECT logs_waiting FROM builder_load") == [(1,)]
    ((attempt_id, size),) = fleet.ask("SELECT attempt_id, size FROM log_awaiting", role="piwheels_publisher")
    assert size == 500
    store = "SELECT log_stored(%s, 'logs/de/demo/1.log.gz')"
    fleet.ask("UPDATE attempt SET log_tail = 'the end'")
    assert [fleet.ask(store, attempt_id, role="piwheels_publisher") for _ in range(2)] == [[(True,)], [(False,)]]
    assert fleet.ask("SELECT log_tail FROM attempt") == [(None,)], "a tree that has the whole log needs no row with its end"
    assert fleet.ask(*ask, role="builder_pi1") == [(build_id,)]
    assert fleet.ask("SELECT logs_waiting FROM builder_load") == [(0,)]


def test_a_lost_log_keeps_nobody_waiting(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    lease_id = lease_of(fleet)
    fleet.record("pi1", lease_id, build_id, Outcome.BUILD_ERROR, log_size=500)
    fleet.ask("UPDATE attempt SET log_tail = 'the end'")
    fleet.ask("SELECT log_stored(1, NULL)", role="piwheels_publisher")
    assert fleet.ask("SELECT log_size, log_stored_at, log_tail FROM attempt") == [(None, None, "the end")]
    assert fleet.ask("SELECT build_id FROM settled(%s::uuid[], %s)", [str(lease_id)], [build_id], role="builder_pi1") == [
        (build_id,)
    ]


# Leaving.


def test_a_builder_that_retires_leaves_nothing_behind(fleet: Fleet) -> None:
    waiting = wait_for_wheel(fleet, "waiting")
    failed = fleet.want("failed")
    fleet.record("pi1", lease_of(fleet), failed, Outcome.BUILD_ERROR, log_size=500)
    leased = fleet.want("leased")
    lease_of(fleet)
    fleet.add_builder("pi2")
    fleet.ask("SELECT register_builder('pi1', 2, 1, '{1}', 77)")
    assert fleet.ask("SELECT retire_builder('pi1', 'worn out')") == [(True,)]
    assert fleet.ask("SELECT retire_builder('pi1', 'worn out')") == [(False,)]
    assert [fleet.state(build_id) for build_id in (waiting, failed, leased)] == ["pending", "failed", "pending"]
    assert {row["build_id"] for row in fleet.lease_all("pi2")} == {waiting, leased}
    assert fleet.ask("SELECT certificate_serial, standing_reason FROM builder WHERE name = 'pi1'") == [(None, "worn out")]
    assert fleet.ask("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'builder_pi1'") == [(False,)]
    assert fleet.ask("SELECT name FROM builder_load") == [("pi2",)]
    assert fleet.ask("SELECT count(*) FROM log_awaiting") == [(0,)]
    fleet.add_builder("pi1")
    assert standing(fleet) == "active"
    assert fleet.ask(BEAT, None, role="builder_pi1") == [("alive",)]


def test_what_is_queued_for_a_target_whose_last_builder_left_counts_when_it_has_one_again(fleet: Fleet) -> None:
    fleet.add_builder("pi2", ARM64)
    fleet.want("demo", ARM64)
    fleet.ask("SELECT retire_builder('pi2', 'worn out')")
    with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
        assert queue_totals(connection).to_hand_out == 0
    assert fleet.lease("pi1") is None
    fleet.add_builder("pi3", ARM64)
    with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
        assert queue_totals(connection).leasable == 1
    assert fleet.lease("pi3") is not None


def test_leases_and_incidents_are_forgotten_after_two_months(fleet: Fleet) -> None:
    fleet.want("old")
    lease_of(fleet)
    fleet.ask("SELECT suspect_builder('pi1', 'long ago', false)")
    fleet.ask("UPDATE lease SET leased_at = now() - %s", timedelta(days=61))
    fleet.ask("UPDATE incident SET last_at = now() - %s", timedelta(days=61))
    fleet.want("new")
    new = lease_of(fleet)
    fleet.reclaim("100 years")
    assert fleet.ask("SELECT lease_id, builds FROM lease") == [(new, [2])]
    assert deeds(fleet) == []

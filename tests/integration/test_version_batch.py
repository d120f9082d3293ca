"""The module version_batch: leases for the hungry, gives back, and says what it would do without doing it."""

from piwheels_builder.db.connect import connected
from piwheels_builder.queue.batch import Batch
from piwheels_builder.states import Outcome
from piwheels_builder.targets import Target
from tests.support.fleet import Fleet
from tests.support.modules import run_module


def version_batch(fleet: Fleet, check: bool = False, **arguments: object) -> dict[str, object]:
    return run_module("version_batch", {"database": fleet.database.conninfo("piwheels_dispatcher"), **arguments}, check=check)


def test_it_leases_for_every_hungry_builder_in_one_call(fleet: Fleet) -> None:
    fleet.add_builder("pi2")
    wanted = {fleet.want(f"project{number}") for number in range(10)}
    leased = version_batch(fleet, spool_seconds=600)
    batches = {name: Batch.from_mapping(fields) for name, fields in leased["batches"].items()}  # type: ignore[attr-defined]
    assert set(batches) == {"pi1", "pi2"}
    builds = [build.build_id for batch in batches.values() for build in batch.builds]
    assert len(builds) == len(set(builds)) > 1
    assert set(builds) <= wanted
    assert leased["changed"]
    assert leased["totals"]["leased"] == len(builds)  # type: ignore[index]


def test_an_empty_queue_changes_nothing(fleet: Fleet) -> None:
    leased = version_batch(fleet)
    assert (leased["changed"], leased["batches"]) == (False, {})


def test_check_mode_shows_the_batch_and_leaves_it(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    leased = version_batch(fleet, check=True)
    assert leased["changed"]
    assert leased["diff"]["after"] == "pi1: demo 1 for cp311-armv7l-bookworm\n"  # type: ignore[index]
    assert fleet.state(build_id) == "pending"


def test_it_foresees_what_a_run_has_before_it(fleet: Fleet) -> None:
    fleet.want("demo", seconds=7200)
    foreseen = version_batch(fleet, check=True, state="foreseen")
    text = "\n".join(map(str, foreseen["plan"]))  # type: ignore[call-overload]
    assert "cp311-armv7l-bookworm: 1 builds, 2.0 hours of one slot (0.08 Pi-days), 1 slots" in text
    assert "over at the earliest in 2.0 hours" in text
    assert "upstream's wheels save 0 builds" in text
    assert not foreseen["changed"]
    assert "releases is 'most'" in str(version_batch(fleet, state="foreseen", releases="most")["msg"])


def test_it_says_who_could_have_what_it_was_not_given(fleet: Fleet) -> None:
    elsewhere = Target("cp313", "aarch64", "trixie")
    fleet.add_builder("pi2", elsewhere)
    fleet.want("demo")
    # As by a heartbeat that has not ended yet.
    with connected(fleet.database.conninfo("piwheels_owner")) as heartbeat, heartbeat.cursor() as cursor:
        cursor.execute("UPDATE builder SET last_seen_at = now()")
        answer = version_batch(fleet, builders=["pi1", "pi2"])
    assert (answer["batches"], answer["could_have"]) == ({}, ["pi1"])
    answer = version_batch(fleet, builders=["pi1", "pi2"])
    assert (list(answer["batches"]), answer["could_have"]) == (["pi1"], [])  # type: ignore[call-overload]


def test_it_gives_back_what_could_not_be_delivered(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    lease_id = version_batch(fleet)["batches"]["pi1"]["lease_id"]  # type: ignore[index]
    given_back = version_batch(fleet, state="released", lease_ids=[lease_id], reason="the Pi is off")
    assert (given_back["changed"], given_back["released"]) == (True, 1)
    assert fleet.ask("SELECT state::text, reason FROM build WHERE build_id = %s", build_id) == [("pending", "the Pi is off")]
    assert not version_batch(fleet, state="released", lease_ids=[lease_id])["changed"]


def test_it_takes_back_expired_leases_first(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    fleet.lease("pi1")
    fleet.expire(build_id)
    # The lease term is longer than this database has been up, so that nothing is reclaimed yet.
    assert version_batch(fleet, lease_seconds=86400)["reclaimed"] == 0
    assert version_batch(fleet, lease_seconds=0)["reclaimed"] == 1


def test_it_says_who_is_paused_and_that_nobody_is_given_work(fleet: Fleet) -> None:
    fleet.want("demo")
    fleet.add_builder("pi2")
    assert version_batch(fleet, state="counted")["stopped"] is None
    fleet.ask("SELECT pause_dispatch('pi1', 'a new card')")
    counted = version_batch(fleet, state="counted", builders=["pi1"])
    assert (counted["paused"], counted["stopped"]) == ({"pi1": "a new card"}, None)
    fleet.ask("SELECT pause_dispatch('pi2', 'another')")
    assert "piwheels-builder resume BUILDER" in str(version_batch(fleet)["stopped"])
    fleet.ask("SELECT resume_dispatch('pi2')")
    fleet.ask("SELECT pause_dispatch(NULL, 'upstream moves')")
    leased = version_batch(fleet)
    assert leased["batches"] == {}
    assert "upstream moves" in str(leased["stopped"])
    fleet.ask("UPDATE queue SET held = 'parked'")
    assert version_batch(fleet)["stopped"] is None


def test_it_trips_the_breaker_before_it_leases_and_warns(fleet: Fleet) -> None:
    fleet.want("demo")
    fleet.ask("INSERT INTO builder_health (builder_id, priority, faults_now, faults_seen) VALUES (1, 1, 0.9, 20)")
    checked = version_batch(fleet, check=True)
    assert checked["batches"] == {}
    leased = version_batch(fleet)
    assert leased["batches"] == {}
    assert "pi1 is paused now: the breaker: 90 % of its latest attempts" in str(leased["warnings"])
    assert version_batch(fleet)["warnings"] == []


def test_bad_arguments_are_named(fleet: Fleet) -> None:
    assert "pi9" in str(version_batch(fleet, builders=["pi9"])["msg"])
    assert "not a lease id" in str(version_batch(fleet, state="released", lease_ids=["x"])["msg"])
    assert "cannot be reached" in str(run_module("version_batch", {"database": "host=/nonexistent"})["msg"])
    assert "missing required arguments: database" in str(run_module("version_batch", {"state": "counted"})["msg"])


def test_a_role_without_the_right_is_refused(fleet: Fleet) -> None:
    refused = run_module("version_batch", {"database": fleet.database.conninfo("piwheels_reader")})
    assert "permission denied" in str(refused["msg"])


def test_whoever_has_a_log_waiting_is_waiting_and_a_quarantined_builder_is_not(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    lease_id = version_batch(fleet)["batches"]["pi1"]["lease_id"]  # type: ignore[index]
    fleet.record("pi1", lease_id, build_id, Outcome.BUILD_ERROR, log_size=100)
    assert version_batch(fleet, state="counted")["waiting"] == ["pi1"]
    fleet.ask("SELECT suspect_builder('pi1', 'its log changed', true)")
    fleet.want("next")
    counted = version_batch(fleet, state="counted")
    assert (counted["waiting"], counted["paused"]) == ([], {"pi1": "its log changed"})
    assert "quarantined are pi1 (its log changed)" in str(counted["stopped"])
    fleet.ask("SELECT resume_dispatch('pi1')")
    fleet.ask("SELECT log_stored(attempt_id, 'log') FROM log_awaiting")
    assert version_batch(fleet, state="counted")["waiting"] == []

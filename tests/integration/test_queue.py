"""The queue: nothing leased twice, nothing forgotten, results counted exactly while their lease holds."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from piwheels_builder.db.connect import connected
from piwheels_builder.errors import BadInput, DatabaseRefused
from piwheels_builder.queue.leasing import builder_loads, held_batches, release_leases, served_fleet, tend
from piwheels_builder.queue.plan import ServedFleet
from piwheels_builder.states import Blame, Outcome
from piwheels_builder.targets import Target
from tests.support.fleet import ARM64, BOOKWORM, TERM, TRIXIE, Fleet


def test_sixteen_leasers_at_once_lease_every_build_exactly_once(fleet: Fleet) -> None:
    builders = [f"racer{number}" for number in range(16)]
    for builder in builders:
        fleet.add_builder(builder)
    wanted = {fleet.want(f"project{number}", seconds=1 + number % 7) for number in range(300)}

    def lease_until_empty(builder: str) -> list[int]:
        got: list[int] = []
        with connected(fleet.database.conninfo("piwheels_dispatcher"), autocommit=True) as connection:
            while True:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT build_id FROM lease_batch(%s, 20, 7, '4 hours')", (builder,))
                    leased = [build_id for (build_id,) in cursor.fetchall()]
                if not leased:
                    return got
                got += leased

    with ThreadPoolExecutor(len(builders)) as pool:
        leased = Counter(build_id for got in pool.map(lease_until_empty, builders) for build_id in got)
    assert set(leased) == wanted
    assert set(leased.values()) == {1}


def test_a_lease_passes_over_what_another_leaser_holds_at_this_moment(fleet: Fleet) -> None:
    first, second = fleet.want("first", seconds=100), fleet.want("second", seconds=50)
    with connected(fleet.database.conninfo("piwheels_owner")) as slow, slow.cursor() as cursor:
        cursor.execute("SELECT FROM queue WHERE build_id = %s FOR UPDATE", (first,))
        batch = fleet.lease("pi1", spool_seconds=100)
    assert batch is not None
    assert [build.build_id for build in batch.builds] == [second]


def test_the_order_is_forced_then_newest_then_back_catalogue_and_inside_that_longest_first(fleet: Fleet) -> None:
    wanted = {
        fleet.want(name, seconds=seconds, priority=priority): name
        for name, seconds, priority in [("old", 900, 2), ("short", 10, 1), ("forced", 1, 0), ("long", 500, 1)]
    }
    assert [wanted[row["build_id"]] for row in fleet.lease_all("pi1")] == ["forced", "long", "short", "old"]


def test_wanting_a_queued_build_more_hastens_it_and_wanting_it_less_does_not(fleet: Fleet) -> None:
    build_id = fleet.want("demo", priority=2)
    for priority, expected in [(0, 0), (1, 0)]:
        fleet.ask(
            "SELECT want_build(release_id, target_id, %s, 60::real) FROM build WHERE build_id = %s",
            priority,
            build_id,
            role="piwheels_dispatcher",
        )
        assert (fleet.queued(build_id) or {})["priority"] == expected


def test_a_yanked_sdist_is_not_handed_out_beside_a_good_one(fleet: Fleet) -> None:
    fleet.want("demo")
    fleet.ask(
        "INSERT INTO upstream_file (project_id, filename, release_id, kind, url)"
        " SELECT project_id, 'demo-1.0.zip', release_id, 'sdist', 'http://upstream.invalid/zip' FROM release"
    )
    fleet.ask("UPDATE upstream_file SET yanked = true WHERE filename = 'demo-1.0.tar.gz'")
    assert [row["filename"] for row in fleet.lease_all("pi1")] == ["demo-1.0.zip"]
    with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
        (batch,) = held_batches(connection, ["pi1"])
    assert [build.sdist.filename for build in batch.builds] == ["demo-1.0.zip"]


def test_a_build_whose_sdist_is_gone_is_not_leased_and_holds_up_no_other(fleet: Fleet) -> None:
    gone, other = fleet.want("gone", seconds=100), fleet.want("other")
    fleet.ask("DELETE FROM upstream_file WHERE filename LIKE 'gone%%'")
    assert [row["build_id"] for row in fleet.lease_all("pi1")] == [other]
    assert fleet.state(gone) == "pending"
    # The next sync finds no sdist of it, and takes what nobody has leased out of the queue.
    fleet.ask("SELECT skip_build(%s, 'no sdist')", gone, role="piwheels_dispatcher")
    assert fleet.state(gone) == "skipped"


def test_a_batch_is_worth_the_seconds_asked_for_and_never_empty(fleet: Fleet) -> None:
    for number in range(10):
        fleet.want(f"project{number}", seconds=100)
    rows = fleet.ask("SELECT build_id FROM lease_batch('pi1', 250, 500, '4 hours')")
    assert len(rows) == 3
    assert len(fleet.ask("SELECT build_id FROM lease_batch('pi1', 0, 500, '4 hours')")) == 1


def test_a_batch_is_worth_as_many_seconds_of_the_builder_that_gets_it(fleet: Fleet) -> None:
    fleet.ask("UPDATE builder SET slowness = 2")
    for number in range(10):
        fleet.want(f"project{number}", seconds=50)
    assert len(fleet.ask("SELECT build_id FROM lease_batch('pi1', 250, 500, '4 hours')")) == 3
    with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
        (load,) = builder_loads(connection)
        assert (load.spool_seconds, load.slowness, load.has_faster) == (300, 2, False)
        assert served_fleet(connection) == ServedFleet(1, 0.5)


def test_what_would_take_too_long_is_left_to_others_and_what_takes_longest_goes_first(fleet: Fleet) -> None:
    fleet.ask("UPDATE builder SET slowness = 2")
    newest = fleet.want("newest", priority=1)
    shorter, longer = fleet.want("shorter", priority=2), fleet.want("longer", priority=2)
    fleet.ask("UPDATE queue SET estimate_seconds = 700 WHERE build_id = %s", shorter)
    fleet.ask("UPDATE queue SET estimate_seconds = 900 WHERE build_id = %s", longer)
    lease = "SELECT build_id FROM lease_batch('pi1', 1e6, 500, '4 hours', longest_seconds => %s, critical_seconds => %s)"
    assert fleet.ask(lease, 1500, 600) == [(shorter,), (newest,)]
    assert fleet.ask(lease, 1799, 600) == []
    assert fleet.ask(lease, 1800, 600) == [(longer,)]


@pytest.mark.parametrize(
    ("other", "has_faster"),
    [
        ("slowness = 1, last_seen_at = now()", True),
        ("slowness = 2, last_seen_at = now()", False),
        ("slowness = 1, last_seen_at = now() - interval '1 hour'", False),
        ("slowness = 1, last_seen_at = now(), memory_class = 0", False),
        ("slowness = 1, last_seen_at = now(), standing = 'paused'", False),
    ],
)
def test_a_builder_knows_whether_a_faster_one_does_what_it_can(fleet: Fleet, other: str, *, has_faster: bool) -> None:
    fleet.add_builder("other")
    fleet.ask("UPDATE builder SET slowness = 2, memory_class = 1 WHERE name = 'pi1'")
    fleet.ask("UPDATE builder SET memory_class = 1 WHERE name = 'other'")
    fleet.ask(f"UPDATE builder SET {other} WHERE name = 'other'")
    with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
        assert builder_loads(connection, ["pi1"])[0].has_faster is has_faster
        assert not builder_loads(connection, ["other"])[0].has_faster
    fleet.want("demo")
    fleet.lease("other")
    with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
        assert not builder_loads(connection, ["pi1"])[0].has_faster
    fleet.ask("UPDATE queue SET lease_id = NULL, builder_id = NULL, expires_at = NULL")
    fleet.ask("DELETE FROM builder_target WHERE builder_id = (SELECT builder_id FROM builder WHERE name = 'other')")
    with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
        assert not builder_loads(connection, ["pi1"])[0].has_faster


def test_a_builder_is_given_only_its_targets_and_memory_classes(fleet: Fleet) -> None:
    fleet.add_builder("small", BOOKWORM, memory_mb=900)
    fleet.add_builder("new", TRIXIE)
    large = fleet.want("large")
    fleet.ask("UPDATE queue SET memory_class = 1 WHERE build_id = %s", large)
    for_trixie = fleet.want("trixie", TRIXIE)
    assert fleet.lease_all("small") == []
    assert [row["build_id"] for row in fleet.lease_all("new")] == [for_trixie]
    assert [row["build_id"] for row in fleet.lease_all("pi1")] == [large]


@pytest.mark.parametrize("standing", ["draining", "paused", "quarantined", "retired"])
def test_only_an_active_builder_is_given_work(fleet: Fleet, standing: str) -> None:
    fleet.want("demo")
    fleet.ask("UPDATE builder SET standing = %s", standing)
    assert fleet.lease_all("pi1") == []


def test_a_result_counts_under_an_expired_lease_and_not_under_a_reclaimed_one(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    batch = fleet.lease("pi1")
    assert batch is not None
    fleet.expire(build_id)
    assert fleet.record("pi1", batch.lease_id, build_id) == "recorded"
    assert fleet.state(build_id) == "built"

    other = fleet.want("other")
    batch = fleet.lease("pi1")
    assert batch is not None
    fleet.expire(other)
    assert fleet.reclaim() == 1
    assert fleet.record("pi1", batch.lease_id, other) == "lease lost"
    assert fleet.state(other) == "pending"
    assert fleet.ask("SELECT count(*) FROM attempt WHERE build_id = %s", other) == [(0,)]


def test_a_repeated_result_is_recorded_once(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    batch = fleet.lease("pi1")
    assert batch is not None
    assert [fleet.record("pi1", batch.lease_id, build_id) for _ in range(3)] == ["recorded", "already recorded", "already recorded"]
    assert fleet.ask("SELECT count(*) FROM attempt") == [(1,)]
    assert fleet.ask("SELECT count(*) FROM wheel") == [(1,)]


def test_another_builders_result_and_another_leases_result_are_refused(fleet: Fleet) -> None:
    fleet.add_builder("thief")
    build_id = fleet.want("demo")
    batch = fleet.lease("pi1")
    assert batch is not None
    assert fleet.record("thief", batch.lease_id, build_id) == "refused"
    assert fleet.record("pi1", uuid4(), build_id) == "lease lost"
    assert fleet.state(build_id) == "leased"


def test_a_wheel_comes_with_success_and_only_with_it(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    batch = fleet.lease("pi1")
    assert batch is not None
    with pytest.raises(DatabaseRefused, match="a wheel comes with"):
        fleet.record("pi1", batch.lease_id, build_id, Outcome.COMPILE_ERROR, wheel="demo-1.0-py3-none-any.whl")
    assert fleet.state(build_id) == "leased"


def test_leases_are_not_reclaimed_within_one_term_of_a_database_start(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    fleet.lease("pi1")
    fleet.expire(build_id)
    assert fleet.reclaim("1 hour") == 0
    assert fleet.reclaim() == 1


def test_leases_are_not_reclaimed_while_no_builder_is_heard_of(fleet: Fleet) -> None:
    fleet.add_builder("other")
    build_id = fleet.want("demo")
    fleet.lease("pi1")
    fleet.heartbeat("pi1", [])
    fleet.expire(build_id)
    fleet.ask("UPDATE builder SET last_seen_at = now() - interval '1 hour'")
    assert fleet.reclaim() == 0
    # pi1 has not had its turn to speak.
    fleet.ask("SELECT heartbeat('{}', '{}', '1 hour')", role="builder_other")
    assert fleet.reclaim() == 0
    fleet.expire(build_id)
    assert fleet.reclaim() == 1


def test_a_heartbeat_keeps_leases_and_tells_what_began(fleet: Fleet) -> None:
    began, waits = fleet.want("began"), fleet.want("waits")
    while fleet.lease("pi1", spool_seconds=1000):
        pass
    fleet.expire(began)
    fleet.heartbeat("pi1", [began])
    assert fleet.reclaim() == 0
    assert (fleet.state(began), fleet.state(waits)) == ("building", "leased")


def test_a_lease_that_its_builder_no_longer_holds_runs_out(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    fleet.lease("pi1")
    fleet.expire(build_id)
    fleet.ask("SELECT heartbeat('{}', '{}', '1 hour')", role="builder_pi1")
    assert fleet.reclaim() == 1


def test_a_batch_that_was_never_delivered_is_free_within_minutes_of_a_heartbeat(fleet: Fleet) -> None:
    fleet.want("delivered")
    fleet.want("undelivered")
    # So short that a round leaves a slot with one of them the other one, too.
    fleet.ask("UPDATE queue SET estimate_seconds = 10")
    delivered = fleet.lease("pi1", spool_seconds=5)
    assert delivered is not None
    while fleet.lease("pi1", spool_seconds=10_000):
        pass
    fleet.ask("SELECT heartbeat(%s::uuid[], '{}', '4 hours')", [delivered.lease_id], role="builder_pi1")
    minutes = dict(fleet.ask("SELECT lease_id = %s, extract(epoch FROM expires_at - now()) / 60 FROM queue", delivered.lease_id))
    assert minutes[True] > 200
    assert 0 < minutes[False] <= 15


def test_a_heartbeat_touches_no_other_builders_leases(fleet: Fleet) -> None:
    fleet.add_builder("other")
    build_id = fleet.want("demo")
    fleet.lease("pi1")
    fleet.expire(build_id)
    fleet.heartbeat("other", [build_id])
    assert fleet.state(build_id) == "leased"
    assert fleet.reclaim() == 1


def test_released_builds_can_be_leased_again(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    batch = fleet.lease("pi1")
    assert batch is not None
    with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
        assert release_leases(connection, [batch.lease_id], "spool unreachable") == 1
    assert fleet.ask("SELECT reason FROM build") == [("spool unreachable",)]
    again = fleet.lease("pi1")
    assert again is not None
    assert (again.builds[0].build_id, again.lease_id != batch.lease_id) == (build_id, True)


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome.blame is Blame.RELEASE])
def test_the_releases_own_fault_fails_the_build(fleet: Fleet, outcome: Outcome) -> None:
    build_id = fleet.want("demo")
    batch = fleet.lease("pi1")
    assert batch is not None
    fleet.record("pi1", batch.lease_id, build_id, outcome)
    assert (fleet.state(build_id), fleet.queued(build_id)) == ("failed", None)


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome.blame is Blame.INFRASTRUCTURE])
def test_our_own_fault_is_tried_again_after_a_pause(fleet: Fleet, outcome: Outcome) -> None:
    build_id = fleet.want("demo")
    batch = fleet.lease("pi1")
    assert batch is not None
    fleet.record("pi1", batch.lease_id, build_id, outcome)
    assert fleet.state(build_id) == "pending"
    assert fleet.lease("pi1") is None
    fleet.ask("UPDATE queue SET not_before = now()")
    assert fleet.lease("pi1") is not None


def test_three_faults_on_two_builders_park_a_build_until_it_is_asked_for(fleet: Fleet) -> None:
    fleet.add_builder("pi2")
    build_id = fleet.want("demo")
    for builder in ("pi1", "pi1", "pi2"):
        batch = fleet.lease(builder)
        assert batch is not None
        fleet.record(builder, batch.lease_id, build_id, Outcome.KILLED)
        fleet.ask("UPDATE queue SET not_before = now()")
    queued = fleet.queued(build_id)
    assert queued is not None
    assert queued["held"] == "3 infrastructure faults on 2 builders, the last one killed"
    assert fleet.lease("pi1") is None
    fleet.ask("SELECT requeue_build(%s, 'looked at')", build_id, role="piwheels_dispatcher")
    assert fleet.lease("pi1") is not None


def test_three_faults_on_one_builder_are_that_builders_affair(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    for fault in range(5):
        assert (fleet.queued(build_id) or {})["held"] is None, fault
        batch = fleet.lease("pi1")
        assert batch is not None
        fleet.record("pi1", batch.lease_id, build_id, Outcome.DISK_FULL)
        fleet.ask("UPDATE queue SET not_before = now()")
    assert (fleet.queued(build_id) or {})["held"] is not None


def test_out_of_memory_goes_up_a_class_and_fails_only_in_the_largest(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    for memory_class in (0, 1, 2):
        assert (fleet.queued(build_id) or {})["memory_class"] == memory_class
        batch = fleet.lease("pi1")
        assert batch is not None
        fleet.record("pi1", batch.lease_id, build_id, Outcome.OUT_OF_MEMORY)
    assert (fleet.state(build_id), fleet.queued(build_id)) == ("failed", None)


def test_the_estimate_comes_from_the_projects_own_history(fleet: Fleet) -> None:
    build_id = fleet.want("demo", seconds=9999)
    batch = fleet.lease("pi1")
    assert batch is not None
    fleet.record("pi1", batch.lease_id, build_id, Outcome.COMPILE_ERROR)
    fleet.ask("SELECT requeue_build(%s, 'again')", build_id, role="piwheels_dispatcher")
    assert (fleet.queued(build_id) or {})["estimate_seconds"] == 1.5


class TestSiblings:
    """One release for several targets: the leader's wheel decides what the others have to do."""

    @pytest.fixture
    def builds(self, fleet: Fleet) -> dict[Target, int]:
        fleet.add_builder("pi1", BOOKWORM, TRIXIE, ARM64)
        leader = fleet.want("demo", BOOKWORM)
        return {
            BOOKWORM: leader,
            TRIXIE: fleet.want("demo", TRIXIE, leader=leader),
            ARM64: fleet.want("demo", ARM64, leader=leader),
        }

    def finish_leader(self, fleet: Fleet, builds: dict[Target, int], outcome: Outcome = Outcome.BUILT) -> None:
        (row,) = fleet.lease_all("pi1")
        assert row["build_id"] == builds[BOOKWORM]
        fleet.record("pi1", row["lease_id"], row["build_id"], outcome)

    def test_they_wait_for_the_leader(self, fleet: Fleet, builds: dict[Target, int]) -> None:
        self.finish_leader(fleet, builds)
        assert fleet.lease_all("pi1") == []

    def test_a_wheel_that_serves_them_ends_them(self, fleet: Fleet, builds: dict[Target, int]) -> None:
        self.finish_leader(fleet, builds)
        fleet.publish(1, TRIXIE, ARM64)
        assert [fleet.state(build) for build in builds.values()] == ["published", "skipped", "skipped"]
        assert fleet.ask("SELECT count(*) FROM queue") == [(0,)]

    def test_those_it_does_not_serve_start(self, fleet: Fleet, builds: dict[Target, int]) -> None:
        self.finish_leader(fleet, builds)
        fleet.publish(1, TRIXIE)
        assert [row["build_id"] for row in fleet.lease_all("pi1")] == [builds[ARM64]]

    def test_a_leaders_failure_starts_them(self, fleet: Fleet, builds: dict[Target, int]) -> None:
        self.finish_leader(fleet, builds, Outcome.COMPILE_ERROR)
        assert {row["build_id"] for row in fleet.lease_all("pi1")} == {builds[TRIXIE], builds[ARM64]}

    def test_a_refused_wheel_starts_them(self, fleet: Fleet, builds: dict[Target, int]) -> None:
        self.finish_leader(fleet, builds)
        fleet.ask("SELECT refuse_wheel(1, 'other bytes')", role="piwheels_publisher")
        assert fleet.state(builds[BOOKWORM]) == "failed"
        assert {row["build_id"] for row in fleet.lease_all("pi1")} == {builds[TRIXIE], builds[ARM64]}

    def test_a_lost_wheel_is_built_again_and_they_wait_on(self, fleet: Fleet, builds: dict[Target, int]) -> None:
        self.finish_leader(fleet, builds)
        fleet.ask("SELECT lose_wheel(1)", role="piwheels_publisher")
        assert [row["build_id"] for row in fleet.lease_all("pi1")] == [builds[BOOKWORM]]

    def test_a_leader_that_nobody_can_build_holds_nobody_up(self, fleet: Fleet, builds: dict[Target, int]) -> None:
        fleet.add_builder("pi1", TRIXIE, ARM64)
        assert fleet.lease_all("pi1") == []
        with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
            assert tend(connection, TERM)[1] == 1
        assert {row["build_id"] for row in fleet.lease_all("pi1")} == {builds[TRIXIE], builds[ARM64]}

    def test_elsewhere_one_of_them_leads_the_others(self, fleet: Fleet, builds: dict[Target, int]) -> None:
        newer = Target("cp313", "aarch64", "trixie")
        fleet.add_builder("pi1", BOOKWORM, TRIXIE, ARM64, newer)
        follower = fleet.want("demo", newer, leader=builds[BOOKWORM])
        self.finish_leader(fleet, builds, Outcome.COMPILE_ERROR)
        assert (fleet.queued(follower) or {})["waits_for"] == builds[ARM64]


def test_an_outbox_is_settled_once_its_wheel_is_published(fleet: Fleet) -> None:
    def droppable() -> list[int]:
        return [row[0] for row in fleet.ask("SELECT build_id FROM settled(%s::uuid[], %s)", leases, builds, role="builder_pi1")]

    built, failed = fleet.want("built"), fleet.want("failed")
    rows = fleet.lease_all("pi1")
    leases, builds = [row["lease_id"] for row in rows], [row["build_id"] for row in rows]
    fleet.record("pi1", leases[0], built)
    fleet.record("pi1", leases[0], failed, Outcome.COMPILE_ERROR)
    assert droppable() == [failed]
    fleet.publish(1)
    assert sorted(droppable()) == [built, failed]


def test_an_unknown_builder_is_named(fleet: Fleet) -> None:
    with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection, pytest.raises(BadInput, match="pi9"):
        builder_loads(connection, ["pi9"])

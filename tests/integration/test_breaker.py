"""The breaker: quiet while failures are as usual, however many; soon heard when a builder, or everything, goes wrong."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiosql
import pytest

from piwheels_builder.db.connect import Connection, connected
from piwheels_builder.errors import DatabaseRefused
from piwheels_builder.queue.breaker import Trip, fleet_pause, pause, resume, trip_breaker
from piwheels_builder.queue.leasing import builder_loads
from piwheels_builder.states import Outcome
from tests.support.fleet import Fleet

FIVE = [f"pi{number}" for number in range(1, 6)]
_queries = aiosql.from_path(Path(__file__).parents[1] / "support/breaker.sql", "psycopg2")
Stream = Callable[..., int]


@pytest.fixture
def stream(fleet: Fleet) -> Iterator[Stream]:
    """Attempts of projects without end, on five builders; see breaker.sql beside the fleet."""
    for name in FIVE[1:]:
        fleet.add_builder(name)
    with connected(fleet.database.conninfo("piwheels_owner"), autocommit=True) as connection:
        _queries.define_stream(connection)
        _queries.be_quick(connection)
        _queries.seed(connection, value=0.1)
        yield lambda attempts, builders=FIVE, failing=0.24, dying=0.0: int(
            _queries.stream(connection, attempts=attempts, builders=builders, failing=failing, dying=dying)
        )


def standings(fleet: Fleet) -> dict[str, str]:
    return dict(fleet.ask("SELECT name, standing::text FROM builder"))


def test_a_builder_that_goes_wrong_is_told_from_twenty_thousand_attempts_that_fail_as_usual(fleet: Fleet, stream: Stream) -> None:
    assert stream(20_000, dying=0.005) == 20_000, "a false alarm"
    usual = fleet.ask("SELECT avg(failures_usual), avg(faults_usual) FROM builder_health")[0]
    assert 0.19 < usual[0] < 0.29
    assert usual[1] < 0.02

    full_disk = stream(100, ["pi1"], dying=1.0)
    broken_compiler = stream(100, ["pi2"], failing=1.0)
    assert full_disk <= broken_compiler <= 20
    assert full_disk <= 10
    paused = dict(fleet.ask("SELECT name, standing_reason FROM builder WHERE standing = 'paused'"))
    assert set(paused) == {"pi1", "pi2"}
    assert "fault of the builder's" in paused["pi1"]
    assert "of its latest attempts failed, usually 2" in paused["pi2"]

    assert stream(500, FIVE[2:]) == 500
    everything = stream(200, FIVE[2:], failing=1.0)
    assert everything <= 3 * 20
    assert [row[0] for row in fleet.ask("SELECT by_whom FROM dispatch_pause")] == ["the breaker"]
    assert [standings(fleet)[name] for name in FIVE[2:]] == ["active"] * 3


def test_a_network_that_is_away_pauses_everything_and_blames_no_builder(fleet: Fleet, stream: Stream) -> None:
    assert stream(1000) == 1000
    assert stream(200, dying=1.0) <= 50
    assert fleet.ask("SELECT reason LIKE '%%fault%%' FROM dispatch_pause") == [(True,)]
    assert set(standings(fleet).values()) == {"active"}


def test_a_new_builder_on_which_everything_fails_is_paused_without_a_history(fleet: Fleet, stream: Stream) -> None:
    assert stream(200, ["pi1"], failing=1.0) <= 40
    assert standings(fleet)["pi1"] == "paused"


def test_the_back_catalogue_may_fail_twice_as_often_as_the_newest_releases(fleet: Fleet, stream: Stream) -> None:
    assert stream(3000, failing=0.15) == 3000
    fleet.ask("UPDATE builder_health SET priority = 0")
    assert stream(3000, failing=0.5) == 3000


def test_averages_of_a_faultless_builder_stay_numbers(stream: Stream) -> None:
    # 0.9 to the power of a thousand is less than a real can hold, which PostgreSQL makes an error.
    assert stream(2500, ["pi1"], failing=0.0) == 2500


def test_whoever_resumes_finds_the_present_rate_right(fleet: Fleet, stream: Stream) -> None:
    stream(2000, ["pi1"])
    assert stream(200, ["pi1"], failing=0.9) < 200
    with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
        assert resume(connection, "pi1")
        assert not resume(connection, "pi1")
    assert stream(500, ["pi1"], failing=0.6) == 500
    assert standings(fleet)["pi1"] == "active"


class TestRecorded:
    """The same through leases and results."""

    @pytest.fixture
    def dispatcher(self, fleet: Fleet) -> Iterator[Connection]:
        with connected(fleet.database.conninfo("piwheels_dispatcher"), autocommit=True) as connection:
            yield connection

    @pytest.fixture
    def releases(self, fleet: Fleet) -> Callable[[int, int], list[int]]:
        """Wanted builds of so many projects with so many releases each, in the order of their projects."""

        def want(projects: int, each: int) -> list[int]:
            fleet.ask("INSERT INTO project (name) SELECT 'project-' || n FROM generate_series(1, %s) AS n", projects)
            fleet.ask(
                "INSERT INTO release (project_id, version, spelling, newest_first)"
                " SELECT project_id, n, n, n FROM (SELECT project_id FROM project ORDER BY 1 DESC LIMIT %s) AS new,"
                " generate_series(1, %s) AS n",
                projects,
                each,
            )
            fleet.ask(
                "INSERT INTO upstream_file (project_id, filename, release_id, kind, url) SELECT project_id, 'sdist-' || release_id,"
                " release_id, 'sdist', 'http://upstream.invalid/' FROM release ON CONFLICT DO NOTHING"
            )
            made = fleet.ask(
                "SELECT want_build(release_id, 1::smallint, 1, 60::real) FROM release"
                " WHERE NOT EXISTS (SELECT FROM build WHERE build.release_id = release.release_id) ORDER BY release_id"
            )
            return [build_id for (build_id,) in made]

        return want

    def leases(self, fleet: Fleet, builder: str) -> dict[int, str]:
        """Of all that it was given and now is."""
        fleet.lease_all(builder)
        return dict(
            fleet.ask("SELECT build_id, lease_id::text FROM queue JOIN builder USING (builder_id) WHERE name = %s", builder)
        )

    def fail_all(self, fleet: Fleet, builder: str, builds: Sequence[int], outcome: Outcome = Outcome.COMPILE_ERROR) -> None:
        leases = self.leases(fleet, builder)
        with connected(fleet.database.conninfo(f"builder_{builder}"), autocommit=True) as connection:
            for build_id in builds:
                answer = _queries.record(connection, lease_id=leases[build_id], build_id=build_id, outcome=outcome)
                assert answer == "recorded"

    def test_one_project_whose_three_hundred_releases_all_fail_trips_nothing(
        self, fleet: Fleet, dispatcher: Connection, releases: Callable[[int, int], list[int]]
    ) -> None:
        self.fail_all(fleet, "pi1", releases(1, 300))
        assert trip_breaker(dispatcher) == []
        assert fleet.ask("SELECT failures_seen FROM builder_health") == [(1,)]

    def test_failures_of_many_projects_do(
        self, fleet: Fleet, dispatcher: Connection, releases: Callable[[int, int], list[int]]
    ) -> None:
        self.fail_all(fleet, "pi1", releases(40, 1))
        (trip,) = trip_breaker(dispatcher)
        assert trip.builder == "pi1"
        assert trip_breaker(dispatcher) == []
        fleet.want("another")
        assert fleet.lease("pi1") is None

    @pytest.mark.parametrize("outcome", [Outcome.DISK_FULL, Outcome.BUILDER_FAULT, Outcome.KILLED])
    def test_one_project_cannot_have_builders_paused(
        self, fleet: Fleet, dispatcher: Connection, releases: Callable[[int, int], list[int]], outcome: Outcome
    ) -> None:
        fleet.add_builder("pi2")
        builds = releases(1, 60)
        self.fail_all(fleet, "pi1", builds[:30], outcome)
        fleet.ask("UPDATE queue SET builder_id = builder.builder_id FROM builder WHERE name = 'pi2' AND lease_id IS NOT NULL")
        self.fail_all(fleet, "pi2", builds[30:], outcome)
        assert trip_breaker(dispatcher) == []
        assert fleet.ask("SELECT faults_seen FROM builder_health") == [(1,), (1,)]

    def test_a_disk_that_is_full_is_heard_after_five_projects_though_all_were_built_a_moment_ago(
        self, fleet: Fleet, dispatcher: Connection, releases: Callable[[int, int], list[int]]
    ) -> None:
        builds = releases(5, 2)
        self.fail_all(fleet, "pi1", builds[::2])
        self.fail_all(fleet, "pi1", builds[1::2][:4], Outcome.DISK_FULL)
        assert trip_breaker(dispatcher) == []
        self.fail_all(fleet, "pi1", builds[-1:], Outcome.DISK_FULL)
        assert [trip.builder for trip in trip_breaker(dispatcher)] == ["pi1"]

    def test_two_first_results_of_a_builder_at_once_both_count(
        self, fleet: Fleet, releases: Callable[[int, int], list[int]]
    ) -> None:
        builds = releases(2, 1)
        (first, its_lease), (other, other_lease) = [(build, self.leases(fleet, "pi1")[build]) for build in builds]
        waits = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        with connected(fleet.database.conninfo("builder_pi1")) as connection, ThreadPoolExecutor(1) as at_once:
            answer = _queries.record(connection, lease_id=its_lease, build_id=first, outcome=Outcome.COMPILE_ERROR)
            assert answer == "recorded"
            second = at_once.submit(fleet.record, "pi1", other_lease, other, Outcome.COMPILE_ERROR)
            deadline = time.monotonic() + 20
            while not fleet.ask(waits) and time.monotonic() < deadline:
                assert not second.done()
            connection.commit()
            assert second.result(20) == "recorded"
        assert fleet.ask("SELECT failures_seen FROM builder_health") == [(2,)]

    def test_a_project_whose_sdists_upstream_has_lost_says_nothing_of_a_builder(
        self, fleet: Fleet, dispatcher: Connection, releases: Callable[[int, int], list[int]]
    ) -> None:
        self.fail_all(fleet, "pi1", releases(1, 30), Outcome.SDIST_UNAVAILABLE)
        assert trip_breaker(dispatcher) == []

    def test_what_failed_before_and_fails_again_is_no_news(
        self, fleet: Fleet, dispatcher: Connection, releases: Callable[[int, int], list[int]]
    ) -> None:
        builds = releases(60, 1)
        self.fail_all(fleet, "pi1", builds)
        fleet.ask("DELETE FROM builder_health")
        fleet.ask("SELECT requeue_build(build_id, 'again') FROM build", role="piwheels_dispatcher")
        self.fail_all(fleet, "pi1", builds)
        assert trip_breaker(dispatcher) == []


class TestPauses:
    """By hand."""

    def test_a_paused_builder_is_given_nothing_until_it_is_resumed(self, fleet: Fleet) -> None:
        fleet.want("demo")
        with connected(fleet.database.conninfo("piwheels_dispatcher"), autocommit=True) as connection:
            assert pause(connection, "pi1", "a new card")
            assert not pause(connection, "pi1", "again")
            assert fleet.lease_all("pi1") == []
            assert [(load.standing, load.standing_reason) for load in builder_loads(connection)] == [("paused", "a new card")]
            assert resume(connection, "pi1")
        assert len(fleet.lease_all("pi1")) == 1

    def test_nobody_is_given_anything_while_everything_is_paused(self, fleet: Fleet) -> None:
        fleet.want("demo")
        with connected(fleet.database.conninfo("piwheels_dispatcher"), autocommit=True) as connection:
            assert pause(connection, None, "upstream is being moved")
            assert fleet.lease_all("pi1") == []
            told = fleet_pause(connection)
            assert told is not None
            assert (told.reason, told.by_whom) == ("upstream is being moved", "piwheels_dispatcher")
            assert resume(connection, None)
            assert not resume(connection, None)
            assert fleet_pause(connection) is None
        assert len(fleet.lease_all("pi1")) == 1

    def test_a_retired_or_draining_builder_is_neither_paused_nor_resumed(self, fleet: Fleet) -> None:
        fleet.ask("UPDATE builder SET standing = 'draining'")
        with connected(fleet.database.conninfo("piwheels_dispatcher"), autocommit=True) as connection:
            assert not pause(connection, "pi1", "why")
            assert not resume(connection, "pi1")

    def test_a_builder_cannot_resume_itself(self, fleet: Fleet) -> None:
        with pytest.raises(DatabaseRefused, match="permission denied"):
            fleet.ask("SELECT resume_dispatch('pi1')", role="builder_pi1")

    def test_a_builder_without_room_is_given_nothing_until_it_has_some(self, fleet: Fleet) -> None:
        fleet.want("demo")
        for room, batches in [("false", 0), ("true", 1)]:
            fleet.ask(f"SELECT heartbeat('{{}}', '{{}}', '1 hour', {room})", role="builder_pi1")
            assert (fleet.lease("pi1") is not None) == bool(batches)

    def test_a_trip_names_what_it_paused(self) -> None:
        assert str(Trip(None, "why")) == "all dispatch is paused now: why"

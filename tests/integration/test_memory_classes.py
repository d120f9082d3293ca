"""How much memory a build is given: learned from its project's attempts, raised when it ran out, never more than the fleet has."""

import pytest

from piwheels_builder.builder.limits import MEMORY_OF_CLASS
from piwheels_builder.db.connect import connected
from piwheels_builder.queue.leasing import held_batches, queue_totals
from piwheels_builder.states import Outcome
from tests.support.fleet import ARM64, BOOKWORM, Fleet

MIB = 2**20


def class_of(fleet: Fleet, build_id: int) -> int:
    queued = fleet.queued(build_id)
    assert queued is not None
    return int(queued["memory_class"])


def end(fleet: Fleet, build_id: int, outcome: Outcome, peak: int | None = None) -> None:
    """Lease the build to pi1 and record how it ended."""
    (lease_id,) = [row["lease_id"] for row in fleet.lease_all("pi1") if row["build_id"] == build_id]
    fleet.ask(
        "SELECT record_attempt(%s, %s, %s, now(), 1.5::real, %s, 'the error', 'log', 'gcc', NULL, NULL, NULL)",
        lease_id,
        build_id,
        outcome,
        peak,
        role="builder_pi1",
    )


def again(fleet: Fleet, build_id: int) -> int:
    """The class that it gets when it is asked for again."""
    fleet.ask("SELECT requeue_build(%s, 'again')", build_id, role="piwheels_dispatcher")
    return class_of(fleet, build_id)


def test_the_limits_are_the_builders(fleet: Fleet) -> None:
    told = fleet.ask("SELECT bytes FROM memory_limit ORDER BY memory_class")
    assert tuple(limit for (limit,) in told) == tuple(MEMORY_OF_CLASS)


def test_a_batch_says_what_class_its_builds_have(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    fleet.ask("UPDATE queue SET memory_class = 1")
    batch = fleet.lease("pi1")
    assert batch is not None
    assert [build.memory_class for build in batch.builds] == [1]
    with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
        (held,) = held_batches(connection, ["pi1"])
    assert [(build.build_id, build.memory_class) for build in held.builds] == [(build_id, 1)]


@pytest.mark.parametrize(
    ("peak", "expected"), [(None, 0), (100 * MIB, 0), (511 * MIB, 0), (520 * MIB, 1), (2400 * MIB, 1), (2500 * MIB, 2)]
)
def test_a_peak_near_the_limit_of_a_class_starts_in_the_next_one(fleet: Fleet, peak: int | None, expected: int) -> None:
    build_id = fleet.want("demo")
    end(fleet, build_id, Outcome.COMPILE_ERROR, peak)
    assert again(fleet, build_id) == expected


def test_another_release_of_a_project_that_ran_out_of_memory_starts_above(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    end(fleet, build_id, Outcome.OUT_OF_MEMORY, 600 * MIB)
    assert class_of(fleet, build_id) == 1
    assert fleet.ask("SELECT memory_class FROM attempt") == [(0,)]
    fleet.add_builder("pi2", ARM64)
    other = fleet.want("demo", ARM64)
    assert class_of(fleet, other) == 1
    assert class_of(fleet, fleet.want("elsewhere")) == 0


def test_only_a_projects_newest_attempts_count(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    for peak in (600 * MIB, *[100 * MIB] * 5):
        end(fleet, build_id, Outcome.COMPILE_ERROR, peak)
        needed = again(fleet, build_id)
    assert needed == 0


def test_a_fault_of_ours_teaches_nothing(fleet: Fleet) -> None:
    build_id = fleet.want("demo", seconds=77)
    end(fleet, build_id, Outcome.KILLED, 3000 * MIB)
    fleet.add_builder("pi2", ARM64)
    other = fleet.want("demo", ARM64, seconds=77)
    queued = fleet.queued(other)
    assert queued is not None
    assert (queued["memory_class"], queued["estimate_seconds"]) == (0, 77)


class TestSmallFleet:
    """Builders of 1 GiB alone, or with one larger that is away."""

    @pytest.fixture
    def small(self, fleet: Fleet) -> Fleet:
        fleet.add_builder("pi1", BOOKWORM, memory_mb=900)
        return fleet

    def test_what_runs_out_of_memory_fails_where_no_builder_is_larger(self, small: Fleet) -> None:
        build_id = small.want("demo")
        end(small, build_id, Outcome.OUT_OF_MEMORY)
        assert (small.state(build_id), small.queued(build_id)) == ("failed", None)

    def test_nothing_is_queued_above_what_the_fleet_has(self, small: Fleet) -> None:
        build_id = small.want("demo")
        end(small, build_id, Outcome.COMPILE_ERROR, 2500 * MIB)
        assert again(small, build_id) == 0

    def test_it_waits_for_a_larger_builder_that_is_paused_and_is_counted_apart(self, small: Fleet) -> None:
        small.add_builder("big", BOOKWORM, memory_mb=8192)
        small.ask("UPDATE builder SET standing = 'paused' WHERE name = 'big'")
        build_id = small.want("demo")
        end(small, build_id, Outcome.OUT_OF_MEMORY)
        assert class_of(small, build_id) == 1
        small.want("other")
        totals = self.totals(small)
        assert (totals["too_large"], totals["leasable"]) == (1, 1)
        small.ask("UPDATE builder SET standing = 'active' WHERE name = 'big'")
        totals = self.totals(small)
        assert (totals["too_large"], totals["leasable"]) == (0, 2)
        assert {row["build_id"] for row in small.lease_all("big")} >= {build_id}

    def test_a_retired_builder_is_no_hope(self, small: Fleet) -> None:
        small.add_builder("big", BOOKWORM, memory_mb=8192)
        small.ask("UPDATE builder SET standing = 'retired' WHERE name = 'big'")
        build_id = small.want("demo")
        end(small, build_id, Outcome.OUT_OF_MEMORY)
        assert small.state(build_id) == "failed"

    def test_every_unfinished_build_counts_once(self, small: Fleet) -> None:
        small.add_builder("big", BOOKWORM, memory_mb=8192)
        small.ask("UPDATE builder SET standing = 'paused' WHERE name = 'big'")
        for number in range(6):
            small.want(f"project{number}")
        small.ask("UPDATE queue SET memory_class = 1 WHERE build_id <= 2")
        small.ask("UPDATE queue SET not_before = now() + interval '1 hour' WHERE build_id IN (2, 3)")
        small.ask("UPDATE queue SET held = 'why' WHERE build_id = 4")
        totals = self.totals(small)
        assert totals == {"leasable": 2, "leased": 0, "waiting": 0, "held": 1, "delayed": 1, "too_large": 2, "unpublished": 0}

    def totals(self, fleet: Fleet) -> dict[str, int]:
        with connected(fleet.database.conninfo("piwheels_dispatcher")) as connection:
            return vars(queue_totals(connection))


def test_attempts_say_what_stopped_them_and_what_they_missed(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    (row,) = fleet.lease_all("pi1")
    fleet.ask(
        "SELECT record_attempt(%s, %s, 'missing_header', now(), 1::real, NULL, NULL, NULL, NULL, NULL, NULL, NULL, %s, %s)",
        row["lease_id"],
        build_id,
        "cgroup",
        "ffi.h",
        role="builder_pi1",
    )
    assert fleet.ask("SELECT mechanism, missing FROM attempt") == [("cgroup", "ffi.h")]

"""The loop of build.yml, with a fleet and a clock that are made up."""

from collections import deque
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from piwheels_builder.queue.convergence import BuilderSilent, Convergence, DispatchStopped, Leased, Patience, Sight, Unreachable
from piwheels_builder.queue.progress import Progress

NOTHING = {"leasable": 0, "leased": 0, "waiting": 0, "held": 0, "delayed": 0, "too_large": 0, "unpublished": 0}


def a_batch(lease_id: str = "a", builds: int = 2) -> dict[str, Any]:
    return {"lease_id": lease_id, "builds": [{}] * builds}


class Clock:
    """Moves only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class MadeUpFleet:
    """A builder that takes batches and finishes each after ``builds_for`` looks; faults are raised once each, in order."""

    def __init__(self, batches: list[dict[str, Any]], builds_for: int = 2) -> None:
        self.queue = deque(batches)
        self.builds_for = builds_for
        self.faults: dict[str, deque[BaseException]] = {}
        self.undelivered: list[dict[str, Any]] = []
        self.spool: list[Mapping[str, Any]] = []
        self.delivered: list[str] = []
        self.released: list[str] = []
        self.said: list[str] = []
        self.unpublished = 0
        self.published = 0
        self.looks = 0
        self.alive = True
        self.totals: dict[str, int] = dict(NOTHING)
        self.paused: str | None = None
        self.stopped: str | None = None

    def fail(self, station: str, *faults: BaseException) -> None:
        self.faults[station] = deque(faults)

    def _maybe_fail(self, station: str) -> None:
        if self.faults.get(station):
            raise self.faults[station].popleft()

    def held(self) -> list[Mapping[str, Any]]:
        return list(self.undelivered)

    def lease(self) -> Leased:
        self._maybe_fail("lease")
        batch = self.queue.popleft() if self.queue and not self.spool else None
        leased = sum(len(each["builds"]) for each in self.spool) + (len(batch["builds"]) if batch else 0)
        leasable = sum(len(each["builds"]) for each in self.queue)
        totals = {**self.totals, "leased": leased, "leasable": leasable, "unpublished": self.unpublished}
        return Leased(batch, totals, self.unpublished > 0, self.paused, self.stopped, holds=bool(self.spool or self.undelivered))

    def release(self, batch: Mapping[str, Any]) -> None:
        self.released.append(batch["lease_id"])

    def deliver(self, batch: Mapping[str, Any]) -> None:
        self._maybe_fail("deliver")
        self.delivered.append(batch["lease_id"])
        self.undelivered = [each for each in self.undelivered if each != batch]
        self.spool.append(batch)

    def look(self) -> Sight:
        self._maybe_fail("look")
        if not self.spool:
            return Sight(self.alive)
        self.looks += self.alive
        if self.looks > self.builds_for:
            self.looks = 0
            self.unpublished += sum(len(batch["builds"]) for batch in self.spool)
            self.spool = []
            return Sight(self.alive)
        return Sight(self.alive, ("demo 1",) if self.alive else (), 1)

    def publish(self) -> int:
        now, self.unpublished = self.unpublished, 0
        self.published += now
        return now

    def show(self, progress: Progress) -> None:
        self.said.append(progress.text())

    def say(self, text: str) -> None:
        self.said.append(text)


class Forgetful(MadeUpFleet):
    """A builder whose disk is, at the second look, what it was before the run; ``refuses`` to have such batches again."""

    refuses = False
    remembers = True

    def look(self) -> Sight:
        if self.looks and self.remembers:
            self.looks, self.undelivered, self.spool, self.remembers = 0, [dict(batch) for batch in self.spool], [], False
        return super().look()

    def deliver(self, batch: Mapping[str, Any]) -> None:
        if batch in self.undelivered and self.refuses:
            self.delivered.append(batch["lease_id"])
        else:
            super().deliver(batch)


def converge(fleet: MadeUpFleet, **patience: float) -> tuple[Convergence, Clock]:
    clock = Clock()
    convergence = Convergence(fleet, Patience(**patience), clock, clock.sleep)
    convergence.run()
    return convergence, clock


def test_all_batches_are_delivered_and_all_wheels_published() -> None:
    fleet = MadeUpFleet([a_batch("a"), a_batch("b", 3)])
    convergence, _ = converge(fleet)
    assert (fleet.delivered, fleet.published, fleet.released) == (["a", "b"], 5, [])
    assert (convergence.leased, convergence.published) == (5, 5)


def test_progress_is_said_once_for_each_change() -> None:
    fleet = MadeUpFleet([a_batch("a", 4)], builds_for=9)
    converge(fleet)
    assert fleet.said[:2] == ["0 of 4 done", "0 of 4 done; building demo 1; 1 in its spool"]
    assert fleet.said[-1].startswith("4 of 4 done")
    # The last one says besides that it is over.
    assert all(one != other for one, other in pairwise(fleet.said[:-1]))


def test_nothing_to_do_takes_no_time() -> None:
    _, clock = converge(MadeUpFleet([]))
    assert clock.now == 0


def test_what_a_dead_run_leased_is_delivered_by_the_next() -> None:
    fleet = MadeUpFleet([])
    fleet.undelivered = [a_batch("orphan")]
    converge(fleet)
    assert (fleet.delivered, fleet.published) == (["orphan"], 2)


@pytest.mark.parametrize("station", ["lease", "deliver", "look"])
def test_lost_connections_are_survived(station: str) -> None:
    fleet = MadeUpFleet([a_batch("a")])
    fleet.fail(station, *[Unreachable("pi1 cannot be reached: no route")] * 4)
    converge(fleet)
    assert (fleet.delivered, fleet.published, fleet.released) == (["a"], 2, [])
    assert "pi1 cannot be reached: no route; trying again in 8 s" in fleet.said


def test_a_builder_away_for_too_long_ends_the_run_and_its_batch_is_given_back() -> None:
    fleet = MadeUpFleet([a_batch("a")])
    fleet.fail("deliver", *[Unreachable("away")] * 100)
    with pytest.raises(Unreachable):
        converge(fleet, away=100)
    assert fleet.released == ["a"]


def test_an_interrupt_during_delivery_gives_the_batch_back() -> None:
    fleet = MadeUpFleet([a_batch("a")])
    fleet.fail("deliver", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        converge(fleet)
    assert fleet.released == ["a"]


def test_a_dead_service_with_work_is_an_error_and_one_without_is_none() -> None:
    fleet = MadeUpFleet([a_batch("a")])
    fleet.alive = False
    with pytest.raises(BuilderSilent, match="provision"):
        converge(fleet, silent=30)
    idle = MadeUpFleet([])
    idle.alive = False
    converge(idle)


def test_a_builder_that_cannot_go_on_ends_the_run_and_says_why() -> None:
    fleet = MadeUpFleet([a_batch("a")])
    fleet.look = lambda: Sight(True, (), 1, 0, "3 MiB free")  # type: ignore[method-assign]
    with pytest.raises(BuilderSilent, match="3 MiB free"):
        converge(fleet, away=100)


def test_a_builder_that_still_builds_is_waited_for_whatever_its_trouble() -> None:
    fleet = MadeUpFleet([a_batch("a")])
    looks = 0

    def look() -> Sight:
        nonlocal looks
        looks += 1
        return Sight(True, ("demo 1",), 0, 1, "the database is away") if looks < 200 else Sight(True)

    fleet.look = look  # type: ignore[method-assign]
    _, clock = converge(fleet, away=100)
    assert clock.now > 100


def test_a_service_that_comes_back_in_time_is_no_error() -> None:
    fleet = MadeUpFleet([a_batch("a")])
    fleet.alive = False
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        fleet.alive = clock.now > 20

    Convergence(fleet, Patience(silent=30), clock, sleep).run()
    assert fleet.published == 2


@pytest.mark.parametrize("reason", ["waiting", "delayed"])
def test_builds_that_may_come_later_are_waited_for_and_not_for_ever(reason: str) -> None:
    fleet = MadeUpFleet([])
    fleet.totals[reason] = 1
    _, clock = converge(fleet, delayed=120)
    assert 120 < clock.now < 160


def test_a_sibling_waits_for_as_long_as_the_fleet_moves() -> None:
    fleet = MadeUpFleet([])
    clock = Clock()
    # By the second from which it is so: another builder works for long, and what leads ours is nobody's for a moment, twice.
    states = [
        (0, {"leased": 1, "waiting": 2}),
        (200, {"unpublished": 1, "waiting": 2}),
        (210, {"leasable": 1, "waiting": 1}),
        (230, {"leased": 1, "waiting": 1}),
        (400, {"unpublished": 1, "waiting": 1}),
    ]

    def lease() -> Leased:
        if clock.now >= 410:
            return MadeUpFleet.lease(fleet)
        state = next(state for since, state in reversed(states) if clock.now >= since)
        return Leased(None, {**NOTHING, **state}, wheels_wait=False)

    fleet.queue.append(a_batch("ours"))
    fleet.lease = lease  # type: ignore[method-assign]
    Convergence(fleet, Patience(delayed=120), clock, clock.sleep).run()
    assert fleet.delivered == ["ours"]


def test_who_was_given_nothing_of_what_it_could_have_asks_again() -> None:
    fleet = MadeUpFleet([a_batch("a"), a_batch("b")])
    answers = iter(["as it was asked", "busy"])

    def lease() -> Leased:
        if next(answers, "") == "busy":
            return Leased(None, {**NOTHING, "leasable": 2}, wheels_wait=False, could_have=True)
        return MadeUpFleet.lease(fleet)

    fleet.lease = lease  # type: ignore[method-assign]
    converge(fleet)
    assert fleet.delivered == ["a", "b"]


@pytest.mark.parametrize("reason", ["held", "leasable"])
def test_builds_that_nobody_will_hand_out_are_told_of_and_not_waited_for(reason: str) -> None:
    fleet = MadeUpFleet([])
    leased = Leased(None, {**NOTHING, reason: 3}, wheels_wait=False)
    fleet.lease = lambda: leased  # type: ignore[method-assign]
    clock = Clock()
    assert Convergence(fleet, Patience(), clock, clock.sleep).run().totals[reason] == 3
    assert clock.now < 20
    assert fleet.said


def test_a_paused_builder_finishes_what_it_has_and_ends_the_run_at_once() -> None:
    fleet = MadeUpFleet([a_batch("a")])
    fleet.paused = "a new card"
    fleet.totals = {**NOTHING, "waiting": 3, "delayed": 1}
    convergence, clock = converge(fleet)
    assert (convergence.published, clock.now < 60) == (2, True)
    assert "paused: a new card" in fleet.said[-1]


def test_a_run_that_leaves_work_since_nobody_is_given_any_is_no_success() -> None:
    fleet = MadeUpFleet([a_batch("a")])
    fleet.stopped = "all dispatch was paused"
    fleet.totals = {**NOTHING, "waiting": 3, "held": 2}
    with pytest.raises(DispatchStopped, match="3 builds are left: all dispatch was paused"):
        converge(fleet)
    assert fleet.published == 2


def test_a_pause_matters_to_nobody_when_nothing_is_left() -> None:
    fleet = MadeUpFleet([a_batch("a")])
    fleet.stopped, fleet.totals = "all dispatch was paused", {**NOTHING, "held": 2}
    converge(fleet)


def test_builds_that_no_builder_is_large_enough_for_are_told_and_not_waited_for() -> None:
    fleet = MadeUpFleet([])
    fleet.totals = {**NOTHING, "too_large": 2}
    _, clock = converge(fleet)
    assert clock.now == 0
    assert "2 need a larger builder" in fleet.said[-1]


def test_a_large_fleet_asks_no_more_often_than_it_was_told_to_while_there_is_work() -> None:
    def questions(apart: float) -> int:
        fleet = MadeUpFleet([a_batch(str(number)) for number in range(5)])
        asked = 0
        lease = fleet.lease

        def count() -> Leased:
            nonlocal asked
            asked += 1
            return lease()

        looks = 0

        def look() -> Sight:
            nonlocal looks
            looks += 1
            return Sight(True, (f"demo {looks}",), 3) if looks < 100 else Sight(True)

        fleet.lease, fleet.look = count, look  # type: ignore[method-assign]
        converge(fleet, apart=apart)
        return asked

    assert questions(apart=8) < questions(apart=0) / 2


def test_wheels_that_wait_for_ever_end_the_run_with_a_word() -> None:
    fleet = MadeUpFleet([])
    fleet.unpublished = 1
    fleet.publish = lambda: 0  # type: ignore[method-assign]
    with pytest.raises(Unreachable, match="wait to be published"):
        converge(fleet, away=100)


def test_what_an_idle_builder_holds_is_delivered_again() -> None:
    fleet = Forgetful([a_batch("a")], builds_for=1)
    converge(fleet)
    assert (fleet.delivered, fleet.published) == (["a", "a"], 2)


def test_what_it_will_not_have_is_delivered_again_once() -> None:
    fleet = Forgetful([a_batch("a")], builds_for=9)
    fleet.refuses = True
    fleet.totals["waiting"] = 1
    converge(fleet)
    assert fleet.delivered == ["a", "a"]


def test_a_builder_that_takes_no_batch_at_all_ends_the_run() -> None:
    """Each expires, and is leased again under another number."""
    fleet = Forgetful([])
    fleet.refuses = True

    def lease() -> Leased:
        batch = None if fleet.undelivered else a_batch(str(len(fleet.delivered)))
        fleet.undelivered = fleet.undelivered or [batch] if batch else []
        return Leased(batch, {**NOTHING, "leased": 2, "waiting": 1}, wheels_wait=False, holds=True)

    fleet.lease = lease  # type: ignore[method-assign]
    with pytest.raises(BuilderSilent, match="takes none of its batches, delivered 3 times"):
        converge(fleet)


@pytest.mark.parametrize("stands", [True, False])
def test_a_spool_of_which_nothing_begins_ends_the_run(stands: bool) -> None:
    fleet = MadeUpFleet([])
    spool = iter([3] * 500 if stands else range(500, 0, -1))
    fleet.look = lambda: Sight(True, (), next(spool, 0))  # type: ignore[method-assign]
    if stands:
        with pytest.raises(BuilderSilent, match="3 builds in its spool, and none begins"):
            converge(fleet, away=100)
    else:
        converge(fleet, away=100)

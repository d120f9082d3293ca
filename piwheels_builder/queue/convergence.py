"""Keep one builder busy until nothing is left that it could build: what one looping action of build.yml does.

Who calls: the action plugin ``converge``, once for each builder. It holds nothing that matters: batches are leased and delivered
so that whoever comes next can go on, and a batch that cannot be delivered is given back.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from piwheels_builder.errors import FleetError
from piwheels_builder.queue.progress import Progress

Answer = TypeVar("Answer")

#: Deliveries of which an idle builder took nothing: each costs a lease's time.
_MOST_IN_VAIN = 3


class Unreachable(FleetError):
    """A host, or the database on it, is away for the moment. Nothing is lost: run the playbook again once it is back."""

    exit_code = 75


class BuilderSilent(FleetError):
    """The builder has work and its service does not run, or cannot go on."""

    exit_code = 69


class DispatchStopped(FleetError):
    """Nobody is given work, since somebody or the breaker paused dispatch. What was handed out before is built and published."""

    exit_code = 69


@dataclass(frozen=True)
class Leased:
    """What the index host said: a batch for this builder or none, ``totals`` of unfinished builds, its wheels to be published.

    ``paused`` says why this builder is given nothing, ``stopped`` why nobody is; ``built`` and ``failed`` count its attempts since
    the run began. ``holds`` says whether anything is leased to it, ``could_have`` whether something waits that it could be given.
    """

    batch: Mapping[str, Any] | None
    totals: Mapping[str, int]
    wheels_wait: bool
    paused: str | None = None
    stopped: str | None = None
    built: int = 0
    failed: int = 0
    holds: bool = False
    could_have: bool = False

    @property
    def left(self) -> int:
        """Unfinished builds of the whole fleet."""
        return sum(self.totals.values())


@dataclass(frozen=True)
class Sight:
    """What the builder's service is doing. ``unrecorded`` counts attempts that the database does not know of yet."""

    alive: bool
    running: tuple[str, ...] = ()
    spool: int = 0
    unrecorded: int = 0
    trouble: str | None = None

    @property
    def idle(self) -> bool:
        return not (self.running or self.spool or self.unrecorded)


class Stations(Protocol):
    """The two hosts that an action reaches. Each call may raise Unreachable, and is then made again.

    ``publish`` collects this builder's wheels and logs first, and returns how many are settled; ``show`` and ``say`` tell people.
    """

    def held(self) -> list[Mapping[str, Any]]: ...
    def lease(self) -> Leased: ...
    def release(self, batch: Mapping[str, Any]) -> None: ...
    def deliver(self, batch: Mapping[str, Any]) -> None: ...
    def look(self) -> Sight: ...
    def publish(self) -> int: ...
    def show(self, progress: Progress) -> None: ...
    def say(self, text: str) -> None: ...


@dataclass(frozen=True)
class Patience:
    """In seconds: how long hosts may be away or a builder in trouble, builds to be tried later are waited for, a dead service may
    take to come back; and what lies between two looks or questions.
    """

    away: float = 600
    delayed: float = 120
    silent: float = 30
    #: Between two looks at the builder, growing while nothing changes, and between two questions to the index host.
    look: float = 1
    seldom: float = 5
    ask: float = 10
    #: At least, whatever happened, as long as the builder has work: an index host has one processor for many builders' questions.
    apart: float = 0
    longest_pause: float = 60


class Convergence:
    """``run`` returns when nothing is left. ``clock`` is monotonic; tests pass their own, with a ``sleep`` that moves it."""

    def __init__(
        self,
        stations: Stations,
        patience: Patience,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._stations = stations
        self._patience = patience
        self._clock = clock
        self._sleep = sleep
        self._most_left = 0
        self._totals: Mapping[str, int] = {}
        self._moved_at = self._started = clock()
        self._shown: Progress | None = None
        self._asked_at = clock()
        self._published_now = 0
        self._delivered_again: set[str] = set()
        self._in_vain = 0
        self._ended_before = 0
        self.published = 0
        self.leased = 0

    def run(self) -> Leased:
        """Lease, deliver, watch, publish, until done. Returns what was left. Raises Unreachable, BuilderSilent, DispatchStopped."""
        for batch in self._insist(self._stations.held):
            # Delivered already, or leased by a run that died before it could: the builder knows, and takes it once.
            self._insist(partial(self._stations.deliver, batch))
        news_at, stuck = self._clock(), None
        while True:
            # In this order: what a builder seen idle has recorded is in the answer that follows.
            sight = self._insist(self._stations.look)
            stuck = self._check_stuck(sight, stuck)
            leased = self._ask()
            self._note_progress(sight, leased)
            forgot = sight.idle and leased.holds and not leased.paused and leased.batch is None
            if (forgot and self._deliver_again()) or leased.batch is not None or self._published_now:
                news_at = self._clock()
            elif leased.wheels_wait:
                self._check_published(sight, self._clock() - news_at)
            elif self._is_over(leased, sight):
                self._report(leased, sight, over=True)
                _check_stopped(leased)
                return leased
            self._watch(leased, sight)

    def _ask(self) -> Leased:
        self._asked_at = self._clock()
        leased = self._insist(self._stations.lease)
        if leased.totals != self._totals:
            self._totals, self._moved_at = leased.totals, self._clock()
        if leased.batch is not None:
            self._deliver(leased.batch)
        self._published_now = self._insist(self._stations.publish) if leased.wheels_wait else 0
        self.published += self._published_now
        self._most_left = max(self._most_left, leased.left)
        return leased

    def _deliver(self, batch: Mapping[str, Any]) -> None:
        try:
            self._insist(partial(self._stations.deliver, batch))
        except BaseException:
            # Also when a person interrupts: somebody else can have it at once, not when the lease expires.
            self._stations.release(batch)
            raise
        self.leased += len(batch["builds"])

    def _deliver_again(self) -> bool:
        """An idle builder holds leases: its spool was lost, with a disk or to an older image of it. Once each: it may refuse one.
        Returns whether anything was delivered. Raises BuilderSilent where it took nothing for the third time.
        """
        if self._in_vain >= _MOST_IN_VAIN:
            raise BuilderSilent(
                f"the builder takes none of its batches, delivered {self._in_vain} times: its log says why "
                "(journalctl -u piwheels-builder; in a fleet of one log/builder.log)"
            )
        again = [batch for batch in self._insist(self._stations.held) if batch["lease_id"] not in self._delivered_again]
        for batch in again:
            self._delivered_again.add(batch["lease_id"])
            self._insist(partial(self._stations.deliver, batch))
        self._in_vain += bool(again)
        return bool(again)

    def _note_progress(self, sight: Sight, leased: Leased) -> None:
        ended = leased.built + leased.failed
        if not sight.idle or ended != self._ended_before:
            self._in_vain = 0
        self._in_vain += leased.batch is not None
        self._ended_before = ended

    def _is_over(self, leased: Leased, sight: Sight) -> bool:
        if not sight.idle:
            return False
        # Only a person ends a pause.
        if leased.paused or leased.stopped:
            return True
        # A sibling may be woken, and a delayed build be due, while others work. What it could have and was not given is left to a
        # faster builder, or a heartbeat was at its row in that moment. Without any of these there is nothing to wait for.
        if not (leased.totals["waiting"] or leased.totals["delayed"] or leased.could_have):
            return True
        if leased.totals["leased"] or leased.totals["unpublished"]:
            return False
        # Since anything moved in the fleet, not here: what a sibling waits for may be free for anybody to take at this moment.
        return self._clock() - self._moved_at > self._patience.delayed

    def _watch(self, leased: Leased, before: Sight) -> None:
        """Look at the builder until something happened there, or for so long that the index host should be asked again."""
        # What was published a moment ago may have ended or woken other builds.
        until = self._clock() + (self._patience.look if self._published_now else self._patience.ask)
        dead_since, pause = None, self._patience.look
        while self._clock() < until:
            self._report(leased, before)
            self._sleep(pause)
            # A look costs the builder processor time that builds could have.
            pause = min(1.5 * pause, self._patience.seldom)
            sight = self._insist(self._stations.look)
            dead_since = self._check_alive(sight, dead_since)
            self._in_vain = self._in_vain if sight.idle else 0
            if dead_since is not None:
                until = self._clock() + self._patience.ask
            elif sight != before:
                self._report(leased, sight)
                if sight.idle or self._clock() - self._asked_at >= self._patience.apart:
                    return

    def _check_alive(self, sight: Sight, dead_since: float | None) -> float | None:
        if sight.alive:
            return None
        if dead_since is None:
            return self._clock()
        if self._clock() - dead_since > self._patience.silent:
            raise BuilderSilent(
                "the builder's service does not run: `ansible-playbook provision.yml` starts it; its log says why it "
                "ended (journalctl -u piwheels-builder; in a fleet of one log/builder.log)"
            )
        return dead_since

    def _check_published(self, sight: Sight, quiet_seconds: float) -> None:
        if sight.idle and quiet_seconds > self._patience.away:
            raise Unreachable("its wheels or logs wait to be published: `ansible-playbook playbooks/publish.yml` says why none is")

    def _check_stuck(self, sight: Sight, stuck: tuple[int, float] | None) -> tuple[int, float] | None:
        """``stuck``: how much was in the spool when the builder was first seen not to go on, and when."""
        if sight.running or not (sight.trouble or sight.spool):
            return None
        if stuck is None or (sight.trouble is None and sight.spool != stuck[0]):
            return sight.spool, self._clock()
        if self._clock() - stuck[1] > self._patience.away:
            why = sight.trouble or f"{sight.spool} builds in its spool, and none begins"
            raise BuilderSilent(f"the builder cannot go on ({why}): mend that and run again; nothing is lost")
        return stuck

    def _report(self, leased: Leased, sight: Sight, *, over: bool = False) -> None:
        progress = Progress(
            builder="",
            done=self._most_left - leased.left,
            most=self._most_left,
            built=leased.built,
            failed=leased.failed,
            running=sight.running,
            spool=sight.spool,
            notes=tuple(_notes(leased, sight)),
            over=over,
        )
        # The forecast changes all the time, and is no news.
        if progress != self._shown:
            self._shown = progress
            self._stations.show(replace(progress, seconds_left=self._seconds_left(leased)))

    def _seconds_left(self, leased: Leased) -> float | None:
        done = self._most_left - leased.left
        return (self._clock() - self._started) / done * leased.left if done and leased.left else None

    def _insist(self, call: Callable[[], Answer]) -> Answer:
        """Call again while the host is away, with pauses that grow, for as long as patience lasts. Raises Unreachable."""
        gives_up, pause = self._clock() + self._patience.away, self._patience.look
        while True:
            try:
                return call()
            except Unreachable as error:
                if self._clock() + pause > gives_up:
                    raise
                self._stations.say(f"{error}; trying again in {pause:.0f} s")
            self._sleep(pause)
            pause = min(2 * pause, self._patience.longest_pause)


def _notes(leased: Leased, sight: Sight) -> Iterator[str]:
    if leased.totals["held"]:
        yield f"{leased.totals['held']} parked"
    if leased.totals["delayed"]:
        yield f"{leased.totals['delayed']} to be tried again later"
    if leased.totals["too_large"]:
        yield f"{leased.totals['too_large']} need a larger builder"
    if leased.paused:
        yield f"paused: {leased.paused}"
    if sight.trouble:
        yield sight.trouble


def _check_stopped(leased: Leased) -> None:
    unfinished = leased.left - leased.totals["held"]
    if leased.stopped and unfinished:
        raise DispatchStopped(f"{unfinished} builds are left: {leased.stopped}")

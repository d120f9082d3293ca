"""The simulation: events in virtual time, until the queue is empty.

Up to 64 builders it is `build.yml` until drained (each builder asks for itself every few seconds), beyond that rounds (one call for
all, as the index host's timer does it): what the playbooks do.
"""

import heapq
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

from bench.simulator.database import Result, VirtualDatabase
from bench.simulator.fleet import Faults, Running, SimulatedBuilder
from bench.simulator.idleness import Idleness
from bench.simulator.work import Release
from piwheels_builder.builder.limits import MEMORY_OF_CLASS
from piwheels_builder.queue.batch import Batch
from piwheels_builder.queue.members import memory_class
from piwheels_builder.queue.plan import LOW_WATER

#: Most builders of a run until drained (dispatch_most_drained).
MOST_DRAINED = 64
#: In seconds: between two questions of a builder's action while builds end there, at least, and for each other builder (the action
#: plugin converge); between a builder's being idle and its being seen so.
ASK, ASK_EACH, LOOK = 5.0, 0.25, 5.0
#: From the beginning of a round to that of the next one, at least (controller_every_seconds); what a round takes, and each of its
#: batches (docs/benchmarks.md, 1,000 hosts).
EVERY, ROUND, DELIVERY = 60.0, 10.0, 0.44
#: Of its memory limit's builds, how much of their time passes before memory runs out. Assumed.
UNTIL_OUT_OF_MEMORY = 0.6
#: Builders speak every minute; every nine minutes say as much to the queue, whose leases last four hours.
HEARTBEAT = 540.0
#: Between two looks at what slots do.
WATCH = 2.0


@dataclass
class Traffic:
    """What the database was asked: questions for work, of these those that leased; seconds each took in real time."""

    questions: int = 0
    leases: list[float] = field(default_factory=list)
    batches: int = 0
    leased: int = 0
    records: int = 0
    record_seconds: float = 0.0


class Simulation:
    """One run. ``run`` returns the makespan in virtual seconds."""

    def __init__(
        self,
        database: VirtualDatabase,
        releases: Sequence[Release],
        builders: Sequence[SimulatedBuilder],
        faults: Faults,
        seed: int,
        *,
        spool_seconds: float,
    ) -> None:
        self._database = database
        self._spool_seconds = spool_seconds
        self._truth = {release.release_id: release for release in releases}
        self._builders = {builder.name: builder for builder in builders}
        self._faults = faults
        self._dice = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._ended: list[Result] = []
        self._unfinished: dict[str, list[Result]] = defaultdict(list)
        self._left = len(releases)
        self._largest = max(memory_class(builder.memory_mb) for builder in builders)
        self._ended_at = 0.0
        #: Until when a builder's question is known to be answered with nothing, unless a build is to be tried again.
        self._nothing_until: dict[str, float] = {}
        self.traffic = Traffic()
        self.idleness = Idleness()
        self.deaths = 0
        self.wasted = 0.0

    def run(self) -> float:
        """Until nothing is left. Raises SystemExit where the fleet stops making progress."""
        self._start()
        while self._left > 0:
            if not self._events:
                raise SystemExit(f"the simulated fleet stands still, with {self._left} builds left")
            now, _, event = heapq.heappop(self._events)
            event(now)
        return self._ended_at

    def _start(self) -> None:
        self._at(WATCH, self._watch)
        for place, builder in enumerate(self._builders.values()):
            # Each was heard of when the run begins.
            self._database.heartbeat(0, builder)
            self._at(HEARTBEAT * (place + 1) / len(self._builders), self._heartbeat(builder))
            self._at(self._dice.expovariate(1 / self._faults.death_every), self._death(builder))
        racks = range(0, len(self._builders), self._faults.rack)
        for rack in racks:
            self._at(self._dice.expovariate(1 / self._faults.stall_every), self._stall(rack))
        if len(self._builders) <= MOST_DRAINED:
            for builder in self._builders.values():
                self._at(self._dice.uniform(0, LOOK), self._question(builder, again=True))
        else:
            self._at(0, self._round)

    def _at(self, when: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), event))

    def _watch(self, now: float) -> None:
        builders = self._builders.values()
        full = all(len(builder.running) == builder.slots for builder in builders if builder.alive)
        begun = self._left == sum(len(builder.running) for builder in builders)
        leasable = frozenset() if full or begun else self._database.leasable_classes(now)
        self.idleness.see(now, builders, self._left, leasable)
        if all(builder.idle for builder in builders) and self._left == self._database.unfinished()[1]:
            # All that is left was parked for the operator.
            self._left = 0
        self._at(now + WATCH, self._watch)

    # Dispatch.

    def _question(self, builder: SimulatedBuilder, *, again: bool) -> Callable[[float], None]:
        """One builder's action asks: regularly (again), or since its builder was seen idle."""

        def ask(now: float) -> None:
            if again:
                self._at(now + max(ASK, ASK_EACH * (len(self._builders) - 1)), ask)
            if builder.alive:
                self.traffic.questions += 1
                # One whose answer is known to be nothing costs real time and changes nothing.
                if self._may_be_hungry(builder) and (self._unfinished or now >= self._nothing_until.get(builder.name, 0)):
                    self._lease(now, [builder.name])
                    self._note_nothing(now, builder)

        return ask

    def _note_nothing(self, now: float, builder: SimulatedBuilder) -> None:
        if not any(its_class <= memory_class(builder.memory_mb) for its_class in self._database.leasable_classes(now)):
            self._nothing_until[builder.name] = self._database.next_change(now)

    def _round(self, now: float) -> None:
        self.traffic.questions += 1
        delivered = self._lease(now, None)
        self._at(now + max(EVERY, ROUND + DELIVERY * delivered), self._round)

    def _may_be_hungry(self, builder: SimulatedBuilder) -> bool:
        return len(builder.held) < builder.slots or sum(builder.held.values()) < LOW_WATER * self._spool_seconds * builder.slots

    def _lease(self, now: float, names: Sequence[str] | None) -> int:
        self._record(now)
        began = time.perf_counter()
        batches = self._database.lease(now, names, self._spool_seconds)
        if batches:
            self.traffic.leases.append(time.perf_counter() - began)
        for place, batch in enumerate(batches):
            self._deliver(now + DELIVERY * (place + 1), batch)
        self.traffic.batches += len(batches)
        self.traffic.leased += sum(len(batch.builds) for batch in batches)
        return len(batches)

    def _deliver(self, when: float, batch: Batch) -> None:
        builder = self._builders[batch.builder]
        builder.held |= {build.build_id: build.estimate_seconds for build in batch.builds}

        def arrive(now: float) -> None:
            # What is delivered to a machine that died a moment ago lies in its spool, as what came before.
            builder.take(batch)
            self._work(builder, now)

        self._at(when, arrive)

    # Builders.

    def _work(self, builder: SimulatedBuilder, now: float) -> None:
        while builder.alive and builder.spool and len(builder.running) < builder.slots:
            seconds, _ = self._outcome(builder, builder.spool[0].leased.build_id, builder.spool[0].leased.memory_class)
            run = builder.begin(now, seconds)
            self._at(run.ends, self._end(builder, run, builder.incarnation))

    def _outcome(self, builder: SimulatedBuilder, build_id: int, its_class: int) -> tuple[float, str]:
        """What an attempt takes here, and how it ends."""
        truth = self._truth[build_id].truth
        limit = MEMORY_OF_CLASS[its_class]
        if limit is not None and truth.peak_bytes > limit:
            return UNTIL_OUT_OF_MEMORY * truth.seconds / builder.speed, "out_of_memory"
        return truth.seconds / builder.speed, "built" if truth.builds else "build_error"

    def _end(self, builder: SimulatedBuilder, run: Running, incarnation: int) -> Callable[[float], None]:
        def end(now: float) -> None:
            if incarnation != builder.incarnation:
                return
            if run.ends > now:
                self._at(run.ends, end)
                return
            slot = next(slot for slot, running in builder.running.items() if running is run)
            del builder.running[slot]
            leased = run.spooled.leased
            _, outcome = self._outcome(builder, leased.build_id, leased.memory_class)
            self._finish(builder, run, outcome, now)
            self._work(builder, now)
            if builder.idle and len(self._builders) <= MOST_DRAINED:
                self._at(now + self._dice.uniform(0, LOOK), self._question(builder, again=False))

        return end

    def _finish(self, builder: SimulatedBuilder, run: Running, outcome: str, now: float) -> None:
        seconds = now - run.began
        leased, peak = run.spooled.leased, self._truth[run.spooled.leased.build_id].truth.peak_bytes
        result = Result(run.spooled.lease_id, leased.build_id, outcome, run.began, seconds, peak)
        builder.held.pop(leased.build_id, None)
        if outcome == "out_of_memory" and leased.memory_class < self._largest:
            self.wasted += seconds
            self._unfinished[builder.name].append(result)
            return
        self._ended.append(result)
        self._left -= 1
        self._ended_at = now
        if self._left == 0:
            self._record(now)

    def _record(self, now: float) -> None:
        began = time.perf_counter()
        if self._ended:
            # The end of a build whose lease was lost counts for nothing: it is built again.
            self._left += len(self._ended) - len(self._database.end(now, self._ended))
        if self._unfinished:
            self._nothing_until.clear()
        for name, results in self._unfinished.items():
            answers = set(self._database.record(now, name, results).values())
            if answers - {"recorded", "lease lost"}:
                raise SystemExit(f"a result was answered with {', '.join(sorted(answers))}")
        self.traffic.record_seconds += time.perf_counter() - began
        self.traffic.records += len(self._ended) + sum(map(len, self._unfinished.values()))
        self._ended, self._unfinished = [], defaultdict(list)

    # What befalls them.

    def _heartbeat(self, builder: SimulatedBuilder) -> Callable[[float], None]:
        def beat(now: float) -> None:
            if builder.alive:
                self._database.heartbeat(now, builder)
            self._at(now + HEARTBEAT, beat)

        return beat

    def _death(self, builder: SimulatedBuilder) -> Callable[[float], None]:
        def die(now: float) -> None:
            if not builder.alive:
                return
            self.deaths += 1
            self.wasted += sum(now - run.began for run in builder.running.values())
            builder.die()
            if self._dice.random() >= self._faults.for_good or len(self._builders) == 1:
                self._at(now + self._faults.down, come_back)

        def come_back(now: float) -> None:
            builder.alive = True
            for run in builder.interrupted:
                leased = run.spooled.leased
                builder.held.pop(leased.build_id, None)
                self._unfinished[builder.name].append(Result(run.spooled.lease_id, leased.build_id, "killed", run.began, 0, 0))
            builder.interrupted = []
            self._at(now + self._dice.expovariate(1 / self._faults.death_every), die)
            self._work(builder, now)

        return die

    def _stall(self, first: int) -> Callable[[float], None]:
        """A file server stops: all that runs on its Pis ends later by as much."""
        rack = list(self._builders.values())[first : first + self._faults.rack]

        def stall(now: float) -> None:
            for run in (run for builder in rack for run in builder.running.values()):
                run.ends += self._faults.stall
            self._at(now + self._faults.stall + self._dice.expovariate(1 / self._faults.stall_every), stall)

        return stall

"""Why slots are idle, and what a scheduler that knows everything would reach on the same work."""

import heapq
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from bench.simulator.fleet import SimulatedBuilder
from bench.simulator.work import Release
from piwheels_builder.queue.members import memory_class


class Cause(StrEnum):
    """What a slot of a machine that is up does at a moment, or why it does nothing.

    ``LEASABLE``: the queue held work for it, dispatch is late. ``ELSEWHERE``: what has not begun lies in others' spools, a batch
    was too large. ``DELAYED``: what has not begun waits for its retry, or is too large for this machine. ``TAIL``: all has begun.
    """

    BUSY = "busy"
    LEASABLE = "leasable"
    ELSEWHERE = "in other spools"
    DELAYED = "delayed or too large"
    TAIL = "all begun"


@dataclass
class Idleness:
    """Slots seen at regular moments, by what they did; ``begun_at`` is the last moment when something had not begun."""

    slots: Counter[Cause] = field(default_factory=Counter)
    begun_at: float = 0.0

    def see(self, now: float, builders: Collection[SimulatedBuilder], left: int, leasable: frozenset[int]) -> None:
        """How it is now: ``left`` builds have not ended, and of these memory classes some are leasable."""
        running = sum(len(builder.running) for builder in builders)
        if left > running:
            self.begun_at = now
        spooled = any(builder.spool for builder in builders)
        for builder in builders:
            if builder.alive:
                self.slots[Cause.BUSY] += len(builder.running)
                cause = _cause(builder, left > running, spooled, leasable)
                self.slots[cause] += builder.slots - len(builder.running)

    @property
    def share(self) -> float:
        """Of all slots of machines that were up until everything had begun: those idle though work for them had not begun."""
        up = self.slots.total() - self.slots[Cause.TAIL]
        return (self.slots[Cause.LEASABLE] + self.slots[Cause.ELSEWHERE]) / max(up, 1)

    def __str__(self) -> str:
        up = max(self.slots.total(), 1)
        return ", ".join(f"{cause} {self.slots[cause] / up:.2%}" for cause in Cause if cause != Cause.BUSY)


def _cause(builder: SimulatedBuilder, waiting: bool, spooled: bool, leasable: frozenset[int]) -> Cause:
    if any(its_class <= memory_class(builder.memory_mb) for its_class in leasable):
        return Cause.LEASABLE
    if spooled:
        return Cause.ELSEWHERE
    return Cause.DELAYED if waiting else Cause.TAIL


def ideal_makespan(work: Sequence[Release], builders: Sequence[SimulatedBuilder]) -> float:
    """A list scheduler's that knows what every build takes, longest first into the first free slot, the faster one of several;
    without faults, delays and limits of memory (Graham, 1969). In seconds.
    """
    free = [(0.0, -builder.speed, number) for number, builder in enumerate(builders) for _ in range(builder.slots)]
    ends = 0.0
    for seconds in sorted((each.truth.seconds for each in work), reverse=True):
        at, speed, number = free[0]
        ends = max(ends, at - seconds / speed)
        heapq.heapreplace(free, (at - seconds / speed, speed, number))
    return ends

"""How large a batch each builder gets: guided self-scheduling (Polychronopoulos and Kuck, 1987), in estimated seconds of work."""

from collections.abc import Sequence
from dataclasses import dataclass

#: Below this a batch costs more in round trips than it evens out at the end of a run.
SMALLEST_BATCH_SECONDS = 60.0
#: A builder is hungry when its spool holds less than this part of what it should.
LOW_WATER = 0.5


@dataclass(frozen=True)
class BuilderLoad:
    """A row of the view builder_load: what waits in a builder's spool and outbox. Seconds are of one slot's work."""

    name: str
    standing: str
    slots: int
    spool_seconds: float
    spool_builds: int
    wheels_waiting: int
    has_room: bool = True
    standing_reason: str | None = None
    logs_waiting: int = 0
    #: Wheels that are not published since their builder is quarantined.
    wheels_held: int = 0

    @property
    def is_awaited(self) -> bool:
        """Whether wheels or logs of it wait to be collected."""
        return bool(self.wheels_waiting or self.logs_waiting)

    @property
    def is_served(self) -> bool:
        """Whether it may be given work: an active builder whose disk and memory are not low."""
        return self.standing == "active" and self.has_room


@dataclass(frozen=True)
class Portion:
    """A batch to lease: for whom, worth about how many seconds, and of how many builds at most (None: as many as a batch holds)."""

    builder: str
    seconds: float
    builds: int | None = None


def hungry(loads: Sequence[BuilderLoad], spool_seconds: float) -> list[BuilderLoad]:
    """Builders to serve whose spool has run below the low-water mark, or has fewer builds than they have slots, however long.

    ``spool_seconds`` is what each slot should have waiting.
    """
    return [load for load in loads if load.is_served and _is_low(load, spool_seconds)]


def _is_low(load: BuilderLoad, spool_seconds: float) -> bool:
    return load.spool_seconds < LOW_WATER * spool_seconds * load.slots or load.spool_builds < load.slots


def portions(
    loads: Sequence[BuilderLoad], leasable_seconds: float, spool_seconds: float, slots: int | None = None
) -> list[Portion]:
    """A portion for every hungry builder, the emptiest first: its share of half of what is left,
    at most what fills its spool.

    Halving what is left each time lets batches shrink as the queue empties, so that no builder ends the run with hours of work
    while the others are idle. ``slots`` are those of the whole fleet, so that a builder which asks for itself gets its share;
    None: ``loads`` are all of it.
    """
    slots = slots or sum(load.slots for load in loads if load.is_served)
    left = leasable_seconds
    planned = []
    for load in sorted(hungry(loads, spool_seconds), key=lambda load: load.spool_seconds / load.slots):
        if left > 0:
            portion = _portion(load, left * load.slots / (2 * slots), spool_seconds * load.slots - load.spool_seconds)
            planned.append(portion)
            left -= portion.seconds
    return planned


def _portion(load: BuilderLoad, share: float, room: float) -> Portion:
    if room > 0:
        return Portion(load.name, min(max(share, SMALLEST_BATCH_SECONDS), room))
    # Its spool is full of builds that are fewer than its slots.
    return Portion(load.name, SMALLEST_BATCH_SECONDS, load.slots - load.spool_builds)

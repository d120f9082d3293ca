"""How large a batch each builder gets: guided self-scheduling (Polychronopoulos and Kuck, 1987), in estimated seconds of work."""

from collections.abc import Sequence
from dataclasses import dataclass

#: Below this a batch costs more in round trips than it evens out at the end of a run.
SMALLEST_BATCH_SECONDS = 60.0
#: A builder is hungry when its spool holds less than this part of what it should.
LOW_WATER = 0.5
#: Of a queue that runs empty, the part that is handed out: who is asked again soon need not guess how the rest is best shared.
HANDED_OUT = 0.25
#: Where all builders are served at once, each slot's share of all work, up to this, is handed out whole: nobody is asked again
#: until the next round.
ROUND_SECONDS = 240.0


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


def portions(
    loads: Sequence[BuilderLoad], leasable_seconds: float, spool_seconds: float, slots: int | None = None
) -> list[Portion]:
    """A portion for every hungry builder, the emptiest first: what its spool lacks of what it should hold.

    That is ``spool_seconds`` a slot, and less as the queue empties, so that no builder ends the run with hours of work while the
    others are idle. Hungry is whose spool has run below the low-water mark, or has fewer builds than it has slots, however long.
    ``slots`` are those of the whole fleet, so that a builder which asks for itself gets its share; None: ``loads`` are all of it.
    """
    served = [load for load in loads if load.is_served]
    slots = slots or sum(load.slots for load in served)
    least = _until_next_round(served, leasable_seconds, slots)
    each = min(spool_seconds, max(HANDED_OUT * leasable_seconds / max(slots, 1), least))
    left, planned = leasable_seconds, []
    for load in sorted(served, key=lambda load: load.spool_seconds / load.slots):
        is_low = load.spool_seconds < load.slots * max(LOW_WATER * each, min(least, each))
        if left > 0 and (is_low or load.spool_builds < load.slots):
            planned.append(_portion(load, each, spool_seconds))
            left -= planned[-1].seconds
    return planned


def _until_next_round(served: Sequence[BuilderLoad], leasable_seconds: float, slots: int) -> float:
    """What each slot needs, of an equal share of all work; nothing where a builder asks for itself, which it does again soon."""
    if sum(load.slots for load in served) < slots or not served:
        return 0
    return min(ROUND_SECONDS, (leasable_seconds + sum(load.spool_seconds for load in served)) / slots)


def _portion(load: BuilderLoad, each: float, spool_seconds: float) -> Portion:
    if (room := spool_seconds * load.slots - load.spool_seconds) > 0:
        return Portion(load.name, min(max(each * load.slots - load.spool_seconds, SMALLEST_BATCH_SECONDS), room))
    # Its spool is full of builds that are fewer than its slots.
    return Portion(load.name, SMALLEST_BATCH_SECONDS, load.slots - load.spool_builds)

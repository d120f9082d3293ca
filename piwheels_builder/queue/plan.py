"""How large a batch each builder gets: guided self-scheduling (Polychronopoulos and Kuck, 1987), in estimated seconds of work."""

from collections.abc import Collection, Sequence
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
    """Builders to serve whose spool has run below the low-water mark. ``spool_seconds`` is what each slot should have waiting."""
    return [load for load in loads if load.is_served and load.spool_seconds < LOW_WATER * spool_seconds * load.slots]


def level(loads: Sequence[BuilderLoad], leasable_seconds: float, spool_seconds: float) -> float:
    """What each slot of the fleet should have now, in seconds: half of its share of what is left, spools included.

    At most ``spool_seconds``. Half lets spools shrink as the queue empties, so that no builder ends the run
    with hours of work while the others are idle. ``loads`` are of the whole fleet, whoever is to be served now.
    """
    served = [load for load in loads if load.is_served]
    left = leasable_seconds + sum(load.spool_seconds for load in served)
    share = left / (2 * max(1, sum(load.slots for load in served)))
    return min(share, spool_seconds)


def portions(
    loads: Sequence[BuilderLoad],
    leasable_seconds: float,
    spool_seconds: float,
    only: Collection[str] | None = None,
    pace: float = 1.0,
) -> list[Portion]:
    """A portion for every hungry builder (of ``only`` these, None for all), the emptiest first: what fills it to the fleet's level.

    One with fewer builds than slots is hungry, however long they are; and while there is plenty, one with none to follow what runs.
    ``pace`` is what an estimated second really takes: ``spool_seconds`` are real ones, all others estimated.
    """
    smallest, full = SMALLEST_BATCH_SECONDS / pace, spool_seconds / pace
    enough = level(loads, leasable_seconds, full)
    builds_each = 2 if enough == full else 1
    left = leasable_seconds
    planned = []
    for load in sorted(loads, key=lambda load: load.spool_seconds / load.slots):
        portion = _portion(load, enough, builds_each, smallest) if only is None or load.name in only else None
        if portion is not None and left > 0:
            planned.append(portion)
            left -= portion.seconds
    return planned


def _portion(load: BuilderLoad, enough: float, builds_each: int, smallest: float) -> Portion | None:
    # A builder's at least, whatever its slots: they end a run together, each with its part of it.
    enough = max(enough, smallest / load.slots)
    missing = builds_each * load.slots - load.spool_builds
    if not load.is_served or (missing <= 0 and not hungry([load], enough)):
        return None
    room = enough * load.slots - load.spool_seconds
    return Portion(load.name, room) if room > 0 else Portion(load.name, smallest, missing)

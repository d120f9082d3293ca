"""How large a batch each builder gets: guided self-scheduling (Polychronopoulos and Kuck, 1987), in estimated seconds of work."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from piwheels_builder.condition import UNKNOWN, Condition

#: Below this a batch costs more in round trips than it evens out at the end of a run.
SMALLEST_BATCH_SECONDS = 60.0
#: A builder is hungry when its spool holds less than this part of what it should.
LOW_WATER = 0.5
#: Of a queue that runs empty, the part that is handed out: who is asked again soon need not guess how the rest is best shared.
HANDED_OUT = 0.25
#: Where all builders are served at once, each slot's share of all work, up to this, is handed out whole: nobody is asked again
#: until the next round.
ROUND_SECONDS = 240.0
#: A build that takes no longer keeps nobody waiting at the end of a run.
SHORT_SECONDS = 600.0


@dataclass(frozen=True)
class BuilderLoad:
    """A row of the view builder_load: what waits in a builder's spool and outbox. Seconds are those of its own slots."""

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
    #: How many times as long as on a Pi 4 a build takes; whether a faster builder with a free slot builds all that it can.
    slowness: float = 1.0
    has_faster: bool = False
    condition: Condition = UNKNOWN

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
    """A batch to lease: for whom, worth about how many seconds of its slots, and of how many builds at most (None: as many as a
    batch holds); none that would take it longer than ``longest``, and first what would take a Pi 4 ``critical`` seconds or more.
    """

    builder: str
    seconds: float
    builds: int | None = None
    longest: float = math.inf
    critical: float = math.inf


@dataclass(frozen=True)
class ServedFleet:
    """All builders that may be given work, together: slots, and the seconds of a Pi 4 that these do in a second."""

    slots: int
    speed: float

    @classmethod
    def of(cls, loads: Sequence[BuilderLoad]) -> "ServedFleet":
        """All that are served of these."""
        served = [load for load in loads if load.is_served]
        return cls(sum(load.slots for load in served), sum(load.slots / load.slowness for load in served))


def portions(
    loads: Sequence[BuilderLoad], leasable_seconds: float, spool_seconds: float, fleet: ServedFleet | None = None
) -> list[Portion]:
    """A portion for every hungry builder, the emptiest first: what its spool lacks of what it should hold.

    That is ``spool_seconds`` a slot, and less as the queue empties, so that no builder ends the run with hours of work while the
    others are idle. Hungry is whose spool has run below the low-water mark, or has fewer builds than it has slots, however long.
    ``fleet`` is all of it, so that a builder which asks for itself gets its share; None: ``loads`` are all of it.
    ``leasable_seconds`` are those of a Pi 4.
    """
    served = [load for load in loads if load.is_served]
    fleet = fleet or ServedFleet.of(loads)
    rest = leasable_seconds / max(fleet.speed, 0.01)
    least = _until_next_round(served, rest, fleet)
    each = min(spool_seconds, max(HANDED_OUT * rest, least))
    left, planned = leasable_seconds, []
    for load in sorted(served, key=lambda load: load.spool_seconds / load.slots):
        is_low = load.spool_seconds < load.slots * max(LOW_WATER * each, min(least, each))
        if left > 0 and (is_low or load.spool_builds < load.slots):
            planned.append(_for_long_builds(_portion(load, each, spool_seconds), load, rest))
            left -= planned[-1].seconds / load.slowness
    return planned


def _until_next_round(served: Sequence[BuilderLoad], rest: float, fleet: ServedFleet) -> float:
    """What each slot needs, of an equal share of all work; nothing where a builder asks for itself, which it does again soon."""
    if sum(load.slots for load in served) < fleet.slots or not served:
        return 0
    return min(ROUND_SECONDS, rest + sum(load.spool_seconds / load.slowness for load in served) / fleet.speed)


def _portion(load: BuilderLoad, each: float, spool_seconds: float) -> Portion:
    if (room := spool_seconds * load.slots - load.spool_seconds) > 0:
        return Portion(load.name, min(max(each * load.slots - load.spool_seconds, SMALLEST_BATCH_SECONDS), room))
    # Its spool is full of builds that are fewer than its slots.
    return Portion(load.name, SMALLEST_BATCH_SECONDS, load.slots - load.spool_builds)


def _for_long_builds(portion: Portion, load: BuilderLoad, rest: float) -> Portion:
    """What takes about as long as all the ``rest`` is begun first, and by no slow builder: it would end long after all others."""
    longest = max(rest, SHORT_SECONDS) if load.has_faster else math.inf
    return replace(portion, longest=longest, critical=max(rest / 2, SHORT_SECONDS))

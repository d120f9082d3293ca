"""A forecast of what is queued: builds, Pi-days, the end for the fleet at hand, disk; and how far estimates were off lately.

Who calls: the command ``plan``. Cost: one reading of the queue, none of the catalogue or the history.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import Connection

#: The latest attempts and wheels that a forecast judges by.
_MOST = 10_000
#: Where nothing was built yet: the share of attempts with a wheel and the bytes of one, as in the first run (76 % of its releases;
#: 250 GB of 730,630 wheels).
_BUILT, _WHEEL_BYTES = 0.76, 342_000.0


@dataclass(frozen=True)
class TargetWork:
    """What is queued for a target: estimated seconds of all builds and of the longest; slots of active builders that serve it."""

    target: str
    builds: int
    seconds: float
    longest: float
    slots: int


@dataclass(frozen=True)
class EstimateError:
    """How far the latest attempts' estimates were off, as a factor (2: twice or half as long). ``bias`` is taken over estimated."""

    attempts: int
    median: float
    p90: float
    bias: float

    @classmethod
    def of(cls, met: Sequence[tuple[float, float]]) -> "EstimateError | None":
        """From pairs of estimated and taken seconds. None without any."""
        if not met:
            return None
        factors = sorted(math.exp(abs(math.log(max(taken, 0.01) / estimated))) for estimated, taken in met)
        bias = sum(taken for _, taken in met) / sum(estimated for estimated, _ in met)
        p90 = factors[math.ceil(0.9 * len(factors)) - 1]
        return cls(len(met), statistics.median(factors), p90, max(bias, 0.001))


@dataclass(frozen=True)
class Forecast:
    """What lies ahead. ``slots`` of the whole fleet; ``built`` is the share of attempts with a wheel, of ``wheel_bytes`` each."""

    work: tuple[TargetWork, ...]
    slots: int
    error: EstimateError | None
    built: float = _BUILT
    wheel_bytes: float = _WHEEL_BYTES

    @property
    def bias(self) -> float:
        """What an estimated second takes."""
        return self.error.bias if self.error else 1.0

    @property
    def builds(self) -> int:
        return sum(each.builds for each in self.work)

    @property
    def slot_seconds(self) -> float:
        """Seconds that one slot would take for all of it."""
        return self.bias * sum(each.seconds for each in self.work)

    @property
    def bytes(self) -> float:
        """Of the wheels to come, at most: a wheel that serves several targets is made once."""
        return self.builds * self.built * self.wheel_bytes

    @property
    def seconds_left(self) -> float | None:
        """Until the last build ends, at the earliest: what all slots, and each target's alone, have to do, or the longest build.

        None where something is queued for a target that no active builder serves.
        """
        if any(not each.slots for each in self.work):
            return None
        alone = (max(each.seconds / each.slots, each.longest) for each in self.work)
        together = sum(each.seconds for each in self.work) / max(1, self.slots)
        return self.bias * max(together, *alone) if self.work else 0.0


def forecast(connection: Connection) -> Forecast:
    """The forecast of what is queued now, as the reader role."""
    met = list(_queries.estimates_met(connection, most=_MOST))
    size = _queries.wheel_bytes(connection, most=_MOST)
    return Forecast(
        work=tuple(TargetWork(*row) for row in _queries.queued_work(connection)),
        slots=_queries.fleet_slots(connection),
        error=EstimateError.of([(estimated, taken) for estimated, taken, _ in met]),
        built=sum(built for _, _, built in met) / len(met) if met else _BUILT,
        wheel_bytes=size or _WHEEL_BYTES,
    )


_queries = aiosql.from_path(Path(__file__).with_name("forecast.sql"), "psycopg2")

"""A forecast of what is queued: builds, Pi-days, the end for the fleet at hand, disk; and how far estimates were off lately.

Who calls: the command ``plan``, and `build.yml --check` by the module version_batch. Cost: one reading of the queue and the latest
attempts; of the catalogue a sample.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import aiosql

from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.saving import Saved, saved_builds
from piwheels_builder.db.connect import Connection

#: The latest attempts and wheels that a forecast judges by.
_MOST = 10_000
#: Where nothing was built yet: the share of attempts with a wheel and the bytes of one, as in the first run (76 % of its releases;
#: 250 GB of 730,630 wheels).
_BUILT, _WHEEL_BYTES = 0.76, 342_000.0


@dataclass(frozen=True)
class TargetWork:
    """What is queued for a target: estimated seconds of all builds, and of the longest on the fastest of the active builders that
    serve it; slots of these, and the seconds of a Pi 4 that they do in one.
    """

    target: str
    builds: int
    seconds: float
    longest: float
    slots: int
    speed: float


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
    """What lies ahead. ``slots`` of the whole fleet of ``pis``, which do ``speed`` seconds of a Pi 4's slot in one.

    ``built`` is the share of attempts with a wheel, of ``wheel_bytes`` each; ``saved`` is what upstream's wheels save, None where
    all is built or nobody asked.
    """

    work: tuple[TargetWork, ...]
    slots: int
    speed: float
    error: EstimateError | None
    built: float = _BUILT
    wheel_bytes: float = _WHEEL_BYTES
    pis: int = 0
    saved: Saved | None = None

    @property
    def bias(self) -> float:
        """What an estimated second takes."""
        return self.error.bias if self.error else 1.0

    @property
    def builds(self) -> int:
        return sum(each.builds for each in self.work)

    @property
    def slot_seconds(self) -> float:
        """Seconds that one slot of a Pi 4 would take for all of it."""
        return self.bias * sum(each.seconds for each in self.work)

    def pi_seconds(self, slot_seconds: float) -> float | None:
        """Seconds of one whole Pi, of the mean one, for so many of one slot; None without any."""
        return slot_seconds * self.pis / self.speed if self.slots else None

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
        alone = (max(each.seconds / each.speed, each.longest) for each in self.work)
        together = sum(each.seconds for each in self.work) / max(0.01, self.speed)
        return self.bias * max(together, *alone) if self.work else 0.0


def forecast(connection: Connection, policy: Policy | None = None) -> Forecast:
    """The forecast of what is queued now, as the reader role; with a policy also what upstream's wheels save by it."""
    met = list(_queries.estimates_met(connection, most=_MOST))
    size = _queries.wheel_bytes(connection, most=_MOST)
    slots, speed, pis = _queries.fleet_size(connection)
    return Forecast(
        work=tuple(TargetWork(*row) for row in _queries.queued_work(connection)),
        slots=slots,
        speed=speed,
        error=EstimateError.of([(estimated, taken) for estimated, taken, _ in met]),
        built=sum(built for _, _, built in met) / len(met) if met else _BUILT,
        wheel_bytes=size or _WHEEL_BYTES,
        pis=pis,
        saved=saved_builds(connection, policy) if policy else None,
    )


def told(found: Forecast, now: datetime) -> Iterator[str]:
    """The forecast in words, a line each."""
    for each in found.work:
        nobody = "" if each.slots else "; no active builder serves it"
        yield f"{each.target}: {each.builds} builds, {_effort(found, found.bias * each.seconds)}, {each.slots} slots{nobody}"
    yield f"in all: {found.builds} builds, {_effort(found, found.slot_seconds)}, {found.slots} slots of {found.pis} builders"
    if found.seconds_left is None:
        yield "it does not end: add a builder for each target, or retire those that had it"
    else:
        end = now + timedelta(seconds=found.seconds_left)
        yield f"over at the earliest in {_days(found.seconds_left)}, on {end:%Y-%m-%d %H:%M} UTC"
    yield f"disk: {found.bytes / 1e9:.1f} GB of wheels: {found.built:.0%} of attempts make one, of {found.wheel_bytes / 1e3:.0f} kB"
    if found.saved:
        yield _told_saved(found, found.saved)
    yield _told_error(found.error)


def _told_saved(found: Forecast, saved: Saved) -> str:
    sample = "" if saved.looked_at >= saved.projects else f", by {saved.looked_at:,} of {saved.projects:,} projects"
    effort = _effort(found, found.bias * saved.seconds)
    return f"upstream's wheels save {saved.builds:,} builds, {effort}, by the size of their sdists{sample}"


def _told_error(error: EstimateError | None) -> str:
    if error is None:
        return "estimates: by the size of sdists alone, since nothing was built yet; they may be off by ten times"
    return (
        f"estimates: of the latest {error.attempts} attempts half were off by {error.median:.1f} times or less, nine in ten by"
        f" {error.p90:.1f}; together they took {error.bias:.2f} times what was estimated, and the above is corrected by that"
    )


def _effort(found: Forecast, slot_seconds: float) -> str:
    pi = found.pi_seconds(slot_seconds)
    return f"{_days(slot_seconds)} of one slot" + ("" if pi is None else f" ({pi / 86400:.2f} Pi-days)")


def _days(seconds: float) -> str:
    return f"{seconds / 86400:.1f} days" if seconds >= 86400 else f"{seconds / 3600:.1f} hours"


_queries = aiosql.from_path(Path(__file__).with_name("forecast.sql"), "psycopg2")

"""What the fleet is doing as a whole: for the home page, the fleet's page, and the small files that both refresh from."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiosql

from piwheels_builder.catalogue.freshness import Freshness, freshness
from piwheels_builder.condition import Condition
from piwheels_builder.db.connect import Connection
from piwheels_builder.queue.forecast import Forecast, forecast
from piwheels_builder.queue.statistics import Statistic, statistics
from piwheels_builder.site.history import History
from piwheels_builder.site.waiting import QueueShape

queries = aiosql.from_path(Path(__file__).with_name("overview.sql"), "psycopg2")
_NEWEST = 20


@dataclass(frozen=True)
class Building:
    """A build that its builder has begun: seconds since then, and as expected."""

    builder: str
    project: str
    version: str
    target: str
    seconds: float
    estimate_seconds: float


@dataclass(frozen=True)
class FleetBuilder:
    """A builder as the database knows it. ``silent`` is seconds since it was last heard of; the spool is in builds and seconds."""

    name: str
    standing: str
    standing_reason: str | None
    memory_class: int
    slots: int
    last_seen_at: datetime | None
    silent: float | None
    spool_builds: int
    spool_seconds: float
    wheels_waiting: int
    has_room: bool
    targets: Sequence[str]
    condition: Condition


@dataclass(frozen=True)
class NewWheel:
    """A wheel that was just published; ``size`` in bytes."""

    project: str
    version: str
    filename: str
    size: int
    published_at: datetime
    target: str


@dataclass(frozen=True)
class Overview:
    """The fleet at one moment."""

    now: datetime
    builders: tuple[FleetBuilder, ...]
    building: tuple[Building, ...]
    newest: tuple[NewWheel, ...]
    statistics: tuple[Statistic, ...]
    freshness: Freshness | None
    history: History

    def number(self, what: str) -> int:
        """How many there are of it, for all targets together."""
        return sum(each.number for each in self.statistics if each.what == what)

    def amount(self, what: str) -> float:
        """What they amount to."""
        return sum(each.amount for each in self.statistics if each.what == what)

    def by_target(self, what: str) -> dict[str, int]:
        """How many there are for each target that has any."""
        return {each.target: each.number for each in self.statistics if each.what == what and each.target and each.number}

    def starting_with(self, prefix: str) -> dict[str, int]:
        """How many there are of everything that begins so, by the rest of its name."""
        found: dict[str, int] = {}
        for each in self.statistics:
            if each.what.startswith(prefix):
                rest = each.what.removeprefix(prefix)
                found[rest] = found.get(rest, 0) + each.number
        return {rest: number for rest, number in found.items() if number}


@dataclass(frozen=True)
class Outlook:
    """What is read seldom, since it reads the whole queue: its shape, what is ahead of each target, when it is over."""

    shape: QueueShape
    work: Mapping[str, tuple[int, float]]
    seconds_left: float | None
    built: float
    bytes_ahead: float

    @classmethod
    def of(cls, ahead: Forecast, shape: QueueShape) -> "Outlook":
        work = {each.target: (each.builds, each.seconds * ahead.bias) for each in ahead.work}
        return cls(shape, work, ahead.seconds_left, ahead.built, ahead.bytes)


def read_overview(connection: Connection, private: Collection[str], history: History) -> Overview:
    """All but the outlook; ``history`` is brought up to date. The transaction is the caller's."""
    now: datetime = queries.clock(connection)
    history.count(queries.attempts_by_hour(connection, since=history.since), now)
    return Overview(
        now=now,
        builders=tuple(sorted((_builder(*row) for row in queries.builders(connection)), key=_as_a_person_counts)),
        building=tuple(Building(*row) for row in queries.building(connection)),
        newest=tuple(NewWheel(*row) for row in queries.newest_wheels(connection, private=sorted(private), most=_NEWEST)),
        statistics=tuple(statistics(connection)),
        freshness=freshness(connection),
        history=history,
    )


def _builder(*row: Any) -> FleetBuilder:
    *fields, condition = row
    return FleetBuilder(*(*fields, Condition(*condition)))


def _as_a_person_counts(builder: FleetBuilder) -> list[tuple[int, str]]:
    """pi2 before pi10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", builder.name)]


def read_outlook(connection: Connection) -> Outlook:
    """Reads the whole queue."""
    ahead = forecast(connection)
    speed = {each.target: each.speed for each in ahead.work}
    return Outlook.of(ahead, QueueShape.of(list(queries.queue_shape(connection)), speed, ahead.bias))

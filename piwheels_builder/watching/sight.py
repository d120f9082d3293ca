"""What each builder does now, as the database knows it. Who calls: the table and the terminal of ``watch``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiosql

from piwheels_builder.condition import Condition
from piwheels_builder.db.connect import Connection
from piwheels_builder.watching.words import one_line

_queries = aiosql.from_path(Path(__file__).with_name("sight.sql"), "psycopg2")
#: Not heard of for so many seconds, a builder is silent: it speaks once a minute.
_SILENT = 300


@dataclass(frozen=True)
class Begun:
    """A build that a builder says it has begun, so many seconds ago."""

    project: str
    version: str
    target: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.project} {self.version}"


@dataclass(frozen=True)
class Watched:
    """A builder. ``silent`` is seconds since it was heard of, None where it never was; the spool in builds and seconds."""

    name: str
    standing: str
    reason: str | None
    slots: int
    silent: float | None
    spool_builds: int
    spool_seconds: float
    wheels_waiting: int
    has_room: bool
    condition: Condition
    begun: tuple[Begun, ...]

    @property
    def state(self) -> str:
        """One word, what is wrong before what goes on."""
        if self.standing != "active":
            return self.standing
        if self.silent is None or self.silent > _SILENT:
            return "silent"
        return "no room" if not self.has_room else "building" if self.begun else "idle"

    @property
    def cells(self) -> tuple[str, ...]:
        """A row of the table, as COLUMNS has it."""
        longest = max((each.seconds for each in self.begun), default=None)
        return (
            one_line(self.name),
            self.state,
            one_line(", ".join(map(str, self.begun))),
            "" if longest is None else f"{longest / 60:.0f}",
            "never" if self.silent is None else span(self.silent),
            *_cells(self.condition),
            f"{self.spool_builds} builds, {self.spool_seconds / 60:.0f} min",
            str(self.wheels_waiting),
            one_line(self.reason or ""),
        )


#: What matters most comes first: a terminal of 80 columns ends before how the machine fares.
COLUMNS = (
    "builder",
    "state",
    "builds",
    "minutes",
    "last seen",
    *("condition", "memory free", "disk free"),
    *("spool", "wheels waiting", "reason"),
)


def sight(connection: Connection) -> Sequence[Watched]:
    """All builders, pi2 before pi10, as the reader role."""
    found = [_watched(*row) for row in _queries.sight(connection)]
    return sorted(
        found, key=lambda each: [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", each.name)]
    )


def _watched(*row: Any) -> Watched:
    *fields, condition, begun = row
    return Watched(*(*fields, Condition(*condition), tuple(Begun(*each) for each in begun)))


def _cells(condition: Condition) -> tuple[str, str, str]:
    heat = () if condition.temperature is None else (f"{condition.temperature:.0f} °C",)
    return ", ".join((*heat, *condition.trouble)), _gigabytes(condition.memory_free), _gigabytes(condition.disk_free)


def _gigabytes(count: int | None) -> str:
    return "" if count is None else f"{count / 1e9:.1f} GB"


def span(seconds: float) -> str:
    """Of 90: 1 min ago."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"

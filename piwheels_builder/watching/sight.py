"""What each builder does now, as the database knows it. Who calls: the table and the terminal of ``watch``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiosql

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
            f"{self.spool_builds} builds, {self.spool_seconds / 60:.0f} min",
            str(self.wheels_waiting),
            one_line(self.reason or ""),
        )


#: What matters most comes first: a terminal of 80 columns ends before the spool.
COLUMNS = ("builder", "state", "builds", "minutes", "last seen", "spool", "wheels waiting", "reason")


def sight(connection: Connection) -> Sequence[Watched]:
    """All builders, pi2 before pi10, as the reader role."""
    found = [Watched(*(*row[:-1], tuple(Begun(*fields) for fields in row[-1]))) for row in _queries.sight(connection)]
    return sorted(
        found, key=lambda each: [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", each.name)]
    )


def span(seconds: float) -> str:
    """Of 90: 1 min ago."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"

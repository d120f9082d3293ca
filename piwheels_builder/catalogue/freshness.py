"""How far the catalogue is behind upstream: noted by every round of sync over everything, read by whoever asks."""

from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiosql

from piwheels_builder.db.connect import Connection

queries = aiosql.from_path(Path(str(files(__package__))) / "freshness.sql", "psycopg2")
#: Of those that cannot be followed so many are named; the others are counted.
_MOST_NAMED = 20


@dataclass(frozen=True)
class Unfollowed:
    """A project that cannot be followed, why, and since when."""

    project: str
    error: str
    temporary: bool
    since: datetime


@dataclass(frozen=True)
class Freshness:
    """Whatever upstream had at ``followed_at``, the catalogue has (None: no round came to its end yet).

    ``asked_at`` is when upstream last said what it has; ``behind`` how many of its projects are then known to differ, ``held_back``
    those of them that would lose all their files. ``seconds`` is the time since ``followed_at``.
    """

    url: str
    whole: bool
    projects: int
    asked_at: datetime
    followed_at: datetime | None
    behind: int
    held_back: int
    seconds: float | None
    unfollowed: int
    examples: tuple[Unfollowed, ...] = ()

    def is_stale(self, minutes: float) -> bool:
        """Whether this is something to be told of."""
        return self.held_back > 0 or self.seconds is None or self.seconds > minutes * 60

    def told(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
            if name != "examples"
        } | {"examples": [{**asdict(each), "since": each.since.isoformat()} for each in self.examples]}

    def __str__(self) -> str:
        what = "all of upstream" if self.whole else "what this fleet lists of upstream"
        if self.followed_at is None:
            return f"no sync of {what} came to its end yet: {self.behind} of {self.projects} projects are still to be read"
        since = f"the catalogue has {what} as of {self.followed_at:%Y-%m-%d %H:%M:%S %Z}"
        parts = [since + (f", {_span(self.seconds or 0)} ago")]
        if self.behind:
            parts.append(f"{self.behind} projects have changed since and are not read yet")
        if self.held_back:
            parts.append(
                f"{self.held_back} of them would lose all their files: if that is right, `piwheels-builder sync --accept-deletions`"
            )
        if self.unfollowed:
            parts.append(f"{self.unfollowed} projects cannot be read")
        return "; ".join(parts)


def freshness(connection: Connection) -> Freshness | None:
    """How far behind upstream the catalogue is; None before the first round. Any role that may read."""
    row = queries.upstream_state(connection)
    if row is None:
        return None
    url, whole, _, asked_at, followed_at, behind, held_back, projects, now = row
    return Freshness(
        url=url,
        whole=whole,
        projects=projects,
        asked_at=asked_at,
        followed_at=followed_at,
        behind=behind,
        held_back=held_back,
        seconds=(now - followed_at).total_seconds() if followed_at else None,
        unfollowed=int(queries.count_unfollowed(connection)),
        examples=tuple(Unfollowed(*fields) for fields in queries.unfollowed(connection, most=_MOST_NAMED)),
    )


def _span(seconds: float) -> str:
    """90 -> 2 min."""
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length * 1.5:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"

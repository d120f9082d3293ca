"""Failures in bulk: which there are, by what they have in common, and building all of a kind again once its cause is mended."""

from dataclasses import asdict, dataclass
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import Connection
from piwheels_builder.errors import BadInput
from piwheels_builder.states import Outcome

_queries = aiosql.from_path(Path(__file__).with_name("failures.sql"), "psycopg2")
#: What the table of failures calls an attempt that built a wheel which publication refused.
_REFUSED = "refused"


@dataclass(frozen=True)
class Kind:
    """What failures have in common, by their last attempt; None is anything.

    In ``missing``, ``toolchain`` (any one part of a fingerprint), ``target`` and ``builder``, % stands for any text. ``text``
    occurs in the error line, in whatever case.
    """

    outcome: str | None = None
    missing: str | None = None
    toolchain: str | None = None
    target: str | None = None
    builder: str | None = None
    text: str | None = None

    @classmethod
    def of(cls, **asked: str | None) -> "Kind":
        """As the operator writes it. Raises BadInput for an outcome that there is none of."""
        outcome = asked.pop("outcome")
        if outcome is not None and outcome not in {*Outcome, _REFUSED}:
            raise BadInput(f"there is no outcome {outcome}: docs/reference.md lists them")
        patterns = {name: _pattern(name, text) for name, text in asked.items()}
        return cls(outcome=Outcome.BUILT if outcome == _REFUSED else outcome, **patterns)


@dataclass(frozen=True)
class FailureGroup:
    """Failures alike. ``toolchain`` is the part that was asked for; ``example`` the release that failed so last."""

    outcome: str
    missing: str | None
    toolchain: str | None
    builds: int
    projects: int
    example: str
    error_line: str | None


def failure_groups(connection: Connection, kind: Kind, part: str | None = None) -> list[FailureGroup]:
    """Failures of a kind, the most frequent first. ``part`` divides them by a part of the toolchain: its first word, as in gcc."""
    return [FailureGroup(*row) for row in _queries.failure_groups(connection, part=part, **asdict(kind))]


def count_failures(connection: Connection, kind: Kind) -> int:
    """How many ``requeue_failures`` would queue again."""
    return int(_queries.count_failures(connection, **asdict(kind)))


def requeue_failures(connection: Connection, kind: Kind, reason: str) -> int:
    """Queue all of a kind again, as the dispatcher role. Returns how many. The caller commits."""
    return int(_queries.requeue_failures(connection, reason=reason, **asdict(kind)))


def _pattern(name: str, text: str | None) -> str | None:
    # Only % is a wildcard for people: names are full of underscores, which LIKE takes for any character.
    return text if text is None or name == "text" else text.replace("\\", "\\\\").replace("_", "\\_")

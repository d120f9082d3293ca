"""The second try of an old release: with build tools of its own day, where today's refuse it.

Most old sdists name no versions of what they are built with, and so get the newest. PyYAML 5.4.1, for example, fails with the
Cython of 2023 and builds with that of 2021.
"""

from datetime import UTC, date, datetime, timedelta

from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.states import Blame, Outcome
from piwheels_builder.targets import Target

#: When a Python came out. Tools from before don't know it.
_PYTHON_CAME = {
    (3, 8): date(2019, 10, 14),
    (3, 9): date(2020, 10, 5),
    (3, 10): date(2021, 10, 4),
    (3, 11): date(2022, 10, 24),
    (3, 12): date(2023, 10, 2),
    (3, 13): date(2024, 10, 7),
    (3, 14): date(2025, 10, 7),
}
#: For fixes that a release, or a Python, needed itself.
_SLACK = timedelta(days=90)
#: Tools of the last months are today's.
_RECENT = timedelta(days=120)
#: What a second try may say better than the first: what is missing here, and limits.
_SAYS_MORE = {Outcome.MISSING_HEADER, Outcome.MISSING_PROGRAM, Outcome.DELIBERATE_REFUSAL, Outcome.TIMEOUT, Outcome.STALLED}


def day_of_older_tools(failed: BuildEnded, uploaded: datetime | None, target: Target) -> date | None:
    """The day whose build tools may do what today's did not. None where no try is worth it, or upstream tells no upload time.

    The later of the sdist's own day and its Python's, unless what it asks for was gone by then. Always the first of a month, so
    that old releases share environments.
    """
    if failed.tools_until is None or uploaded is None:
        return None
    own = uploaded.date() + _SLACK
    python = _PYTHON_CAME.get(target.python_version, date.max - _SLACK) + _SLACK
    day = min(max(own, python), max(own, failed.tools_until))
    return _next_month(day) if day < datetime.now(UTC).date() - _RECENT else None


def telling(today: BuildEnded, then: BuildEnded) -> BuildEnded:
    """Of the failures with today's tools and with older ones, the one to be recorded."""
    return then if then.outcome.blame is not Blame.RELEASE or then.outcome in _SAYS_MORE else today


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)

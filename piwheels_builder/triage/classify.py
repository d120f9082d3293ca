"""Why a build failed, from how it ended and what it printed."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from piwheels_builder.builder.process import Ended
from piwheels_builder.states import Outcome
from piwheels_builder.triage.pattern import MISSING, Where
from piwheels_builder.triage.patterns import PATTERNS
from piwheels_builder.triage.patterns.outside import DISK_FULL
from piwheels_builder.triage.shown import Line, last_words, plain_error, read, shortened, telling

_STOPPED = {
    "timeout": Outcome.TIMEOUT,
    "log_flood": Outcome.LOG_FLOOD,
    "stalled": Outcome.STALLED,
    "memory": Outcome.OUT_OF_MEMORY,
    "disk": Outcome.DISK_LIMIT,
    "processes": Outcome.PROCESS_LIMIT,
    "crowded": Outcome.KILLED,
}
_SIGKILL = -9
#: Of what is missing, in characters: a release can print anything.
_LONGEST_NAME = 100
_T = TypeVar("_T")
_DISK_FULL = re.compile(DISK_FULL, re.IGNORECASE)


@dataclass(frozen=True)
class Diagnosis:
    """``error_line``: the one line of the log that says most; ``missing`` as in Attempt; ``tools_until`` as in Pattern."""

    outcome: Outcome
    error_line: str
    missing: str | None = None
    tools_until: date | None = None


def classify(log: str, ended: Ended, failure: str | None = None, *, began: bool = True, disk_was_full: bool = False) -> Diagnosis:
    """``log`` is the text of this run; ``failure`` the exception that the driver ended with, as the driver says.

    ``began``: whether the driver did. If it didn't, nothing of the release has been run, and what is printed is the sandbox's.
    ``disk_was_full``: whether the builder itself saw so. A release can print the words for it at any time.
    """
    if ended.stop:
        return Diagnosis(_STOPPED[ended.stop.limit], f"killed: {ended.stop.limit.replace('_', ' ')} ({ended.stop.mechanism})")
    if ended.exit_code == _SIGKILL:
        return Diagnosis(Outcome.KILLED, "the sandbox was killed from outside")
    lines = read(log)
    if not began:
        said = shortened(lines[-1].text) if lines else f"exit code {ended.exit_code}"
        return Diagnosis(Outcome.BUILDER_FAULT, f"the sandbox did not start: {said}")
    return (
        _full_disk(lines, disk_was_full)
        or _find(last_words(lines), at_the_end=True)
        or _find(telling(lines), at_the_end=False)
        or Diagnosis(Outcome.BUILD_ERROR, plain_error(lines) or failure or f"the backend ended with exit code {ended.exit_code}")
    )


def tells_of_full_disk(log: str) -> bool:
    """Whether the words for it stand there; anybody can print them."""
    return _DISK_FULL.search(log) is not None


def _full_disk(lines: Sequence[Line], was_full: bool) -> Diagnosis | None:
    if not was_full:
        return None
    line = _last(line for line in lines if _DISK_FULL.search(line.text))
    return Diagnosis(Outcome.DISK_FULL, shortened(line.text if line else "the disk was full"))


def _find(lines: Sequence[Line], *, at_the_end: bool) -> Diagnosis | None:
    """The strongest pattern that matches."""
    passed_over = Where.WHOLE_LOG if at_the_end else Where.LAST_WORDS
    for pattern in PATTERNS:
        if pattern.where is passed_over:
            continue
        found = _last((line, match) for line in lines if (match := pattern.compiled.search(line.searched)))
        if found:
            line, match = found
            place = match.start() - (len(line.searched) - len(line.text))
            missing = match.groupdict().get(MISSING) or ""
            return Diagnosis(pattern.outcome, shortened(line.text, place), missing[:_LONGEST_NAME] or None, pattern.tools_until)
    return None


def _last(items: Iterable[_T]) -> _T | None:
    last = None
    for last in items:  # noqa: B007 - the last one is what is wanted
        pass
    return last

"""Why a build failed, from how it ended and what it printed."""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from piwheels_builder.builder.process import Ended
from piwheels_builder.states import Outcome
from piwheels_builder.triage.patterns import PATTERNS

#: Lines are cut here before expressions are tried on them, in characters; and so many of the last lines are looked at.
_LONGEST_LINE = 1000
_MOST_LINES = 5000
#: The release's last words: what stands here decides before what stands anywhere else.
_LAST_WORDS = 12
_STOPPED = {
    "timeout": Outcome.TIMEOUT,
    "log_flood": Outcome.LOG_FLOOD,
    "stalled": Outcome.STALLED,
    "memory": Outcome.OUT_OF_MEMORY,
    "disk": Outcome.DISK_LIMIT,
    "processes": Outcome.PROCESS_LIMIT,
}
#: How bubblewrap and a shell say that the program was killed by signal 9: the kernel, out of memory, or the program itself.
_KILLED_INSIDE = 128 + 9
_SIGKILL = -9
#: What runs before the driver does, when it fails: nothing of the release has been started yet.
_OURS = re.compile(r"\A(bwrap|setpriv|prlimit|setarch): ")


@dataclass(frozen=True)
class Diagnosis:
    """``error_line``: the one line of the log that says most; ``missing`` as in Attempt."""

    outcome: Outcome
    error_line: str
    missing: str | None = None


def classify(log: str, ended: Ended, failure: str | None = None) -> Diagnosis:
    """``log`` is the text of this run; ``failure`` the exception that the driver ended with, as the driver says."""
    if ended.stop:
        return Diagnosis(_STOPPED[ended.stop.limit], f"killed: {ended.stop.limit.replace('_', ' ')} ({ended.stop.mechanism})")
    if ended.exit_code == _SIGKILL:
        return Diagnosis(Outcome.KILLED, "the sandbox was killed from outside")
    lines = [line[:_LONGEST_LINE].strip() for line in log.splitlines()[-_MOST_LINES:]]
    lines = [line for line in lines if line]
    if failure is None and lines and _OURS.match(lines[0]):
        return Diagnosis(Outcome.BUILDER_FAULT, lines[0])
    found = _find(lines[-_LAST_WORDS:], decisive=True) or _find(lines, decisive=False)
    if found:
        return found
    if ended.exit_code == _KILLED_INSIDE:
        return Diagnosis(Outcome.OUT_OF_MEMORY, "killed by the kernel, which does that when memory runs out")
    return Diagnosis(Outcome.BUILD_ERROR, _plain_error(lines) or failure or f"the backend ended with exit code {ended.exit_code}")


def _find(lines: list[str], *, decisive: bool) -> Diagnosis | None:
    """The strongest pattern that matches. Compilers give their reason long before the end: ``decisive`` leaves them out."""
    for outcome, expression in _compiled():
        if decisive and outcome is Outcome.COMPILE_ERROR:
            continue
        line = _last(line for line in lines if expression.search(line))
        if line:
            return Diagnosis(outcome, line)
    return None


@functools.cache
def _compiled() -> tuple[tuple[Outcome, re.Pattern[str]], ...]:
    return tuple((pattern.outcome, pattern.compiled) for pattern in PATTERNS)


def _plain_error(lines: list[str]) -> str | None:
    """The last line that looks like an error, else the last line."""
    return _last(line for line in lines if re.search(r"error|exception|fatal", line, re.IGNORECASE)) or (
        lines[-1] if lines else None
    )


def _last(lines: Iterable[str]) -> str | None:
    last = None
    for last in lines:  # noqa: B007 - the last one is what is wanted
        pass
    return last

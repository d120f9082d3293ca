"""What it means how the imports of a wheel ended."""

import re
import signal
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from piwheels_builder.builder.attempt import Imported
from piwheels_builder.builder.process import Ended, Stop
from piwheels_builder.states import ImportResult

#: What stopped an import and says nothing of the wheel: another builder, or this one tomorrow, may have room for it.
_OF_THIS_HOST = {"memory", "crowded", "disk"}
_STOPPED = {
    "timeout": "was not done after all the time there is",
    "stalled": "stood still",
    "log_flood": "printed without end",
    "processes": "started more processes than it may",
}
#: Errors that say something of the code itself, whatever the sandbox hides.
_OF_THE_CODE = ("ImportError", "ModuleNotFoundError", "SyntaxError", "NameError", "AttributeError", "TypeError")
#: What a module says that wants what a sandbox has not: a Pi's pins and buses, a screen, the network.
_HIDDEN = re.compile(
    r"raspberry ?pi|/dev/|/sys/|/proc/device-tree|/proc/cpuinfo|\bgpio|\bi2c\b|\bspi(dev)?\b|\bdisplay\b|name resolution"
    r"|Name or service not known|Network is unreachable",
    re.IGNORECASE,
)
_MISSING_LIBRARY = re.compile(r"([\w.+-]+\.so[\w.+-]*): cannot open shared object file")
_MISSING_MODULE = re.compile(r"No module named '([\w.]+)'")


@dataclass(frozen=True)
class Answer:
    """What the imports left, believed as far as its types go: the module at hand, how it failed, or that all are ``done``."""

    module: str = ""
    failure: str | None = None
    done: bool = False

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Answer":
        module, failure = fields.get("module"), fields.get("failure")
        return cls(
            module[:200] if isinstance(module, str) else "",
            failure[:1000] if isinstance(failure, str) else None,
            fields.get("done") is True,
        )


def verdict(answer: Answer, ended: Ended, *, began: bool) -> Imported:
    """``began``: whether our program printed its first words, so that what follows is the wheel's doing."""
    if answer.done and ended.exit_code == 0 and ended.stop is None:
        return Imported(ImportResult.PASSED)
    if not began:
        return Imported(ImportResult.UNTRIED, "the sandbox did not start: the log says more")
    doing = f"import {answer.module}" if answer.module else "the environment of its requirements"
    if ended.stop:
        return _stopped(ended.stop, doing)
    if answer.failure is not None:
        return _failed(answer.failure, doing)
    return Imported(ImportResult.FAILED, f"{doing}: Python ended in the middle, {_by(ended.exit_code)}")


def _stopped(stop: Stop, doing: str) -> Imported:
    if stop.limit in _OF_THIS_HOST:
        return Imported(ImportResult.UNTRIED, f"{doing} takes more {stop.limit} than a build of its class has here")
    return Imported(ImportResult.FAILED, f"{doing} {_STOPPED.get(stop.limit, stop.limit)}")


def _failed(failure: str, doing: str) -> Imported:
    said = f"{doing}: {failure}"
    if failure.startswith("MemoryError"):
        return Imported(ImportResult.UNTRIED, said)
    if not failure.startswith(_OF_THE_CODE) and _HIDDEN.search(failure):
        return Imported(ImportResult.UNTRIED, f"it wants what a sandbox has not: {said}")
    found = _MISSING_LIBRARY.search(failure) or _MISSING_MODULE.search(failure)
    return Imported(ImportResult.FAILED, said, found[1] if found else None)


def _by(exit_code: int) -> str:
    number = -exit_code if exit_code < 0 else exit_code - 128
    with suppress(ValueError):
        return f"by {signal.Signals(number).name}"
    return f"with exit code {exit_code}"

"""Draining: a file in the state directory keeps a builder from beginning anything new, until it is taken away.

Whoever wants it drained (an upgrade, retire.yml, a person) writes the reason into that file, and may wait until all is recorded.
A file of that name in the spool does the same: the index host may write there, and could empty the spool as well.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piwheels_builder.builder.disk import remove, visible, write_atomically
from piwheels_builder.builder.log import plain
from piwheels_builder.errors import BadInput, StillBusy

_NAME = "draining"
_LONGEST_REASON = 300
_TICK = 0.5


def reason_to_drain(state_dir: Path) -> str | None:
    """Why this builder begins nothing new; None while it may."""
    return _said(state_dir / _NAME) or _said(state_dir / "spool" / _NAME)


def _said(path: Path) -> str | None:
    try:
        with open(path, "rb", opener=_cautiously) as file:
            said = " ".join(plain(file.read(4 * _LONGEST_REASON)).split())[:_LONGEST_REASON]
    except FileNotFoundError:
        return None
    except OSError as error:
        # Whatever lies there, somebody wants it drained.
        return f"{_NAME}: {error.strerror}"
    return said or "no reason given"


def _cautiously(path: str, flags: int) -> int:
    # The spool is another user's: no link to what only root may read, no pipe to wait at.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def drain(state_dir: Path, reason: str) -> None:
    """Have no build begin from now on; those that run may end. Raises BadInput where this user may not."""
    if not reason.strip():
        raise BadInput("say why: --reason 'a new kernel'")
    _change(state_dir, lambda: write_atomically(state_dir / _NAME, " ".join(reason.split())[:_LONGEST_REASON] + "\n"))


def undrain(state_dir: Path) -> bool:
    """Let builds begin again. Returns whether it was draining. Raises BadInput where this user may not."""
    draining = reason_to_drain(state_dir) is not None

    def take_away() -> None:
        remove(state_dir / "spool" / _NAME)
        remove(state_dir / _NAME)

    _change(state_dir, take_away)
    return draining


def _change(state_dir: Path, change: Callable[[], None]) -> None:
    try:
        change()
    except OSError as error:
        raise BadInput(f"{state_dir / _NAME} cannot be changed ({error.strerror}): run this as the builder's user") from error


def wait_until_drained(state_dir: Path, seconds: float, tell: Callable[[str], None]) -> None:
    """Until nothing runs and every result is recorded. ``tell`` is given a line whenever that comes nearer. Raises StillBusy."""
    deadline, told = time.monotonic() + seconds, ""
    while (left := what_is_left(state_dir)).anything:
        if str(left) != told:
            told = str(left)
            tell(told)
        if time.monotonic() >= deadline:
            raise StillBusy(f"not drained after {seconds:g} s: {left}; it goes on draining, `piwheels-builder undrain` ends that")
        time.sleep(_TICK)


@dataclass(frozen=True)
class Left:
    """What keeps a builder from being drained. ``trouble``: why results are not recorded, in the service's words."""

    running: int
    unrecorded: int
    served: bool
    obeyed: bool
    trouble: str | None = None

    @property
    def anything(self) -> bool:
        return bool(self.running or self.unrecorded or (self.served and not self.obeyed))

    def __str__(self) -> str:
        if self.served and not self.obeyed:
            return "the service has not noticed yet"
        builds = f"{self.running} builds {'run' if self.served else 'were interrupted'}"
        parts = [builds, f"{self.unrecorded} results are to be recorded"]
        if not self.served:
            parts.append("the service does not run: start it, and it records them")
        return ", ".join([*parts, *([self.trouble] if self.trouble else [])])


def what_is_left(state_dir: Path) -> Left:
    """Asked from outside of the service, which may not run. Raises BadInput where this user may not look."""
    try:
        # In this order: the service writes its status after it has decided, and takes a mark away after a record.
        served = _is_served(state_dir)
        status = _status(state_dir) if served else {}
        begun = {entry.name for entry in visible(state_dir / "spool/begun")}
        entries = {entry.name for entry in visible(state_dir / "outbox") if (Path(entry.path) / "result.json").exists()}
        unrecorded = {name for name in entries if not (state_dir / "outbox" / name / "recorded").exists()}
    except OSError as error:
        raise BadInput(f"{error.filename} cannot be read ({error.strerror}): run this as the builder's user") from error
    # A build that was just chosen has no mark yet; the mark of one that is in the outbox goes once the database knows.
    running = max(len(begun - entries), len(status.get("running", ())))
    return Left(running, len(unrecorded), served, bool(status.get("draining")), status.get("database_trouble"))


def _status(state_dir: Path) -> dict[str, Any]:
    with suppress(FileNotFoundError, ValueError):
        status = json.loads((state_dir / "status.json").read_text(encoding="utf-8"))
        return status if isinstance(status, dict) else {}
    return {}


def _is_served(state_dir: Path) -> bool:
    """Whether a service holds the directory (recovery.sole_use)."""
    with (state_dir / "lock").open("a") as lock:
        try:
            # A service that starts at this very moment tries again.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False

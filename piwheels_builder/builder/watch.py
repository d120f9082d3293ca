"""Bounds what a build uses, for all its processes together, in the form that this machine allows: see ``watch_for``.

    watch = watch_for(limits, slot=slot, directories=[area.opened])   # one for each run
    runner(command, ..., watch=watch)                                 # or watch.admit(pid), then follow(child, ..., watch=watch)

- In a delegated control group the kernel bounds memory and processes; its peak and its processor time are read there.
- Elsewhere, besides the limits of each process (limits.py), all descendants of the run's first process are looked at.

Disk space, files, and standing still are looked at in both. Looks take 1 % of the time as long as one takes less than 20 ms, and
walking the disk 2 %. No pause is longer than 2 s, so a slow look takes more: one that divides what forks share (processes.py) needs
some 18 ms for each GB that each of them has.
"""

import functools
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from piwheels_builder.builder import crowding
from piwheels_builder.builder.cgroup import Group, delegated
from piwheels_builder.builder.limits import Limits
from piwheels_builder.builder.process import Ended, Stop, Watch
from piwheels_builder.builder.processes import Descendants
from piwheels_builder.builder.usage import DiskUsage

#: Seconds between two looks, and how many times longer than a look itself a pause is, where that is not too long.
_SHORTEST, _LONGEST, _PAUSE = 0.1, 2.0, 100
#: A run that uses less than this part of a processor does nothing.
_IDLE_PART = 0.001


class Bounds(Protocol):
    """How the memory and the processes of a run are bounded. ``prefix``, ``admit`` and ``end`` as in Watch."""

    @property
    def pids(self) -> Collection[int]:
        """Its processes, as of the last look."""

    def prefix(self) -> Sequence[str]: ...

    def admit(self, pid: int) -> None: ...

    def look(self, pid: int, hidden: int) -> Stop | None:
        """Whether it has more memory or processes than it may. ``hidden``: bytes in files that live in memory and have no name."""

    def cpu_seconds(self) -> float:
        """Used by all its processes, also by those that have ended and were waited for, as of the last look."""

    def end(self, ended: Ended) -> Ended: ...


def watch_for(limits: Limits, *, slot: int, directories: Sequence[Path]) -> Watch:
    """The bounds of one run in this slot. Raises OSError.

    ``directories`` are all that it may write; they may be renamed once this has returned. Once the run has started, ``end`` must be
    called however it ends, as ``run`` and ``follow`` do.
    """
    base = bounding_group()
    bounds: Bounds = Group(base, slot, limits) if base else Descendants(limits)
    return RunWatch(bounds, limits, directories)


@functools.cache
def bounding_group() -> Path | None:
    """What control groups of builds lie in, None where there is none for us. First called before this process has children."""
    return delegated()


@dataclass(frozen=True)
class _Mark:
    """When a run last did something, by the monotonic clock, and what it had used and printed by then."""

    at: float
    cpu_seconds: float
    printed: int


class RunWatch:
    """A Watch of one run, whose memory and processes ``bounds`` bounds."""

    def __init__(self, bounds: Bounds, limits: Limits, directories: Sequence[Path]) -> None:
        self.interval = _SHORTEST
        self._bounds = bounds
        self._stall_seconds = limits.stall_seconds
        self._disk = DiskUsage(limits, directories, lambda: bounds.pids)
        self._mark: _Mark | None = None

    def prefix(self) -> Sequence[str]:
        return self._bounds.prefix()

    def admit(self, pid: int) -> None:
        self._bounds.admit(pid)

    def look(self, pid: int, printed: int) -> Stop | None:
        began = time.thread_time()
        if self._mark is None:
            crowding.enter(self)
        stop = self._bounds.look(pid, self._disk.hidden) or self._stalled(printed) or self._crowded()
        self.interval = min(max(_SHORTEST, _PAUSE * (time.thread_time() - began)), _LONGEST)
        # Keeps to its own share of the time.
        return stop or (Stop("disk", "watcher") if self._disk.exceeded() else None)

    def end(self, ended: Ended) -> Ended:
        crowding.leave(self)
        return self._bounds.end(ended)

    def _stalled(self, printed: int) -> Stop | None:
        now, cpu_seconds = time.monotonic(), self._bounds.cpu_seconds()
        mark = self._mark or _Mark(now, cpu_seconds, printed)
        # Less than before: some have ended, and nobody waited for them.
        moved = abs(cpu_seconds - mark.cpu_seconds) > _IDLE_PART * self._stall_seconds
        self._mark = _Mark(now, cpu_seconds, printed) if moved or printed != mark.printed else mark
        return Stop("stalled", "watcher") if now - self._mark.at >= self._stall_seconds else None

    def _crowded(self) -> Stop | None:
        return Stop("crowded", "watcher") if crowding.must_go(self) else None

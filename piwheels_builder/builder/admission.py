"""Which of the waiting builds starts next, by the memory it is expected to need. For one service, under its lock."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from piwheels_builder.builder.machine import Memory, is_low, memory, most_for_builds, reserve

#: Bytes that a build of a memory class is expected to need. Its limit is higher (limits.MEMORY_OF_CLASS): few come near it.
EXPECTED = (256 * 2**20, 2**30, 6 * 2**30)
#: For so many seconds smaller builds may overtake the first in line.
PATIENCE = 600.0


class Admission:
    """``measure`` tells this machine's memory, ``clock`` the seconds of some monotonic clock."""

    def __init__(self, measure: Callable[[], Memory] = memory, clock: Callable[[], float] = time.monotonic) -> None:
        self._measure = measure
        self._clock = clock
        #: The first in line, and since when it is.
        self._first: tuple[str, float] = ("", 0.0)
        self._crowd: frozenset[str] = frozenset()
        #: What keeps all builds from starting; None while some may.
        self.trouble: str | None = None

    def choose(self, line: Sequence[tuple[str, int]], running: Mapping[str, int]) -> int | None:
        """The place in line of the build to start, None where none may. Builds are told by their names and memory classes."""
        now = self._measure()
        self.trouble = _trouble(now)
        if not line or self.trouble or self._is_crowded(running):
            return None
        too_large: set[int] = set()
        for place, (name, memory_class) in enumerate(line):
            if memory_class not in too_large and _fits(memory_class, running.values(), now):
                return place
            too_large.add(memory_class)
            if place == 0 and self._has_waited_long(name):
                return None
        return None

    def has_room(self) -> bool:
        """Whether there is memory for a build at all."""
        return not is_low(self._measure())

    def was_crowded(self, others: Iterable[str]) -> None:
        """A build was given up for want of memory: until one of these others has ended, none starts."""
        self._crowd = frozenset(others)

    def _is_crowded(self, running: Mapping[str, int]) -> bool:
        if not self._crowd <= running.keys():
            self._crowd = frozenset()
        return bool(self._crowd)

    def _has_waited_long(self, name: str) -> bool:
        if name != self._first[0]:
            self._first = (name, self._clock())
        return self._clock() - self._first[1] >= PATIENCE


def _trouble(now: Memory) -> str | None:
    if not is_low(now):
        return None
    return f"{now.available >> 20} MiB of memory available, {reserve(now.total) // 2 >> 20} MiB needed"


def _fits(memory_class: int, running: Iterable[int], now: Memory) -> bool:
    """By what those that run may come to need, and by what is free now. One alone always fits: it has no smaller way to run."""
    promised = [_expected(other, now) for other in running]
    if not promised:
        return True
    need = _expected(memory_class, now)
    return need <= most_for_builds(now.total) - sum(promised) and need <= now.available - reserve(now.total)


def _expected(memory_class: int, now: Memory) -> int:
    return min(EXPECTED[memory_class], most_for_builds(now.total))

"""When this machine runs out of memory while several builds run, the youngest goes back to the spool.

The kernel is not left to choose: it might take an old one, or the database.
A build that runs alone is left to its own limit, and to the kernel.
"""

import threading
import weakref

from piwheels_builder.builder.machine import Memory, is_low, memory

_lock = threading.Lock()
#: The watches of all runs, the youngest last. One that was dropped without a word leaves by itself.
_running: list["weakref.ref[object]"] = []


def enter(watch: object) -> None:
    """A run begins."""
    with _lock:
        _running.append(weakref.ref(watch))


def leave(watch: object) -> None:
    """A run has ended, or never began."""
    with _lock:
        _running[:] = [other for other in _running if other() not in {watch, None}]


def must_go(watch: object, now: Memory | None = None) -> bool:
    """Whether this run is the one to give up."""
    with _lock:
        alive = [other() for other in _running if other() is not None]
        youngest = len(alive) > 1 and alive[-1] is watch
    return youngest and is_low(now or memory())

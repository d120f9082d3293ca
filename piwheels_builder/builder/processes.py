"""The watcher's view of a run: all descendants of its first process, and the memory, processes and time they take together.

All is read from /proc, where processes come and go while one looks (proc(5)). Those that lose their parent stay descendants: the
first process of the run's pid namespace adopts them.

Memory is what is a process's own (RssAnon, RssShmem, VmSwap). What a fork shares with its parent counts for both, also the 30 MB
that a warm parent's child begins with. Only where the sum is over the limit is it divided among those who share it, until that is
over the limit too: it is slow, since the kernel then visits each page.
"""

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from piwheels_builder.builder.limits import Limits
from piwheels_builder.builder.process import Ended, Stop

_STATUS = re.compile(rb"^(PPid|RssAnon|RssShmem|VmSwap|Threads):\s+(\d+)", re.MULTILINE)
_ROLLUP = re.compile(rb"^(Pss_Anon|Pss_Shmem|SwapPss):\s+(\d+)", re.MULTILINE)
_TICKS = os.sysconf("SC_CLK_TCK")
#: How bubblewrap, and our own first process, say that the program was killed by signal 9, or that they were.
_KILLED = (-9, 128 + 9)


@dataclass(frozen=True)
class _Seen:
    """One process. Memory in bytes."""

    parent: int
    threads: int
    own: int
    shared: int


class Descendants:
    """Bounds of one run by looking: ``Bounds`` in watch.py says what the methods are.

    Made before the run has more than one process.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # Whoever is not of this run never will be: only newcomers are read. All that live now are none of it, but for its first.
        self._strangers = _there()
        self._oom_kills = oom_kills()
        self._peak: int | None = None
        self.pids: Collection[int] = ()

    def prefix(self) -> Sequence[str]:
        return ()

    def admit(self, pid: int) -> None:
        """Nothing to do: it is looked at."""

    def look(self, pid: int, hidden: int) -> Stop | None:
        seen = self._seen(pid)
        for newcomer in seen.keys() - set(self.pids):
            offer_to_kernel(newcomer)
        self.pids = seen.keys()
        if sum(process.threads for process in seen.values()) > self._limits.processes:
            return Stop("processes", "watcher")
        memory = self._memory(seen, hidden)
        self._peak = max(self._peak or 0, memory)
        return Stop("memory", "watcher") if memory > self._limits.memory_bytes else None

    def cpu_seconds(self) -> float:
        return sum(map(_cpu_ticks, self.pids)) / _TICKS

    def end(self, ended: Ended) -> Ended:
        stop = ended.stop
        if stop is None and ended.exit_code in _KILLED and oom_kills() > self._oom_kills:
            stop = Stop("memory", "kernel")
        return replace(ended, stop=stop, peak_memory=self._peak)

    def _seen(self, root: int) -> Mapping[int, _Seen]:
        there = _there()
        # A number may have been given to another since, which may be of this run.
        strangers = dict(self._strangers.items() & there.items()).keys() - {root}
        seen = {pid: process for pid in there.keys() - strangers if (process := _read(pid))}
        children: dict[int, list[int]] = {}
        for pid, process in seen.items():
            children.setdefault(process.parent, []).append(pid)
        ours = _below([root], children)
        strangers |= _below([0, *strangers], {**children, root: []}) & there.keys() - ours
        self._strangers = {pid: there[pid] for pid in strangers}
        return {pid: seen[pid] for pid in ours if pid in seen}

    def _memory(self, seen: Mapping[int, _Seen], hidden: int) -> int:
        own = sum(process.own for process in seen.values())
        # Files in memory that have no name: what is mapped of them is among the shared.
        shared = max(hidden, sum(process.shared for process in seen.values()))
        if own + shared <= self._limits.memory_bytes:
            return own + shared
        divided = 0
        for pid, process in seen.items():
            divided += _divided(pid, process)
            if divided > self._limits.memory_bytes:
                break
        return min(own + shared, max(divided, hidden))


def oom_kills() -> int:
    """How many processes the kernel has killed for want of memory since it started."""
    try:
        found = re.search(rb"^oom_kill (\d+)", Path("/proc/vmstat").read_bytes(), re.MULTILINE)
    except OSError:
        # A container may hide it.
        return 0
    return int(found[1]) if found else 0


def _there() -> dict[int, int]:
    """Of each process its number, and the inode of its directory, which is another one for the next process of that number."""
    with os.scandir("/proc") as entries:
        return {int(entry.name): entry.inode() for entry in entries if entry.name.isdecimal()}


def _below(roots: Iterable[int], children: Mapping[int, Sequence[int]]) -> set[int]:
    """The roots and all their descendants."""
    found, left = set(roots), list(roots)
    while left:
        new = [child for child in children.get(left.pop(), ()) if child not in found]
        found.update(new)
        left += new
    return found


def _read(pid: int) -> _Seen | None:
    """None where it is gone."""
    fields = _fields(_STATUS, f"/proc/{pid}/status")
    if b"PPid" not in fields:
        return None
    # A kernel thread, or a process that is dead and not yet waited for, has no memory.
    own = fields.get(b"RssAnon", 0) + fields.get(b"VmSwap", 0)
    return _Seen(fields[b"PPid"], fields.get(b"Threads", 1), own * 1024, fields.get(b"RssShmem", 0) * 1024)


def _divided(pid: int, seen: _Seen) -> int:
    """A process's part of the memory that it shares with others, and all of its own."""
    fields = _fields(_ROLLUP, f"/proc/{pid}/smaps_rollup")
    return sum(fields.values()) * 1024 if len(fields) == 3 else seen.own + seen.shared


def _fields(wanted: "re.Pattern[bytes]", path: str) -> dict[bytes, int]:
    return {name: int(number) for name, number in wanted.findall(_content(path))}


def _cpu_ticks(pid: int) -> int:
    """What it has used, and those of its children that it has waited for."""
    # Behind the program's name, which may hold anything, state is the first field and utime the twelfth.
    fields = _content(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return sum(map(int, fields[11:15]))


def _content(path: str) -> bytes:
    """Empty where the process is gone or keeps it from us."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return os.read(descriptor, 16384)
        finally:
            os.close(descriptor)
    return b""


def offer_to_kernel(pid: int) -> None:
    """Should the kernel run out of memory all the same, it is to take a build, and not the service or the database."""
    with suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "wb", buffering=0) as file:  # noqa: PTH123
        file.write(b"1000")

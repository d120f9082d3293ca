"""What a process and its descendants use, as the kernel counts it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Footprint:
    """Bytes and seconds of CPU. ``own`` is the resident memory of the process itself, ``peak`` its most; ``all`` shares out what
    several processes have in common; ``cpu`` is of all that live now.
    """

    own: int
    peak: int
    all: int
    processes: int
    cpu: float


def footprint(pid: int) -> Footprint:
    """Of a living process and everything below it."""
    pids = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return Footprint(
        own=_kib(pid, "status", "VmRSS:"),
        peak=_kib(pid, "status", "VmHWM:"),
        all=sum(_kib(one, "smaps_rollup", "Pss:") for one in pids),
        processes=len(pids),
        cpu=sum(_nanoseconds(pids)) / 1e9,
    )


def _kib(pid: int, file: str, field: str) -> int:
    """A line like "VmRSS:   1234 kB", in bytes; 0 where the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), 0)


def _nanoseconds(pids: list[int]) -> Iterator[int]:
    # schedstat counts in nanoseconds; what /proc/PID/stat counts in would hide an idle service's use.
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                yield int(thread.read_text(encoding="ascii").split()[0])
            except OSError:
                continue

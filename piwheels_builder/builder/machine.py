"""What this machine has: memory, how much of it builds may take, and processors."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

#: Kept from builds: for the system, this service, the way in by ssh. At least so much, on larger machines so large a part.
_LEAST_RESERVE = 128 * 2**20
_RESERVED_PART = 1 / 16


@dataclass(frozen=True)
class Memory:
    """In bytes. ``available`` is what can be had without swapping (proc(5): MemAvailable)."""

    total: int
    available: int


def memory(meminfo: Path = Path("/proc/meminfo")) -> Memory:
    """Read now, of the machine that we run on."""
    fields = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    return Memory(total=_bytes(fields["MemTotal"]), available=_bytes(fields["MemAvailable"]))


def memory_within(most_mb: int | None) -> Memory:
    """The same, where no more than so many MB are for builds and the system; None: all of it."""
    now = memory()
    return now if most_mb is None else replace(now, total=min(now.total, most_mb << 20))


def reserve(total: int) -> int:
    """Bytes that builds leave alone on a machine with ``total`` bytes of memory."""
    return int(max(_LEAST_RESERVE, total * _RESERVED_PART))


def most_for_builds(total: int | None = None) -> int:
    """Bytes that builds may use together on a machine with ``total`` bytes of memory; None is this machine."""
    total = memory().total if total is None else total
    return max(total - reserve(total), total // 2)


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def is_low(now: Memory) -> bool:
    """Whether so little memory is left that no build may start, and one of several must go."""
    return now.available < reserve(now.total) // 2


def _bytes(field: str) -> int:
    return int(field.split(maxsplit=1)[0]) * 1024

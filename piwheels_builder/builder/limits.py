"""What one build may use."""

import os
import platform
from dataclasses import dataclass, replace

from piwheels_builder.builder.machine import most_for_builds

#: Bytes that a build of a memory class may use, None: all that there is for builds.
MEMORY_OF_CLASS = (640 * 2**20, 3 * 2**30, None)
#: By so much a process limit of the kernel's stands above ours: a build that reaches ours is seen to, and not just refused.
_PROCESS_SLACK = 32


@dataclass(frozen=True)
class Limits:
    """``log_bytes`` for a run of the driver; ``file_bytes`` and ``open_files`` for each process; the rest for all of them.

    Wall time is the build's. ``processes`` counts threads, as the kernel's own limits do.
    """

    log_bytes: int = 16 * 2**20
    #: Largest file a process may write, in bytes (RLIMIT_FSIZE).
    file_bytes: int = 4 * 2**30
    open_files: int = 4096
    memory_bytes: int = 640 * 2**20
    processes: int = 512
    #: A build tree of the largest releases that a Pi builds has some 3 GiB; a small SD card has 16.
    disk_bytes: int = 4 * 2**30
    #: Twice the files of the largest source trees. A card of 16 GB has a million inodes.
    disk_files: int = 500_000
    #: So long without output, and with less than a thousandth of a processor's time, a build has stalled.
    stall_seconds: float = 1800.0

    def of_class(self, memory_class: int, machine_bytes: int | None = None) -> "Limits":
        """These, with the memory of a class. ``machine_bytes``: the memory there is, where that is not this machine's."""
        most, wanted = most_for_builds(machine_bytes), MEMORY_OF_CLASS[memory_class]
        return replace(self, memory_bytes=most if wanted is None else min(wanted, most))

    def rlimits(self) -> dict[str, int]:
        """What the kernel bounds for each process by itself, by the names of the module ``resource``."""
        bounds = {
            "RLIMIT_CORE": 0,
            "RLIMIT_FSIZE": self.file_bytes,
            "RLIMIT_NOFILE": self.open_files,
            # Catches the one process that takes all at once, between two looks of the watcher.
            "RLIMIT_DATA": self.memory_bytes,
        }
        if _counts_builds_alone():
            bounds["RLIMIT_NPROC"] = self.processes + _PROCESS_SLACK
        return bounds

    def prlimit(self) -> list[str]:
        """The start of a command that runs the rest of it within ``rlimits``."""
        return ["/usr/bin/prlimit", *(f"--{name.removeprefix('RLIMIT_').lower()}={most}" for name, most in self.rlimits().items())]


def _counts_builds_alone() -> bool:
    """Whether RLIMIT_NPROC counts a build's processes, and not also all others of the user that runs this.

    As root each slot has a user of its own. Else builds have a user namespace of their own, which Linux counts apart since 5.14.
    """
    return os.geteuid() == 0 or _kernel() >= (5, 14)


def _kernel() -> tuple[int, ...]:
    major, minor = platform.release().split(".")[:2]
    return int(major), int("".join(digit for digit in minor if digit.isdigit()) or 0)

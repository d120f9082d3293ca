"""Where builds happen in memory: a directory of ours on the system's tmpfs, so that cards and network roots see wheels alone.

A small sdist has hundreds of files that live for a second. What doesn't fit is built on the disk. Large builds go there at once,
except where the disk is the network's.
"""

import errno
import hashlib
import logging
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from piwheels_builder.builder.machine import memory

log = logging.getLogger(__name__)

_TMPFS = Path("/dev/shm")  # noqa: S108 - the directory made there is ours alone
#: All builds together may fill this part of the memory; a build that gets less than this many bytes goes to the disk.
_PART = 1 / 8
_LEAST = 24 * 2**20


@dataclass(frozen=True)
class MemoryArea:
    """``directory`` is ours alone. A small build there may fill ``bytes_each``, a large one ``bytes_large``; 0: it goes elsewhere.

    Several large ones together may find less than that: whoever meets the end is built again, on the disk.
    """

    directory: Path
    bytes_each: int
    bytes_large: int = 0

    def bytes_for(self, memory_class: int) -> int:
        return self.bytes_large if memory_class > 0 and self.bytes_large else self.bytes_each


def memory_area(state_dir: Path, slots: int, tmpfs: Path = _TMPFS, most_mb: int | None = None) -> MemoryArea | None:
    """For the builds of a builder with this state directory, so many at once; None where this machine has no place for it.

    ``most_mb``: what builds of any size may fill together, in MB; None: small ones alone, the usual part.
    """
    directory = memory_directory(state_dir, tmpfs)
    bytes_all = _bytes_for_all(tmpfs, int(memory().total * _PART) if most_mb is None else most_mb << 20)
    bytes_each = bytes_all // slots
    if bytes_each < _LEAST or not _is_ours(directory):
        return None
    return MemoryArea(directory, bytes_each, 0 if most_mb is None else bytes_all)


def memory_directory(state_dir: Path, tmpfs: Path = _TMPFS) -> Path:
    """Its name says whose it is, since other builders may run here."""
    told_apart = hashlib.sha256(os.fsencode(state_dir.resolve())).hexdigest()[:12]
    return tmpfs / f"piwheels-builder-{os.geteuid()}-{told_apart}"


def leave(state_dir: Path) -> None:
    """Take the directory away, if nothing is in it."""
    with suppress(OSError):
        memory_directory(state_dir).rmdir()


def _bytes_for_all(tmpfs: Path, part: int) -> int:
    """What all builds together may fill: their part of the memory, as far as the file system holds it. 0 where there is none."""
    try:
        found = os.statvfs(tmpfs)
    except OSError as error:
        log.warning("builds happen on the disk: %s: %s", tmpfs, error.strerror)
        return 0
    # A tmpfs without a bound has no blocks.
    return min(part, found.f_blocks * found.f_frsize or part)


def _is_ours(directory: Path) -> bool:
    """Make it if it isn't there. Others may write beside it, and may have been first."""
    try:
        if os.statvfs(directory.parent).f_flag & os.ST_NOEXEC:
            return False
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.lstat()
        if not os.access(directory, os.W_OK):
            raise PermissionError(errno.EACCES, "cannot be written", os.fspath(directory))
    except OSError as error:
        log.warning("builds happen on the disk: %s", error)
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == 0o700

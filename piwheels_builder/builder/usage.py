"""How much of the disk a run has filled: its directories, walked a slice at a time, and open files that have no name any more."""

import errno
import itertools
import os
import stat
import time
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from piwheels_builder.builder.limits import Limits

#: The part of a processor that may go into walking: usually, while the file system fills fast, and when it may be too much already.
_SHARES = (0.02, 0.2, 0.5)
_LEAST_SLICE = 0.0005
#: So many entries between two looks at the clock.
_STEP = 100
_DIRECTORY = os.O_DIRECTORY | os.O_NOFOLLOW
#: Directories nested deeper than this are more than a run may have: a walk holds a descriptor of each level.
_DEEPEST = 128
#: Say nothing of a directory.
_OURS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


@dataclass(frozen=True)
class Usage:
    """``hidden`` bytes are in files without a name that live in memory (memfd_create), ``disk`` bytes the rest; ``files``: both."""

    disk: int = 0
    files: int = 0
    hidden: int = 0


class DiskUsage:
    """Of one run. The directories are opened at once, so they may be renamed afterwards. Raises OSError where they aren't there."""

    def __init__(self, limits: Limits, directories: Sequence[Path], pids: Callable[[], Collection[int]]) -> None:
        self._most_bytes, self._most_files = limits.disk_bytes, limits.disk_files
        self._tops = [_opened(self, directory) for directory in directories]
        self._devices = {os.fstat(top).st_dev for top in self._tops}
        self._pids = pids
        #: What the last whole walk found.
        self.found = Usage()
        self._free = self._free_now()
        self._begin_walk()
        self._walked_at = time.monotonic()

    @property
    def hidden(self) -> int:
        """Bytes in files that live in memory and have no name: of the last whole walk, or of the present one if they are more."""
        return max(self.found.hidden, self._so_far.hidden)

    def exceeded(self) -> bool:
        """Walk on for a moment. Returns whether the run has more than it may. Raises OSError where we have no descriptor left."""
        passed = time.monotonic() - self._walked_at
        # Of our own time: on a busy machine that passes slowly.
        until = time.thread_time() + max(_LEAST_SLICE, _SHARES[self._hurry()] * passed)
        try:
            over = self._walk_until(until)
        except _TooDeep:
            over = True
        self._walked_at = time.monotonic()
        return over

    def _walk_until(self, until: float) -> bool:
        for usage in self._walk:
            self._so_far = usage
            if self._is_over(usage):
                return True
            if time.thread_time() >= until:
                return False
        self.found, self._free = self._so_far, self._free_before
        self._begin_walk()
        return False

    def _begin_walk(self) -> None:
        self._free_before, self._so_far = self._free_now(), Usage()
        self._walk: Iterator[Usage] = _walk(self._tops, self._devices, self._pids)

    def _is_over(self, usage: Usage) -> bool:
        return usage.disk > self._most_bytes or usage.files > self._most_files

    def _hurry(self) -> int:
        """By what the file system has lost since the last walk began: 0; 1 for a quarter of what is left to this run; 2 for all."""
        free = self._free_now()
        bytes_lost, files_lost = self._free.disk - free.disk, self._free.files - free.files
        bytes_left, files_left = self._most_bytes - self.found.disk, self._most_files - self.found.files
        return sum(part * bytes_lost > bytes_left or part * files_lost > files_left for part in (4, 1))

    def _free_now(self) -> Usage:
        told = [os.fstatvfs(top) for top in self._tops[:1]]
        return Usage(sum(fs.f_bavail * fs.f_frsize for fs in told), sum(fs.f_favail for fs in told))


class _TooDeep(Exception):
    """Directories are nested deeper than is walked."""


def _opened(owner: object, directory: Path) -> int:
    """Closed with its owner."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    weakref.finalize(owner, os.close, descriptor)
    return descriptor


def _walk(tops: Sequence[int], devices: Collection[int], pids: Callable[[], Collection[int]]) -> Iterator[Usage]:
    """The sum so far, every few entries and in the end. Raises _TooDeep."""
    disk = files = hidden = 0
    for looked, found in enumerate(itertools.chain.from_iterable(map(_stats, tops)), 1):
        if found:
            files += 1
            # Of a file with several names, each counts for its part.
            disk += found.st_blocks * 512 // (1 if stat.S_ISDIR(found.st_mode) else max(1, found.st_nlink))
        if looked % _STEP == 0:
            yield Usage(disk, files, hidden)
    for looked, found in enumerate(_nameless(pids()), 1):
        if found:
            files += 1
            disk += found.st_blocks * 512 if found.st_dev in devices else 0
            hidden += found.st_blocks * 512 if found.st_dev not in devices else 0
        if looked % _STEP == 0:
            yield Usage(disk, files, hidden)
    yield Usage(disk, files, hidden)


def _stats(top: int) -> Iterator[os.stat_result | None]:
    """Of all that lies below a directory; None for what is gone. Raises _TooDeep.

    Each is opened from the one above, so that no link put in the way of a walk leads it elsewhere.
    """
    below: list[str] = []
    yield from _entries(top, below)
    # The directories from the top to the present one, each with the names of those below it that are left to do.
    levels = [(top, below)]
    try:
        while levels:
            above, names = levels[-1]
            if not names:
                levels.pop()
                _close(above, top)
                continue
            if len(levels) > _DEEPEST:
                raise _TooDeep
            descriptor = _open(names.pop(), above)
            if descriptor is not None:
                levels.append((descriptor, below := []))
                yield from _entries(descriptor, below)
    finally:
        for descriptor, _ in levels:
            _close(descriptor, top)


def _close(descriptor: int, top: int) -> None:
    if descriptor != top:
        os.close(descriptor)


def _entries(directory: int, below: list[str]) -> Iterator[os.stat_result | None]:
    """What lies in a directory; None for what is gone. The names of its directories are added to ``below``."""
    with os.scandir(directory) as entries:
        for entry in entries:
            found = _stat(entry, directory)
            if found and stat.S_ISDIR(found.st_mode):
                below.append(entry.name)
            yield found


def _open(name: str, above: int) -> int | None:
    """None where it is gone, or has become something else."""
    try:
        with suppress(PermissionError):
            return os.open(name, _DIRECTORY | os.O_RDONLY, dir_fd=above)
        # A build that runs as our own user may have closed a directory, even to itself, and still fill it.
        _let_us_in(name, above)
        return os.open(name, _DIRECTORY | os.O_RDONLY, dir_fd=above)
    except OSError as error:
        if error.errno in _OURS:
            raise
        return None


def _stat(entry: "os.DirEntry[str]", directory: int) -> os.stat_result | None:
    """None where it is gone."""
    with suppress(FileNotFoundError, PermissionError):
        with suppress(PermissionError):
            return entry.stat(follow_symlinks=False)
        os.fchmod(directory, 0o700)
        return entry.stat(follow_symlinks=False)
    return None


def _let_us_in(name: str, above: int) -> None:
    os.fchmod(above, 0o700)
    descriptor = os.open(name, _DIRECTORY | os.O_PATH, dir_fd=above)
    try:
        # By the descriptor: what lies under the name may have become something else by now.
        Path(f"/proc/self/fd/{descriptor}").chmod(0o700)
    finally:
        os.close(descriptor)


def _nameless(pids: Collection[int]) -> Iterator[os.stat_result | None]:
    """Files that processes have open and that have no name any more; None for each process, and for whatever else it has open."""
    seen = set()
    for pid in pids:
        yield None
        # It may be gone, or keep them from us.
        with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as opened:
            for entry in opened:
                found = _without_name(entry)
                key = found and (found.st_dev, found.st_ino)
                yield None if key in seen else found
                seen.add(key)


def _without_name(entry: "os.DirEntry[str]") -> os.stat_result | None:
    """What an open file is, None where it has a name, is no file, or is closed again."""
    with suppress(OSError):
        found = entry.stat()
        if stat.S_ISREG(found.st_mode) and not found.st_nlink:
            return found
    return None

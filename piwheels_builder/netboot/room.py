"""A full file server tells its machines: a flag in every root that it exports, which builders honour before their writes fail.

Run by a timer of the file server: ``python -m piwheels_builder.netboot.room DIRECTORY SPARE_MB``.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FLAG = "file-server-full"
#: Room enough again: that much more than the least, so that the flag does not come and go with each build.
AGAIN = 1.25
#: The least share of free inodes; a root is many small files.
_INODES = 0.02


def is_full(free_bytes: float, free_inodes: float, spare_bytes: float, *, was_full: bool) -> bool:
    """Whether machines must stop. ``free_inodes`` is a share of all, from 0 to 1."""
    factor = AGAIN if was_full else 1
    return free_bytes < spare_bytes * factor or free_inodes < _INODES * factor


def watch(directory: Path, spare_bytes: int) -> bool:
    """Put the flag into every root below ``directory``, or take it away; whether it is full. Raises OSError."""
    seen = os.statvfs(directory)
    # Some file systems have no fixed number of inodes, and say 0.
    inodes = seen.f_favail / seen.f_files if seen.f_files else 1
    places = list(roots(directory))
    full = is_full(seen.f_bavail * seen.f_frsize, inodes, spare_bytes, was_full=any(map(_has_flag, places)))
    for root in places:
        with suppress(OSError):
            _put_flag(root, there=full)
    return full


def roots(directory: Path) -> Iterator[Path]:
    """Every root that is, or may be, exported, and what machines on shared roots mount besides."""
    for places in ("images/*", "hosts/*/root", "hosts/*/state/lib"):
        yield from (place for place in sorted(directory.glob(places)) if place.is_dir() and not place.name.startswith("."))


def _has_flag(root: Path) -> bool:
    return os.path.lexists(root / ".piwheels" / FLAG)


def _put_flag(root: Path, *, there: bool) -> None:
    # A machine writes to its own root as it likes: what it made a link of leads nowhere.
    place = os.open(root / ".piwheels", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if there:
            with suppress(FileExistsError):
                os.close(os.open(FLAG, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644, dir_fd=place))
        else:
            with suppress(FileNotFoundError):
                os.unlink(FLAG, dir_fd=place)
    finally:
        os.close(place)


def main() -> None:
    directory, spare_mb = Path(sys.argv[1]), int(sys.argv[2])
    if watch(directory, spare_mb * 2**20):
        print(f"{directory} has less than {spare_mb} MB free, or few inodes: machines are told to stop", flush=True)


if __name__ == "__main__":
    main()

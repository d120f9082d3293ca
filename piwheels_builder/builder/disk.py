"""Files that are whole or not there at all, also after a power cut."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from piwheels_builder.settings import SPARE_MB

#: With less free space than this, in bytes, a disk counts as full: no build starts.
SPARE_BYTES = SPARE_MB * 2**20


def write_atomically(path: Path, text: str) -> None:
    """Write ``path`` through a temporary name that starts with a dot. Raises OSError, leaving no temporary file."""
    # The ids keep two writers of one path apart: a service and a play, two slots of a service.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_native_id()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def touch(path: Path) -> None:
    """Make an empty file that a power cut does not take away."""
    path.touch()
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until the disk has a file's content, or a directory's names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(directory: Path) -> None:
    """Wait until the disk has every file in a directory, and their names."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                sync(Path(entry.path))
    sync(directory)


def remove(path: Path) -> None:
    """Remove a file or a tree, if it is there, even where a build took its own directories' permissions away."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=_permit_and_retry)
    else:
        path.unlink(missing_ok=True)


def visible(directory: Path) -> Iterator[os.DirEntry[str]]:
    """What lies in a directory under a final name: a dot means that its writer has not finished."""
    with os.scandir(directory) as entries:
        yield from (entry for entry in entries if not entry.name.startswith("."))


def tree_bytes(directory: Path) -> int:
    """What the files of a tree take on the disk, in bytes; what vanishes meanwhile takes nothing."""
    total = 0
    for place, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                total += (Path(place) / name).lstat().st_blocks * 512
    return total


def free_bytes(directory: Path) -> int:
    """What an ordinary user can still write there."""
    return shutil.disk_usage(directory).free


def _permit_and_retry(function: Callable[..., object], path: str, failure: object) -> None:
    if isinstance(failure, tuple) and isinstance(failure[1], FileNotFoundError):
        return
    for closed in (Path(path).parent, Path(path)):
        if closed.is_dir() and not closed.is_symlink():
            closed.chmod(0o700)
    if function in (os.open, os.scandir):
        shutil.rmtree(path)
    else:
        function(path)

"""Taking a wheel out of a builder's incoming directory: by its bytes alone, whatever the builder put there."""

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path

from piwheels_builder.errors import WheelRejected

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Taken:
    """What was copied: hex, and bytes."""

    sha256: str
    size: int


def is_there(incoming: Path, directory: str, filename: str) -> bool:
    """Whether anything lies under the wheel's name."""
    return os.path.lexists(incoming / directory / filename)


def take(incoming: Path, directory: str, filename: str, target: Path, most: int) -> Taken | None:
    """Copy the wheel to ``target`` and hash the copy; stop one byte after ``most``. None where it is missing.

    Follows no link below ``incoming``. Raises WheelRejected, OSError.
    """
    try:
        source = _open(incoming, directory, filename)
    except FileNotFoundError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            raise WheelRejected(f"{filename} is not a file")
        with target.open("w+b") as copy:
            return _copy(source, copy, most + 1)
    finally:
        os.close(source)


def _open(incoming: Path, directory: str, filename: str) -> int:
    try:
        parent = os.open(incoming / directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            # A FIFO would keep a blocking open waiting for ever.
            return os.open(filename, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
        finally:
            os.close(parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise WheelRejected(f"{filename} is not a file") from error
        raise


def _copy(source: int, copy: BufferedRandom, most: int) -> Taken:
    left = most
    while left and (chunk := os.read(source, min(_CHUNK, left))):
        copy.write(chunk)
        left -= len(chunk)
    # What counts is what was written, not what was read.
    copy.seek(0)
    return Taken(hashlib.file_digest(copy, "sha256").hexdigest(), most - left)

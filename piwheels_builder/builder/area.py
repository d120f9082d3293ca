"""The directories of one build in progress, and reading what a build left in them."""

import errno
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from piwheels_builder.builder.disk import remove


@dataclass(frozen=True)
class Area:
    """``root`` is the builder's own. What lies in ``opened`` the build may write: it is not to be trusted."""

    root: Path

    @property
    def opened(self) -> Path:
        """Holds build/, tmp/ and shm/. While a warm parent's child builds, it lies where that parent sees it."""
        return self.root / "opened"

    @property
    def build(self) -> Path:
        """Mounted at /build: src/ (the unpacked sdist), wheels/ and home/."""
        return self.opened / "build"

    @property
    def source(self) -> Path:
        return self.build / "src"

    @property
    def wheels(self) -> Path:
        return self.build / "wheels"

    @property
    def tmp(self) -> Path:
        """Mounted at /tmp and /var/tmp."""
        return self.opened / "tmp"

    @property
    def shm(self) -> Path:
        """Mounted at /dev/shm."""
        return self.opened / "shm"

    @property
    def driver(self) -> Path:
        """Mounted read-only at /driver: the script that runs the hooks, and what it is asked to do."""
        return self.root / "driver"

    @property
    def etc(self) -> Path:
        """Files mounted read-only in /etc."""
        return self.root / "etc"

    @property
    def own(self) -> Path:
        """What the builder writes for itself; not mounted."""
        return self.root / "own"


@contextmanager
def new_area(root: Path) -> Iterator[Area]:
    """Make the directories, over whatever an earlier build of the same lease left there; they are gone after the block."""
    discard(root)
    area = Area(root)
    root.mkdir(mode=0o700)
    places = (
        area.opened,
        area.build,
        area.source,
        area.wheels,
        area.build / "home",
        area.tmp,
        area.shm,
        area.driver,
        area.etc,
        area.own,
    )
    try:
        for directory in places:
            directory.mkdir()
            # The build runs as another user when we are root: the umask must not shut it out.
            directory.chmod(0o755)
        yield area
    finally:
        discard(root)


def give(area: Area, uid: int) -> None:
    """Make everything a build may write belong to the user it runs as."""
    for tree in (area.build, area.tmp, area.shm):
        for _, directories, files, descriptor in os.fwalk(tree):
            for name in (*directories, *files, "."):
                os.chown(name, uid, uid, dir_fd=descriptor, follow_symlinks=False)


def discard(tree: Path) -> None:
    """Remove a tree that a build may have made as awkward as it could."""
    for patience in (0.0, 0.1, 0.5, 2.0):
        if not os.path.lexists(tree):
            return
        # A build that was just killed may take a moment to die, and still write.
        time.sleep(patience)
        _remove_once(tree)
    if os.path.lexists(tree):
        raise OSError(errno.ENOTEMPTY, "a build's directory cannot be removed", os.fspath(tree))


def _remove_once(tree: Path) -> None:
    try:
        remove(tree)
    except (OSError, RecursionError):
        # Deeper than Python can walk, or longer than a path can be: these two walk by descriptors.
        subprocess.run(["chmod", "-R", "u+rwx", "--", tree], check=False, stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", "--", tree], check=False, stderr=subprocess.DEVNULL)


@contextmanager
def open_left(area: Area, *steps: str) -> Iterator[IO[bytes]]:
    """Open a file below ``area.build`` that a build left. Raises OSError unless it is a regular file reached without links."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(area.build, flags | os.O_DIRECTORY)
    for step in steps:
        parent = descriptor
        try:
            descriptor = os.open(step, flags, dir_fd=parent)
        finally:
            os.close(parent)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{'/'.join(steps)} is not a file")
        yield file

"""A host's disks: what it changed over its base image, and a file system of bounded size for the state of its builder."""

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.rack import places
from tests.rack.commands import run, works

#: The mount point in the host that is a file system of its own, so that a full disk harms nobody else.
STATE_DIRECTORY = "var/lib/piwheels-builder"
STATE_BYTES = 4 * 2**30
FILLER = ".filler"


@dataclass(frozen=True)
class Disks:
    """The disks of one host below a directory of its rack."""

    directory: Path

    @property
    def root(self) -> Path:
        """The host's root file system, while it is mounted."""
        return self.directory / "root"

    @property
    def changed(self) -> Path:
        """What the host has changed or added over its base image."""
        return self.directory / "changed"

    @property
    def state(self) -> Path:
        """The file system of the builder's state, while it is mounted."""
        return self.directory / "state"

    @property
    def kept(self) -> Path:
        """A copy of both, as they were when `keep` was called."""
        return self.directory / "kept"

    @property
    def image(self) -> Path:
        """The file that the builder's state lives in, where loop devices exist."""
        return self.directory / "state.ext4"

    def mount(self, base: Path) -> None:
        """Make what is missing and mount both. What is mounted already stays."""
        for directory in (self.root, self.changed, self.directory / "work", self.state):
            directory.mkdir(parents=True, exist_ok=True)
        if not os.path.ismount(self.root):
            layers = f"lowerdir={base},upperdir={self.changed},workdir={self.directory / 'work'}"
            run("mount", "-t", "overlay", "rack", "-o", layers, self.root)
        if not os.path.ismount(self.state):
            self._mount_state()
        (self.root / STATE_DIRECTORY).mkdir(parents=True, exist_ok=True)

    def _mount_state(self) -> None:
        if not self.image.exists():
            unfinished = self.image.with_suffix(".unfinished")
            run("truncate", "-s", str(STATE_BYTES), unfinished)
            run("mkfs.ext4", "-q", "-F", "-m", "0", unfinished)
            unfinished.rename(self.image)
        if not works("mount", "-o", "loop", self.image, self.state):
            # No loop device: memory keeps the bound, but not the contents over `down`.
            run("mount", "-t", "tmpfs", "-o", f"size={STATE_BYTES},mode=755", "rack", self.state)
        with suppress(FileNotFoundError):
            (self.state / "lost+found").rmdir()

    def unmount(self) -> None:
        """Unmount everything below, if anything is mounted."""
        for point in places.mounts_below(self.directory):
            run("umount", point)

    def keep(self) -> None:
        """Copy both as they are, in place of an older copy. The host is off."""
        if os.path.ismount(self.state):
            # Whoever else sees the mount keeps it from being written out when it ends here.
            run("sync", "--file-system", self.state)
        self.unmount()
        unfinished = self.kept.with_name("unfinished")
        places.remove(unfinished)
        unfinished.mkdir()
        run("cp", "--archive", "--reflink=auto", "--sparse=always", self.changed, self.image, unfinished)
        places.remove(self.kept)
        unfinished.rename(self.kept)

    def put_back(self) -> None:
        """Replace both by the copy that `keep` made. The host is off. Raises RackError when there is none."""
        self.unmount()
        places.remove(self.changed)
        # Another file, since a loop device may still hold the old one.
        self.image.unlink(missing_ok=True)
        run(
            "cp",
            "--archive",
            "--reflink=auto",
            "--sparse=always",
            self.kept / "changed",
            self.kept / self.image.name,
            self.directory,
        )

    def fill(self) -> None:
        """Leave no byte free in the builder's file system."""
        free = os.statvfs(self.state)
        bytes_free = free.f_bfree * free.f_frsize
        with (self.state / FILLER).open("ab") as filler:
            with suppress(OSError):
                os.posix_fallocate(filler.fileno(), 0, filler.tell() + bytes_free - 2**20)
            filler.seek(0, os.SEEK_END)
            with suppress(OSError):
                while True:
                    os.write(filler.fileno(), bytes(4096))

    def free(self) -> None:
        """Give back what `fill` took."""
        (self.state / FILLER).unlink(missing_ok=True)

    def remove(self) -> None:
        """Unmount and remove all of it."""
        places.remove(self.directory)


def share_archives(kept: Path, disks: Disks) -> None:
    """Put the packages that hosts of this kind have fetched before into a host's apt cache, as links to the same files."""
    theirs = disks.changed / "var/cache/apt/archives"
    (theirs / "partial").mkdir(parents=True, exist_ok=True)
    for package in kept.glob("*.deb"):
        _link(package, theirs / package.name)


def keep_archives(kept: Path, disks: Disks) -> None:
    """Keep the packages that a host has fetched for the next one of its kind."""
    for package in (disks.changed / "var/cache/apt/archives").glob("*.deb"):
        _link(package, kept / package.name)


def _link(package: Path, place: Path) -> None:
    """A hard link, or a copy where the cache is on another file system; apt replaces these files and never writes into one."""
    if place.exists():
        return
    try:
        os.link(package, place)
    except OSError:
        shutil.copy2(package, place)

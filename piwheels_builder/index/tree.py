"""Writing into the published tree: a reader sees a file whole or not at all, and a power cut takes nothing that was placed.

Everything is made in a directory of its own run inside the tree (so that rename works), ``.publishing/<run>``. A run that is
killed leaves that behind; the next one sees that nobody holds its lock, and removes it.
"""

import fcntl
import gzip
import hashlib
import os
import shutil
import tempfile
import time
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from piwheels_builder.errors import StorageFault

_WORKSHOP = ".publishing"
_SYNCS_AT_ONCE = 16


@dataclass(frozen=True)
class Tree:
    """The published tree, open for one run. ``workshop`` is on its file system and empty at the start."""

    root: Path
    workshop: Path
    pool: Executor

    def path(self, place: PurePosixPath) -> Path:
        return self.root.joinpath(*place.parts)

    def clear_workshop(self) -> None:
        for left in self.workshop.iterdir():
            left.unlink()

    def put(self, files: Sequence[tuple[Path, PurePosixPath]]) -> None:
        """Move files from the workshop to their places, in this order, readable by everybody. On the disk when this returns."""
        for made, _ in files:
            made.chmod(0o644)
        self._sync(made for made, _ in files)
        directories: set[Path] = set()
        for made, place in files:
            target = self.path(place)
            directories |= {target.parent, *_make_directories(self.root, target.parent)}
            made.replace(target)
        self._sync(directories)

    def sha256(self, place: PurePosixPath) -> str | None:
        """In hex, of what lies there; None where nothing does."""
        try:
            with self.path(place).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None

    def write(self, pages: Mapping[PurePosixPath, bytes]) -> bool:
        """Write those pages that changed, each with a .gz beside it. Returns whether any did."""
        files: list[tuple[Path, PurePosixPath]] = []
        for place, content in pages.items():
            if _holds(self.path(place), content):
                continue
            # The compressed one first: where the plain one is new, so is the other.
            for name, body in ((f"{place.name}.gz", gzip.compress(content, mtime=0)), (place.name, content)):
                made = self.workshop / f"page{len(files)}"
                made.write_bytes(body)
                _mend_time(made, self.path(place.with_name(name)))
                files.append((made, place.with_name(name)))
        self.put(files)
        return bool(files)

    def remove(self, place: PurePosixPath) -> bool:
        """Remove a page, its .gz and the directory if nothing else is in it. Returns whether there was any."""
        target = self.path(place)
        gone = False
        # The plain one first: it is what a reader asks for.
        for path in (target, target.with_name(f"{target.name}.gz")):
            with suppress(FileNotFoundError):
                path.unlink()
                gone = True
        if gone:
            _sync(target.parent)
        with suppress(OSError):
            target.parent.rmdir()
        return gone

    def _sync(self, paths: Iterable[Path]) -> None:
        # At once: a journal commits what waits for it together, and one after the other costs a disk's wait each.
        deque(self.pool.map(_sync, paths), maxlen=0)


@contextmanager
def open_tree(root: Path) -> Iterator[Tree]:
    """The tree for the length of a run. Raises StorageFault for whatever the disk refuses meanwhile."""
    with storage_faults(root):
        _make_directories(root, root / _WORKSHOP)
        _remove_abandoned(root / _WORKSHOP)
        workshop, held = _lock_workshop(root / _WORKSHOP)
        try:
            with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:
                yield Tree(root, workshop, pool)
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
            os.close(held)


@contextmanager
def storage_faults(root: Path) -> Iterator[None]:
    """Turn the operating system's errors into StorageFault."""
    try:
        yield
    except OSError as error:
        raise StorageFault(
            f"publishing into {root} stopped: {error}; what was published stays, nothing else was booked: mend it and run again"
        ) from error


def _lock_workshop(workshops: Path) -> tuple[Path, int]:
    """A new directory and the lock on it, which ends with this process however that ends."""
    while True:
        workshop = Path(tempfile.mkdtemp(dir=workshops))
        # Another run may take it for abandoned, and remove it, until the lock is ours.
        with suppress(FileNotFoundError):
            held = os.open(workshop, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(held, fcntl.LOCK_EX)
            if workshop.exists():
                return workshop, held
            os.close(held)


def _remove_abandoned(workshops: Path) -> None:
    for workshop in workshops.iterdir():
        try:
            held = os.open(workshop, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(workshop, ignore_errors=True)
        except BlockingIOError:
            # Another run is at work there.
            continue
        finally:
            os.close(held)


def _make_directories(root: Path, directory: Path) -> set[Path]:
    """Make what is missing below the root, open to everybody whatever the umask says. Returns the directories that changed."""
    if directory.is_dir():
        return set()
    changed = _make_directories(root, directory.parent) if directory != root else set()
    with suppress(FileExistsError):
        directory.mkdir()
        directory.chmod(0o755)
    return {*changed, directory.parent}


def _sync(path: Path) -> None:
    held = os.open(path, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def _holds(path: Path, content: bytes) -> bool:
    """Whether a page and its .gz say this already. Unpacked, since another zlib packs the same differently."""
    try:
        return path.read_bytes() == content and gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes()) == content
    except (OSError, EOFError, zlib.error):
        return False


def _mend_time(made: Path, former: Path) -> None:
    """Make the new file at least a second younger than the one it replaces.

    The web server's ETag is made of size and whole seconds: two pages of one second and one length would share it.
    """
    with suppress(FileNotFoundError):
        moment = max(time.time(), int(former.stat().st_mtime) + 1)
        os.utime(made, (moment, moment))

"""Writing into the published tree: a reader sees a file whole or not at all, and a power cut takes nothing that was placed.

Everything is made in a directory of its own run inside the tree (so that rename works), ``.publishing/<run>``. A run that is
killed leaves that behind; the next one sees that nobody holds its lock, and removes it.
"""

# Pages are handled by their paths' text: making objects of them is a third of the work on a hundred thousand.
# ruff: noqa: PTH101, PTH105, PTH108, PTH116, PTH123

import ctypes
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
from typing import TypeVar

from piwheels_builder.errors import StorageFault
from piwheels_builder.index.compression import compressed
from piwheels_builder.index.layout import PACKED

_WORKSHOP = ".publishing"
_SYNCS_AT_ONCE = 16
#: So many files are synced each by itself; more, with all that is on their file system.
_SYNCED_EACH = 64
_libc = ctypes.CDLL(None, use_errno=True)
#: Where something lies below the root; a page, without the ending of its file.
Place = PurePosixPath | str
PagePlace = TypeVar("PagePlace", bound=Place)


@dataclass(frozen=True)
class Tree:
    """The published tree, open for one run. ``workshop`` is on its file system and empty at the start."""

    root: Path
    workshop: Path
    pool: Executor

    def path(self, place: Place) -> Path:
        return Path(f"{self.root}/{place}")

    def has(self, page: Place) -> bool:
        """Whether the page is there."""
        # Half of what exists() takes, which has an exception made where there is nothing.
        return os.access(self._file(page), os.F_OK)

    def clear_workshop(self) -> None:
        for left in self.workshop.iterdir():
            left.unlink()

    def put(self, files: Sequence[tuple[Path, PurePosixPath]]) -> None:
        """Move files from the workshop to their places, in this order, readable by everybody. On the disk when this returns."""
        for made, _ in files:
            os.chmod(made, 0o644)
        self._place([(str(made), f"{self.root}/{place}") for made, place in files])

    def _place(self, files: Sequence[tuple[str, str]]) -> None:
        self.sync(made for made, _ in files)
        directories: set[str] = set()
        for made, target in files:
            directory = target.rpartition("/")[0]
            if directory not in directories:
                directories |= {directory, *map(str, _make_directories(self.root, Path(directory)))}
            os.replace(made, target)
        self.sync(directories)

    def sha256(self, place: PurePosixPath) -> str | None:
        """In hex, of what lies there; None where nothing does."""
        try:
            with self.path(place).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None

    def read(self, page: Place) -> bytes | None:
        """What a page says; None where there is none, or a damaged one."""
        try:
            with open(self._file(page), "rb") as file:
                return gzip.decompress(file.read())
        except (OSError, EOFError, zlib.error):
            return None

    def write(self, pages: Mapping[PagePlace, bytes | None]) -> bool:
        """As ``write_each``, of pages that may stand in for each other. Returns whether any changed."""
        return bool(self.write_each([pages]))

    def write_each(self, groups: Iterable[Mapping[PagePlace, bytes | None]]) -> list[int]:
        """Write the pages that changed, and remove those that are None. Returns the numbers of the groups in which any did.

        The pages of a group may stand in for each other at one URL. They come in their order, and go after all others came.
        """
        came: list[tuple[str, str]] = []
        gone: list[str] = []
        changed = []
        for number, pages in enumerate(groups):
            news = {page: content for page, content in pages.items() if self._is_news(page, content)}
            came += self._make(pages, {page: content for page, content in news.items() if content is not None}, len(came))
            gone += [self._file(page) for page, content in news.items() if content is None]
            changed += [number] if news else []
        self._place(came)
        for path in gone:
            with suppress(FileNotFoundError):
                os.unlink(path)
        self.sync({path.rpartition("/")[0] for path in gone})
        return changed

    def _is_news(self, page: Place, content: bytes | None) -> bool:
        if content is None:
            return self.has(page)
        # Unpacked, since another zlib packs the same differently.
        return not self.has(page) or self.read(page) != content

    def _make(self, group: Iterable[PagePlace], news: Mapping[PagePlace, bytes], number: int) -> list[tuple[str, str]]:
        """In the workshop, each at least a second younger than every page of its group.

        The web server's ETag is made of size and whole seconds: two pages at one URL, of one second and one length, would share it.
        """
        youngest = max((_seconds(self._file(page)) for page in group), default=0) if news else 0
        files = []
        for count, (page, content) in enumerate(news.items()):
            made = f"{self.workshop}/page{number + count}"
            moment = max(time.time(), youngest + 1) + count if youngest or count else None
            _write(made, compressed(content), moment)
            files.append((made, self._file(page)))
        return files

    def _file(self, page: Place) -> str:
        return f"{self.root}/{page}{PACKED}"

    def sync(self, paths: Iterable[Path | str]) -> None:
        """Have these files and directories on the disk."""
        some = list(paths)
        if len(some) > _SYNCED_EACH:
            _sync_all(self.workshop)
        else:
            # At once: a journal commits what waits for it together, and one after the other costs a disk's wait each.
            deque(self.pool.map(_sync, some), maxlen=0)


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


def _sync(path: Path | str) -> None:
    held = os.open(path, os.O_RDONLY)
    try:
        os.fsync(held)
    finally:
        os.close(held)


def _sync_all(directory: Path) -> None:
    """Have all of a file system on its disk: far cheaper for a thousand small files. Python itself can only sync all disks."""
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(held):
            raise OSError(ctypes.get_errno(), f"{directory} cannot be synced: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(held)


def _write(path: str, content: bytes, moment: float | None) -> None:
    """A new file, readable by everybody, last changed at ``moment`` (seconds since 1970; None: now). By the fewest calls."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.fchmod(file, 0o644)
        view = memoryview(content)
        while view:
            view = view[os.write(file, view) :]
        if moment is not None:
            os.utime(file, (moment, moment))
    finally:
        os.close(file)


def _seconds(path: str) -> int:
    """When it changed, in whole seconds; 0 where it is not there."""
    if not os.access(path, os.F_OK):
        return 0
    try:
        return int(os.stat(path).st_mtime)
    except FileNotFoundError:
        return 0

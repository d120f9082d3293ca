"""Move wheels that hardly anybody asks for to larger, slower disks; a symbolic link stays in their place, so that no URL changes.

Safe at a kill between any two lines: the copy is on its disk, whole and compared with what was published, before the link takes the
place of the file, in one rename. Metadata stays where it is: it is small, and asked for more often than the wheel.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import Connection
from piwheels_builder.errors import BadInput
from piwheels_builder.index.layout import wheel_path
from piwheels_builder.index.tree import Tree, open_tree

#: Bytes that are left free on every cold disk.
RESERVE = 2**30
_PORTION = 1000
_queries = aiosql.from_path(Path(__file__).with_name("tiers.sql"), "psycopg2")
Step = Callable[[str], object]


@dataclass(frozen=True)
class Wheel:
    """A published one. ``may_go``: whether age and standing send it to a cold disk."""

    wheel_id: int
    project: str
    filename: str
    sha256: str
    size: int
    may_go: bool


@dataclass
class Use:
    """Wheels and their bytes."""

    files: int = 0
    size: int = 0

    def add(self, wheel: Wheel) -> None:
        self.files += 1
        self.size += wheel.size


@dataclass
class Report:
    """``tiers``: what lies where afterwards, by directory. ``moved`` is what went now, or would. ``damaged``: filenames of wheels
    that are not there, or have other bytes than published; they were left alone. ``no_room``: what found none.
    """

    tiers: dict[Path, Use]
    moved: Use = field(default_factory=Use)
    no_room: Use = field(default_factory=Use)
    damaged: list[str] = field(default_factory=list)


def move_wheels(
    connection: Connection,
    published_dir: Path,
    cold_dirs: Sequence[Path],
    *,
    days: int,
    releases: int,
    check: bool = False,
    step: Step = lambda _: None,
) -> Report:
    """Move what may go to the first of ``cold_dirs`` that has room: wheels published ``days`` ago of other than the newest
    ``releases`` of their project, and those withdrawn as long ago. ``check`` moves nothing.

    ``step`` hears of each step done. Raises BadInput, StorageFault, DatabaseAway; run it again after any.
    """
    for directory in (published_dir, *cold_dirs):
        # Never made here: the mount point of a disk that is away is a directory of the wrong disk.
        if not directory.is_dir() or not directory.is_absolute():
            raise BadInput(f"{directory} is no directory: write absolute paths, mount the disk, and make the directory on it")
    report = Report({directory: Use() for directory in (published_dir, *cold_dirs)})
    with ExitStack() as stack:
        # Looking must not write: an open tree has a workshop.
        trees = [] if check else [stack.enter_context(open_tree(directory)) for directory in report.tiers]
        store = _Store(published_dir, tuple(cold_dirs), trees, report, step)
        for wheel in _published(connection, days, releases):
            store.handle(wheel)
            step("handled")
    return report


def _published(connection: Connection, days: int, releases: int) -> Iterator[Wheel]:
    """A portion at a time, each in a transaction of its own: moving takes hours, and an open one keeps the vacuum from its work."""
    after = 0
    while rows := list(_queries.published_after(connection, wheel_id=after, days=days, releases=releases, portion=_PORTION)):
        connection.rollback()
        wheels = [Wheel(*row) for row in rows]
        yield from wheels
        after = wheels[-1].wheel_id


@dataclass(frozen=True)
class _Store:
    """``trees`` are the published one and the cold ones, in this order; empty where nothing is to be moved."""

    published_dir: Path
    cold_dirs: tuple[Path, ...]
    trees: Sequence[Tree]
    report: Report
    step: Step

    def handle(self, wheel: Wheel) -> None:
        path = self.published_dir / wheel_path(wheel.project, wheel.filename)
        where = self._tier(path)
        if not path.is_file() or path.stat().st_size != wheel.size:
            self.report.damaged.append(wheel.filename)
            return
        if wheel.may_go and where == self.published_dir and self.cold_dirs:
            where = self._move(wheel, path)
        self.report.tiers.setdefault(where, Use()).add(wheel)

    def _tier(self, path: Path) -> Path:
        if not path.is_symlink():
            return self.published_dir
        target = path.readlink()
        # A disk that is no longer named here serves what it has.
        return next((directory for directory in self.cold_dirs if target.is_relative_to(directory)), target.parents[3])

    def _move(self, wheel: Wheel, path: Path) -> Path:
        """Where it is then."""
        tier = self._with_room(wheel.size)
        if tier is None:
            self.report.no_room.add(wheel)
            return self.published_dir
        if self.trees and not self._carry(wheel, path, self.trees[1 + self.cold_dirs.index(tier)]):
            self.report.damaged.append(wheel.filename)
            return self.published_dir
        self.report.moved.add(wheel)
        return tier

    def _carry(self, wheel: Wheel, path: Path, cold: Tree) -> bool:
        """False where its bytes are others than were published: then nothing moves."""
        place = wheel_path(wheel.project, wheel.filename)
        copy, link = cold.workshop / wheel.filename, self.trees[0].workshop / wheel.filename
        shutil.copyfile(path, copy)
        self.step("copied")
        with copy.open("rb") as content:
            if hashlib.file_digest(content, "sha256").hexdigest() != wheel.sha256:
                copy.unlink()
                return False
        cold.put([(copy, place)])
        self.step("on the cold disk")
        link.symlink_to(cold.path(place))
        self.trees[0].put([(link, place)])
        self.step("linked")
        return True

    def _with_room(self, size: int) -> Path | None:
        return next((directory for directory in self.cold_dirs if shutil.disk_usage(directory).free - size > RESERVE), None)

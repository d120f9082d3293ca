"""Publish what builders made: believe nothing, put the wheel in place, book it, then bring the pages up to date.

Safe at a kill between any two lines: what is not booked waits still, what is booked has its file, and a page that lacks it is due.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, groupby
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import Connection
from piwheels_builder.db.text import storable
from piwheels_builder.errors import BadInput, WheelRejected
from piwheels_builder.index.buildtag import retagged
from piwheels_builder.index.contents import PageRules, read_targets, serves
from piwheels_builder.index.incoming import Taken, is_there, take
from piwheels_builder.index.layout import checked_wheel_filename, wheel_path
from piwheels_builder.index.locks import project_locked
from piwheels_builder.index.rendering import Renderer
from piwheels_builder.index.tree import Tree, open_tree
from piwheels_builder.targets import Target
from piwheels_builder.wheels import InspectedWheel, check_wheel

_queries = aiosql.from_path(Path(__file__).with_name("publication.sql"), "psycopg2")
Step = Callable[[str], object]


@dataclass(frozen=True)
class AwaitingWheel:
    """A wheel as its builder recorded it. ``directory`` is where it lies in that builder's incoming directory."""

    wheel_id: int
    project_id: int
    project: str
    version: str
    target_id: int
    filename: str
    sha256: str
    size: int
    builder: str
    directory: str
    recorded_at: datetime


@dataclass(frozen=True)
class RefusedWheel:
    """``wheel`` is the filename its builder gave it."""

    wheel: str
    reason: str


@dataclass
class Report:
    """What a publication did: wheels by filename, ``pages_written`` in projects whose page changed."""

    published: list[str] = field(default_factory=list)
    refused: list[RefusedWheel] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    pages_written: int = 0

    @property
    def changed(self) -> bool:
        return bool(self.published or self.refused or self.lost or self.pages_written)


def publish(
    connection: Connection,
    published_dir: Path,
    incoming: Mapping[str, Path],
    rules: PageRules,
    *,
    recorded_before: datetime | None = None,
    rerender: bool = False,
    step: Step = lambda _: None,
) -> Report:
    """Publish the wheels of the builders in ``incoming`` (name -> where its outbox was collected) and write the pages due.

    A wheel with other bytes than recorded counts as lost, and so does a missing one that was recorded before ``recorded_before``:
    the database's time when the collecting began, None where the directory is the outbox itself. ``rerender`` writes every page
    anew. ``step`` hears of each step done. Raises BadInput where an incoming directory is missing, StorageFault, DatabaseAway; run
    it again after either.
    """
    _require_directories(incoming)
    report = Report()
    with open_tree(published_dir) as tree:
        awaiting = _awaiting(connection, incoming)
        station = _Station(connection, tree, incoming, recorded_before, read_targets(connection), report, step)
        for project_id, wheels in groupby(awaiting, key=lambda wheel: wheel.project_id):
            with project_locked(connection, project_id):
                for wheel in wheels:
                    station.handle(wheel)
        renderer = Renderer(connection, tree, rules, step)
        report.pages_written = renderer.write_due()
        if rerender or renderer.rules_changed():
            report.pages_written += renderer.write_all()
            renderer.note_rules()
    return report


def foresee(connection: Connection, incoming: Mapping[str, Path], recorded_before: datetime | None = None) -> Report:
    """What ``publish`` would take up, by what is there: no wheel is looked into and nothing changes. Raises BadInput."""
    _require_directories(incoming)
    report = Report()
    for wheel in _awaiting(connection, incoming):
        if is_there(incoming[wheel.builder], wheel.directory, wheel.filename):
            report.published.append(wheel.filename)
        elif _is_lost(wheel, recorded_before):
            report.lost.append(wheel.filename)
    return report


@dataclass(frozen=True)
class _Station:
    """Where wheels are looked at one by one, each within the lock of its project."""

    connection: Connection
    tree: Tree
    incoming: Mapping[str, Path]
    recorded_before: datetime | None
    targets: Mapping[int, Target]
    report: Report
    step: Step

    def handle(self, wheel: AwaitingWheel) -> None:
        if not _queries.still_awaits(self.connection, wheel_id=wheel.wheel_id):
            return
        try:
            copy = self._fetch(wheel)
            if copy is None:
                self._lose(wheel)
            else:
                self._serve(wheel, copy)
        except (BadInput, WheelRejected) as error:
            _queries.refuse_wheel(self.connection, wheel_id=wheel.wheel_id, reason=storable(str(error)))
            self.report.refused.append(RefusedWheel(wheel.filename, str(error)))
        self.connection.commit()
        self.step("booked")
        self.tree.clear_workshop()

    def _fetch(self, wheel: AwaitingWheel) -> Path | None:
        """A copy of it in the workshop; None where no file has the recorded bytes."""
        copy = self.tree.workshop / checked_wheel_filename(wheel.filename)
        taken = take(self.incoming[wheel.builder], wheel.directory, wheel.filename, copy, most=wheel.size)
        self.step("copied")
        # Other bytes than recorded were damaged on the builder's disk or on the way: nothing that the release can help.
        return copy if taken == Taken(wheel.sha256, wheel.size) else None

    def _lose(self, wheel: AwaitingWheel) -> None:
        damaged = is_there(self.incoming[wheel.builder], wheel.directory, wheel.filename)
        if damaged or _is_lost(wheel, self.recorded_before):
            _queries.lose_wheel(self.connection, wheel_id=wheel.wheel_id)
            self.report.lost.append(wheel.filename)

    def _serve(self, wheel: AwaitingWheel, copy: Path) -> None:
        """Publish it under the first of its names that is free, or adopt the published wheel that it is."""
        target = self.targets[wheel.target_id]
        for candidate in chain([copy], retagged(copy)):
            inspected = check_wheel(candidate, wheel.project, wheel.version, target)
            self.step("verified")
            if self._is_published(inspected):
                _queries.adopt_wheel(self.connection, wheel_id=wheel.wheel_id, filename=inspected.filename)
                break
            if self._is_free(wheel, inspected):
                self._place(wheel, candidate, inspected)
                self._book(wheel, inspected)
                break
        self.report.published.append(inspected.filename)

    def _is_published(self, inspected: InspectedWheel) -> bool:
        """Whether these bytes are published under this name. Raises WheelRejected where they were withdrawn."""
        published = _queries.published_as(self.connection, filename=inspected.filename)
        if published is None or published[0] != inspected.sha256:
            return False
        if published[1] is not None:
            raise WheelRejected(f"{inspected.filename} was withdrawn, and these are the same bytes: {published[1]}")
        return True

    def _is_free(self, wheel: AwaitingWheel, inspected: InspectedWheel) -> bool:
        """Whether nobody uses the name for other bytes: we, upstream, or a tree that is ahead of a restored database."""
        names = {"filename": inspected.filename, "sha256": inspected.sha256}
        return (
            _queries.published_as(self.connection, filename=inspected.filename) is None
            and not _queries.upstream_has_other(self.connection, project_id=wheel.project_id, **names)
            and self.tree.sha256(wheel_path(wheel.project, inspected.filename)) in (None, inspected.sha256)
        )

    def _place(self, wheel: AwaitingWheel, candidate: Path, inspected: InspectedWheel) -> None:
        place = wheel_path(wheel.project, inspected.filename)
        metadata = self.tree.workshop / "METADATA"
        metadata.write_bytes(inspected.metadata)
        self.tree.put([(metadata, place.with_name(f"{place.name}.metadata")), (candidate, place)])
        self.step("placed")

    def _book(self, wheel: AwaitingWheel, inspected: InspectedWheel) -> None:
        built_on = self.targets[wheel.target_id].os_release
        floor = inspected.glibc_floor
        others = ((number, target) for number, target in self.targets.items() if number != wheel.target_id)
        _queries.publish_wheel(
            self.connection,
            wheel_id=wheel.wheel_id,
            filename=inspected.filename,
            sha256=inspected.sha256,
            size=inspected.size,
            requires_python=inspected.requires_python,
            metadata_sha256=inspected.metadata_sha256,
            glibc_floor=floor,
            served=[number for number, target in others if serves(target, inspected.tags, floor, built_on)],
        )


def _awaiting(connection: Connection, incoming: Mapping[str, Path]) -> Iterator[AwaitingWheel]:
    # All of them now: the connection is used for other things while they are worked through.
    rows = list(_queries.awaiting(connection, builders=list(incoming)))
    connection.commit()
    return (AwaitingWheel(*row) for row in rows)


def _is_lost(wheel: AwaitingWheel, recorded_before: datetime | None) -> bool:
    """A wheel recorded after the collecting began may just have missed it."""
    return recorded_before is None or wheel.recorded_at < recorded_before


def _require_directories(incoming: Mapping[str, Path]) -> None:
    for builder, directory in incoming.items():
        if not directory.is_dir():
            raise BadInput(f"{directory}, where the wheels of {builder} should be, is not there: collect them first")

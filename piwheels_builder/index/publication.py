"""Publish what builders made: believe nothing, put the wheel in place, book it, then bring the pages up to date.

Safe at a kill between any two lines: what is not booked waits still, what is booked has its file, and a page that lacks it is due.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import chain, groupby
from pathlib import Path

import aiosql
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from piwheels_builder.catalogue.filenames import is_pure
from piwheels_builder.db.connect import Connection
from piwheels_builder.db.text import storable
from piwheels_builder.errors import BadInput, WheelRejected
from piwheels_builder.index.buildtag import retagged
from piwheels_builder.index.contents import PageRules, read_targets, serves
from piwheels_builder.index.incoming import Taken, is_there, take
from piwheels_builder.index.layout import checked_wheel_filename, wheel_path
from piwheels_builder.index.locks import project_locked
from piwheels_builder.index.logs import AwaitingLog, LogDamaged, awaiting_logs, fetch, in_portions, store
from piwheels_builder.index.rendering import Renderer
from piwheels_builder.index.tree import Tree, open_tree
from piwheels_builder.index.twin import publish_twin
from piwheels_builder.targets import Target
from piwheels_builder.wheels import LARGEST, InspectedWheel, check_wheel

_queries = aiosql.from_path(Path(__file__).with_name("publication.sql"), "psycopg2")
Step = Callable[[str], object]
#: In the place of a log's copy: it may come with the next collection.
_LATER = Path()


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
    """What a publication did: wheels by filename, ``pages_written`` in projects whose page changed.

    ``logs_lost`` by the builder and its directory. ``quarantined``: why builders are believed nothing, now or since earlier.
    """

    published: list[str] = field(default_factory=list)
    refused: list[RefusedWheel] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    pages_written: int = 0
    logs_stored: int = 0
    logs_lost: list[str] = field(default_factory=list)
    quarantined: dict[str, str] = field(default_factory=dict)

    @property
    def settled(self) -> int:
        """How many files nobody waits for any more."""
        return len(self.published) + len(self.refused) + len(self.lost) + self.logs_stored + len(self.logs_lost)

    @property
    def changed(self) -> bool:
        return bool(self.settled or self.pages_written)


def publish(
    connection: Connection,
    published_dir: Path,
    incoming: Mapping[str, Path],
    rules: PageRules,
    *,
    recorded_before: datetime | None = None,
    uncollected: Collection[str] = (),
    rerender: bool = False,
    armv6_twins: bool = True,
    step: Step = lambda _: None,
    before_pages: Callable[[Tree], object] = lambda _: None,
) -> Report:
    """Publish the wheels of the builders in ``incoming`` (name -> where its outbox was collected), keep their logs and write the
    pages due.

    A wheel with other bytes than recorded counts as lost, and so does a missing one that was recorded before ``recorded_before``:
    the database's time when the collecting began, None where the directory is the outbox itself. Of ``uncollected`` builders what
    came is published, and nothing is lost. ``armv6_twins`` are those of twin.py. ``rerender`` writes every page anew. ``step``
    hears of each step done; ``before_pages`` is called once wheels and logs are booked, while their projects' pages are
    still due. Raises BadInput where an outbox is missing, StorageFault, DatabaseAway; run it again after either.
    """
    if recorded_before is None:
        _require_directories(incoming)
    report, losses = Report(), Losses(recorded_before, frozenset(uncollected))
    with open_tree(published_dir) as tree:
        awaiting = _awaiting(connection, incoming)
        station = _Station(connection, tree, incoming, losses, read_targets(connection), report, step, armv6_twins)
        for project_id, wheels in groupby(awaiting, key=lambda wheel: wheel.project_id):
            with project_locked(connection, project_id):
                for wheel in wheels:
                    station.handle(wheel)
        _keep_logs(station)
        report.quarantined = dict(_queries.quarantined(connection, builders=list(incoming)))
        before_pages(tree)
        renderer = Renderer(connection, tree, rules, step)
        if rerender or renderer.rules_changed():
            report.pages_written = renderer.write_all()
            renderer.note_rules()
        else:
            report.pages_written = renderer.write_due()
    return report


def foresee(
    connection: Connection,
    incoming: Mapping[str, Path],
    recorded_before: datetime | None = None,
    uncollected: Collection[str] = (),
) -> Report:
    """What ``publish`` would take up, by what is there: no wheel is looked into and nothing changes. Raises BadInput."""
    if recorded_before is None:
        _require_directories(incoming)
    report, losses = Report(), Losses(recorded_before, frozenset(uncollected))
    for wheel in _awaiting(connection, incoming):
        if is_there(incoming[wheel.builder], wheel.directory, wheel.filename):
            report.published.append(wheel.filename)
        elif losses.count(wheel.builder, wheel.recorded_at):
            report.lost.append(wheel.filename)
    return report


@dataclass(frozen=True)
class Losses:
    """Which missing files are gone for good. One that was recorded after the collecting began may just have missed it."""

    recorded_before: datetime | None
    uncollected: frozenset[str]

    def count(self, builder: str, recorded_at: datetime) -> bool:
        return builder not in self.uncollected and (self.recorded_before is None or recorded_at < self.recorded_before)


@dataclass(frozen=True)
class _Station:
    """Where wheels are looked at one by one, each within the lock of its project."""

    connection: Connection
    tree: Tree
    incoming: Mapping[str, Path]
    losses: Losses
    targets: Mapping[int, Target]
    report: Report
    step: Step
    armv6_twins: bool

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
            self.suspect(wheel.builder, f"refused: {error}", quarantine=_is_a_lie(wheel, self.targets[wheel.target_id], error))
        self.connection.commit()
        self.step("booked")
        self.tree.clear_workshop()

    def _fetch(self, wheel: AwaitingWheel) -> Path | None:
        """A copy of it in the workshop; None where no file has the recorded bytes."""
        copy = self.tree.workshop / checked_wheel_filename(wheel.filename)
        if wheel.size > LARGEST:
            raise WheelRejected(f"{wheel.filename} has {wheel.size} bytes; the most a wheel may have is {LARGEST}")
        taken = take(self.incoming[wheel.builder], wheel.directory, wheel.filename, copy, most=wheel.size)
        self.step("copied")
        # Other bytes than recorded were damaged on the builder's disk or on the way: nothing that the release can help.
        return copy if taken == Taken(wheel.sha256, wheel.size) else None

    def _lose(self, wheel: AwaitingWheel) -> None:
        damaged = is_there(self.incoming[wheel.builder], wheel.directory, wheel.filename)
        if damaged:
            # A bad disk, or a bad line: no reason to believe nothing that it says.
            self.suspect(wheel.builder, f"{wheel.filename} has other bytes than recorded", quarantine=False)
        if damaged or self.losses.count(wheel.builder, wheel.recorded_at):
            _queries.lose_wheel(self.connection, wheel_id=wheel.wheel_id)
            self.report.lost.append(wheel.filename)

    def suspect(self, builder: str, what: str, *, quarantine: bool) -> None:
        _queries.suspect_builder(self.connection, builder=builder, what=storable(what), quarantine=quarantine)

    def _serve(self, wheel: AwaitingWheel, copy: Path) -> None:
        """Publish it under the first of its names that is free, or adopt the published wheel that it is. Where its builder was
        quarantined a moment ago neither is booked.
        """
        target = self.targets[wheel.target_id]
        for candidate in chain([copy], retagged(copy)):
            inspected = check_wheel(candidate, wheel.project, wheel.version, target)
            self.step("verified")
            if self._is_published(inspected):
                booked = _queries.adopt_wheel(self.connection, wheel_id=wheel.wheel_id, filename=inspected.filename)
                self._note(inspected.filename if booked else None)
                return
            if self._is_free(wheel, inspected):
                self._place(wheel, candidate, inspected)
                if self._book(wheel, inspected):
                    self._note(inspected.filename)
                    self._note(self._add_twin(wheel, inspected) if self.armv6_twins else None)
                return

    def _note(self, published: str | None) -> None:
        self.report.published += [published] if published else []

    def _add_twin(self, wheel: AwaitingWheel, inspected: InspectedWheel) -> str | None:
        """For armv6l, of a wheel placed and booked just now, if it may have one. Returns its filename."""
        placed = self.tree.path(wheel_path(wheel.project, inspected.filename)), inspected
        free, place = partial(self._is_free, wheel), partial(self._place, wheel)
        return publish_twin(self.connection, wheel.wheel_id, placed, self.tree.workshop, is_free=free, place=place)

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

    def _book(self, wheel: AwaitingWheel, inspected: InspectedWheel) -> bool:
        if not is_pure(inspected.tags):
            _queries.note_libraries(self.connection, wheel_id=wheel.wheel_id, names=list(inspected.libraries))
        built_on = self.targets[wheel.target_id].os_release
        floor = inspected.glibc_floor
        others = ((number, target) for number, target in self.targets.items() if number != wheel.target_id)
        booked: bool = _queries.publish_wheel(
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
        return booked


def _awaiting(connection: Connection, incoming: Mapping[str, Path]) -> Iterator[AwaitingWheel]:
    # All of them now: the connection is used for other things while they are worked through.
    rows = list(_queries.awaiting(connection, builders=list(incoming)))
    connection.commit()
    return (AwaitingWheel(*row) for row in rows)


def _is_a_lie(wheel: AwaitingWheel, target: Target, error: Exception) -> bool:
    """Whether an honest builder cannot have delivered it: it looks itself, before it does, at the name and what it says.

    Not at all that publication looks at: a builder of an older version may know less of what is compiled in a wheel.
    """
    try:
        tags = parse_wheel_filename(checked_wheel_filename(wheel.filename))[3]
    except (BadInput, InvalidWheelFilename):
        return True
    return getattr(error, "other_release", False) or not target.is_served_by(tags) or wheel.size > LARGEST


def _keep_logs(station: _Station) -> None:
    """Put the logs that came into the tree; what is damaged, or gone from its builder, nobody waits for any more."""
    logs = awaiting_logs(station.connection, list(station.incoming))
    for portion in in_portions(logs):
        copies = {log: copy for log, copy in ((log, _fetch_log(station, log)) for log in portion) if copy is not _LATER}
        booked = store(station.connection, station.tree, copies)
        station.connection.commit()
        station.report.logs_stored += sum(copies[log] is not None for log in booked)
        station.report.logs_lost += [f"{log.builder}/{log.directory}" for log in booked if copies[log] is None]
        station.step("logs booked")
        station.tree.clear_workshop()


def _fetch_log(station: _Station, log: AwaitingLog) -> Path | None:
    """A copy of it, None where it is lost, _LATER where it may come yet."""
    try:
        copy = fetch(log, station.incoming, station.tree.workshop)
    except LogDamaged as error:
        station.suspect(log.builder, f"the log of {log.project} in {log.directory}: {error}", quarantine=False)
        return None
    return _LATER if copy is None and not station.losses.count(log.builder, log.recorded_at) else copy


def _require_directories(incoming: Mapping[str, Path]) -> None:
    for builder, directory in incoming.items():
        if not directory.is_dir():
            raise BadInput(f"{directory}, where the wheels of {builder} should be, is not there: collect them first")

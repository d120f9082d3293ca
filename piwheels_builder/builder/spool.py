"""The spool: a builder's own queue on disk, which survives the service, the power and the index host's absence.

    <lease_id>.json                 a batch, as dispatch delivered it
    begun/<lease_id>-<build_id>     the attempt to report if nobody comes back from this build
    finished/<lease_id>[-<build_id>]   what is over, so that a batch delivered again is not built again
    refused/                        what was delivered and is no batch for this builder

A build leaves the spool through the outbox. Its begun mark stays until the database knows how it ended.
"""

import logging
import os
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from piwheels_builder.builder.attempt import Attempt
from piwheels_builder.builder.disk import remove, sync, touch, visible, write_atomically
from piwheels_builder.errors import BadInput
from piwheels_builder.queue.batch import Batch, LeasedBuild
from piwheels_builder.settings import BuilderSettings
from piwheels_builder.states import Outcome
from piwheels_builder.targets import Target

log = logging.getLogger(__name__)

#: How many finished leases are remembered. A batch older than that, delivered again, costs time only: the database says its lease
#: is lost.
REMEMBERED_LEASES = 1000
#: Two changes of a directory within one tick of the file system's clock look like one, so a young change is looked at again.
_CLOCK_TICK_NS = 2_000_000_000
#: A temporary file older than this, in seconds, has no writer any more.
_LONGEST_DELIVERY = 3600


@dataclass(frozen=True)
class SpooledBuild:
    """A build together with the lease it is held under."""

    lease_id: UUID
    leased: LeasedBuild

    @property
    def name(self) -> str:
        """The name of its begun mark and of its outbox entry."""
        return f"{self.lease_id}-{self.leased.build_id}"

    def interrupted(self) -> Attempt:
        """What is to be reported if nobody comes back from this build, which begins now."""
        return Attempt(
            lease_id=self.lease_id,
            build_id=self.leased.build_id,
            project=self.leased.project,
            version=self.leased.version,
            outcome=Outcome.KILLED,
            started_at=datetime.now(UTC),
            seconds=0.0,
            error_line="the builder died or lost power during the build",
        )


def split_name(name: str) -> tuple[UUID, int]:
    """The lease and the build that ``SpooledBuild.name`` is made of. Raises ValueError for any other name."""
    lease_id, _, build_id = name.rpartition("-")
    if not build_id.isascii() or not build_id.isdigit() or str(UUID(lease_id)) != lease_id:
        raise ValueError(f"{name!r} is not the name of a leased build")
    return UUID(lease_id), int(build_id)


def write_batch(spool_dir: Path, batch: Batch) -> bool:
    """Deliver a batch, whole or not at all; the same batch again changes nothing. Returns whether it was news. Raises OSError."""
    if is_delivered(spool_dir, batch):
        return False
    write_atomically(spool_dir / f"{batch.lease_id}.json", batch.to_json())
    return True


def is_delivered(spool_dir: Path, batch: Batch) -> bool:
    """Whether a batch lies in the spool, or has lain there and is finished."""
    return (spool_dir / f"{batch.lease_id}.json").exists() or (spool_dir / "finished" / str(batch.lease_id)).exists()


class Spool:
    """Reads what ``write_batch`` wrote. For one service; its threads call ``remaining`` one at a time, the rest as they like."""

    def __init__(self, directory: Path, settings: BuilderSettings) -> None:
        self.directory = directory
        self._settings = settings
        self._begun = directory / "begun"
        self._finished = directory / "finished"
        self._refused = directory / "refused"
        for place in (self._begun, self._finished, self._refused):
            place.mkdir(parents=True, exist_ok=True)
        self._batches: dict[str, Batch] = {}
        self._seen_ns = 0

    def changed(self) -> bool:
        """Whether a batch may have come or gone since this last said so; one stat call."""
        modified_ns = self.directory.stat().st_mtime_ns
        young = abs(time.time_ns() - modified_ns) < _CLOCK_TICK_NS
        news, self._seen_ns = modified_ns != self._seen_ns, modified_ns
        return news or young

    def remaining(self, delivered: Collection[str]) -> list[SpooledBuild]:
        """What is still to build: urgent builds, then all others, each in order of arrival. Retires the batches that are done.

        ``delivered`` are the names in the outbox, listed before this call: an entry that is dropped leaves its finished mark first.
        """
        finished = {entry.name for entry in os.scandir(self._finished)}
        left: list[SpooledBuild] = []
        for batch in self._arrived():
            builds = [SpooledBuild(batch.lease_id, build) for build in batch.builds]
            unfinished = [] if str(batch.lease_id) in finished else [build for build in builds if build.name not in finished]
            waiting = [build for build in unfinished if build.name not in delivered]
            if not waiting:
                self._retire(batch.lease_id)
            left += waiting
        return sorted(left, key=lambda build: not build.leased.urgent)

    def begin(self, attempt: Attempt) -> None:
        """A build starts. ``attempt`` is what the outbox gets should it never end."""
        write_atomically(self._begun / attempt.directory_name, attempt.to_json())

    def begun(self) -> dict[str, Attempt]:
        """By name, what began and is not recorded yet. A mark that cannot be read is dropped, so that build starts again."""
        marks: dict[str, Attempt] = {}
        for entry in visible(self._begun):
            try:
                marks[entry.name] = Attempt.from_json(Path(entry.path).read_text())
            except (OSError, ValueError, BadInput) as error:
                log.warning("begun mark %s cannot be read and is dropped: %s", entry.name, error)
                self.end(entry.name)
        return marks

    def end(self, name: str) -> None:
        """Take the begun mark away: the database knows, or nothing shall be said of this start."""
        # Whatever lies there: what a repaired file system has put in its place, too.
        remove(self._begun / name)
        sync(self._begun)

    def finish(self, name: str) -> None:
        """Remember that a build is over, before its outbox entry goes."""
        lease_id, _ = split_name(name)
        if not (self._finished / str(lease_id)).exists():
            touch(self._finished / name)

    def clear_leftovers(self) -> None:
        """Remove what a writer that died left half written. For the start, when this service's own writers are all dead."""
        for leftover in self._begun.glob(".*"):
            remove(leftover)
        # A play may be delivering at this moment.
        for leftover in self.directory.glob(".*"):
            if abs(time.time() - leftover.lstat().st_mtime) > _LONGEST_DELIVERY:
                remove(leftover)

    def clear(self) -> None:
        """Forget all that is to build and that began. For the start; leases that nobody names expire."""
        for path in (*self._files(), *map(Path, visible(self._begun))):
            remove(path)
        sync(self.directory)
        sync(self._begun)

    def held(self) -> tuple[list[UUID], list[int]]:
        """The leases this builder still has something to do or to say under, and the builds it began."""
        begun = [split_name(entry.name) for entry in visible(self._begun)]
        spooled = [UUID(path.stem) for path in self._files() if _is_uuid(path.stem)]
        return sorted({*spooled, *(lease_id for lease_id, _ in begun)}), sorted(build_id for _, build_id in begun)

    def _arrived(self) -> Iterator[Batch]:
        known, self._batches = self._batches, {}
        for path in self._files():
            batch = known.get(path.name) or self._read(path)
            if batch is not None:
                self._batches[path.name] = batch
                yield batch

    def _files(self) -> list[Path]:
        files = [self.directory / entry.name for entry in visible(self.directory) if entry.name.endswith(".json")]
        return sorted(files, key=lambda path: (_arrival_ns(path), path.name))

    def _read(self, path: Path) -> Batch | None:
        try:
            batch = Batch.from_json(path.read_text(encoding="utf-8"))
            self._check(path, batch)
        except (OSError, ValueError, BadInput) as error:
            self._refuse(path, str(error))
            return None
        return batch

    def _check(self, path: Path, batch: Batch) -> None:
        if path.stem != str(batch.lease_id):
            raise BadInput(f"holds lease {batch.lease_id}, which is not its file's name")
        if batch.builder != self._settings.name:
            raise BadInput(f"is for builder {batch.builder!r}, and this is {self._settings.name!r}")
        foreign = next((build.target for build in batch.builds if not self._can_build(build.target)), None)
        if foreign is not None:
            raise BadInput(
                f"wants {foreign}, and this builder has {', '.join(self._settings.pythons)} for "
                f"{self._settings.architecture} on {self._settings.os_release}"
            )

    def _can_build(self, target: Target) -> bool:
        mine = self._settings
        return target.python in mine.pythons and (target.architecture, target.os_release) == (mine.architecture, mine.os_release)

    def _refuse(self, path: Path, why: str) -> None:
        # Its lease is held no more, so it expires and the builds go elsewhere.
        aside = _unused(self._refused, path.name)
        log.error("spool: %s is set aside as %s: %s", path.name, aside, why)
        try:
            path.rename(aside)
        except OSError as error:
            log.error("spool: %s cannot be set aside: %s", path.name, error)

    def _retire(self, lease_id: UUID) -> None:
        touch(self._finished / str(lease_id))
        remove(self.directory / f"{lease_id}.json")
        self._batches.pop(f"{lease_id}.json", None)
        self._forget_old_marks()

    def _forget_old_marks(self) -> None:
        """One mark for a finished lease replaces those of its builds; the oldest leases are forgotten."""
        leases = []
        for entry in visible(self._finished):
            if _is_uuid(entry.name):
                leases.append((entry.stat().st_mtime_ns, entry.name))
            elif not (self.directory / f"{entry.name.rpartition('-')[0]}.json").exists():
                (self._finished / entry.name).unlink(missing_ok=True)
        _unlink(self._finished / name for _, name in sorted(leases)[:-REMEMBERED_LEASES])


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _unused(directory: Path, name: str) -> Path:
    number = 0
    while (directory / (name if not number else f"{name}.{number}")).exists():
        number += 1
    return directory / (name if not number else f"{name}.{number}")


def _arrival_ns(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns
    except OSError:
        return 0


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False

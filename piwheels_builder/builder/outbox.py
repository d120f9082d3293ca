"""The outbox: how attempts ended, with wheels and logs, until the database and the index host have them.

.<lease_id>-<build_id>/         being delivered: no entry yet, removed when the service starts
.gone-<lease_id>-<build_id>/    dropped, and on its way out
<lease_id>-<build_id>/          result.json (Attempt); the wheel and log.txt, or log.gz of what failed; `recorded` once it is
refused/                        entries that cannot be recorded, kept for a person to look at
"""

import gzip
import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

from piwheels_builder.builder.attempt import Attempt
from piwheels_builder.builder.disk import remove, sync, sync_files, touch, visible
from piwheels_builder.builder.spool import split_name
from piwheels_builder.errors import BadInput
from piwheels_builder.states import Outcome

log = logging.getLogger(__name__)

_RECORDED = "recorded"
_GONE = ".gone-"
_REFUSED = "refused"
_LOG, _PACKED_LOG = "log.txt", "log.gz"


@dataclass(frozen=True)
class Entry:
    """One delivered attempt; what it is about is told by its name alone, even where its content is damaged."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def lease_id(self) -> UUID:
        return split_name(self.name)[0]

    @property
    def build_id(self) -> int:
        return split_name(self.name)[1]

    @property
    def delivered_ns(self) -> int:
        """For sorting: when result.json was written; 0 where there is none (any more)."""
        try:
            return (self.path / "result.json").stat().st_mtime_ns
        except OSError:
            return 0

    @property
    def recorded(self) -> bool:
        """Whether the database knows of it."""
        return (self.path / _RECORDED).exists()

    def attempt(self) -> Attempt:
        """What is to be recorded. Raises BadInput where a power cut or a bad disk damaged the entry."""
        try:
            attempt = Attempt.from_json((self.path / "result.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(f"result.json cannot be read: {error}") from error
        if attempt.directory_name != self.name:
            raise BadInput(f"result.json is about {attempt.directory_name}")
        check_wheel(attempt, self.path)
        if attempt.log_size not in {None, packed_log_size(self.path)}:
            # How it ended counts all the same.
            log.warning("outbox: the log of %s is damaged, and is not kept", self.name)
            attempt = replace(attempt, log_size=None)
        return attempt


def pack_log(attempt: Attempt, directory: Path) -> Attempt:
    """Pack the whole log of a failed attempt, if there is one, and put its size into the attempt. Raises OSError: call it again."""
    log_txt, packed = directory / _LOG, directory / _PACKED_LOG
    if attempt.outcome is Outcome.BUILT:
        return attempt
    if log_txt.is_file():
        # The same bytes for the same log: no name, no time.
        with (
            log_txt.open("rb") as content,
            packed.open("wb") as file,
            gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packing,
        ):
            shutil.copyfileobj(content, packing)
        log_txt.unlink()
    return replace(attempt, log_size=packed_log_size(directory))


def packed_log_size(directory: Path) -> int | None:
    """In bytes; None where no log is packed there."""
    packed = directory / _PACKED_LOG
    return packed.lstat().st_size if packed.is_file() and not packed.is_symlink() else None


def check_delivery(attempt: Attempt, name: str, delivery: Path) -> None:
    """What a build function hands over must be about the build of this name, and whole. Raises BadInput."""
    if attempt.directory_name != name:
        raise BadInput(f"asked to build {name}, and was told of {attempt.directory_name}")
    if (attempt.outcome is Outcome.BUILT) != (attempt.wheel is not None):
        raise BadInput(f"outcome {attempt.outcome}, wheel {attempt.wheel}")
    check_wheel(attempt, delivery)


def check_wheel(attempt: Attempt, directory: Path) -> None:
    """Raises BadInput unless the attempt's wheel, if it has one, lies in ``directory`` at its full size."""
    if attempt.wheel is None:
        return
    path = directory / attempt.wheel.filename
    if Path(attempt.wheel.filename).name != attempt.wheel.filename or path.is_symlink() or not path.is_file():
        raise BadInput(f"there is no wheel {attempt.wheel.filename}")
    if path.stat().st_size != attempt.wheel.size:
        raise BadInput(f"{attempt.wheel.filename} has {path.stat().st_size} bytes, not {attempt.wheel.size}")


class Outbox:
    """Entries are directories that appear by one rename, so each is delivered complete or not at all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / _REFUSED).mkdir(parents=True, exist_ok=True)

    def prepare(self, name: str) -> Path:
        """An empty directory for a build to put its log and wheel into, on the outbox's own file system."""
        prepared = self.directory / f".{name}"
        remove(prepared)
        prepared.mkdir()
        return prepared

    def deliver(self, attempt: Attempt) -> Entry:
        """Make an entry of what was prepared under the attempt's name. Raises OSError; then it may be called again."""
        prepared = self.directory / f".{attempt.directory_name}"
        final = self.directory / attempt.directory_name
        # An earlier call may have got as far as the rename and failed to sync it.
        if prepared.exists():
            (prepared / "result.json").write_text(pack_log(attempt, prepared).to_json(), encoding="utf-8")
            sync_files(prepared)
            prepared.rename(final)
        sync(self.directory)
        return Entry(final)

    def abandon(self, name: str) -> None:
        """Forget what was prepared."""
        remove(self.directory / f".{name}")

    def names(self) -> set[str]:
        return {entry.name for entry in visible(self.directory) if entry.name != _REFUSED}

    def entries(self) -> list[Entry]:
        """Every entry, oldest first. What has another name than a leased build's is none of ours and is left alone."""
        found = [Entry(self.directory / name) for name in self.names() if _is_entry(name)]
        return sorted(found, key=lambda entry: entry.delivered_ns)

    def unrecorded(self) -> list[Entry]:
        """The entries that the database does not know of yet, oldest first."""
        return [entry for entry in self.entries() if not entry.recorded]

    def counts(self) -> tuple[int, int]:
        """How many entries there are, and how many of them are recorded."""
        entries = self.entries()
        return len(entries), sum(entry.recorded for entry in entries)

    def mark_recorded(self, entry: Entry) -> None:
        touch(entry.path / _RECORDED)

    def drop(self, entry: Entry) -> None:
        """Remove an entry, wheel and all, at once for every reader."""
        gone = self.directory / f"{_GONE}{entry.name}"
        entry.path.rename(gone)
        try:
            sync(self.directory)
        finally:
            remove(gone)

    def clear_dropped(self) -> None:
        """Remove what a disk that refused in the middle of ``drop`` has kept."""
        for gone in self.directory.glob(f"{_GONE}*"):
            remove(gone)

    def set_aside(self, entry: Entry, why: str) -> None:
        """Keep an entry that cannot be recorded out of the way of the others."""
        aside = self.directory / _REFUSED / entry.name
        log.error("outbox: %s is set aside in %s: %s", entry.name, aside.parent, why)
        remove(aside)
        entry.path.rename(aside)
        sync(self.directory)

    def clear_leftovers(self) -> None:
        """Remove what was being delivered or dropped when the service last died."""
        for leftover in self.directory.glob(".*"):
            remove(leftover)

    def discard_damaged(self) -> None:
        """Remove unrecorded entries that a power cut damaged, so that their builds count as interrupted."""
        for entry in self.unrecorded():
            try:
                entry.attempt()
            except BadInput as error:
                log.warning("outbox: %s is damaged and counts as an interrupted build: %s", entry.name, error)
                self.drop(entry)


def _is_entry(name: str) -> bool:
    try:
        split_name(name)
    except ValueError:
        return False
    return True

"""Bring wheels and logs from the builders' outboxes into their incoming directories: exactly the files that the database awaits.

Who calls: the module wheel_collection, before every publication, as the publisher. What arrives is as hostile as its builder; only
publication looks into it.

<incoming>/.lock                                who works on this builder's files
<incoming>/.pulling/<lease_id>-<build_id>/...   on their way; what a kill at any byte leaves is gone on with
<incoming>/<lease_id>-<build_id>/<file>         came whole; removed by the next collection after it was settled
"""

import fcntl
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate, groupby
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import Connection
from piwheels_builder.errors import BadInput
from piwheels_builder.index.layout import checked_wheel_filename
from piwheels_builder.index.logs import LARGEST_LOG
from piwheels_builder.index.rsync import NOT_ALL_READ, Access, Host, PullFailed, pull
from piwheels_builder.wheels import LARGEST

#: Bytes that a collection leaves free on the index host's disk, for publication and the database.
RESERVE = 2 * 2**30
_LOCK = ".lock"
_PULLING = ".pulling"
_queries = aiosql.from_path(Path(__file__).with_name("collection.sql"), "psycopg2")


@dataclass(frozen=True)
class Awaited:
    """A file that the database awaits, ``directory/filename`` in its builder's outbox. ``sha256`` is hex, None of a log."""

    directory: str
    filename: str
    size: int
    sha256: str | None

    @property
    def path(self) -> str:
        return f"{self.directory}/{self.filename}"

    @property
    def may_be_asked_for(self) -> bool:
        """Whether its name is one path component and its size bearable: record_attempt refuses others, and so does publication."""
        if self.sha256 is None:
            return 0 < self.size <= LARGEST_LOG
        try:
            return checked_wheel_filename(self.filename) == self.filename and 0 < self.size <= LARGEST
        except BadInput:
            return False


@dataclass(frozen=True)
class Outbox:
    """A builder's, and where it is reached: ``host`` is None where nobody knows."""

    name: str
    incoming: Path
    host: Host | None


@dataclass
class Collection:
    """What a collection did: ``collected`` counts files by builder, ``unreachable`` says why not all of a builder's came."""

    collected_at: datetime
    collected: dict[str, int] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)


def collect(
    connection: Connection, incoming: Mapping[str, Path], access: Access, ports: Mapping[str, int], parallel: int = 8
) -> Collection:
    """Bring what is awaited of the builders in ``incoming`` (name -> directory), several at once, and remove what no longer is.

    ``ports`` are where builders' ssh servers listen that do not at ``access.port``. A builder that is away or misbehaves stops no
    other. ``connection`` commits by itself: a session that idles within a transaction for as long as builders take is ended by the
    server. Raises DatabaseAway.
    """
    report = Collection(_queries.clock(connection))
    awaited = _awaited(connection, list(incoming))
    outboxes = [
        outbox
        for outbox in _outboxes(connection, incoming, ports, report)
        if outbox.name not in report.unreachable and (outbox.name in awaited or _left(outbox.incoming))
    ]
    with ThreadPoolExecutor(parallel) as pool:
        done = pool.map(lambda outbox: _work_on(outbox, access, connection, awaited), outboxes)
        for outbox, (came, trouble) in zip(outboxes, done, strict=True):
            if came:
                report.collected[outbox.name] = came
            if trouble:
                report.unreachable[outbox.name] = trouble
    return report


def foresee(connection: Connection, incoming: Mapping[str, Path]) -> Collection:
    """What ``collect`` would ask for, without asking anybody."""
    report = Collection(_queries.clock(connection))
    awaited = _awaited(connection, list(incoming))
    for outbox in _outboxes(connection, incoming, {}, report):
        missing = sum(not _is_whole(outbox.incoming, file) for file in awaited.get(outbox.name, ()))
        if missing:
            report.collected[outbox.name] = missing
    return report


def _awaited(connection: Connection, builders: Sequence[str]) -> dict[str, tuple[Awaited, ...]]:
    rows = groupby(list(_queries.awaited(connection, builders=builders)), key=lambda row: row[0])
    files = {builder: tuple(Awaited(*row[1:]) for row in its_rows) for builder, its_rows in rows}
    return {builder: tuple(file for file in its_files if file.may_be_asked_for) for builder, its_files in files.items()}


def _outboxes(
    connection: Connection, incoming: Mapping[str, Path], ports: Mapping[str, int], report: Collection
) -> Iterator[Outbox]:
    for name, address, keys in list(_queries.builders_known(connection)):
        if name not in incoming:
            continue
        try:
            host = Host(name, address, tuple(keys or ()), ports.get(name)) if address else None
        except BadInput as error:
            host, report.unreachable[name] = None, str(error)
        yield Outbox(name, incoming[name], host)


def _work_on(outbox: Outbox, access: Access, connection: Connection, known: Mapping[str, object]) -> tuple[int, str | None]:
    """How many files came, and what kept others from coming."""
    try:
        outbox.incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(outbox.incoming, access.seconds if outbox.name in known else 0) as free:
            if not free:
                return 0, "another collection is at work on its files" if outbox.name in known else None
            # Asked again: whoever held the lock may have brought files that were recorded since.
            awaited = _awaited(connection, [outbox.name]).get(outbox.name, ())
            _sweep(outbox.incoming, {file.path for file in awaited})
            missing = [file for file in awaited if not _is_whole(outbox.incoming, file)]
            return _bring(outbox, access, missing) if missing else (0, None)
    except OSError as error:
        return 0, f"{outbox.incoming} cannot be written: {error}"


def _bring(outbox: Outbox, access: Access, missing: Sequence[Awaited]) -> tuple[int, str | None]:
    if outbox.host is None:
        return 0, f"no address of {outbox.name} is known: run `ansible-playbook provision.yml` for it"
    free = shutil.disk_usage(outbox.incoming).free - RESERVE
    some, trouble = _that_fit(missing, free), None
    if len(some) < len(missing):
        need = sum(file.size for file in missing)
        trouble = f"its files have {need >> 20} MB, and {outbox.incoming} has room for {max(0, free) >> 20}: make room there"
    if not some:
        return 0, trouble
    failure = _pull(outbox.host, access, some, outbox.incoming / _PULLING, sum(file.size for file in missing))
    whole, ended = failure is None, failure is None or failure.code == NOT_ALL_READ
    came = sum(_take_over(outbox.incoming, file, whole=whole, ended=ended) for file in some)
    return came, trouble if failure is None else str(failure)


def _that_fit(files: Sequence[Awaited], free: int) -> list[Awaited]:
    """The smallest, so many as there is room for together."""
    by_size = sorted(files, key=lambda file: file.size)
    return [file for file, sum_so_far in zip(by_size, accumulate(file.size for file in by_size), strict=True) if sum_so_far <= free]


def _pull(host: Host, access: Access, files: Sequence[Awaited], pulling: Path, most: int) -> PullFailed | None:
    """``most`` bytes may lie in ``pulling``, of files that others' tries left as well. Returns what went wrong."""
    pulling.mkdir(mode=0o700, exist_ok=True)
    too_much = "it sent more than it recorded"

    def stop() -> str | None:
        # The limit that rsync runs under is that of the largest file, and a hostile builder sends so much for each.
        if shutil.disk_usage(pulling).free >= RESERVE // 2:
            return None
        return too_much if _bytes_in(pulling) > most else f"{pulling} has no room any more: make room there"

    try:
        pull(host, access, [file.path for file in files], pulling, largest=max(file.size for file in files), stop=stop)
    except PullFailed as error:
        if str(error) == too_much:
            shutil.rmtree(pulling, ignore_errors=True)
        return error
    return None


def _bytes_in(directory: Path) -> int:
    return sum(path.lstat().st_size for path in directory.rglob("*") if not path.is_dir())


def _take_over(incoming: Path, file: Awaited, *, whole: bool, ended: bool) -> bool:
    """Move a file that came to its place. One that is larger than recorded is removed. Of a transfer that was not ``whole``, what
    is smaller may still come; of one that was broken off before it ``ended``, only what has the recorded bytes is believed.
    """
    came = incoming / _PULLING / file.path
    try:
        found = came.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    size = found.st_size
    if size > file.size or not stat.S_ISREG(found.st_mode):
        _remove(came)
        return False
    if not whole and (size < file.size or not (ended or (file.sha256 and _sha256(came) == file.sha256))):
        return False
    place = incoming / file.path
    place.parent.mkdir(mode=0o700, exist_ok=True)
    came.replace(place)
    return True


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _is_whole(incoming: Path, file: Awaited) -> bool:
    """Whether it came before. By its size: publication looks at the bytes, and says that it is lost where they are others."""
    try:
        return (incoming / file.path).lstat().st_size == file.size
    except (FileNotFoundError, NotADirectoryError):
        return False


def _sweep(incoming: Path, awaited: set[str]) -> None:
    """Remove whatever nobody awaits (any more), so that what a builder sends cannot gather here."""
    for root in (incoming, incoming / _PULLING):
        for entry in _listed(root):
            if entry.name in (_LOCK, _PULLING) and root == incoming:
                continue
            if entry.is_symlink() or not entry.is_dir():
                entry.unlink()
                continue
            for file in _listed(entry):
                if f"{entry.name}/{file.name}" not in awaited:
                    _remove(file)
            if not _listed(entry):
                entry.rmdir()


def _left(incoming: Path) -> bool:
    """Whether anything may have to be swept."""
    return any(entry.name not in (_LOCK, _PULLING) for entry in _listed(incoming)) or any(_listed(incoming / _PULLING))


def _listed(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextmanager
def _locked(incoming: Path, seconds: float) -> Iterator[bool]:
    """Hold the lock on a builder's files for a block; False where somebody else held it for so long."""
    until = time.monotonic() + seconds
    held = os.open(incoming / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    yield False
                    return
                time.sleep(0.1)
        yield True
    finally:
        os.close(held)

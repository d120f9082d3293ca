"""Keep the logs of failed attempts: taken out of incoming by their bytes, looked at, and put where the index serves them.

A log is for a person to read. One that is missing or damaged is marked lost, and holds nothing up.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import Connection
from piwheels_builder.errors import WheelRejected
from piwheels_builder.index.incoming import take
from piwheels_builder.index.layout import log_path
from piwheels_builder.index.tree import Tree

#: What a log is called in an outbox.
LOG = "log.gz"
#: Bytes that a log may have as it came, and unpacked. A builder stops a build at 16 MiB of output, and tries twice.
LARGEST_LOG = 36 * 2**20
_LARGEST_PLAIN = 256 * 2**20
_CHUNK = 1 << 20
#: Logs that go to the disk together, and the bytes after which a portion takes no more.
_AT_ONCE = 50
_BYTES_AT_ONCE = 256 * 2**20
_GZIP = 16 + zlib.MAX_WBITS
_queries = aiosql.from_path(Path(__file__).with_name("logs.sql"), "psycopg2")


@dataclass(frozen=True)
class AwaitingLog:
    """A log as its builder recorded it. ``directory`` is where it lies in that builder's incoming directory; ``size`` in bytes."""

    attempt_id: int
    project: str
    builder: str
    directory: str
    size: int
    recorded_at: datetime


class LogDamaged(Exception):
    """It is not what its builder recorded, or nothing that can be unpacked."""


def awaiting_logs(connection: Connection, builders: Sequence[str]) -> list[AwaitingLog]:
    """The logs of these builders that wait to be kept."""
    return [AwaitingLog(*row) for row in _queries.awaiting_logs(connection, builders=builders)]


def in_portions(logs: Sequence[AwaitingLog]) -> Iterator[list[AwaitingLog]]:
    """So many at a time as go to the disk together."""
    portion: list[AwaitingLog] = []
    for log in logs:
        portion.append(log)
        if len(portion) == _AT_ONCE or sum(each.size for each in portion) >= _BYTES_AT_ONCE:
            yield portion
            portion = []
    if portion:
        yield portion


def fetch(log: AwaitingLog, incoming: Mapping[str, Path], workshop: Path) -> Path | None:
    """A copy in the workshop; None where there is no file. Raises LogDamaged."""
    copy = workshop / f"{log.attempt_id}.{LOG}"
    if log.size > LARGEST_LOG:
        raise LogDamaged(f"a log of {log.size} bytes; the most is {LARGEST_LOG}")
    try:
        taken = take(incoming[log.builder], log.directory, LOG, copy, most=log.size)
    except WheelRejected as error:
        raise LogDamaged(str(error)) from error
    if taken is None:
        return None
    if taken.size != log.size:
        raise LogDamaged(f"it does not have the {log.size} bytes that were recorded")
    _unpack(copy)
    return copy


def store(connection: Connection, tree: Tree, copies: Mapping[AwaitingLog, Path | None]) -> list[AwaitingLog]:
    """Put the copies in their places, then book them; None is lost. Returns what was booked: another publication may have kept some
    meanwhile, after which their builder drops them.
    """
    tree.put([(copy, log_path(log.project, log.attempt_id)) for log, copy in copies.items() if copy is not None])
    return [log for log, copy in copies.items() if _book(connection, log, copy)]


def _book(connection: Connection, log: AwaitingLog, copy: Path | None) -> bool:
    filename = None if copy is None else log_path(log.project, log.attempt_id).name
    booked: bool = _queries.log_stored(connection, attempt_id=log.attempt_id, filename=filename)
    return booked


def _unpack(path: Path) -> None:
    """See that it is gzip, whole, and of a bearable size, without keeping what is in it."""
    unpacker, plain = zlib.decompressobj(_GZIP), 0
    try:
        with path.open("rb") as file:
            while not unpacker.eof:
                packed = unpacker.unconsumed_tail or file.read(_CHUNK)
                if not packed:
                    raise LogDamaged("it ends in the middle")
                plain += len(unpacker.decompress(packed, _CHUNK))
                if plain > _LARGEST_PLAIN:
                    raise LogDamaged(f"it has more than {_LARGEST_PLAIN} bytes unpacked")
            if unpacker.unused_data or file.read(1):
                raise LogDamaged("something stands after its end")
    except zlib.error as error:
        raise LogDamaged(f"it is not gzip: {error}") from error

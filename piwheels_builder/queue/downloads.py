"""Downloads: what of the index was taken, by wheel and day, counted from its access logs (db/functions/downloads.sql).

Who calls: the command ``downloads``, and the site for its pages. What users asked for and could not get becomes demand on the way.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import aiosql

from piwheels_builder.db.connect import Connection
from piwheels_builder.errors import BadInput
from piwheels_builder.queue.access_log import Request, request

_queries = aiosql.from_path(Path(__file__).with_name("downloads.sql"), "psycopg2")
#: Lines that are counted in one transaction.
PIECE = 20_000
#: No line of nginx's is longer: its largest request headers have 4 x 8 KiB, JSON escapes a byte with six.
_LONGEST_LINE = 1 << 20


@dataclass(frozen=True)
class Download:
    """Of a wheel on a day (past ninety days: in the month that begins then).

    ``number`` counts each client once a day, ``repeated`` the same client's further downloads, ``bots`` those of mirrors
    and crawlers.
    """

    project_id: int
    filename: str
    day: date
    number: int
    repeated: int
    bots: int


@dataclass(frozen=True)
class Popular:
    """Downloads of all of a project's wheels."""

    project: str
    number: int
    repeated: int
    bots: int


def count_logs(connection: Connection, directory: Path) -> int:
    """Count what is new in a directory's ``access.log*``, as the dispatcher role. Returns how many lines were new.

    Commits as it goes. Killed anywhere and run again, it counts each line once. Raises BadInput where a log cannot be read.
    """
    lines = 0
    for path in sorted(directory.glob("access.log*"), key=_age, reverse=True):
        try:
            lines += _count_log(connection, path)
        except FileNotFoundError:
            continue  # Rotated away meanwhile; under its new name it is counted the next time.
        except OSError as error:
            raise BadInput(f"{path} cannot be read ({error.strerror or error}): run this as a member of the log's group") from error
    _queries.fold_downloads(connection)
    connection.commit()
    return lines


def downloads_of(connection: Connection, project_ids: Sequence[int], since: date = date.min) -> list[Download]:
    """Downloads of the wheels of these projects since a day, the newest first for each. Any role that may read."""
    return [Download(*row) for row in _queries.downloads_of(connection, project_ids=list(project_ids), since=since)]


def most_downloaded(connection: Connection, since: date, most: int) -> list[Popular]:
    """The ``most`` projects with the most downloads since a day."""
    return [Popular(*row) for row in _queries.most_downloaded(connection, since=since, most=most)]


def project_ids(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """The ids of those of the projects that are in the catalogue."""
    return dict(_queries.project_ids(connection, names=list(names)))


def _age(path: Path) -> int:
    """How often a log was rotated: access.log.2.gz -> 2."""
    return max((int(part) for part in path.name.split(".") if part.isdecimal()), default=0)


def _count_log(connection: Connection, path: Path) -> int:
    with path.open("rb") as plain:
        log = cast(BinaryIO, gzip.GzipFile(fileobj=plain)) if path.suffix == ".gz" else plain
        first = next(_whole_lines(log), None)
        if first is None:
            return 0
        name = sha256(first).hexdigest()
        start = _queries.read_to(connection, first_line=name) or 0
        connection.commit()
        if path.suffix == ".gz" and start % 2**32 == _unpacked_size(path):
            return 0
        try:
            log.seek(start)
        except (EOFError, zlib.error):
            return 0
        return _count_from(connection, name, log, start)


def _count_from(connection: Connection, name: str, log: BinaryIO, start: int) -> int:
    counted, lines = 0, _whole_lines(log)
    while piece := list(islice(lines, PIECE)):
        end = start + sum(map(len, piece))
        found = [request(line.decode(errors="replace")) for line in piece]
        requests = json.dumps([_row(one) for one in found if one is not None])
        is_new = _queries.count_downloads(connection, of_log=name, read_from=start, read_to=end, requests=requests)
        connection.commit()
        if not is_new:
            return counted  # Somebody else counts this log.
        counted, start = counted + len(piece), end
    return counted


def _row(one: Request) -> dict[str, object]:
    return {**asdict(one), "day": one.day.isoformat()}


def _whole_lines(log: BinaryIO) -> Iterator[bytes]:
    """Lines to the last one that has its end: nginx may be writing the next one, logrotate packing the file."""
    try:
        while (line := log.readline(_LONGEST_LINE)).endswith(b"\n"):
            yield line
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return


def _unpacked_size(path: Path) -> int:
    """As gzip's trailer has it (RFC 1952, ISIZE), modulo 2^32."""
    return int.from_bytes(path.read_bytes()[-4:], "little")

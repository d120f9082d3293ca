"""Opens a zip file from a stranger, knowing beforehand what reading it can cost. (APPNOTE 4.3)"""

import stat
import struct
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

#: The most all members may have unpacked, and the list of members may have, in bytes.
MOST_UNPACKED = 4 * 2**30
_LARGEST_LIST = 16 * 2**20
#: End of central directory: signature, four 16-bit numbers, size and place of the list, length of the comment.
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_LOCATOR_SIZE = 20


class BadZip(Exception):
    """Not a zip file that anyone should unpack; the message says why."""


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file whose members are plain files and directories below one root, each there once, within bounds.

    Raises BadZip; while it is read, whatever zipfile raises for broken content.
    """
    with path.open("rb") as file:
        check_end(file)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error) as error:
        raise BadZip(f"no zip file: {error}") from error
    with archive:
        _check_members(archive.infolist())
        yield archive


def check_end(file: IO[bytes]) -> None:
    """Raises BadZip unless zipfile can open this within bounds: it reads the list of members into memory whole, however long.

    So look at its length first, where zipfile will look.
    """
    size = file.seek(0, 2)
    start = max(0, size - _END.size - 65535 - _LOCATOR_SIZE)
    file.seek(start)
    tail = file.read()
    place = tail.rfind(_END_SIGNATURE, 0, len(tail) - _END.size + 4)
    if tail[-_END.size :].startswith(_END_SIGNATURE) and tail.endswith(b"\0\0"):
        place = len(tail) - _END.size
    if place < 0:
        raise BadZip("no zip file: it has no end record")
    if tail[max(0, place - _LOCATOR_SIZE) : place].startswith(_LOCATOR_SIGNATURE):
        raise BadZip("a zip64 file: more than 65,535 members or 4 GiB")
    listed = _END.unpack_from(tail, place)[5]
    if listed > _LARGEST_LIST:
        raise BadZip(f"a list of members of {listed} bytes")


def _check_members(members: Iterable[zipfile.ZipInfo]) -> None:
    seen: set[str] = set()
    total = 0
    for member in members:
        _check_name(member.filename)
        _check_kind(member)
        if member.filename.rstrip("/") in seen:
            raise BadZip(f"holds {member.filename!a} twice")
        seen.add(member.filename.rstrip("/"))
        total += member.file_size
    if total > MOST_UNPACKED:
        raise BadZip(f"unpacks to {total} bytes")


def _check_name(name: str) -> None:
    steps = name.removesuffix("/").split("/")
    if not name or "\\" in name or any(step in {"", ".", ".."} for step in steps) or any(ord(character) < 32 for character in name):
        raise BadZip(f"holds the name {name[:200]!a}")


def _check_kind(member: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise BadZip(f"{member.filename!a} is neither file nor directory")
    if member.flag_bits & 0x1:
        raise BadZip(f"{member.filename!a} is encrypted")

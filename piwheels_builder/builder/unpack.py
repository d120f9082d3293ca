"""Unpacks an sdist, trusting nothing in it: Debian 12's Python has no tarfile filter, and its filter knows no bounds."""

import bz2
import errno
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.tree import Refused, Tree
from piwheels_builder.builder.xz import XzReader
from piwheels_builder.states import Outcome
from piwheels_builder.zips import BadZip, check_end


@dataclass(frozen=True)
class Bounds:
    """What an unpacked sdist may have at most; sizes in bytes."""

    total: int = 2 * 2**30
    members: int = 200_000
    #: One piece of metadata in a tar file (a long name, a pax header) is read into memory whole.
    piece: int = 2**20


#: What the disk says that is the archive's doing; anything else an OSError says is the builder's trouble.
_ODD_NAMES = {None, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL, errno.ELOOP, errno.EILSEQ}
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    RuntimeError,
)
_OPENERS: dict[bytes, Callable[[IO[bytes]], object]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": XzReader}


def unpack(archive: Path, into: Path, bounds: Bounds | None = None) -> Path:
    """Unpack into the existing, empty directory ``into``. Returns the directory in it that holds the project.

    Raises BuildEnded (bad_sdist) for anything about the archive, and OSError for the disk.
    """
    try:
        with archive.open("rb") as file:
            _unpack(file, Tree(into, bounds.total if bounds else Bounds.total), bounds or Bounds())
    except Refused as error:
        raise BuildEnded(Outcome.BAD_SDIST, str(error)) from error
    except OSError as error:
        if error.errno not in _ODD_NAMES:
            raise
        raise BuildEnded(Outcome.BAD_SDIST, f"cannot be unpacked: {error.strerror or error}") from error
    except _BROKEN as error:
        raise BuildEnded(Outcome.BAD_SDIST, f"not a whole archive: {type(error).__name__}: {error}"[:300]) from error
    return _project_root(into)


def ends_early(file: IO[bytes], most: int = Bounds.total) -> bool:
    """Whether an archive is cut off at its end; ``most`` bytes of its content are looked at. False for what is no archive."""
    opener = _OPENERS.get(file.read(2))
    file.seek(0)
    if opener is None:
        return file.read(4) == b"PK\3\4" and not zipfile.is_zipfile(file)
    content, seen = cast(IO[bytes], opener(file)), 0
    try:
        while seen < most and (piece := content.read(2**20)):
            seen += len(piece)
    except EOFError:
        return True
    except (*_BROKEN, OSError):
        # Damaged, which is for unpacking to tell.
        return False
    return False


def _unpack(file: IO[bytes], tree: Tree, bounds: Bounds) -> None:
    start = file.read(2)
    file.seek(0)
    if start == b"PK":
        _unpack_zip(file, tree, bounds)
        return
    opener = _OPENERS.get(start)
    plain = cast(IO[bytes], opener(file) if opener else file)
    _unpack_tar(_Metered(plain, bounds), tree, bounds)


class _Metered:
    """What tarfile reads from: a decompressed stream that refuses to be longer than the bounds, or read in large pieces."""

    def __init__(self, file: IO[bytes], bounds: Bounds) -> None:
        self._file = file
        self._piece = bounds.piece
        # A tar file has a block of header for each member, and up to one of padding.
        self._end = bounds.total + bounds.members * 1024

    def read(self, size: int) -> bytes:
        if size > self._piece:
            raise Refused(f"metadata of {size} bytes in the archive")
        self._check(self._file.tell() + size)
        return self._file.read(size)

    def seek(self, position: int) -> int:
        self._check(position)
        return self._file.seek(position)

    def tell(self) -> int:
        return self._file.tell()

    def _check(self, position: int) -> None:
        if position > self._end:
            raise Refused(f"unpacks to more than {self._end} bytes")


def _unpack_tar(file: _Metered, tree: Tree, bounds: Bounds) -> None:
    with tarfile.open(fileobj=cast(IO[bytes], file), mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
        for number, member in enumerate(archive):
            _check_number(number, bounds)
            _add_tar_member(archive, member, tree)
            # tarfile would keep every member in memory, and search them all for a link's target.
            archive.members = []  # type: ignore[attr-defined]


def _add_tar_member(archive: tarfile.TarFile, member: tarfile.TarInfo, tree: Tree) -> None:
    if member.isdir():
        tree.add_directory(member.name)
    elif member.issym():
        tree.add_symlink(member.name, member.linkname)
    elif member.islnk():
        tree.add_hardlink(member.name, member.linkname)
    elif member.isreg() and not member.issparse():
        with cast(IO[bytes], archive.extractfile(member)) as content:
            tree.add_file(member.name, content, member.size, member.mode)
    else:
        raise Refused(f"{member.name!r} is neither file, directory nor link")


def _unpack_zip(file: IO[bytes], tree: Tree, bounds: Bounds) -> None:
    try:
        check_end(file)
    except BadZip as error:
        raise Refused(str(error)) from error
    with zipfile.ZipFile(file) as archive:
        for number, member in enumerate(archive.infolist()):
            _check_number(number, bounds)
            _add_zip_member(archive, member, tree)


def _add_zip_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, tree: Tree) -> None:
    mode = member.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if member.is_dir():
        tree.add_directory(member.filename)
        return
    if member.compress_type == zipfile.ZIP_LZMA:
        # Its memory can't be bounded, and no sdist is packed so.
        raise Refused(f"{member.filename!r} is compressed with LZMA")
    with archive.open(member) as content:
        if kind == stat.S_IFLNK:
            tree.add_symlink(member.filename, os.fsdecode(content.read(4097)))
        elif kind in {0, stat.S_IFREG}:
            tree.add_file(member.filename, content, member.file_size, mode)
        else:
            raise Refused(f"{member.filename!r} is neither file, directory nor link")


def _check_number(number: int, bounds: Bounds) -> None:
    if number >= bounds.members:
        raise Refused(f"more than {bounds.members} members")


def _project_root(into: Path) -> Path:
    """The one directory with a project: ``into`` itself, or one right below it."""
    directories = [into, *sorted(Path(entry.path) for entry in os.scandir(into) if entry.is_dir(follow_symlinks=False))]
    projects = [directory for directory in directories if _holds_project(directory)]
    if not projects:
        raise BuildEnded(Outcome.BAD_SDIST, "holds no project: neither pyproject.toml nor setup.py")
    if len(projects) > 1 and projects[0] != into:
        raise BuildEnded(Outcome.BAD_SDIST, f"holds {len(projects)} projects: {', '.join(path.name for path in projects[:5])}")
    return projects[0]


def _holds_project(directory: Path) -> bool:
    return any((directory / name).is_file() for name in ("pyproject.toml", "setup.py"))

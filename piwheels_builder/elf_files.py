"""The ELF files of a wheel: its members, and the objects in its static libraries (ar(5))."""

import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from typing import IO

from piwheels_builder.elf import MAGIC, BadElf, ElfFacts, read_elf

_LIBRARY_MAGIC = b"!<arch>\n"
_LIBRARY_HEADER = 60
#: Reading a header takes some 30 us. The most of a wheel's ELF files together; large wheels have a few thousand.
_MOST_HEADERS = 100_000
_MOST_OBJECTS = 10_000
#: Read into memory, three times as much.
_LARGEST_OBJECT = 2**24
_IN_MEMORY = 8 * 2**20
_CHUNK = 2**20


def elf_files(archive: zipfile.ZipFile) -> Iterator[tuple[str, ElfFacts | None]]:
    """Every ELF file by the name of its member; None for what is in a static library and can't, or would take too long to, be read.

    Raises BadElf for a member that begins like an ELF file and is none, and for more headers than a wheel has.
    """
    headers = 0
    for name, file in _beginning_with(MAGIC, archive):
        facts = read_elf(file)
        headers += facts.headers
        if headers > _MOST_HEADERS:
            raise BadElf("more ELF headers than any wheel has")
        yield name, facts
    # Nothing loads what is in these, however much it is.
    for name, file in _beginning_with(_LIBRARY_MAGIC, archive):
        for part in _in_library(file):
            headers += part.headers if part else 1
            if headers > _MOST_HEADERS:
                yield name, None
                return
            yield name, part


def _beginning_with(magic: bytes, archive: zipfile.ZipFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in archive.infolist():
        with archive.open(member) as content:
            start = content.read(len(magic))
            if start != magic:
                continue
            # A member can't be read backwards cheaply, and pyelftools goes back and forth.
            with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
                copy.write(start)
                shutil.copyfileobj(content, copy, _CHUNK)
                yield member.filename, copy


def _in_library(file: IO[bytes]) -> Iterator[ElfFacts | None]:
    """Whatever is read in another way than linkers do ends it with None: a file may also just begin like a library."""
    place = len(_LIBRARY_MAGIC)
    for _ in range(_MOST_OBJECTS):
        file.seek(place)
        header = file.read(_LIBRARY_HEADER)
        if not header:
            return
        size = header[48:58].strip()
        if header[58:] != b"`\n" or not size.isdigit() or int(size) > _LARGEST_OBJECT:
            break
        if file.read(len(MAGIC)) == MAGIC:
            file.seek(place + _LIBRARY_HEADER)
            yield _object(file.read(int(size)))
        place += _LIBRARY_HEADER + int(size) + int(size) % 2
    yield None


def _object(content: bytes) -> ElfFacts | None:
    try:
        return read_elf(io.BytesIO(content))
    except BadElf:
        return None

"""What the ELF files of a wheel are made for, read without trusting them. (System V ABI; LSB, symbol versions)"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from piwheels_builder.arm import ArmFacts, read_arm

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

MAGIC = b"\x7fELF"
#: e_machine, class and byte order that each architecture's tag promises.
_MACHINES = {
    "armv6l": ("EM_ARM", 32, True),
    "armv7l": ("EM_ARM", 32, True),
    "aarch64": ("EM_AARCH64", 64, True),
    "x86_64": ("EM_X86_64", 64, True),
    "i686": ("EM_386", 32, True),
    "riscv64": ("EM_RISCV", 64, True),
}
#: How symbol versions are named: GLIBC_2.4, GLIBC_2.3.4; not GLIBC_PRIVATE, nor GLIBCXX_.
_GLIBC = re.compile(rb"(?<![A-Za-z0-9_])GLIBC_(\d{1,3})\.(\d{1,3})(?:\.\d+)?\0")
_LARGEST_STRINGS = 64 * 2**20
_DT_NULL, _DT_NEEDED = 0, 1
_SONAME = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}\.so[A-Za-z0-9_.+-]{0,64}")
_LARGEST_DYNAMIC = 2**16
_MOST_NEEDED = 200
_MOST_HEADERS = 10_000


class BadElf(Exception):
    """Begins like an ELF file and can't be read as one."""


@dataclass(frozen=True)
class ElfFacts:
    """``glibc`` is the oldest one it runs with, None if it needs none. ``loadable``: a library or program for Linux.

    ``headers``: how many sections and segments it lists. ``arm``: what a 32-bit ARM file says of its processor; None for every
    other, and for firmware that says it in no known way.
    """

    machine: str
    bits: int
    little_endian: bool
    loadable: bool
    headers: int
    glibc: tuple[int, int] | None
    arm: ArmFacts | None = None
    #: The libraries it is linked with, by soname (DT_NEEDED).
    needed: frozenset[str] = frozenset()

    def beyond(self, architecture: str) -> str | None:
        """Why it does not run on every machine of an architecture, as the rest of a sentence; None if it does."""
        if (self.machine, self.bits, self.little_endian) != _MACHINES[architecture]:
            order = "" if self.little_endian else ", big-endian"
            return f"is for {self.machine}, {self.bits} bits{order}"
        if architecture not in ("armv6l", "armv7l"):
            return None
        return self.arm.beyond(architecture) if self.arm else "has attributes that no linker writes"


def read_elf(file: IO[bytes]) -> ElfFacts:
    """Read a seekable file that begins with MAGIC. Raises BadElf. Memory and time are bounded whatever it holds."""
    # Most wheels hold no ELF file, and importing this takes longer than building many of them.
    from elftools.elf.elffile import ELFFile  # noqa: PLC0415

    try:
        return _read(ELFFile(file))
    except BadElf:
        raise
    except Exception as error:  # pyelftools meets a stranger's bytes with any exception there is.
        raise BadElf(f"{type(error).__name__}: {error}"[:200]) from error


def _read(elf: "ELFFile") -> ElfFacts:
    if max(elf.num_sections(), elf.num_segments()) > _MOST_HEADERS:
        raise BadElf("more headers than any linker makes")
    # Firmware for a chip is ELF too, but nothing that Linux could load.
    kinds = {elf["e_type"]} | {elf._get_segment_header(number)["p_type"] for number in range(elf.num_segments())}
    loadable = not kinds.isdisjoint({"ET_DYN", "PT_DYNAMIC", "PT_INTERP"})
    return ElfFacts(
        machine=str(elf["e_machine"]),
        bits=elf.elfclass,
        little_endian=elf.little_endian,
        loadable=loadable,
        headers=elf.num_sections() + elf.num_segments(),
        glibc=_needed_glibc(elf, dynamic="PT_DYNAMIC" in kinds),
        arm=_arm_facts(elf, loadable=loadable),
        needed=_needed_libraries(elf),
    )


def _arm_facts(elf: "ELFFile", *, loadable: bool) -> ArmFacts | None:
    if (elf["e_machine"], elf.elfclass, elf.little_endian) != _MACHINES["armv7l"]:
        return None
    try:
        return read_arm(elf)
    except ValueError:
        if loadable:
            raise
        return None


def _needed_glibc(elf: "ELFFile", *, dynamic: bool) -> tuple[int, int] | None:
    """The highest GLIBC_x.y among the names of versions needed.

    They stand in the string table that the section of needed versions links to; symbols' names stand there too, but none of them
    looks like that. pyelftools could walk the versions one by one, and a file can be made that keeps it walking.
    """
    if dynamic and not elf.num_sections():
        raise BadElf("without section headers nobody can tell what it needs")
    floors = [(0, 0)]
    for number in range(elf.num_sections()):
        header = elf._get_section_header(number)
        if header["sh_type"] == "SHT_GNU_verneed":
            floors.extend(_versions_named(elf, elf._get_section_header(header["sh_link"])))
    return max(floors) if max(floors) > (0, 0) else None


def _versions_named(elf: "ELFFile", strings: Any) -> list[tuple[int, int]]:
    if strings["sh_size"] > _LARGEST_STRINGS:
        raise BadElf("a string table larger than any linker makes")
    elf.stream.seek(strings["sh_offset"])
    return [(int(major), int(minor)) for major, minor in _GLIBC.findall(elf.stream.read(strings["sh_size"]))]


def _needed_libraries(elf: "ELFFile") -> frozenset[str]:
    """What its dynamic section asks for by names that a library may have. (System V ABI, dynamic linking)"""
    for number in range(elf.num_sections()):
        header = elf._get_section_header(number)
        if header["sh_type"] == "SHT_DYNAMIC":
            names = _names_needed(elf, header, elf._get_section_header(header["sh_link"]))
            return frozenset(name.decode() for name in names if _SONAME.fullmatch(name))
    return frozenset()


def _names_needed(elf: "ELFFile", dynamic: Any, strings: Any) -> Iterator[bytes]:
    entry = struct.Struct(("<" if elf.little_endian else ">") + ("qQ" if elf.elfclass == 64 else "iI"))
    elf.stream.seek(dynamic["sh_offset"])
    content = elf.stream.read(min(dynamic["sh_size"], _LARGEST_DYNAMIC))
    places: list[int] = []
    for kind, value in entry.iter_unpack(content[: len(content) // entry.size * entry.size]):
        if kind == _DT_NULL:
            break
        if kind == _DT_NEEDED and len(places) < _MOST_NEEDED:
            places.append(value)
    for place in places:
        elf.stream.seek(strings["sh_offset"] + place)
        yield elf.stream.read(200).partition(b"\0")[0]

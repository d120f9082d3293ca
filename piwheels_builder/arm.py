"""What a 32-bit ARM file needs of its processor, as its linker noted it. (ELF for the Arm Architecture; Addenda: build attributes)

Read by our own few lines: pyelftools follows the sizes that the file names, and one of zero keeps it there for ever.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

#: The most bytes of attributes; linkers write some sixty.
_LARGEST = 2**12
_EABI_VERSION, _EABI5, _HARD_FLOAT, _SOFT_FLOAT = 0xFF000000, 0x05000000, 0x400, 0x200
_FILE_SCOPE = 1
_CPU_ARCH, _VFP_ARGS, _COMPATIBILITY, _NO_DEFAULTS = 6, 28, 32, 64
#: Tags whose value is a string although their number is small. From 33 on the odd ones are.
_EARLY_TEXTS = frozenset({4, 5})

_NAMES = {
    _CPU_ARCH: "Tag_CPU_arch",
    7: "Tag_CPU_arch_profile",
    8: "Tag_ARM_ISA_use",
    9: "Tag_THUMB_ISA_use",
    10: "Tag_FP_arch",
    11: "Tag_WMMX_arch",
    12: "Tag_Advanced_SIMD_arch",
    _VFP_ARGS: "Tag_ABI_VFP_args",
    _COMPATIBILITY: "Tag_compatibility",
    34: "Tag_CPU_unaligned_access",
    36: "Tag_FP_HP_extension",
    44: "Tag_DIV_use",
    68: "Tag_Virtualization_use",
}
#: What an ARM1176 (Pi 1, Zero) can do. Tag_CPU_arch is no scale: v4 to v6 are 1 to 6, v6KZ is 7, v6T2 8, v6K 9. The ARM1176 is a
#: v6KZ, which has all of v6K, and no Thumb-2, so not v6T2.
_ARMV6 = {
    _CPU_ARCH: frozenset({1, 2, 3, 4, 5, 6, 7, 9}),
    7: frozenset({0}),
    8: frozenset({0, 1}),
    9: frozenset({0, 1}),
    10: frozenset({0, 1, 2}),
    _VFP_ARGS: frozenset({1, 3}),
    _COMPATIBILITY: frozenset({0, 1}),
    34: frozenset({0, 1}),
    44: frozenset({0, 1}),
    68: frozenset({0, 1}),
}
#: How values are laid out and handed over, how floats are rounded, what was optimized for: of these any value will do.
_NO_INSTRUCTIONS = frozenset({*range(13, 28), 30, 31, 38, 72})
#: v8 and M profiles, its floating point and SIMD, and instructions that no ARMv7-A has. Missing attributes say nothing.
_ARMV7 = {
    _CPU_ARCH: frozenset(range(11)),
    10: frozenset(range(7)),
    11: frozenset({0}),
    12: frozenset({0, 1, 2}),
    48: frozenset({0}),
}


@dataclass(frozen=True)
class ArmFacts:
    """``flags`` are e_flags; ``attributes`` the numbers noted for the whole file, by tag, None where it notes none."""

    flags: int
    attributes: Mapping[int, int] | None

    def beyond(self, architecture: str) -> str | None:
        """Why it does not run on every armv6l or armv7l Pi, as the rest of a sentence; None if it does."""
        if not self._passes_floats_in_registers():
            return "is not made for hard float"
        return self._beyond_armv6() if architecture == "armv6l" else self._beyond(_ARMV7)

    def _passes_floats_in_registers(self) -> bool:
        if self.flags & _EABI_VERSION != _EABI5 or self.flags & _SOFT_FLOAT:
            return False
        # Not every linker sets the flag, and none does in object files.
        return bool(self.flags & _HARD_FLOAT) or (self.attributes or {}).get(_VFP_ARGS) in (1, 3)

    def _beyond_armv6(self) -> str | None:
        """Only what is known to run there does: whatever it notes must be in the list."""
        if not self.attributes or _CPU_ARCH not in self.attributes:
            return "does not say which processor it is for"
        noted = (tag for tag, value in self.attributes.items() if value or tag == _NO_DEFAULTS)
        unknown = next((tag for tag in noted if tag not in _ARMV6 and tag not in _NO_INSTRUCTIONS), None)
        return self._beyond(_ARMV6) if unknown is None else _names(unknown, self.attributes[unknown])

    def _beyond(self, possible: Mapping[int, frozenset[int]]) -> str | None:
        attributes = self.attributes or {}
        wrong = next((tag for tag, values in possible.items() if attributes.get(tag, 0) not in values), None)
        return None if wrong is None else _names(wrong, attributes.get(wrong, 0))


def _names(tag: int, value: int) -> str:
    return f"notes {_NAMES.get(tag, f'attribute {tag}')} {value}"


def read_arm(elf: "ELFFile") -> ArmFacts:
    """Of a 32-bit little-endian ARM file. Raises ValueError for attributes that no linker writes. Time is bounded."""
    headers = (elf._get_section_header(number) for number in range(elf.num_sections()))
    found = [(header["sh_offset"], header["sh_size"]) for header in headers if header["sh_type"] == "SHT_ARM_ATTRIBUTES"]
    if not found:
        return ArmFacts(elf["e_flags"], None)
    if len(found) > 1:
        raise ValueError("more than one section of attributes")
    ((offset, size),) = found
    if size > _LARGEST:
        raise ValueError("a section of attributes larger than any linker makes")
    elf.stream.seek(offset)
    section = elf.stream.read(size)
    if len(section) < size:
        raise ValueError("a section of attributes beyond the file's end")
    return ArmFacts(elf["e_flags"], parse_attributes(section))


def parse_attributes(section: bytes) -> dict[int, int] | None:
    """What a section of attributes notes for the whole file; None if it has none of the ABI's own. Raises ValueError."""
    if section[:1] != b"A":
        raise ValueError("attributes of an unknown format")
    noted: dict[int, int] | None = None
    rest = section[1:]
    while rest:
        vendor, rest = _cut(rest, 0)
        name, end, content = vendor[4:].partition(b"\0")
        if not end:
            raise ValueError("attributes of a vendor without a name")
        if name == b"aeabi":
            noted = _merge(noted or {}, _of_file(content))
    return noted


def _of_file(content: bytes) -> dict[int, int]:
    noted: dict[int, int] = {}
    while content:
        # Linkers give up what held for single sections and symbols.
        if content[0] != _FILE_SCOPE:
            raise ValueError("attributes of something else than the file")
        scope, content = _cut(content, 1)
        noted = _merge(noted, _attributes(scope[5:]))
    return noted


def _cut(data: bytes, at: int) -> tuple[bytes, bytes]:
    """Cut off the first part, whose own size, the four bytes at ``at``, counts from its beginning."""
    size = struct.unpack_from("<I", data, at)[0] if len(data) >= at + 4 else 0
    if not at + 4 <= size <= len(data):
        raise ValueError("attributes that end too early or too late")
    return data[:size], data[size:]


def _attributes(data: bytes) -> dict[int, int]:
    noted: dict[int, int] = {}
    while data:
        tag, data = _number(data)
        value = 0
        if tag == _COMPATIBILITY or not _is_text(tag):
            value, data = _number(data)
        if tag == _COMPATIBILITY or _is_text(tag):
            _, end, data = data.partition(b"\0")
            if not end:
                raise ValueError("a text among the attributes that does not end")
        noted = _merge(noted, {tag: value})
    return noted


def _is_text(tag: int) -> bool:
    return tag in _EARLY_TEXTS or (tag > _COMPATIBILITY and tag % 2 == 1)


def _number(data: bytes) -> tuple[int, bytes]:
    """A ULEB128 of at most 32 bits, and what follows it."""
    value = 0
    for place, byte in enumerate(data[:5]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, data[place + 1 :]
    raise ValueError("a number among the attributes that does not end")


def _merge(noted: dict[int, int], more: dict[int, int]) -> dict[int, int]:
    for tag, value in more.items():
        if noted.setdefault(tag, value) != value:
            raise ValueError(f"attribute {tag} twice, with two values")
    return noted

"""What ARM files say of their processor: compilers' own files, each value that decides, and whatever a stranger writes there."""

import random
import signal
import struct
import time
from io import BytesIO
from pathlib import Path

import pytest

from piwheels_builder import elf_files
from piwheels_builder.arm import ArmFacts, parse_attributes
from piwheels_builder.elf import BadElf, read_elf
from piwheels_builder.errors import WheelRejected
from piwheels_builder.index.twin import may_have_twin
from piwheels_builder.targets import Target
from piwheels_builder.wheels import InspectedWheel, check_wheel, inspect_wheel
from tests.support import arm
from tests.support.wheelmaking import make_wheel

HARD, SOFT, UNSAID = 0x5000400, 0x5000200, 0x5000000
#: What Raspberry Pi OS's gcc notes: v6, ARM, Thumb-1, VFPv2, floats in registers.
V6 = {6: 6, 8: 1, 9: 1, 10: 2, 18: 4, 20: 1, 21: 1, 23: 3, 24: 1, 25: 1, 26: 2, 28: 1, 30: 2, 34: 1}
TARGET = Target("cp311", "armv7l", "bookworm")
TAG = "cp311-cp311-linux_armv7l"


def wheel_with(place: Path, tag: str = TAG, **content: bytes) -> InspectedWheel:
    return inspect_wheel(make_wheel(place, tag=tag, content={name.replace("_so", ".so"): body for name, body in content.items()}))


@pytest.mark.parametrize(
    ("cpu", "its_name"),
    [(1, "v4"), (2, "v4T"), (3, "v5T"), (4, "v5TE"), (5, "v5TEJ"), (6, "v6"), (7, "v6KZ"), (9, "v6K")],
)
def test_processors_whose_code_a_pi_zero_runs(cpu: int, its_name: str) -> None:
    assert ArmFacts(HARD, V6 | {6: cpu}).beyond("armv6l") is None, its_name


@pytest.mark.parametrize("cpu", [0, 8, *range(10, 30), 2**31])
def test_processors_whose_code_it_does_not_run(cpu: int) -> None:
    """v6T2 is 8, between v6KZ and v6K, and has Thumb-2."""
    assert ArmFacts(HARD, V6 | {6: cpu}).beyond("armv6l") == f"notes Tag_CPU_arch {cpu}"


@pytest.mark.parametrize(
    "more",
    [
        {7: 0x41},  # application profile: v7 and later
        {9: 2},  # Thumb-2
        {9: 3},  # the Thumb of whatever processor it is
        {10: 3},  # VFPv3
        {10: 4},  # VFPv3-D16
        {11: 1},  # iwMMXt
        {12: 1},  # NEON
        {28: 0},  # floats in integer registers
        {32: 2},  # a toolchain's own meaning
        {34: 2},
        {36: 1},  # half precision
        {42: 1},  # multiprocessing extensions
        {44: 2},  # division
        {46: 1},
        {48: 1},
        {64: 0},  # what is missing is not the default
        {66: 1},
        {68: 2},  # virtualization
        {70: 1},
        {100: 1},  # nobody knows
    ],
)
def test_what_else_a_pi_zero_lacks(more: dict[int, int]) -> None:
    assert str(ArmFacts(HARD, V6 | more).beyond("armv6l")).startswith("notes ")


@pytest.mark.parametrize("more", [{68: 1}, {44: 1}, {10: 0}, {10: 1}, {12: 0}, {28: 3}, {100: 0}, {38: 1}])
def test_what_a_pi_zero_has(more: dict[int, int]) -> None:
    assert ArmFacts(HARD, V6 | more).beyond("armv6l") is None


@pytest.mark.parametrize("attributes", [None, {}, {tag: value for tag, value in V6.items() if tag != 6}])
def test_missing_attributes_say_nothing(attributes: dict[int, int] | None) -> None:
    facts = ArmFacts(HARD, attributes)
    assert facts.beyond("armv6l") == "does not say which processor it is for"
    assert facts.beyond("armv7l") is None


@pytest.mark.parametrize("more", [{6: 14}, {6: 22}, {6: 11}, {6: 13}, {10: 7}, {12: 3}, {11: 1}, {48: 1}])
def test_beyond_armv7(more: dict[int, int]) -> None:
    assert str(ArmFacts(HARD, V6 | more).beyond("armv7l")).startswith("notes ")


@pytest.mark.parametrize("more", [{6: 10, 7: 0x41, 9: 2, 10: 4}, {12: 2, 10: 5}, {44: 2}, {100: 1}])
def test_what_an_armv7_has(more: dict[int, int]) -> None:
    assert ArmFacts(HARD, V6 | more).beyond("armv7l") is None


@pytest.mark.parametrize(
    ("flags", "attributes", "hard"),
    [
        (HARD, V6, True),
        (HARD, None, True),
        (UNSAID, V6, True),
        (UNSAID, V6 | {28: 3}, True),
        (UNSAID, None, False),
        (UNSAID, V6 | {28: 0}, False),
        (SOFT, V6, False),
        (SOFT | HARD, V6, False),
        (0x400, V6, False),  # before EABI version 5 the flag meant something else
    ],
)
def test_both_tags_promise_hard_float(flags: int, attributes: dict[int, int] | None, hard: bool) -> None:
    assert (ArmFacts(flags, attributes).beyond("armv7l") != "is not made for hard float") == hard
    assert hard or ArmFacts(flags, attributes).beyond("armv6l") == "is not made for hard float"


def test_a_program_for_the_pi_zero_is_believed_and_runs_there(tmp_path: Path) -> None:
    made = arm.program(tmp_path, *arm.ARMV6)
    assert wheel_with(tmp_path, program=made).beyond_armv6 is None
    ran = arm.run(tmp_path, made, "arm1176")
    assert (ran.returncode, ran.stdout) == (0, "whole")


@pytest.mark.parametrize("options", [("-march=armv6k", *arm.ARMV6[1:]), ("-mcpu=arm1176jzf-s", *arm.ARMV6[1:])])
def test_so_does_what_is_made_for_its_own_kind(tmp_path: Path, options: tuple[str, ...]) -> None:
    made = arm.program(tmp_path, *options)
    assert wheel_with(tmp_path, program=made).beyond_armv6 is None
    assert arm.run(tmp_path, made, "arm1176").stdout == "whole"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "notes Tag_CPU_arch 10"),
        (("-march=armv7-a", "-mfpu=neon"), "notes Tag_"),
        (("-march=armv6t2", "-mfpu=vfp", "-mfloat-abi=hard"), "notes Tag_CPU_arch 8"),
    ],
)
def test_what_gcc_makes_otherwise_dies_there_and_is_not_believed(tmp_path: Path, options: tuple[str, ...], why: str) -> None:
    made = arm.program(tmp_path, *options)
    assert why in str(wheel_with(tmp_path, program=made).beyond_armv6)
    # As the emulator ends when its program does.
    assert arm.run(tmp_path, made, "arm1176").returncode in (-signal.SIGILL, 128 + signal.SIGILL)
    assert arm.run(tmp_path, made, "cortex-a7").stdout == "whole"


def test_one_file_is_enough_to_refuse_a_twin(tmp_path: Path) -> None:
    old, new = arm.library(tmp_path, *arm.ARMV6), arm.library(tmp_path)
    assert may_have_twin(wheel_with(tmp_path, a_so=old))
    assert not may_have_twin(wheel_with(tmp_path, a_so=old, b_so=new))
    assert not may_have_twin(wheel_with(tmp_path, a_so=old, b=arm.program(tmp_path)))
    assert may_have_twin(wheel_with(tmp_path))
    assert not may_have_twin(wheel_with(tmp_path, tag="cp311-cp311-manylinux_2_31_armv7l", a_so=old))
    assert not may_have_twin(wheel_with(tmp_path, tag="cp311-cp311-manylinux_2_31_armv7l.linux_armv7l", a_so=old))
    assert not may_have_twin(wheel_with(tmp_path, tag="py3-none-any"))


def test_static_libraries_are_looked_into(tmp_path: Path) -> None:
    old, new = arm.static_library(tmp_path, *arm.ARMV6), arm.static_library(tmp_path)
    assert wheel_with(tmp_path, lib=old).beyond_armv6 is None
    assert wheel_with(tmp_path, lib=new).beyond_armv6 == "'lib' notes Tag_CPU_arch 10"
    for broken in (
        old[:-20],
        old[:8] + b"x" * 60,
        old[:8] + old[8:56] + b"99999999999" + old[67:],
        old.replace(b"aeabi", b"other"),
    ):
        assert wheel_with(tmp_path, lib=broken).beyond_armv6


def test_a_library_beyond_its_tag_is_refused(tmp_path: Path) -> None:
    v8 = arm.library(tmp_path, "-march=armv8-a", "-mfpu=neon-fp-armv8")
    with pytest.raises(WheelRejected, match=r"tagged linux_armv7l, but 'a\.so' notes Tag_CPU_arch 14"):
        wheel_with(tmp_path, a_so=v8)
    soft = arm.library(tmp_path, "-mfloat-abi=softfp")
    with pytest.raises(WheelRejected, match="not made for hard float"):
        wheel_with(tmp_path, a_so=soft)
    with pytest.raises(WheelRejected, match=r"tagged linux_armv6l, but 'a\.so' notes Tag_CPU_arch 10"):
        wheel_with(tmp_path, tag="cp311-cp311-linux_armv6l", a_so=arm.library(tmp_path))
    wheel_with(tmp_path, tag="cp311-cp311-linux_armv6l", a_so=arm.library(tmp_path, *arm.ARMV6))
    check_wheel(make_wheel(tmp_path, tag=TAG, content={"a.so": arm.library(tmp_path)}), "demo", "1", TARGET)


def test_a_big_endian_library_is_refused(tmp_path: Path) -> None:
    big = bytearray(52)
    big[:7] = b"\x7fELF\x01\x02\x01"
    big[16:52] = struct.pack(">HHIIIIIHHHHHH", 3, 40, 1, 0, 0, 0, HARD, 52, 32, 0, 40, 0, 0)
    with pytest.raises(WheelRejected, match="for EM_ARM, 32 bits, big-endian"):
        wheel_with(tmp_path, a_so=bytes(big))


def section(*noted: bytes, vendor: bytes = b"aeabi", scope: int = 1) -> bytes:
    """A section of attributes for each of ``noted``."""
    parts = b"".join(struct.pack("<BI", scope, 5 + len(one)) + one for one in noted)
    return b"A" + struct.pack("<I", 5 + len(vendor) + len(parts)) + vendor + b"\0" + parts


def test_attributes_as_linkers_write_them() -> None:
    assert parse_attributes(section(b"\x05ARM1176\0\x06\x07\x20\x01gnu\0\x41\x06\x0b\0\x0a\x02")) == {
        5: 0,
        6: 7,
        32: 1,
        65: 0,
        10: 2,
    }
    assert parse_attributes(section(b"\x06\x06") + section(b"\x06\x0e", vendor=b"other")[1:]) == {6: 6}
    assert parse_attributes(section(b"\x06\x06", b"\x0a\x02")) == {6: 6, 10: 2}
    assert parse_attributes(section(b"\xe4\x00\x8e\x01")) == {100: 142}
    assert parse_attributes(section(vendor=b"other")) is None
    assert parse_attributes(b"A") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"B" + section(b"\x06\x06")[1:],
        b"A\0\0\0\0",  # a size of zero, which pyelftools follows for ever
        b"A\x04\0\0\0",
        b"A\xff\xff\xff\xffaeabi\0",
        b"A\x09\0\0\0aeabi",
        section(b"\x06\x06")[:-1],
        section(b"\x06\x06") + b"\0",
        b"A\x0f\0\0\0aeabi\0\x01\0\0\0\0",
        b"A\x0f\0\0\0aeabi\0\x01\xff\0\0\0",
        section(b"\x06\x06", scope=2),
        section(b"\x06"),
        section(b"\x06\x80"),
        section(b"\x06\xff\xff\xff\xff\xff\xff"),
        section(b"\x05ARM"),
        section(b"\x06\x06\x06\x0e"),
        section(b"\x06\x06", b"\x06\x0e"),
        section(b"\x06\x06") + section(b"\x06\x0e")[1:],
    ],
)
def test_attributes_that_no_linker_writes(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"attribute"):
        parse_attributes(content)


def elf_with(content: bytes, *, sections: int = 1, size: int | None = None, kind: int = 3, machine: int = 40) -> bytes:
    """An ELF file of so many sections of attributes, all of them the same."""
    header = struct.pack("<HHIIIIIHHHHHH", kind, machine, 1, 0, 0, 52, HARD, 52, 32, 0, 40, sections, 0)
    one = struct.pack("<10I", 0, 0x70000003, 0, 0, 52 + 40 * sections, len(content) if size is None else size, 0, 0, 1, 0)
    return b"\x7fELF\x01\x01\x01" + b"\0" * 9 + header + one * sections + content


def test_sections_that_no_linker_writes(tmp_path: Path) -> None:
    good = section(b"\x06\x06\x1c\x01")
    assert wheel_with(tmp_path, a_so=elf_with(good)).beyond_armv6 is None
    for bad, why in [
        (elf_with(good, sections=2), "more than one section"),
        (elf_with(good, size=2**31), "larger than any linker makes"),
        (elf_with(good, size=len(good) + 1), "attributes"),
        (elf_with(b"A" + b"\0" * 8), "too early"),
    ]:
        with pytest.raises(WheelRejected, match=why):
            wheel_with(tmp_path, a_so=bad)
    # Firmware is data, whatever it says; but nobody knows what it runs on.
    firmware = wheel_with(tmp_path, tag="py3-none-any", firmware=elf_with(good, sections=2, kind=2))
    assert firmware.beyond_armv6 == "'firmware' has attributes that no linker writes"


def test_more_headers_than_any_wheel_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elf_files, "_MOST_HEADERS", 20_000)
    part = elf_with(b"", sections=9000, kind=1, machine=3)
    few, many = ({f"a{number}.o": part for number in range(count)} for count in (2, 3))
    assert inspect_wheel(make_wheel(tmp_path, tag=TAG, content=few)).beyond_armv6 is None
    with pytest.raises(WheelRejected, match="more ELF headers than any wheel has"):
        inspect_wheel(make_wheel(tmp_path, tag=TAG, content=many))
    # A static library of as many is data that nobody has the time to look into.
    library = b"!<arch>\n" + (f"{'part.o/':48}{len(part):<10}`\n".encode() + part) * 3
    assert "nobody could look into" in str(wheel_with(tmp_path, lib=library).beyond_armv6)


def test_an_object_too_large_to_be_read_is_not_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = elf_with(section(b"\x06\x06\x1c\x01"), kind=1)
    library = b"!<arch>\n" + f"{'part.o/':48}{len(part):<10}`\n".encode() + part
    for most, known in [(len(part), True), (len(part) - 1, False)]:
        monkeypatch.setattr(elf_files, "_LARGEST_OBJECT", most)
        told = wheel_with(tmp_path, so_so=elf_with(section(b"\x06\x06\x1c\x01")), lib=library).beyond_armv6
        assert ("nobody could look into" in str(told)) != known


def test_mutated_attributes_never_crash_it() -> None:
    chance = random.Random(6)
    original = section(b"\x05ARM1176\0\x06\x07\x08\x01\x09\x01\x0a\x02\x1c\x01\x20\x01gnu\0\x22\x01")
    answers = {"noted": 0, "refused": 0}
    began = time.monotonic()
    for _ in range(5000):
        mutated = bytearray(original)
        for _ in range(chance.choice([1, 2, 8])):
            mutated[chance.randrange(len(mutated))] = chance.choice([0, 1, 0x7F, 0x80, 255, chance.randrange(256)])
        try:
            parse_attributes(bytes(mutated[: chance.choice([len(mutated), chance.randrange(len(mutated))])]))
            answers["noted"] += 1
        except ValueError:
            answers["refused"] += 1
    assert min(answers.values()) > 300, answers
    assert time.monotonic() - began < 10


def test_mutated_arm_files_never_crash_it(tmp_path: Path) -> None:
    """The headers and the attributes of a real library, which lie at its ends."""
    chance = random.Random(7)
    original = arm.library(tmp_path, *arm.ARMV6)
    place = original.index(b"aeabi\0")
    read, slowest = 0, 0.0
    for _ in range(2000):
        mutated = bytearray(original)
        for _ in range(chance.choice([1, 3, 10])):
            at = chance.choice([chance.randrange(52), place - 5 + chance.randrange(60), -1 - chance.randrange(1000)])
            mutated[at] = chance.choice([0, 255, chance.randrange(256)])
        began = time.monotonic()
        try:
            read_elf(BytesIO(mutated)).beyond("armv6l")
            read += 1
        except BadElf:
            pass
        slowest = max(slowest, time.monotonic() - began)
    assert 200 < read < 1900
    assert slowest < 5

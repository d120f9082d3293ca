"""Honest wheels pass with the right facts; each lie is refused, and no bytes whatever crash the reader."""

import random
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from piwheels_builder.errors import WheelRejected
from piwheels_builder.targets import Target
from piwheels_builder.wheels import check_wheel, inspect_wheel
from tests.support.wheelmaking import make_wheel, pack, record_line, wheel_files

TARGET = Target("cp311", "x86_64", "bookworm")


def check(path: Path, target: Target = TARGET) -> None:
    check_wheel(path, "demo", "1", target)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real shared library of this machine, which needs its glibc."""
    place = tmp_path_factory.mktemp("library")
    (place / "a.c").write_text('#include <stdio.h>\nint f(void) { return puts("x"); }\n')
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", place / "a.so", place / "a.c"], check=True)
    return (place / "a.so").read_bytes()


def elf_header(machine: int, bits: int = 64, kind: int = 3) -> bytes:
    """The header of an ELF file with nothing in it."""
    rest = (
        struct.pack("<HHI", kind, machine, 1)
        + b"\0" * (24 if bits == 64 else 12)
        + struct.pack("<I6H", 0, 64 if bits == 64 else 52, 0, 0, 0, 0, 0)
    )
    return b"\x7fELF" + bytes([2 if bits == 64 else 1, 1, 1]) + b"\0" * 9 + rest


def test_an_honest_pure_wheel(tmp_path: Path) -> None:
    wheel = check_wheel(make_wheel(tmp_path), "Demo", "1", TARGET)
    assert (wheel.project, str(wheel.version), wheel.requires_python) == ("demo", "1.0", ">=3.8")
    assert wheel.glibc_floor is None
    assert wheel.metadata.startswith(b"Metadata-Version")
    assert wheel.size == (tmp_path / wheel.filename).stat().st_size


def test_a_compiled_wheel_tells_what_glibc_it_needs(tmp_path: Path, library: bytes) -> None:
    wheel = check_wheel(make_wheel(tmp_path, tag="cp311-cp311-linux_x86_64", content={"a.so": library}), "demo", "1.0", TARGET)
    assert wheel.glibc_floor == "2.2"


@pytest.mark.parametrize(
    ("tag", "machine", "bits", "reason"),
    [
        ("cp311-cp311-linux_x86_64", 183, 64, "is for EM_AARCH64"),
        ("cp311-cp311-linux_x86_64", 3, 32, "is for EM_386"),
        ("py3-none-any", 62, 64, "tagged any"),
        ("cp311-cp311-linux_armv7l", 62, 64, "is for EM_X86_64"),
    ],
)
def test_compiled_code_for_something_else(tmp_path: Path, tag: str, machine: int, bits: int, reason: str) -> None:
    with pytest.raises(WheelRejected, match=reason):
        inspect_wheel(make_wheel(tmp_path, tag=tag, content={"a.so": elf_header(machine, bits)}))


def test_firmware_for_other_chips_is_data(tmp_path: Path) -> None:
    check(make_wheel(tmp_path, content={"firmware.elf": elf_header(94, 32, kind=2), "object.o": elf_header(62, kind=1)}))


def test_a_manylinux_tag_below_what_it_needs(tmp_path: Path, library: bytes) -> None:
    newer = library.replace(b"GLIBC_2.2.5", b"GLIBC_2.28\0")
    assert newer != library
    with pytest.raises(WheelRejected, match=r"needs glibc 2\.28"):
        inspect_wheel(make_wheel(tmp_path, tag="cp311-cp311-manylinux_2_17_x86_64", content={"a.so": newer}))
    with pytest.raises(WheelRejected, match="manylinux2014_x86_64, but"):
        inspect_wheel(make_wheel(tmp_path, tag="cp311-cp311-manylinux2014_x86_64", content={"a.so": newer}))


def test_a_glibc_newer_than_the_target_has(tmp_path: Path, library: bytes) -> None:
    newer = library.replace(b"GLIBC_2.2.5", b"GLIBC_2.37\0")
    with pytest.raises(WheelRejected, match=r"needs glibc 2\.37, bookworm has 2\.36"):
        check(make_wheel(tmp_path, tag="cp311-cp311-linux_x86_64", content={"a.so": newer}))
    check(make_wheel(tmp_path, tag="cp311-cp311-linux_x86_64", content={"a.so": newer}), Target("cp311", "x86_64", "trixie"))


@pytest.mark.parametrize(
    "tag", ["cp312-cp312-linux_x86_64", "cp311-cp311-linux_aarch64", "py2-none-any", "cp311-cp311-manylinux_2_39_x86_64"]
)
def test_a_wheel_that_does_not_install_there(tmp_path: Path, tag: str) -> None:
    with pytest.raises(WheelRejected, match="does not install"):
        check(make_wheel(tmp_path, tag=tag))


@pytest.mark.parametrize(("name", "version"), [("other", "1.0"), ("demo", "1.1"), ("demo", "1.0+local"), ("demo", "1.0.post1")])
def test_a_wheel_of_another_release(tmp_path: Path, name: str, version: str) -> None:
    with pytest.raises(WheelRejected) as rejected:
        check(make_wheel(tmp_path, name, version))
    assert rejected.value.other_release


@pytest.mark.parametrize(("name", "version"), [("De.mo", "1.0"), ("demo", "2.0")])
def test_metadata_of_another_release(tmp_path: Path, name: str, version: str) -> None:
    files = wheel_files()
    files["demo-1.0.dist-info/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    with pytest.raises(WheelRejected, match="METADATA says") as rejected:
        check(pack(tmp_path / "demo-1.0-py3-none-any.whl", files))
    assert rejected.value.other_release


def lie(**changes: bytes | None) -> dict[str, bytes]:
    files = wheel_files()
    for name, content in changes.items():
        place = f"demo-1.0.dist-info/{name}"
        if content is None:
            del files[place]
        else:
            files[place] = content
    return files


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (lie(METADATA=None), "without demo-1.0.dist-info/METADATA"),
        (lie(WHEEL=None), "without demo-1.0.dist-info/WHEEL"),
        (lie(METADATA=b""), "names no project"),
        (lie(METADATA=b"Name: demo\nVersion: one\n"), "which is none"),
        (lie(WHEEL=b"Wheel-Version: 1.0\nTag: cp311-cp311-linux_x86_64\n"), "other tags than its name"),
        (lie(WHEEL=b""), "other tags than its name"),
        (lie(WHEEL=b"Tag: " + b".".join([b"a"] * 3000) + b"-a.b.c-d.e.f\n"), "other tags than its name"),
        (lie() | {"/etc/passwd": b""}, "holds the name"),
        (lie() | {"../x": b""}, "holds the name"),
        (lie() | {"a/./b": b""}, "holds the name"),
        (lie() | {"a\\..\\b": b""}, "holds the name"),
        (lie() | {"a\nb": b""}, "holds the name"),
        (lie() | {"other-1.dist-info/METADATA": b""}, "exactly one .dist-info"),
        ({name.replace("demo-1.0.d", "other-1.0.d"): content for name, content in lie().items()}, "doesn't match"),
        (lie() | {"a.so": b"\x7fELF broken"}, "ELF"),
        (lie() | {"a": b"", "a/": b""}, "twice"),
        (lie(METADATA=b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Python: >=3\0\n"), "NUL"),
    ],
)
def test_lies_and_defects(tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    with pytest.raises(WheelRejected, match=reason):
        check(pack(tmp_path / "demo-1.0-py3-none-any.whl", files))


@pytest.mark.parametrize(
    "record",
    [
        "",
        "not,enough\n",
        "".join(record_line(name, content) for name, content in wheel_files().items() if name != "demo.py"),
        "".join(record_line(name, content + b"x") for name, content in wheel_files().items()),
        "".join(record_line(name, content) for name, content in wheel_files().items()).replace("sha256", "sha257"),
        "".join(f"{name},,\n" for name in wheel_files()),
    ],
)
def test_a_record_that_is_wrong(tmp_path: Path, record: str) -> None:
    with pytest.raises(WheelRejected):
        check(pack(tmp_path / "demo-1.0-py3-none-any.whl", wheel_files(), record))


@pytest.mark.parametrize(
    "name",
    [
        "demo.whl",
        "demo-1.0.whl",
        "demo-1.0-py3-none-any.zip",
        "-1.0-py3-none-any.whl",
        ".demo-1.0-py3-none-any.whl",
        "demo-x-py3-none-any.whl",
        "demo-1.0-" + ".".join(["p"] * 45) + "-none-" + ".".join(["a"] * 45) + ".whl",
    ],
)
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    pack(tmp_path / name, wheel_files())
    with pytest.raises(WheelRejected):
        inspect_wheel(tmp_path / name)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice(tmp_path: Path) -> None:
    path = make_wheel(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("demo.py", "other")
    with pytest.raises(WheelRejected, match="twice"):
        check(path)


def test_a_symbolic_link(tmp_path: Path) -> None:
    path = make_wheel(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(WheelRejected, match="neither file nor directory"):
        check(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = make_wheel(tmp_path, content={f"{number}.bin": b"\0" * 1000 for number in range(3)})
    # 1000 bytes that say they unpack to 2 GiB each, in both headers of each member.
    honest, huge = struct.pack("<I", 1000), struct.pack("<I", 2**31)
    path.write_bytes(path.read_bytes().replace(honest, huge))
    with pytest.raises(WheelRejected, match="unpacks to 6442"):
        check(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip at all" * 100, b"PK\x05\x06" + b"\xff" * 18, b"PK\x05\x06" + b"\0" * 18])
def test_files_that_are_no_zip(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    path.write_bytes(content)
    with pytest.raises(WheelRejected):
        check(path)


def test_mutated_wheels_never_crash_it(tmp_path: Path, library: bytes) -> None:
    chance = random.Random(2)
    original = make_wheel(tmp_path, tag="cp311-cp311-linux_x86_64", content={"a.so": library}).read_bytes()
    path = tmp_path / "demo-1.0-cp311-cp311-linux_x86_64.whl"
    refused, slowest = 0, 0.0
    for _ in range(300):
        mutated = bytearray(original)
        for _ in range(chance.choice([1, 3, 20])):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        path.write_bytes(mutated[: chance.choice([len(mutated), chance.randrange(len(mutated))])])
        began = time.monotonic()
        try:
            check(path)
        except WheelRejected:
            refused += 1
        slowest = max(slowest, time.monotonic() - began)
    assert refused > 200
    assert slowest < 5


def test_mutated_libraries_never_crash_it(tmp_path: Path, library: bytes) -> None:
    """The library itself, in a wheel whose RECORD is right: what gets as far as pyelftools."""
    chance = random.Random(3)
    for _ in range(300):
        mutated = bytearray(library)
        for _ in range(chance.choice([1, 5, 50])):
            # Most of it in the headers, at either end, where it matters.
            place = chance.choice(
                [chance.randrange(64), chance.randrange(600), -1 - chance.randrange(2000), chance.randrange(len(mutated))]
            )
            mutated[place] = chance.choice([0, 255, chance.randrange(256)])
        began = time.monotonic()
        try:
            check(make_wheel(tmp_path, tag="cp311-cp311-linux_x86_64", content={"a.so": bytes(mutated)}))
        except WheelRejected as rejection:
            assert "demo-1.0" in str(rejection)
        assert time.monotonic() - began < 5


def test_the_wheels_of_this_very_python() -> None:
    """ensurepip's own wheels are wheels."""
    # Debian takes them out of ensurepip, and keeps them there.
    bundled = [
        *Path(sys.base_prefix).glob("lib/python3*/ensurepip/_bundled/*.whl"),
        *Path("/usr/share/python-wheels").glob("*.whl"),
    ]
    if not bundled:
        pytest.skip("this Python brings no wheels: apt-get install python3-venv")
    for wheel in bundled:
        assert inspect_wheel(wheel).glibc_floor is None

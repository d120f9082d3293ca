"""The fingerprint of a toolchain: one line that changes with what is installed, in parts that can be asked for."""

import os
import sys
from pathlib import Path

import pytest

from piwheels_builder.builder import toolchain
from piwheels_builder.builder.interpreter import describe
from piwheels_builder.builder.toolchain import fingerprint
from piwheels_builder.targets import Target

TARGET = Target("cp311", "armv7l", "bookworm")
PYTHON = describe(Path(sys.executable))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs in a PATH of their own that say their versions as the real ones do; returns the directory."""
    says = {
        "gcc": "12.2.0",
        "rustc": "rustc 1.75.0 (82e1608df 2023-12-21)",
        "cmake": "cmake version 3.25.1\n\nCMake suite maintained",
        "make": "GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu",
        "ld": "GNU ld (GNU Binutils for Debian) 2.40",
        "dpkg-query": "libffi-dev 3.4.4-1 installed\nlibgone-dev 1.0 config-files",
    }
    for name, text in says.items():
        install(tmp_path, name, text)
    monkeypatch.setenv("PATH", str(tmp_path))
    status = tmp_path / "status"
    status.touch()
    monkeypatch.setattr(toolchain, "_DPKG_STATUS", status)
    monkeypatch.setattr(toolchain, "_DEBIAN_VERSION", tmp_path / "debian_version")
    (tmp_path / "debian_version").write_text("12.9\n")
    upgrade(tmp_path)
    return tmp_path


def install(place: Path, name: str, text: str) -> None:
    program = place / name
    program.write_text(f"#!/bin/sh\nwhile read -r line; do echo \"$line\"; done <<'END'\n{text}\nEND\n")
    program.chmod(0o755)


def upgrade(place: Path) -> None:
    """What dpkg does to its status file whenever anything changes."""
    status = place / "status"
    os.utime(status, ns=(0, status.stat().st_mtime_ns + 1_000_000))


def parts(*pins: str) -> dict[str, str]:
    line = fingerprint(TARGET, PYTHON, "0123456789abcdef", pins)
    return {part.partition(" ")[0]: part.partition(" ")[2] for part in line.split("; ")}


@pytest.mark.usefixtures("installed")
def test_every_part_has_a_name_and_a_version() -> None:
    told = parts("wheel==0.45.1", "setuptools==80.9.0")
    assert told["bookworm"] == "12.9"
    assert "armv7l" in told
    assert [told[name] for name in ("gcc", "rustc", "cmake", "make", "ld")] == ["12.2.0", "1.75.0", "3.25.1", "4.3", "2.40"]
    assert told["glibc"].startswith("2.")
    assert told["cpython"] == PYTHON.version
    assert (told["requirements"], told["setuptools"], told["wheel"]) == ("0123456789abcdef", "80.9.0", "0.45.1")
    assert len(told["libraries"]) == 12
    assert "g++" not in told


@pytest.mark.usefixtures("installed")
def test_the_order_is_always_the_same_and_the_backend_comes_first() -> None:
    pins = ["aaa==1", "setuptools==80.9.0", "zzz==2"]
    assert fingerprint(TARGET, PYTHON, "k", pins) == fingerprint(TARGET, PYTHON, "k", pins[::-1])
    assert fingerprint(TARGET, PYTHON, "k", pins).endswith("requirements k; setuptools 80.9.0; aaa 1; zzz 2")


def test_a_library_that_is_installed_changes_it(installed: Path) -> None:
    before = parts()
    install(installed, "dpkg-query", "libffi-dev 3.4.4-1 installed\nlibgone-dev 2.0 config-files")
    upgrade(installed)
    assert parts() == before, "a package that is removed takes part in nothing"
    install(installed, "dpkg-query", "libffi-dev 3.4.4-1 installed\nlibssl-dev 3.0.15-1 installed")
    assert parts() == before, "asked again without a change"
    upgrade(installed)
    assert parts()["libraries"] != before["libraries"]


def test_a_compiler_that_is_upgraded_changes_it(installed: Path) -> None:
    parts()
    install(installed, "gcc", "14.2.0")
    upgrade(installed)
    assert parts()["gcc"] == "14.2.0"


@pytest.mark.usefixtures("installed")
def test_it_ends_with_a_whole_part_before_the_columns_end() -> None:
    pins = [f"requirement-{number}=={number}.0" for number in range(200)]
    line = fingerprint(TARGET, PYTHON, "k", pins)
    assert 900 < len(line) <= 1000
    name, version = line.split("; ")[-1].split(" ")
    assert f"{name}=={version}" in pins


def test_a_system_without_any_of_it_has_a_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain, "_DPKG_STATUS", tmp_path / "none")
    monkeypatch.setattr(toolchain, "_DEBIAN_VERSION", tmp_path / "none")
    toolchain._installed.cache_clear()
    assert fingerprint(TARGET, PYTHON, "k").startswith("bookworm; armv7l; ")
    toolchain._installed.cache_clear()

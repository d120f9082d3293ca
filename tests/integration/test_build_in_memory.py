"""Builds happen in memory as far as they fit there, and on the disk else."""

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from piwheels_builder.builder.in_memory import MemoryArea, memory_area, memory_directory
from piwheels_builder.states import Outcome
from tests.support.sdists import Yard, make_yard, setup_py

WRITE = "open('/build/large', 'wb').write(bytes(%d * 2**20))"


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    return make_yard(tmp_path_factory.mktemp("yard"))


@pytest.fixture
def area(tmp_path: Path) -> Iterator[MemoryArea]:
    area = memory_area(tmp_path, slots=1)
    assert area is not None, "the tmpfs of this machine can't be used"
    yield MemoryArea(area.directory, 20 * 2**20)
    assert list(area.directory.iterdir()) == []
    area.directory.rmdir()


def test_a_small_build_touches_the_disk_for_its_log_and_wheel_alone(yard: Yard, area: MemoryArea) -> None:
    look = "import os; print('DEVICE', os.stat('/build').st_dev, os.stat('/tmp').st_dev)"
    built = yard.build(setup_py(look), in_memory=area)
    assert built.attempt.outcome is Outcome.BUILT
    device = area.directory.stat().st_dev
    assert f"DEVICE {device} {device}" in built.log
    assert "on the disk" not in built.log


def test_a_large_one_is_built_on_the_disk(yard: Yard, area: MemoryArea) -> None:
    built = yard.build(setup_py(WRITE % 60 + "; import time; time.sleep(4)"), in_memory=area)
    assert built.attempt.outcome is Outcome.BUILT, built.log
    assert "again, on the disk" in built.log


def test_it_is_ours_alone(tmp_path: Path) -> None:
    area = memory_area(tmp_path / "state", slots=2, tmpfs=tmp_path)
    assert area is not None
    assert area.directory == memory_directory(tmp_path / "state", tmp_path)
    assert stat.S_IMODE(area.directory.stat().st_mode) == 0o700
    assert memory_area(tmp_path / "state", slots=2, tmpfs=tmp_path) == area
    assert memory_directory(tmp_path / "other", tmp_path) != area.directory


def test_what_others_put_there_first_is_not_used(tmp_path: Path) -> None:
    directory = memory_directory(tmp_path / "state", tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    directory.symlink_to(elsewhere)
    assert memory_area(tmp_path / "state", slots=1, tmpfs=tmp_path) is None
    directory.unlink()
    directory.mkdir()
    directory.chmod(0o777)
    assert memory_area(tmp_path / "state", slots=1, tmpfs=tmp_path) is None


def test_with_too_little_memory_for_each_there_is_none(tmp_path: Path) -> None:
    assert memory_area(tmp_path, slots=100_000, tmpfs=tmp_path) is None
    assert os.listdir(tmp_path) == []  # noqa: PTH208


def told(size: int) -> Callable[[object], os.statvfs_result]:
    """What a file system of so many bytes says."""
    return lambda _: os.statvfs_result((4096, 4096, size // 4096, 0, 0, 0, 0, 0, 0, 255))


def test_no_more_is_taken_than_the_file_system_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = memory_area(tmp_path / "state", slots=1, tmpfs=tmp_path)
    assert usual is not None
    for size, each in ((64 * 2**20, 32 * 2**20), (0, usual.bytes_each // 2), (2**50, usual.bytes_each // 2)):
        monkeypatch.setattr(os, "statvfs", told(size))
        area = memory_area(tmp_path / "state", slots=2, tmpfs=tmp_path)
        assert area is not None
        assert area.bytes_each == each
    monkeypatch.setattr(os, "statvfs", told(40 * 2**20))
    assert memory_area(tmp_path / "state", slots=2, tmpfs=tmp_path) is None


def test_where_there_is_no_tmpfs_or_it_cannot_be_written_builds_happen_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert memory_area(tmp_path / "state", slots=1, tmpfs=tmp_path / "missing") is None
    assert memory_area(tmp_path / "state", slots=1, tmpfs=tmp_path) is not None
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert memory_area(tmp_path / "state", slots=1, tmpfs=tmp_path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_small_tmpfs_of_the_services_own(tmp_path: Path) -> None:
    own = tmp_path / "shm"
    own.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", own], check=True)
    try:
        area = memory_area(tmp_path / "state", slots=2, tmpfs=own)
        assert area is not None
        assert area.bytes_each == 50 * 2**20
        subprocess.run(["mount", "-o", "remount,ro", own], check=True)
        assert memory_area(tmp_path / "state", slots=2, tmpfs=own) is None
    finally:
        subprocess.run(["umount", own], check=True)

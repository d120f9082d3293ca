"""The file server behind a network root: when it is full, and when a failure may be its own."""

import errno
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from piwheels_builder.builder.file_server import FULL, FileServer, failed_reads, full_mark
from piwheels_builder.builder.outbox import Outbox
from piwheels_builder.builder.room import Room
from piwheels_builder.builder.service import Service
from piwheels_builder.builder.spool import write_batch
from piwheels_builder.settings import BuilderSettings
from tests.support.builders import a_batch, builder_settings, eventually, make_wheel, serving

MB = 2**20
STATS = """\
device proc mounted on /proc with fstype proc
device 10.0.0.1:/srv mounted on / with fstype nfs4 statvers=1.1
\topts:\trw,vers=4.1
\tper-op statistics
\t        READ: 10 10 0 2000 30000 1 2 3 {errors}
\t      LOOKUP: 10 10 0 2000 30000 1 2 3 7
"""


def mark(root: Path) -> Path:
    path = root / FULL
    path.parent.mkdir(exist_ok=True)
    path.touch()
    return path


def room(state_dir: Path, free_mb: int, **fields: object) -> Room:
    return Room(builder_settings(state_dir, **fields), state_dir, lambda _: free_mb * MB)


def status(settings: BuilderSettings) -> dict[str, Any]:
    path = settings.state_dir / "status.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def found(room: Room) -> tuple[str | None, str | None]:
    return room.trouble, room.leasing_trouble


def test_its_mark_is_found_below_any_of_its_mount_points(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    points = [tmp_path / "state", tmp_path]
    assert full_mark(points) is None
    there = mark(tmp_path)
    assert full_mark(points) == there
    assert full_mark([tmp_path / "state", tmp_path / "missing"]) is None


def test_a_full_file_server_is_no_room_however_much_is_free(tmp_path: Path) -> None:
    marked = room(tmp_path, 50_000, file_server=(tmp_path,))
    assert marked.look() is False
    assert found(marked) == (None, None)
    there = mark(tmp_path)
    assert marked.look() is True
    said = f"the file server of this host is full, says {there}: make room there, and it takes that file away"
    assert found(marked) == (said, said)
    there.unlink()
    assert marked.look() is True
    assert found(marked) == (None, None)


@pytest.mark.parametrize(
    ("free_mb", "leases", "builds"), [(1024, True, True), (1023, False, True), (64, False, True), (63, False, False)]
)
def test_leasing_stops_before_building_does(tmp_path: Path, free_mb: int, leases: bool, builds: bool) -> None:
    disk = room(tmp_path, free_mb, leasing_room_mb=1024)
    disk.look()
    assert (disk.leasing_trouble is None, disk.trouble is None) == (leases, builds)
    if not leases:
        assert f"{free_mb} MiB free where the outbox is" in str(disk.leasing_trouble)


def test_on_a_disk_of_its_own_a_builder_is_leased_to_as_long_as_it_builds(tmp_path: Path) -> None:
    disk = room(tmp_path, 64)
    disk.look()
    assert disk.leasing_trouble is None


def test_a_service_builds_nothing_and_is_leased_nothing_while_it_is_full(tmp_path: Path) -> None:
    settings = builder_settings(tmp_path / "state", file_server=(tmp_path,))
    there = mark(tmp_path)
    service = Service(settings, make_wheel)
    write_batch(tmp_path / "state/spool", a_batch(1))
    with serving(service):
        eventually(lambda: "file server of this host is full" in str(status(settings).get("disk_trouble")))
        assert not service._has_room()
        assert not Outbox(tmp_path / "state/outbox").entries()
        there.unlink()
        eventually(lambda: len(Outbox(tmp_path / "state/outbox").entries()) == 1)
        assert service._has_room()


def test_a_service_builds_on_but_is_leased_nothing_while_room_is_scarce(tmp_path: Path) -> None:
    free = [900 * MB]
    settings = builder_settings(tmp_path, leasing_room_mb=1024)
    service = Service(settings, make_wheel, space=lambda _: free[0])
    write_batch(tmp_path / "spool", a_batch(1))
    with serving(service):
        eventually(lambda: len(Outbox(tmp_path / "outbox").entries()) == 1)
        assert not service._has_room()
        eventually(lambda: status(settings).get("leasing_trouble") == "900 MiB free where the outbox is, 1024 MiB needed")
        assert status(settings)["disk_trouble"] is None
        free[0] = 2000 * MB
        eventually(service._has_room)


def test_a_file_server_that_hangs_is_trouble_while_it_does_and_for_what_ran_meanwhile(tmp_path: Path) -> None:
    comes_back, began = threading.Event(), time.monotonic()
    server = FileServer([tmp_path], ask=lambda _: comes_back.wait(20), patience=0.05, every=0.01)
    server.watch()
    eventually(lambda: server.trouble_since(time.monotonic()) == "the file server of this host does not answer")
    comes_back.set()
    eventually(lambda: "did not answer for" in str(server.trouble_since(began)))
    assert server.trouble_since(time.monotonic()) is None


def test_one_that_answers_is_no_trouble(tmp_path: Path) -> None:
    began = time.monotonic()
    asked: list[Path] = []
    server = FileServer([tmp_path], ask=asked.append, patience=5, every=0.01)
    server.watch()
    eventually(lambda: len(asked) > 3)
    assert server.trouble_since(began) is None


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO])
def test_one_whose_answer_is_an_error_is_trouble(tmp_path: Path, code: int) -> None:
    def fail(place: Path) -> None:
        raise OSError(code, os.strerror(code), os.fspath(place))

    server = FileServer([tmp_path], ask=fail, every=0.01)
    began = time.monotonic()
    server.watch()
    eventually(lambda: os.strerror(code) in str(server.trouble_since(began)))


def test_a_read_that_failed_is_trouble_at_once(tmp_path: Path) -> None:
    stats = tmp_path / "mountstats"
    stats.write_text(STATS.format(errors=3))
    server, began = FileServer([tmp_path], mountstats=stats), time.monotonic()
    assert server.trouble_since(began) is None
    stats.write_text(STATS.format(errors=4))
    assert server.trouble_since(began) == "the file server of this host failed to read a file"
    assert server.trouble_since(time.monotonic()) is None


def test_older_kernels_count_no_errors_and_hosts_without_nfs_nothing(tmp_path: Path) -> None:
    stats = tmp_path / "mountstats"
    assert failed_reads(stats) == 0
    stats.write_text(STATS.format(errors=""))
    assert failed_reads(stats) == 0
    stats.write_text("device proc mounted on /proc with fstype proc\n")
    assert failed_reads(stats) == 0

"""Builds of a host whose root is on the network: what they need lies in memory, and its file server's faults are none of theirs."""

import errno
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from piwheels_builder.builder import serve
from piwheels_builder.builder.attempt import Attempt
from piwheels_builder.builder.caches import Caches
from piwheels_builder.builder.file_server import FileServer
from piwheels_builder.builder.in_memory import memory_area
from piwheels_builder.builder.spool import SpooledBuild
from piwheels_builder.builder.workshop import Workshop
from piwheels_builder.queue.batch import LeasedBuild
from piwheels_builder.states import Blame, Outcome
from tests.faults.whole_way import WARMABLE, offer_backend
from tests.support.builders import an_attempt, builder_settings, eventually, leased_build
from tests.support.sdists import Yard, make_yard, setup_py
from tests.support.simple_index import offer, serving
from tests.support.wheelmaking import make_wheel

MB = 2**20
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return make_yard(tmp_path)


@contextmanager
def tmpfs(place: Path, megabytes: int) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def kept_below(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("environments/*")}


@as_root
def test_environments_and_caches_are_kept_in_memory(yard: Yard, tmp_path: Path) -> None:
    offer_backend(tmp_path / "index")
    with tmpfs(tmp_path / "memory", 64) as memory, serving(tmp_path / "index") as upstream:
        built = yard.build({"demo-1.0/pyproject.toml": WARMABLE}, upstream=upstream, caches_in_memory=Caches.in_memory(memory))
        assert built.attempt.outcome is Outcome.BUILT, built.log
        assert "on the disk" not in built.log
        assert len(kept_below(memory)) == 1
        assert list((memory / "cache/uv").iterdir())
    assert not kept_below(yard.workshop.state_dir)
    assert not (yard.workshop.state_dir / "cache/uv").exists()


@as_root
def test_what_does_not_fit_there_is_kept_on_the_network_root(yard: Yard, tmp_path: Path) -> None:
    offer_backend(tmp_path / "index")
    large = {f"large/part{number}.bin": os.urandom(MB) for number in range(12)}
    offer(tmp_path / "index", make_wheel(tmp_path, "large", "1.0", content=large))
    files = {"demo-1.0/pyproject.toml": WARMABLE.replace('"]', '", "large"]', 1)}
    with tmpfs(tmp_path / "memory", 8) as memory, serving(tmp_path / "index") as upstream:
        built = yard.build(files, upstream=upstream, caches_in_memory=Caches.in_memory(memory))
        assert built.attempt.outcome is Outcome.BUILT, built.log
        assert "again, on the disk" in built.log
        assert len(kept_below(yard.workshop.state_dir)) == 1
        assert not kept_below(memory)
        again = yard.build(files, upstream=upstream, caches_in_memory=Caches.in_memory(memory))
        assert again.attempt.outcome is Outcome.BUILT
        assert "again, on the disk" not in again.log


@as_root
def test_the_least_recently_used_environments_make_room(yard: Yard, tmp_path: Path) -> None:
    offer_backend(tmp_path / "index")
    projects = [f"large{number}" for number in range(4)]
    for project in projects:
        content = {f"{project}/part{number}.bin": os.urandom(MB) for number in range(3)}
        offer(tmp_path / "index", make_wheel(tmp_path, project, "1.0", content=content))
    with tmpfs(tmp_path / "memory", 16) as memory, serving(tmp_path / "index") as upstream:
        caches, kept = Caches.in_memory(memory), list[set[str]]()
        for project in projects:
            files = {"demo-1.0/pyproject.toml": WARMABLE.replace('"]', f'", "{project}"]', 1)}
            assert yard.build(files, upstream=upstream, caches_in_memory=caches).attempt.outcome is Outcome.BUILT
            kept.append(kept_below(memory))
    # The first has gone, and those that came after it didn't all have to go elsewhere.
    assert len(kept[0]) == 1
    assert not kept[0] & kept[-1]
    assert len(set.union(*kept)) > 2


def test_caches_in_memory_end_long_before_it_does(tmp_path: Path) -> None:
    small, disk = Caches(tmp_path, 80 * MB), Caches(tmp_path)
    assert small.uv_bytes + small.sdists.limit + small.spare_bytes <= 5 * 80 * MB // 8
    assert (disk.uv_bytes, disk.sdists.limit, disk.spare_bytes) == (2**30, 2 * 2**30, 0)


def test_large_builds_go_to_memory_where_the_disk_is_the_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Workshop] = []

    def note(leased: LeasedBuild, lease_id: UUID, workshop: Workshop, _delivery: Path) -> Attempt:
        seen.append(workshop)
        return an_attempt(SpooledBuild(lease_id, leased))

    monkeypatch.setattr(serve, "build", note)
    large = replace(leased_build(1), memory_class=1)
    for fields in ({}, {"build_memory_mb": 100, "memory_mb": 2000}):
        settings = builder_settings(tmp_path, slots=2, **fields)
        serve.build_function(settings)(large, uuid4(), 0, tmp_path)
    usual, remote = seen
    assert usual.in_memory is None
    assert remote.in_memory is not None
    remote.in_memory.directory.rmdir()
    assert remote.limits_of(1).disk_bytes == 100 * MB
    assert remote.limits_of(0).disk_bytes == 50 * MB
    assert remote.limits_of(2).memory_bytes == (2000 - 128) * MB
    assert usual.limits_of(1).disk_bytes == 4096 * MB


def test_large_builds_share_all_of_it_and_small_ones_have_their_part(tmp_path: Path) -> None:
    area = memory_area(tmp_path / "state", 2, tmpfs=tmp_path, most_mb=100)
    assert area is not None
    assert [area.bytes_for(memory_class) for memory_class in range(3)] == [50 * MB, 100 * MB, 100 * MB]


@pytest.mark.parametrize(
    ("body", "otherwise"),
    [("raise SystemExit('boom')", Outcome.BUILD_ERROR), ("import os; os.kill(os.getpid(), 7)", Outcome.BUILD_ERROR)],
    ids=["an-error", "bus-error"],
)
def test_a_failure_while_the_file_server_fails_is_not_booked_against_the_release(yard: Yard, body: str, otherwise: Outcome) -> None:
    def fail(place: Path) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), os.fspath(place))

    broken = FileServer([yard.place], ask=fail, every=0.01)
    broken.watch()
    well = FileServer([yard.place], every=0.01)
    well.watch()
    eventually(lambda: broken.trouble_since(0.0))
    built = yard.build(setup_py(body), file_server=broken)
    assert built.attempt.outcome is Outcome.NETWORK_AWAY
    assert built.attempt.outcome.blame is Blame.INFRASTRUCTURE
    assert f"else this would be {otherwise}" in str(built.attempt.error_line)
    assert "Stale file handle" in built.log
    assert yard.build(setup_py(body), file_server=well).attempt.outcome is otherwise


def test_a_build_that_succeeds_meanwhile_has_succeeded(yard: Yard) -> None:
    server = FileServer([yard.place], ask=lambda _: time.sleep(0.2), patience=0.05, every=0.01)
    server.watch()
    assert yard.build(setup_py(), file_server=server).attempt.outcome is Outcome.BUILT

"""A real file system, full to the brim, under everything that writes: the builder, uv, the compiler of bytecode, the build."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from piwheels_builder.builder import service
from piwheels_builder.builder.serve import build_function
from piwheels_builder.builder.spool import write_batch
from tests.faults.whole_way import Way, check_records, here, offered, real_settings, until
from tests.support.builders import serving
from tests.support.chaos import LONG
from tests.support.fleet import Fleet
from tests.support.simple_index import offer
from tests.support.simple_index import serving as serving_files
from tests.support.upstream import serve_upstream
from tests.support.wheelmaking import make_wheel

SIZE = 32 * 2**20
#: How much is free when the builds begin, in KiB: from nothing at all to nearly enough.
FREE = (0, 4, 16, 64, 256, 1024, 4096, 6144) if LONG else (0, 1024)
_NEEDS = '[build-system]\nrequires = ["ballast"]\nbuild-backend = "backend"\nbackend-path = ["."]\n'

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "fleet-test", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(disk: Path, free: int) -> Path:
    """Leave ``free`` bytes. Returns the file to remove when somebody makes room."""
    ballast = disk / "ballast"
    # The service writes meanwhile: full is full.
    with suppress(OSError), ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - free)
    return ballast


@pytest.mark.parametrize("free", FREE)
def test_builds_on_a_full_disk(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """With a requirement of 2 MiB to fetch, unpack, copy and compile."""
    monkeypatch.setattr(service, "_TICK", 0.05)
    fleet.add_builder("here", here())
    content = {f"ballast{number}.py": b"A = 1\n" * 50_000 for number in range(7)}
    wheel = make_wheel(tmp_path, "ballast", "1.0", content=content)
    offer(tmp_path / "index", wheel)
    with serve_upstream() as upstream, serving_files(tmp_path / "index") as index, small_disk(tmp_path / "disk") as disk:
        settings = real_settings(disk, fleet, upstream=index, build_in_memory=False)
        way = Way(fleet, settings, build_function(settings), lambda project: offered(upstream, project, _NEEDS))
        (disk / "spool").mkdir()
        wanted = [fleet.want(f"project{number}", here()) for number in range(2)]
        batch = way.lease()
        assert batch is not None
        write_batch(way.spool_dir, batch)
        with serving(way.service()):
            ballast = fill(disk, free * 1024)
            until(lambda: fleet.ask("SELECT 1 FROM attempt"), 3)
            ballast.unlink()
        for build_id in wanted:
            way.follow(build_id, 40)
    assert check_records(fleet) >= 2

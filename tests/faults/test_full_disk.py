"""A disk that is full at the Nth thing asked of it, for every N, all the way from the spool to the tree."""

import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from piwheels_builder.builder import service
from piwheels_builder.builder.serve import build_function
from tests.faults.full_disk import Disk, watched_disk
from tests.faults.whole_way import Way, check_records, here, offered, real_settings
from tests.support.builders import TARGET, builder_settings, make_wheel
from tests.support.chaos import LONG
from tests.support.fleet import Fleet
from tests.support.upstream import serve_upstream

#: How many seconds it takes until somebody makes room; a refusal that passes is over at once.
PASSING, LASTING = 0.0, 0.3


@pytest.fixture
def instant(fleet: Fleet, tmp_path: Path) -> Way:
    settings = builder_settings(tmp_path, database=fleet.database.conninfo("builder_pi1"), heartbeat_seconds=0.05)
    return Way(fleet, settings, make_wheel)


@pytest.fixture
def real(fleet: Fleet, tmp_path: Path) -> Iterator[Way]:
    fleet.add_builder("here", here())
    # All of it on the disk that refuses.
    settings = real_settings(tmp_path, fleet, build_in_memory=False)
    with serve_upstream() as upstream:
        yield Way(fleet, settings, build_function(settings), lambda project: offered(upstream, project))


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_TICK", 0.05)


def follow_one(way: Way, disk: Disk, number: int, seconds: float) -> None:
    """One release all the way over a disk that refuses."""
    state_dir = Path(disk.root)
    settings = replace(way.settings, state_dir=state_dir)
    build_id = way.fleet.want(f"project{number}x{len(way.fleet.releases)}", here() if way.sdist else TARGET)
    one = replace(way, settings=settings, build=build_function(settings) if way.sdist else way.build)
    disk.refuse(number, seconds)
    try:
        one.follow(build_id)
    except AssertionError as error:
        raise AssertionError(f"{error}: state {way.fleet.state(build_id)}, left {one.left()} after {disk.refused[:20]}") from error


def at_every_step(  # noqa: PLR0917
    way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, stride: int, code: int
) -> int:
    """Refuse the first request, the second, ... until one build comes through without. Returns how many it was."""
    number = 1
    while True:
        state_dir = tmp_path / f"state{number}"
        state_dir.mkdir()
        with watched_disk(state_dir, monkeypatch, code) as disk:
            follow_one(way, disk, number, seconds)
        if not disk.refused:
            return number
        check_records(way.fleet)
        number += stride


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, pytest.param(errno.EROFS, id="read-only"), pytest.param(errno.EACCES, id="no-right")]
)
@pytest.mark.parametrize("seconds", [pytest.param(PASSING, id="once"), pytest.param(LASTING, id="lasting")])
def test_a_disk_that_refuses_at_any_step_loses_and_doubles_nothing(
    instant: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, code: int
) -> None:
    stride = 6 if code == errno.ENOSPC else 13
    steps = at_every_step(instant, tmp_path, monkeypatch, seconds, 1 if LONG else stride, code)
    assert steps > 30


@pytest.mark.parametrize("seconds", [pytest.param(PASSING, id="once"), pytest.param(LASTING, id="lasting")])
def test_a_disk_that_refuses_at_any_step_of_a_real_build(
    real: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    assert at_every_step(real, tmp_path, monkeypatch, seconds, 1 if LONG else 37, errno.ENOSPC) > 60

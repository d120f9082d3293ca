"""What a power cut, a bad disk or a clock leaves behind: a builder's files empty, cut off, garbage, gone, or no files."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from piwheels_builder.builder import service
from piwheels_builder.builder.attempt import Attempt
from piwheels_builder.builder.fetch import SdistCache
from piwheels_builder.builder.outbox import Outbox
from piwheels_builder.builder.serve import build_function
from piwheels_builder.builder.spool import Spool, SpooledBuild, write_batch
from piwheels_builder.queue.batch import LeasedBuild
from tests.faults.whole_way import Way, check_records, here, offered, real_settings
from tests.support.builders import builder_settings, eventually, make_wheel, serving
from tests.support.chaos import LONG
from tests.support.fleet import Fleet
from tests.support.upstream import serve_upstream

DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "garbage": lambda path: path.write_bytes(b"\xff\xfe{]\0" * 100),
    "gone": lambda path: path.unlink(),
    "a directory": lambda path: instead(path).mkdir(),
    "a dangling link": lambda path: instead(path).symlink_to("nowhere"),
}
#: What `make test` has time for.
SOME = list(DAMAGES) if LONG else ["empty", "cut off", "garbage", "a directory"]
YEAR = 365 * 86400


def instead(path: Path) -> Path:
    path.unlink()
    return path


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_TICK", 0.05)


@pytest.fixture
def way(fleet: Fleet, tmp_path: Path) -> Way:
    settings = builder_settings(tmp_path, database=fleet.database.conninfo("builder_pi1"), heartbeat_seconds=0.05)
    return Way(fleet, settings, make_wheel)


@pytest.fixture
def real(fleet: Fleet, tmp_path: Path) -> Iterator[Way]:
    fleet.add_builder("here", here())
    settings = real_settings(tmp_path, fleet)
    with serve_upstream() as upstream:
        yield Way(fleet, settings, build_function(settings), lambda project: offered(upstream, project))


def interrupted(way: Way) -> tuple[int, SpooledBuild]:
    """A build in the spool that began and was not finished when the power went."""
    build_id = way.fleet.want("demo")
    spool = Spool(way.spool_dir, way.settings)
    batch = way.lease()
    assert batch is not None
    write_batch(way.spool_dir, batch)
    spooled = SpooledBuild(batch.lease_id, batch.builds[0])
    spool.begin(spooled.interrupted())
    return build_id, spooled


@pytest.mark.parametrize("damage", SOME)
def test_a_damaged_begun_mark(way: Way, damage: str) -> None:
    build_id, spooled = interrupted(way)
    DAMAGES[damage](way.spool_dir / "begun" / spooled.name)
    way.follow(build_id)
    check_records(way.fleet)


@pytest.mark.parametrize("damage", SOME)
def test_a_damaged_batch(way: Way, damage: str) -> None:
    """What cannot be read is set aside; its lease is held no more, so it runs out and the build comes again."""
    build_id = way.fleet.want("demo")
    batch = way.lease()
    assert batch is not None
    way.spool_dir.mkdir()
    write_batch(way.spool_dir, batch)
    DAMAGES[damage](way.spool_dir / f"{batch.lease_id}.json")
    with serving(way.service()):
        eventually(lambda: way.fleet.ask("SELECT 1 FROM builder WHERE last_seen_at IS NOT NULL"))
        eventually(lambda: list(way.spool_dir.glob("*.json")) == [])
    way.fleet.expire(build_id)
    assert way.fleet.reclaim() == 1
    shutil.rmtree(way.spool_dir / "refused")
    way.follow(build_id)
    assert check_records(way.fleet) == 1


@pytest.mark.parametrize("damage", SOME)
@pytest.mark.parametrize("name", ["result.json", "demo-1.0-py3-none-any.whl"])
def test_a_damaged_entry_of_the_outbox(way: Way, name: str, damage: str) -> None:
    """Damaged before it was recorded: the build counts as interrupted, and comes again. Only other bytes of the same length are
    for publication to find, which calls such a wheel lost.
    """
    build_id, spooled = interrupted(way)
    outbox = Outbox(way.settings.state_dir / "outbox")
    attempt = make_wheel(spooled.leased, spooled.lease_id, 0, outbox.prepare(spooled.name))
    entry = outbox.deliver(attempt)
    DAMAGES[damage](entry.path / name)
    way.follow(build_id)
    outcomes = way.fleet.ask("SELECT outcome::text FROM attempt ORDER BY attempt_id")
    same_length = name.endswith(".whl") and damage == "zeros"
    assert outcomes == ([("built",)] if same_length else [("killed",), ("built",)])


@pytest.mark.parametrize("damage", SOME)
def test_a_damaged_status(way: Way, damage: str) -> None:
    way.follow(way.fleet.want("one"))
    status = way.settings.state_dir / "status.json"
    DAMAGES[damage](status)
    if status.is_dir():
        # No fault of any disk: somebody made it, and has to take it away. Nothing but the status suffers.
        status.rmdir()
        status.with_name("in the way").mkdir()
    way.follow(way.fleet.want("two"))
    assert json.loads(status.read_text())["builder"] == "pi1"


@pytest.mark.parametrize("damage", ["empty", "cut off", "zeros", "garbage", "gone"] if LONG else ["cut off"])
def test_a_damaged_cached_sdist_is_fetched_again(real: Way, damage: str) -> None:
    build_id = real.fleet.want("demo", here())
    assert real.sdist is not None
    cache = SdistCache(real.settings.state_dir / "cache/sdists")
    sdist = real.sdist("demo")
    temporary = cache.new()
    temporary.write_bytes(b"a whole sdist" * 100)
    DAMAGES[damage](cache.keep(temporary, str(sdist.sha256)))
    real.follow(build_id)
    assert check_records(real.fleet) == 1


def test_an_environment_that_was_half_made_is_not_used(real: Way) -> None:
    half = real.settings.state_dir / "environments" / ".new-half"
    half.mkdir(parents=True)
    (half / "pyvenv.cfg").write_text("home =")
    build_id = real.fleet.want("demo", here())
    real.follow(build_id)
    assert check_records(real.fleet) == 1


# A state directory that goes away under the service, and comes back.


def test_a_state_directory_that_is_unmounted_and_mounted_again(way: Way) -> None:
    state_dir = way.settings.state_dir / "mounted"
    state_dir.mkdir()
    away = replace(way, settings=replace(way.settings, state_dir=state_dir))
    elsewhere = state_dir.with_name("elsewhere")
    begun, go_on = threading.Event(), threading.Event()

    def wait(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        begun.set()
        assert go_on.wait(20)
        return make_wheel(leased, lease_id, slot, delivery)

    wanted = [way.fleet.want(f"project{number}") for number in range(3)]
    away = replace(away, build=wait)
    batch = away.lease()
    assert batch is not None
    # Leased before the service says that it lives: whose row is being changed gets nothing at that moment.
    with serving(away.service()):
        away.deliver(batch)
        assert begun.wait(20)
        state_dir.rename(elsewhere)
        # What an empty mount point looks like.
        state_dir.mkdir()
        go_on.set()
        time.sleep(0.5)
        state_dir.rmdir()
        elsewhere.rename(state_dir)
        eventually(lambda: away._is_built(wanted[0]))
        eventually(lambda: [way.fleet.state(build_id) for build_id in wanted] == ["built"] * 3)
    check_records(way.fleet)


# Clocks.


class Clock:
    """time.time and datetime.now as a jumping clock has them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        really = time.time
        really_ns = time.time_ns
        monkeypatch.setattr(time, "time", lambda: really() + self.ahead)
        monkeypatch.setattr(time, "time_ns", lambda: really_ns() + int(self.ahead * 1e9))


@pytest.mark.parametrize("jump", [YEAR, -YEAR, 3600 * 5, -3600 * 5] if LONG else [YEAR, -YEAR])
@pytest.mark.parametrize("moment", ["in the middle of a build", "between two starts", "all the time"])
def test_a_clock_that_jumps(way: Way, monkeypatch: pytest.MonkeyPatch, moment: str, jump: float) -> None:
    clock = Clock(monkeypatch)
    stop = threading.Event()

    def build(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        if moment == "in the middle of a build":
            clock.ahead = jump
            for path in (way.spool_dir, way.spool_dir / f"{lease_id}.json"):
                os.utime(path, (time.time(), time.time()))
        return make_wheel(leased, lease_id, slot, delivery)

    jumping = threading.Thread(target=lambda: swing(clock, jump, stop))
    if moment == "all the time":
        jumping.start()
    try:
        one = replace(way, build=build)
        one.follow(way.fleet.want("one"))
        if moment == "between two starts":
            clock.ahead = jump
        one.follow(way.fleet.want("two"))
    finally:
        stop.set()
        if moment == "all the time":
            jumping.join()
    assert check_records(way.fleet) == 2
    assert all(0 <= seconds < 20 for (seconds,) in way.fleet.ask("SELECT seconds FROM attempt"))


def swing(clock: Clock, jump: float, stop: threading.Event) -> None:
    while not stop.wait(0.02):
        clock.ahead = jump - clock.ahead

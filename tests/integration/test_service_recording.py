"""The service against a real database: what is built is recorded once, whoever goes away meanwhile."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg2
import pytest

from piwheels_builder.builder import record
from piwheels_builder.builder.attempt import Attempt, BuiltWheel
from piwheels_builder.builder.outbox import Entry, Outbox
from piwheels_builder.builder.record import Recorder
from piwheels_builder.builder.service import Build, Service
from piwheels_builder.builder.spool import Spool, SpooledBuild, write_batch
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.errors import DatabaseAway
from piwheels_builder.queue.batch import Batch, LeasedBuild
from piwheels_builder.settings import BuilderSettings
from piwheels_builder.states import Outcome
from tests.support.builders import an_attempt, builder_settings, eventually, lease_everything, make_wheel, serving
from tests.support.database import rows
from tests.support.fleet import Fleet
from tests.support.outage import outage


@pytest.fixture
def settings(fleet: Fleet, tmp_path: Path) -> BuilderSettings:
    return builder_settings(tmp_path, database=fleet.database.conninfo("builder_pi1"), heartbeat_seconds=0.2)


@pytest.fixture
def spool(settings: BuilderSettings) -> Spool:
    return Spool(settings.state_dir / "spool", settings)


@pytest.fixture
def outbox(settings: BuilderSettings) -> Outbox:
    return Outbox(settings.state_dir / "outbox")


@pytest.fixture
def recorder(settings: BuilderSettings, spool: Spool, outbox: Outbox) -> Recorder:
    return Recorder(settings, spool, outbox, first_pause=0.05)


def finish(spool: Spool, outbox: Outbox, batch: Batch, build: Build = make_wheel) -> list[Entry]:
    """What a slot does with every build of a batch."""
    entries = []
    for leased in batch.builds:
        name = SpooledBuild(batch.lease_id, leased).name
        attempt = build(leased, batch.lease_id, 0, outbox.prepare(name))
        spool.begin(attempt)
        entries.append(outbox.deliver(attempt))
    return entries


def attempts(fleet: Fleet) -> list[tuple[int, str]]:
    return [tuple(row) for row in fleet.ask("SELECT build_id, outcome::text FROM attempt ORDER BY build_id, attempt_id")]


def publish_all(fleet: Fleet) -> None:
    for (wheel_id,) in fleet.ask("SELECT wheel_id FROM wheel WHERE published_at IS NULL"):
        fleet.publish(wheel_id)


def test_a_release_travels_from_its_lease_to_the_tree_and_leaves_the_builder_empty(
    fleet: Fleet, settings: BuilderSettings, spool: Spool, outbox: Outbox
) -> None:
    wanted = [fleet.want(f"project{number}") for number in range(3)]
    batch = lease_everything(fleet)
    write_batch(spool.directory, batch)

    def fail_one(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        if leased.build_id == wanted[1]:
            return an_attempt(SpooledBuild(lease_id, leased), Outcome.COMPILE_ERROR, error_line="no \0 spoon", log_tail="\udcff")
        return make_wheel(leased, lease_id, slot, delivery)

    with serving(Service(settings, fail_one)):
        eventually(lambda: [fleet.state(build_id) for build_id in wanted] == ["built", "failed", "built"])
        # Wheels stay until they are published; what failed is gone at once.
        eventually(lambda: {entry.build_id for entry in outbox.entries()} == {wanted[0], wanted[2]})
        wheel = fleet.ask("SELECT filename, sha256, size FROM wheel WHERE build_id = %s", batch.builds[0].build_id)
        told = next(entry for entry in outbox.entries() if entry.build_id == batch.builds[0].build_id).attempt().wheel
        assert told is not None
        assert wheel == [(told.filename, told.sha256, told.size)]
        publish_all(fleet)
        eventually(lambda: outbox.entries() == [])
        write_batch(spool.directory, batch)
    assert [fleet.state(build_id) for build_id in wanted] == ["published", "failed", "published"]
    assert len(attempts(fleet)) == 3
    assert spool.held() == ([], [])
    assert {path.name for path in outbox.directory.iterdir()} == {"refused"}
    status = service_status(settings)
    assert (status["spool"], status["outbox"], status["database_trouble"]) == (0, 0, None)
    assert status["last_database_contact"] is not None


def test_a_build_becomes_building_and_its_lease_lasts_while_it_runs(fleet: Fleet, settings: BuilderSettings, spool: Spool) -> None:
    build_id = fleet.want("demo")
    end = threading.Event()

    def wait(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        assert end.wait(20)
        return make_wheel(leased, lease_id, slot, delivery)

    write_batch(spool.directory, lease_everything(fleet))
    with serving(Service(settings, wait)):
        eventually(lambda: fleet.state(build_id) == "building")
        fleet.expire(build_id)
        eventually(lambda: fleet.ask("SELECT 1 FROM queue WHERE expires_at > now() + interval '3 hours'"))
        assert fleet.reclaim() == 0
        end.set()
        eventually(lambda: fleet.state(build_id) == "built")


def test_a_lease_that_the_builder_does_not_hold_runs_out(fleet: Fleet, recorder: Recorder) -> None:
    build_id = fleet.want("demo")
    lease_everything(fleet)
    fleet.expire(build_id)
    recorder.speak()
    assert fleet.reclaim() == 1
    assert fleet.state(build_id) == "pending"


def test_an_expired_lease_is_accepted(fleet: Fleet, recorder: Recorder, spool: Spool, outbox: Outbox) -> None:
    build_id = fleet.want("demo")
    finish(spool, outbox, lease_everything(fleet))
    fleet.expire(build_id)
    recorder.speak()
    assert fleet.state(build_id) == "built"
    assert outbox.unrecorded() == []


def test_a_reclaimed_lease_is_refused_and_its_entry_dropped(
    fleet: Fleet, recorder: Recorder, spool: Spool, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    build_id, other = fleet.want("demo"), fleet.want("other")
    batch = lease_everything(fleet)
    write_batch(spool.directory, batch)
    finish(spool, outbox, Batch(batch.lease_id, "pi1", tuple(build for build in batch.builds if build.build_id == build_id)))
    fleet.expire(build_id)
    assert fleet.reclaim() == 1
    recorder.speak()
    assert (fleet.state(build_id), attempts(fleet), outbox.entries()) == ("pending", [], [])
    assert "its lease was taken back" in caplog.text
    # The rest of the batch is still held, and what was lost is not built a second time under the old lease.
    assert spool.held() == ([batch.lease_id], [])
    assert [build.leased.build_id for build in spool.remaining(outbox.names())] == [other]


def test_a_crash_between_recording_and_its_mark_records_once(
    fleet: Fleet, recorder: Recorder, spool: Spool, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_id = fleet.want("demo")
    (entry,) = finish(spool, outbox, lease_everything(fleet))
    with monkeypatch.context() as crashing:
        crashing.setattr(outbox, "mark_recorded", stop_here)
        with pytest.raises(KeyboardInterrupt):
            recorder.speak()
    assert fleet.state(build_id) == "built"
    assert outbox.unrecorded() == [entry]
    recorder.speak()
    assert attempts(fleet) == [(build_id, "built")]
    assert entry.recorded
    assert spool.held() == ([], [])


def stop_here(_: object) -> None:
    raise KeyboardInterrupt


def test_a_database_that_dies_in_the_middle_of_recording_has_it_once_after_its_restart(
    fleet: Fleet, database_server: EmbeddedDatabase, settings: BuilderSettings, spool: Spool, outbox: Outbox
) -> None:
    build_id = fleet.want("demo")
    finish(spool, outbox, lease_everything(fleet))
    with recording_held_back(fleet) as is_waiting, serving(Service(settings, make_wheel, first_pause=0.1)):
        eventually(is_waiting)
        with outage(database_server):
            eventually(lambda: service_status(settings).get("database_trouble"))
            assert len(outbox.unrecorded()) == 1
        eventually(lambda: outbox.entries()[0].recorded)
    assert fleet.state(build_id) == "built"
    assert attempts(fleet) == [(build_id, "built")]


def service_status(settings: BuilderSettings) -> dict[str, Any]:
    path = settings.state_dir / "status.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


@contextmanager
def recording_held_back(fleet: Fleet) -> Iterator[Callable[[], object]]:
    """Keep record_attempt from inserting, so that the database dies with it under way. Yields whether it waits by now."""
    holder = psycopg2.connect(fleet.database.conninfo("piwheels_owner"))
    waiting = "SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND usename = 'builder_pi1'"
    try:
        with holder.cursor() as cursor:
            cursor.execute("LOCK TABLE attempt IN SHARE MODE")
        yield lambda: rows(fleet.database, waiting)
    finally:
        holder.close()


def test_building_goes_on_while_the_database_is_away(
    fleet: Fleet, database_server: EmbeddedDatabase, settings: BuilderSettings
) -> None:
    wanted = [fleet.want(f"project{number}") for number in range(3)]
    batch = lease_everything(fleet)
    outbox = Outbox(settings.state_dir / "outbox")
    with serving(Service(settings, make_wheel, first_pause=0.1)):
        with outage(database_server):
            write_batch(settings.state_dir / "spool", batch)
            eventually(lambda: len(outbox.unrecorded()) == 3)
        eventually(lambda: [fleet.state(build_id) for build_id in wanted] == ["built"] * 3)
    assert len(attempts(fleet)) == 3


def test_one_refused_entry_does_not_block_the_others(
    fleet: Fleet, recorder: Recorder, spool: Spool, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    wanted = [fleet.want(f"project{number}") for number in range(3)]
    batch = lease_everything(fleet)
    write_batch(spool.directory, batch)

    def bad_hash(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        attempt = make_wheel(leased, lease_id, slot, delivery)
        assert attempt.wheel is not None
        bad = BuiltWheel(attempt.wheel.filename, "no hash at all", attempt.wheel.size)
        return attempt if leased.build_id != wanted[0] else an_attempt(SpooledBuild(lease_id, leased), Outcome.BUILT, wheel=bad)

    finish(spool, outbox, batch, bad_hash)
    recorder.speak()
    assert [build_id for build_id, _ in attempts(fleet)] == wanted[1:]
    assert [path.name for path in (outbox.directory / "refused").iterdir()] == [f"{batch.lease_id}-{wanted[0]}"]
    assert "is set aside" in caplog.text
    assert spool.remaining(outbox.names()) == []
    # Its lease is held no more, so the build goes elsewhere when it runs out.
    fleet.expire(wanted[0])
    recorder.speak()
    assert fleet.reclaim() == 1


def test_a_damaged_entry_does_not_block_the_others(fleet: Fleet, recorder: Recorder, spool: Spool, outbox: Outbox) -> None:
    for number in range(2):
        fleet.want(f"project{number}")
    damaged, sound = finish(spool, outbox, lease_everything(fleet))
    (damaged.path / "result.json").write_text("")
    recorder.speak()
    assert attempts(fleet) == [(sound.build_id, "built")]
    assert outbox.unrecorded() == []


def test_a_builder_that_is_refused_says_so_once_and_asks_seldom(
    fleet: Fleet, settings: BuilderSettings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, outbox = Spool(settings.state_dir / "spool", settings), Outbox(settings.state_dir / "outbox")
    recorder = Recorder(settings, spool, outbox, first_pause=0.01)
    monkeypatch.setattr(record, "LONGEST_PAUSE", 0.3)
    fleet.want("demo")
    (entry,) = finish(spool, outbox, lease_everything(fleet))
    fleet.ask("UPDATE builder SET standing = 'retired'")
    assert recorder.attend() > 0.2
    assert recorder.attend() > 0
    time.sleep(0.35)
    recorder.attend()
    assert caplog.text.count("is not a builder of this fleet") == 1
    assert "ERROR" in caplog.text
    assert outbox.unrecorded() == [entry]
    fleet.ask("UPDATE builder SET standing = 'active'")
    eventually(lambda: recorder.attend() >= 0 and entry.recorded)
    assert recorder.trouble is None


def test_another_builder_cannot_record_it(fleet: Fleet, spool: Spool, outbox: Outbox, settings: BuilderSettings) -> None:
    fleet.add_builder("pi2")
    build_id = fleet.want("demo")
    finish(spool, outbox, lease_everything(fleet))
    thief = builder_settings(settings.state_dir, database=fleet.database.conninfo("builder_pi2"), name="pi2")
    Recorder(thief, spool, outbox).speak()
    assert (fleet.state(build_id), attempts(fleet), outbox.entries()) == ("leased", [], [])


def test_an_idle_builder_connects_for_its_heartbeat_only(fleet: Fleet, recorder: Recorder) -> None:
    assert recorder.attend() > 0
    ((first,),) = fleet.ask("SELECT last_seen_at FROM builder")
    assert first is not None
    recorder.attend()
    assert fleet.ask("SELECT last_seen_at FROM builder") == [(first,)]
    eventually(lambda: recorder.attend() >= 0 and fleet.ask("SELECT last_seen_at FROM builder") > [(first,)])
    assert fleet.ask("SELECT 1 FROM pg_stat_activity WHERE usename = 'builder_pi1'") == []


def test_no_database_is_an_error_of_its_own_kind(tmp_path: Path) -> None:
    settings = builder_settings(tmp_path)
    with pytest.raises(DatabaseAway):
        Recorder(settings, Spool(tmp_path / "spool", settings), Outbox(tmp_path / "outbox")).speak()

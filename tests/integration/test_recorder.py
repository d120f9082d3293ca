"""What the recorder tells the database, column by column."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from piwheels_builder.builder import record
from piwheels_builder.builder.outbox import Outbox
from piwheels_builder.builder.record import Recorder
from piwheels_builder.builder.service import Service
from piwheels_builder.builder.spool import Spool, SpooledBuild, write_batch
from piwheels_builder.settings import BuilderSettings
from piwheels_builder.states import Outcome
from tests.support.builders import an_attempt, builder_settings, eventually, lease_everything, make_wheel, serving
from tests.support.fleet import Fleet


def test_an_attempt_is_recorded_with_all_it_knows(fleet: Fleet, tmp_path: Path) -> None:
    fleet.want("demo")
    batch = lease_everything(fleet)
    spooled = SpooledBuild(batch.lease_id, batch.builds[0])
    settings = builder_settings(tmp_path, database=fleet.database.conninfo("builder_pi1"))
    spool, outbox = Spool(tmp_path / "spool", settings), Outbox(tmp_path / "outbox")
    attempt = replace(
        an_attempt(spooled, Outcome.DISK_LIMIT),
        peak_memory=123,
        error_line="too many files",
        mechanism="watcher",
        missing="a \0 header",
        toolchain="gcc 12.2.0; make 4.3",
    )
    outbox.prepare(spooled.name)
    outbox.deliver(attempt)
    Recorder(settings, spool, outbox).speak()
    told = fleet.ask("SELECT outcome::text, peak_memory, error_line, mechanism, missing, toolchain FROM attempt")
    assert told == [("disk_limit", 123, "too many files", "watcher", "a \N{REPLACEMENT CHARACTER} header", "gcc 12.2.0; make 4.3")]
    assert fleet.ask("SELECT log_size FROM attempt") == [(None,)]


class Host:
    """A builder's spool and outbox, and one start of its service after the other."""

    def __init__(self, fleet: Fleet, state_dir: Path) -> None:
        self.settings = builder_settings(state_dir, database=fleet.database.conninfo("builder_pi1"))
        self.spool, self.outbox = Spool(state_dir / "spool", self.settings), Outbox(state_dir / "outbox")

    def start(self) -> Recorder:
        return Recorder(self.settings, self.spool, self.outbox)


@pytest.fixture
def host(fleet: Fleet, tmp_path: Path) -> Host:
    fleet.want("demo")
    return Host(fleet, tmp_path)


def test_the_size_of_the_log_is_recorded_and_the_log_stays_until_it_is_stored(fleet: Fleet, host: Host) -> None:
    batch = lease_everything(fleet)
    spooled = SpooledBuild(batch.lease_id, batch.builds[0])
    (host.outbox.prepare(spooled.name) / "log.txt").write_text("no such header")
    entry = host.outbox.deliver(an_attempt(spooled, Outcome.MISSING_HEADER))
    recorder = host.start()
    recorder.speak()
    assert fleet.ask("SELECT log_size FROM attempt") == [((entry.path / "log.gz").stat().st_size,)]
    assert entry.recorded
    fleet.ask("UPDATE attempt SET log_stored_at = now()")
    recorder.speak()
    assert host.outbox.entries() == []


def test_each_start_is_a_session_of_its_own(fleet: Fleet, host: Host) -> None:
    first = host.start()
    first.speak()
    first.speak()
    ((session, former),) = fleet.ask("SELECT session, former_sessions FROM builder")
    assert (session is not None, former) == (True, [])
    host.start().speak()
    assert fleet.ask("SELECT former_sessions::text[], session <> %s FROM builder", session) == [([str(session)], True)]


def test_two_hosts_with_one_name_are_both_barred_and_keep_their_results(fleet: Fleet, host: Host) -> None:
    batch = lease_everything(fleet)
    spooled = SpooledBuild(batch.lease_id, batch.builds[0])
    one, other = host.start(), host.start()
    for recorder in (one, other):
        recorder.speak()
    host.outbox.prepare(spooled.name)
    entry = host.outbox.deliver(an_attempt(spooled))
    for recorder in (one, other):
        assert recorder.attend() > 100
        assert "quarantined" in str(recorder.barred)
        assert recorder.trouble == recorder.barred
    assert host.outbox.unrecorded() == [entry]
    assert fleet.ask("SELECT count(*) FROM attempt") == [(0,)]


def test_a_retired_builder_is_barred_until_it_is_one_again(fleet: Fleet, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "LONGEST_PAUSE", 0.0)
    fleet.ask("UPDATE builder SET standing = 'retired'")
    recorder = host.start()
    recorder.attend()
    assert "is not a builder of this fleet" in str(recorder.barred)
    fleet.ask("UPDATE builder SET standing = 'active'")
    recorder.attend()
    assert (recorder.barred, recorder.trouble) == (None, None)


def test_a_database_that_is_away_bars_nobody(host: Host) -> None:
    recorder = Recorder(builder_settings(host.settings.state_dir), host.spool, host.outbox)
    recorder.attend()
    assert (recorder.barred, recorder.trouble is not None) == (None, True)


def test_what_the_database_refuses_is_set_aside(fleet: Fleet, host: Host, caplog: pytest.LogCaptureFixture) -> None:
    batch = lease_everything(fleet)
    leased = replace(batch.builds[0], project="another")
    attempt = make_wheel(leased, batch.lease_id, 0, host.outbox.prepare(f"{batch.lease_id}-{leased.build_id}"))
    entry = host.outbox.deliver(attempt)
    recorder = host.start()
    recorder.speak()
    assert [path.name for path in (host.outbox.directory / "refused").iterdir()] == [entry.name]
    assert "quarantined" in caplog.text
    assert fleet.ask("SELECT count(*) FROM attempt") == [(0,)]


def test_a_barred_builder_begins_nothing_new(fleet: Fleet, host: Host) -> None:
    batch = lease_everything(fleet)
    fleet.ask("UPDATE builder SET standing = 'retired'")
    service = Service(replace(host.settings, heartbeat_seconds=1), make_wheel, first_pause=0.05)
    with serving(service):
        eventually(lambda: "not a builder" in str(service_status(host.settings)["database_trouble"]))
        write_batch(host.spool.directory, batch)
        eventually(lambda: service_status(host.settings)["spool"] == 1)
        time.sleep(1.2)
        assert host.outbox.entries() == []
        assert service_status(host.settings)["spool"] == 1


def service_status(settings: BuilderSettings) -> dict[str, Any]:
    path = settings.state_dir / "status.json"
    return dict(json.loads(path.read_text())) if path.exists() else {"database_trouble": None, "spool": None}


@pytest.mark.parametrize("room", [True, False])
def test_a_heartbeat_says_whether_there_is_room(fleet: Fleet, tmp_path: Path, room: bool) -> None:
    fleet.want("demo")
    settings = builder_settings(tmp_path, database=fleet.database.conninfo("builder_pi1"))
    Recorder(settings, Spool(tmp_path / "spool", settings), Outbox(tmp_path / "outbox"), has_room=lambda: room).speak()
    assert (fleet.lease("pi1") is not None) == room

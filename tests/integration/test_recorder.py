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
from piwheels_builder.condition import Condition
from piwheels_builder.errors import DatabaseRefused
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


TOLD = "SELECT temperature, memory_free, memory_total, throttled, under_voltage, disk_free > 0 FROM builder WHERE name = 'pi1'"


def test_a_heartbeat_says_how_the_machine_fares(fleet: Fleet, tmp_path: Path) -> None:
    settings = builder_settings(tmp_path, database=fleet.database.conninfo("builder_pi1"))
    files = {
        "sys/class/thermal/thermal_zone0/temp": "82500\n",
        "sys/devices/platform/soc/soc:firmware/get_throttled": "80005\n",
        "proc/meminfo": "MemTotal: 4000 kB\nMemAvailable: 3000 kB\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(content)
    recorder = Recorder(settings, Spool(tmp_path / "spool", settings), Outbox(tmp_path / "outbox"), root=tmp_path)
    recorder.speak()
    assert fleet.ask(TOLD) == [(82.5, 3000 * 1024, 4000 * 1024, True, True, True)]
    # What it can say no more is known no more.
    for name in files:
        (tmp_path / name).unlink()
    recorder.speak()
    assert fleet.ask(TOLD) == [(None, None, None, None, None, True)]


def test_a_machine_that_was_not_heard_of_lately_fares_nobody_knows_how(fleet: Fleet) -> None:
    known = "SELECT temperature, disk_free FROM builder_load"
    fleet.heartbeat("pi1", [], Condition(temperature=82.5, disk_free=7))
    assert fleet.ask(known) == [(82.5, 7)]
    fleet.ask("UPDATE builder SET last_seen_at = now() - interval '6 minutes'")
    assert fleet.ask(known) == [(None, None)]


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        ("61.8, 3, 4, 5", (61.8, 3, 4, 5)),
        ("'NaN', -1, -1, -1", (None, None, None, None)),
        ("'Infinity', 9223372036854775807, 9223372036854775807, 9223372036854775807", (None, None, None, None)),
        ("'-Infinity', 3, NULL, 0", (None, 3, None, 0)),
        ("-274, 5, 4, NULL", (None, 4, 4, None)),
        ("1e300, NULL, 4, 1125899906842625", (None, None, 4, None)),
    ],
)
def test_what_no_machine_can_be_is_not_believed(fleet: Fleet, said: str, believed: tuple[float | None, ...]) -> None:
    fleet.heartbeat("pi1", [], Condition(50.0, 1, 2, disk_free=3))
    beat = f"SELECT heartbeat('{{}}', '{{}}', '1 hour', true, NULL, {said}, true, false)"
    assert fleet.ask(beat, role="builder_pi1") == [("alive",)]
    assert fleet.ask("SELECT temperature, memory_free, memory_total, disk_free FROM builder") == [believed]


@pytest.mark.parametrize(
    "nonsense", ["temperature = 'NaN'", "temperature = 201", "memory_free = -1", "disk_free = 1::bigint << 51"]
)
def test_no_row_holds_what_no_machine_can_be(fleet: Fleet, nonsense: str) -> None:
    with pytest.raises(DatabaseRefused, match="_is_sane"):
        fleet.ask(f"UPDATE builder SET {nonsense}")

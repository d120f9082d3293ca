"""The outbox: an entry is there whole or not at all, and damage is noticed."""

import gzip
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from piwheels_builder.builder.attempt import Attempt, BuiltWheel
from piwheels_builder.builder.outbox import Entry, Outbox
from piwheels_builder.builder.recovery import recover
from piwheels_builder.builder.spool import Spool, SpooledBuild, write_batch
from piwheels_builder.errors import BadInput
from piwheels_builder.states import Outcome
from tests.support.builders import a_batch, an_attempt, builder_settings, leased_build, make_wheel


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox")


def a_build(build_id: int = 1) -> SpooledBuild:
    return SpooledBuild(a_batch().lease_id, leased_build(build_id))


def deliver(outbox: Outbox, build: SpooledBuild) -> Entry:
    attempt = make_wheel(build.leased, build.lease_id, 0, outbox.prepare(build.name))
    return outbox.deliver(attempt)


def test_an_entry_holds_the_attempt_its_log_and_its_wheel(outbox: Outbox) -> None:
    build = a_build()
    prepared = outbox.prepare(build.name)
    attempt = make_wheel(build.leased, build.lease_id, 0, prepared)
    assert outbox.entries() == []
    entry = outbox.deliver(attempt)
    assert entry.path == outbox.directory / build.name
    assert {path.name for path in entry.path.iterdir()} == {"result.json", "log.txt", "demo-1.0-py3-none-any.whl"}
    assert (entry.lease_id, entry.build_id, entry.attempt()) == (build.lease_id, build.leased.build_id, attempt)
    assert not prepared.exists()


def failed(outbox: Outbox, build: SpooledBuild, log: bytes = b"no such header\n" * 1000) -> Entry:
    (outbox.prepare(build.name) / "log.txt").write_bytes(log)
    return outbox.deliver(an_attempt(build))


def test_of_a_failed_attempt_the_whole_log_is_packed(outbox: Outbox) -> None:
    log = bytes(range(256)) * 5000
    entry = failed(outbox, a_build(), log)
    assert {path.name for path in entry.path.iterdir()} == {"result.json", "log.gz"}
    packed = (entry.path / "log.gz").read_bytes()
    assert gzip.decompress(packed) == log
    assert entry.attempt().log_size == len(packed)


def test_the_same_log_is_packed_into_the_same_bytes(outbox: Outbox) -> None:
    first, second = (failed(outbox, a_build(number)).path / "log.gz" for number in (1, 2))
    assert first.read_bytes() == second.read_bytes()
    # RFC 1952: flags, and four bytes of time.
    assert first.read_bytes()[3:8] == bytes(5)


def test_packing_that_was_interrupted_begins_again(outbox: Outbox) -> None:
    build = a_build()
    prepared = outbox.prepare(build.name)
    (prepared / "log.txt").write_text("whole")
    (prepared / "log.gz").write_bytes(b"half")
    assert gzip.decompress((outbox.deliver(an_attempt(build)).path / "log.gz").read_bytes()) == b"whole"


def test_delivering_again_keeps_the_size_of_the_log(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    build = a_build()
    (outbox.prepare(build.name) / "log.txt").write_text("x")
    with monkeypatch.context() as broken:
        broken.setattr("piwheels_builder.builder.outbox.sync_files", fails)
        with pytest.raises(OSError, match="no space"):
            outbox.deliver(an_attempt(build))
    entry = outbox.deliver(an_attempt(build))
    assert entry.attempt().log_size == (entry.path / "log.gz").stat().st_size


def test_what_nobody_came_back_from_has_no_log(tmp_path: Path) -> None:
    spool, outbox = Spool(tmp_path / "spool", builder_settings(tmp_path)), Outbox(tmp_path / "outbox")
    build = a_build()
    spool.begin(build.interrupted())
    (outbox.prepare(build.name) / "log.txt").write_text("cut off")
    recover(builder_settings(tmp_path), spool, outbox)
    (entry,) = outbox.entries()
    assert (entry.attempt().outcome, entry.attempt().log_size) == (Outcome.KILLED, None)


@pytest.mark.parametrize("damage", [b"", None])
def test_a_damaged_log_does_not_take_its_attempt_along(outbox: Outbox, damage: bytes | None) -> None:
    entry = failed(outbox, a_build())
    whole = entry.attempt()
    (entry.path / "log.gz").unlink()
    if damage is not None:
        (entry.path / "log.gz").write_bytes(damage)
    assert entry.attempt() == replace(whole, log_size=None)


def test_entries_come_in_order_of_delivery(outbox: Outbox) -> None:
    names = [deliver(outbox, a_build(build_id)).name for build_id in (5, 3, 9, 1)]
    assert [entry.name for entry in outbox.entries()] == names
    assert outbox.names() == set(names)


def test_recorded_entries_are_told_apart(outbox: Outbox) -> None:
    first, second = deliver(outbox, a_build(1)), deliver(outbox, a_build(2))
    outbox.mark_recorded(first)
    assert outbox.unrecorded() == [second]
    assert outbox.counts() == (2, 1)


def test_a_dropped_entry_is_gone(outbox: Outbox) -> None:
    outbox.drop(deliver(outbox, a_build()))
    assert [path.name for path in outbox.directory.iterdir()] == ["refused"]


def test_delivering_again_after_a_failed_sync_is_the_same_entry(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    build = a_build()
    attempt = make_wheel(build.leased, build.lease_id, 0, outbox.prepare(build.name))
    with monkeypatch.context() as broken:
        broken.setattr("piwheels_builder.builder.outbox.sync", fails)
        with pytest.raises(OSError, match="no space"):
            outbox.deliver(attempt)
    assert outbox.deliver(attempt).attempt() == attempt
    assert len(outbox.entries()) == 1


def fails(_: object) -> None:
    raise OSError(28, "no space")


@pytest.mark.parametrize(("step", "whole"), [("outbox.sync_files", False), ("Path.rename", False), ("outbox.sync", True)])
def test_a_service_that_dies_while_delivering_leaves_a_whole_entry_or_none(tmp_path: Path, step: str, *, whole: bool) -> None:
    script = (
        "import os, sys; from pathlib import Path; from uuid import UUID; from datetime import datetime, UTC\n"
        "from piwheels_builder.builder import outbox; from piwheels_builder.builder.attempt import Attempt\n"
        "from piwheels_builder.states import Outcome\n"
        "box = outbox.Outbox(Path(sys.argv[1]))\n"
        "attempt = Attempt(UUID(int=1), 1, 'demo', '1', Outcome.BUILD_ERROR, datetime.now(UTC), 1.0)\n"
        "box.prepare(attempt.directory_name)\n"
        f"{step} = lambda *_: os._exit(9)\n"
        "box.deliver(attempt)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, tmp_path], check=False).returncode == 9
    outbox = Outbox(tmp_path)
    assert [entry.attempt().project for entry in outbox.entries()] == ["demo"] * whole
    outbox.clear_leftovers()
    assert not list(tmp_path.glob(".*"))
    assert len(outbox.entries()) == whole


def damage_empty(entry: Entry) -> None:
    (entry.path / "result.json").write_text("")


def damage_zeros(entry: Entry) -> None:
    (entry.path / "result.json").write_bytes(b"\0" * 300)


def damage_gone(entry: Entry) -> None:
    (entry.path / "result.json").unlink()


def damage_short_wheel(entry: Entry) -> None:
    (entry.path / "demo-1.0-py3-none-any.whl").write_bytes(b"")


def damage_no_wheel(entry: Entry) -> None:
    (entry.path / "demo-1.0-py3-none-any.whl").unlink()


def damage_other(entry: Entry) -> None:
    (entry.path / "result.json").write_text(an_attempt(a_build(77)).to_json())


DAMAGE = [damage_empty, damage_zeros, damage_gone, damage_short_wheel, damage_no_wheel, damage_other]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_noticed_and_counts_as_an_interrupted_build(tmp_path: Path, outbox: Outbox, damage: object) -> None:
    spool, build = Spool(tmp_path / "spool", builder_settings(tmp_path)), a_build()
    spool.begin(an_attempt(build, Outcome.KILLED))
    entry = deliver(outbox, build)
    assert callable(damage)
    damage(entry)
    with pytest.raises(BadInput):
        entry.attempt()
    recover(builder_settings(tmp_path), spool, outbox)
    assert [(entry.name, entry.attempt().outcome) for entry in outbox.unrecorded()] == [(build.name, Outcome.KILLED)]


def test_recovery_reports_each_interrupted_build_once(tmp_path: Path, outbox: Outbox) -> None:
    spool = Spool(tmp_path / "spool", builder_settings(tmp_path))
    died, delivered, recorded = a_build(1), a_build(2), a_build(3)
    for build in (died, delivered, recorded):
        spool.begin(an_attempt(build, Outcome.KILLED))
    outbox.prepare(died.name)
    deliver(outbox, delivered)
    outbox.mark_recorded(deliver(outbox, recorded))
    (tmp_path / "area" / "0" / "deep").mkdir(parents=True)
    for _ in range(2):
        recover(builder_settings(tmp_path), spool, outbox)
        told = {entry.name: entry.attempt().outcome for entry in outbox.entries()}
        assert told == {died.name: Outcome.KILLED, delivered.name: Outcome.BUILT, recorded.name: Outcome.BUILT}
        assert set(spool.begun()) == {died.name, delivered.name}
    assert list((tmp_path / "area").iterdir()) == []


def test_a_renamed_builder_says_nothing_under_its_former_leases(tmp_path: Path, outbox: Outbox) -> None:
    settings = builder_settings(tmp_path)
    spool = Spool(tmp_path / "spool", settings)
    recover(settings, spool, outbox)
    kept, told, died = a_build(1), a_build(2), a_build(3)
    write_batch(spool.directory, a_batch())
    spool.begin(died.interrupted())
    outbox.mark_recorded(deliver(outbox, told))
    deliver(outbox, kept)
    renamed = replace(settings, name="renamed")
    for _ in range(2):
        recover(renamed, Spool(tmp_path / "spool", renamed), outbox)
        assert outbox.names() == {told.name}
        assert spool.held() == ([], [])
        assert (outbox.directory / "refused" / kept.name / "result.json").exists()
    # From then on its own work is kept, as ever.
    deliver(outbox, kept)
    recover(renamed, spool, outbox)
    assert outbox.names() == {told.name, kept.name}


def test_what_is_recorded_stays_even_when_damaged(outbox: Outbox) -> None:
    entry = deliver(outbox, a_build())
    outbox.mark_recorded(entry)
    damage_empty(entry)
    outbox.discard_damaged()
    assert outbox.entries() == [entry]


def test_an_entry_set_aside_is_out_of_the_way(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    entry = deliver(outbox, a_build())
    outbox.set_aside(entry, "the database refused")
    assert outbox.names() == set()
    assert (outbox.directory / "refused" / entry.name / "result.json").exists()
    assert "the database refused" in caplog.text


@pytest.mark.parametrize("filename", ["../../etc/passwd", "sub/x.whl", "/etc/passwd", ""])
def test_a_wheel_outside_of_its_entry_is_none(outbox: Outbox, filename: str) -> None:
    build = a_build()
    outbox.prepare(build.name)
    size = Path("/etc/passwd").stat().st_size
    entry = outbox.deliver(an_attempt(build, Outcome.BUILT, wheel=BuiltWheel(filename, "a" * 64, size)))
    with pytest.raises(BadInput):
        entry.attempt()


def test_an_attempt_survives_its_json() -> None:
    attempt = an_attempt(a_build(), error_line="\udcff NUL \0", log_tail=None)
    assert Attempt.from_json(attempt.to_json()) == attempt


def test_recovery_removes_what_was_half_made_and_no_finished_environment(tmp_path: Path, outbox: Outbox) -> None:
    for place in ("area/interrupted", "environments/.new-1", "environments/.old-2", "environments/0123456789abcdef"):
        (tmp_path / place / "inner").mkdir(parents=True)
    recover(builder_settings(tmp_path), Spool(tmp_path / "spool", builder_settings(tmp_path)), outbox)
    assert [path.name for path in (tmp_path / "environments").iterdir()] == ["0123456789abcdef"]
    assert list((tmp_path / "area").iterdir()) == []

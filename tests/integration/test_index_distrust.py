"""What publication does with a builder that lies, and with the logs of failed attempts."""

import gzip
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from piwheels_builder.index import logs
from piwheels_builder.states import Outcome
from tests.support.fleet import Fleet
from tests.support.modules import run_module
from tests.support.published import IndexHost, public_directory

LOG = gzip.compress(b"compiling\nerror: no such header\n", mtime=0)


@pytest.fixture
def host(fleet: Fleet) -> Iterator[IndexHost]:
    with public_directory() as place:
        (place / "outbox").mkdir()
        yield IndexHost(fleet, place)


def standing(host: IndexHost) -> str:
    return str(host.fleet.ask("SELECT standing FROM builder")[0][0])


def incidents(host: IndexHost) -> list[str]:
    return [what for (what,) in host.fleet.ask("SELECT what FROM incident ORDER BY incident_id")]


def fail(host: IndexHost, project: str = "demo", log: bytes = LOG, size: int | None = None) -> Path:
    """A failed attempt whose log lies in the outbox; ``size`` is what its builder says. Returns where the log lies."""
    build_id = host.fleet.want(project)
    batch = host.fleet.lease("pi1")
    assert batch is not None
    entry = host.outbox / f"{batch.lease_id}-{build_id}"
    entry.mkdir()
    (entry / "log.gz").write_bytes(log)
    record_failure(host, batch.lease_id, build_id, len(log) if size is None else size)
    return entry / "log.gz"


def record_failure(host: IndexHost, lease_id: UUID, build_id: int, size: int) -> None:
    host.fleet.ask(
        "SELECT record_attempt(%s, %s, %s, now(), 1.5, NULL, 'the error', 'the log', 'gcc', NULL, NULL, NULL, NULL, NULL, %s)",
        lease_id,
        build_id,
        Outcome.BUILD_ERROR,
        size,
        role="builder_pi1",
    )


@pytest.mark.parametrize(
    ("tag", "recorded"),
    [
        ("cp39-cp39-linux_armv7l", None),
        ("py3-none-any", "other-1.0-py3-none-any.whl"),
        ("py3-none-any", "demo-2.0-py3-none-any.whl"),
        ("py3-none-any", "../../etc/passwd"),
    ],
    ids=["of another target", "of another project", "of another version", "outside"],
)
def test_who_delivers_what_no_honest_builder_does_is_quarantined(host: IndexHost, tag: str, recorded: str | None) -> None:
    path = host.build("demo", tag=tag)
    later = host.build("later")
    if recorded is not None:
        path.rename(path.with_name(Path(recorded).name))
        host.fleet.ask("UPDATE wheel SET filename = %s WHERE filename = %s", recorded, path.name)
    report = host.publish()
    assert len(report.refused) == 1
    assert list(report.quarantined) == ["pi1"]
    assert standing(host) == "quarantined"
    # What came after it waits, until a person believes the builder again.
    assert (report.published, report.lost) == ([], [])
    assert host.publish().published == []
    host.fleet.ask("SELECT resume_dispatch('pi1')", role="piwheels_dispatcher")
    assert host.publish().published == [later.name]


def test_a_damaged_wheel_is_noted_and_nobody_is_quarantined(host: IndexHost) -> None:
    path = host.build("demo")
    path.write_bytes(path.read_bytes()[:-1])
    assert host.publish().lost == [path.name]
    assert standing(host) == "active"
    assert incidents(host) == [f"{path.name} has other bytes than recorded"]


def test_a_wheel_that_a_newer_check_refuses_quarantines_nobody(host: IndexHost) -> None:
    build_id = host.fleet.want("demo")
    batch = host.fleet.lease("pi1")
    assert batch is not None
    entry = host.outbox / f"{batch.lease_id}-{build_id}"
    entry.mkdir()
    (entry / "demo-1.0-py3-none-any.whl").write_bytes(b"no zip")
    host.record(str(batch.lease_id), build_id, "demo-1.0-py3-none-any.whl", b"no zip")
    assert len(host.publish().refused) == 1
    assert (standing(host), len(incidents(host))) == ("active", 1)


def test_the_operator_is_told(host: IndexHost) -> None:
    host.build("demo", tag="cp39-cp39-linux_armv7l")
    arguments = {"database": host.conninfo, "published_dir": str(host.tree), "incoming": {"pi1": str(host.outbox)}}
    done = run_module("wheel_publication", arguments)
    assert list(done["quarantined"]) == ["pi1"]
    assert any("pi1 is quarantined" in warning and "distrust" in warning for warning in done["warnings"])


def test_a_log_is_kept_and_its_builder_may_drop_it(host: IndexHost) -> None:
    path = fail(host)
    report = host.publish()
    assert (report.logs_stored, report.logs_lost) == (1, [])
    ((attempt_id,),) = host.fleet.ask("SELECT attempt_id FROM attempt WHERE log_stored_at IS NOT NULL")
    kept = host.tree / f"logs/de/demo/{attempt_id}.log.gz"
    assert kept.read_bytes() == LOG
    assert kept.stat().st_mode & 0o777 == 0o644
    lease_id, _, build_id = path.parent.name.rpartition("-")
    settled = host.fleet.ask("SELECT * FROM settled(%s::uuid[], %s::bigint[])", [lease_id], [build_id], role="builder_pi1")
    assert len(settled) == 1
    assert not host.publish().changed


def test_a_log_that_another_publication_kept_meanwhile_is_not_lost(host: IndexHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_AT_ONCE", 1)
    fail(host)
    second = fail(host, "second")

    def interfere(step: str) -> None:
        if step == "logs booked" and second.exists():
            assert host.publish().logs_stored == 1
            # As its builder does once it hears that.
            second.unlink()

    report = host.publish(step=interfere)
    assert (report.logs_stored, report.logs_lost) == (1, [])
    assert host.fleet.ask("SELECT count(*) FROM attempt WHERE log_stored_at IS NOT NULL") == [(2,)]


@pytest.mark.parametrize(
    ("content", "size", "told"),
    [
        (b"no gzip at all", None, "it is not gzip"),
        (LOG[:-4], None, "it ends in the middle"),
        (LOG + b"more", None, "something stands after its end"),
        (LOG, len(LOG) - 1, "does not have"),
        (LOG, len(LOG) + 1, "does not have"),
        (gzip.compress(bytes(2**21)), None, "bytes unpacked"),
    ],
)
def test_a_damaged_log_is_lost_and_holds_nothing_up(
    host: IndexHost, monkeypatch: pytest.MonkeyPatch, content: bytes, size: int | None, told: str
) -> None:
    monkeypatch.setattr(logs, "_LARGEST_PLAIN", 2**20)
    fail(host, log=content, size=size)
    good = fail(host, "good")
    wheel = host.build("honest")
    report = host.publish()
    assert (report.published, report.logs_stored, len(report.logs_lost)) == ([wheel.name], 1, 1)
    assert any(told in what for what in incidents(host))
    assert [path.read_bytes() for path in host.tree.glob("logs/*/*/*")] == [good.read_bytes()]
    assert standing(host) == "active"
    assert not host.publish().changed


def test_a_log_that_is_recorded_as_too_large_is_lost_unseen(host: IndexHost) -> None:
    """record_attempt keeps no such size, but did."""
    fail(host)
    host.fleet.ask("UPDATE attempt SET log_size = %s", 2**40)
    assert len(host.publish().logs_lost) == 1
    assert any("the most is" in what for what in incidents(host))


def test_a_log_that_is_a_link_or_a_fifo_is_not_followed(host: IndexHost) -> None:
    secret = host.place / "secret"
    secret.write_bytes(LOG)
    linked, fifo = fail(host, "linked"), fail(host, "fifo")
    linked.unlink()
    linked.symlink_to(secret)
    fifo.unlink()
    os.mkfifo(fifo)
    assert len(host.publish().logs_lost) == 2
    assert list(host.tree.glob("logs/*/*/*")) == []


def test_a_missing_log_is_lost_once_that_is_certain(host: IndexHost) -> None:
    ((early,),) = host.fleet.ask("SELECT clock_timestamp()")
    fail(host).unlink()
    assert not host.publish(recorded_before=early).changed
    ((late,),) = host.fleet.ask("SELECT clock_timestamp()")
    assert not host.publish(recorded_before=late, uncollected=["pi1"]).changed
    assert len(host.publish(recorded_before=late).logs_lost) == 1
    assert incidents(host) == []


def test_what_came_of_a_builder_that_was_not_collected_whole_is_published_and_the_rest_waits(host: IndexHost) -> None:
    came, missing = host.build("came"), host.build("missing")
    missing.unlink()
    ((late,),) = host.fleet.ask("SELECT clock_timestamp()")
    report = host.publish(recorded_before=late, uncollected=["pi1"])
    assert (report.published, report.lost) == ([came.name], [])
    assert host.publish(recorded_before=late).lost == [missing.name]


@pytest.mark.parametrize("again", [False, True])
def test_a_wheel_of_a_builder_that_is_quarantined_while_it_is_looked_at_is_not_told_as_published(
    host: IndexHost, again: bool
) -> None:
    host.build("demo")
    if again:
        host.publish()
        host.rebuild("demo")

    def step(done: str) -> None:
        if done == "verified":
            host.fleet.ask("SELECT suspect_builder('pi1', 'a lie', true)", role="piwheels_publisher")

    assert host.publish(step=step).published == []
    assert host.fleet.ask("SELECT count(*) FROM wheel_awaiting") == [(0,)]


def test_logs_go_to_the_disk_in_portions_of_bearable_size() -> None:
    now = datetime.now(UTC)
    waiting = [logs.AwaitingLog(number, "demo", "pi1", "1-1", 36 << 20, now) for number in range(20)]
    assert [len(portion) for portion in logs.in_portions(waiting)] == [8, 8, 4]
    small = [replace(log, size=10) for log in waiting * 3]
    assert [len(portion) for portion in logs.in_portions(small)] == [50, 10]

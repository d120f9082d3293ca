"""Collecting where not all can come: files that nobody can read, a disk that fills up, records that are being made."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from piwheels_builder.db.connect import connected
from piwheels_builder.index import collection, publication, rsync
from piwheels_builder.index.collection import Awaited
from piwheels_builder.index.rsync import Host, PullFailed, pull
from tests.integration import test_wheel_collection
from tests.integration.test_wheel_collection import Pi, a_large_wheel, listening, publish
from tests.support import ssh_server

pytestmark = test_wheel_collection.pytestmark
pi = test_wheel_collection.pi


def test_a_wheel_recorded_while_the_collecting_begins_is_not_lost(pi: Pi) -> None:
    wheel = pi.host.build("demo")
    pi.host.fleet.ask("UPDATE attempt SET recorded_at = now() - interval '1 minute'")
    wheel.unlink()
    done = pi.collect()
    with connected(pi.host.conninfo) as connection:
        report = publication.publish(
            connection, pi.host.tree, {"pi1": pi.incoming}, pi.host.rules, recorded_before=done.collected_at
        )
    assert (done.unreachable, report.lost) == ({}, [])


def test_what_a_builder_cannot_read_keeps_nothing_else_from_coming(pi: Pi) -> None:
    honest, bad = pi.host.build("honest"), pi.host.build("bad")
    bad.chmod(0)
    # As root nothing would be unreadable.
    somebody = "setpriv --reuid=65534 --regid=65534 --clear-groups " if os.geteuid() == 0 else ""
    port = ssh_server.free_port()
    with listening(pi.place, pi.host_key, port, f"{somebody}rrsync -ro -no-lock {pi.outbox}"):
        done = pi.collect(port=port)
    assert "Permission denied" in done.unreachable["pi1"]
    report = publish(pi, done)
    assert (report.published, report.lost) == ([honest.name], [])


@pytest.mark.parametrize(
    ("sha256", "came", "code", "taken"),
    [
        (None, 3, 23, True),
        (None, 2, 23, False),
        (None, 3, None, False),
        ("0" * 64, 3, 23, True),
        ("0" * 64, 3, 12, False),
        ("0" * 64, 2, 0, True),
    ],
)
def test_what_is_taken_over(tmp_path: Path, sha256: str | None, came: int, code: int | None, taken: bool) -> None:
    path = tmp_path / ".pulling/1-1/file"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * came)
    assert collection._take_over(tmp_path, Awaited("1-1", "file", 3, sha256), whole=code == 0, ended=code in (0, 23)) == taken
    assert (tmp_path / "1-1/file").exists() == taken


def test_as_much_comes_as_there_is_room_for(pi: Pi, monkeypatch: pytest.MonkeyPatch) -> None:
    a_large_wheel(pi, 1)
    small = pi.host.build("small")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=collection.RESERVE + 2**19))
    done = pi.collect()
    assert (done.collected, pi.files()) == ({"pi1": 1}, [f"{small.parent.name}/{small.name}"])
    assert "make room there" in done.unreachable["pi1"]


@pytest.mark.parametrize(("longer", "why"), [(True, "sent more than it recorded"), (False, "no room any more")])
def test_a_disk_that_fills_up_meanwhile(pi: Pi, monkeypatch: pytest.MonkeyPatch, longer: bool, why: str) -> None:
    large = a_large_wheel(pi, 3)
    for number in range(3 if longer else 0):
        pi.host.build(f"demo{number}").write_bytes(large.read_bytes())

    def usage(_: Path) -> SimpleNamespace:
        full = collection._bytes_in(pi.incoming) > (4 if longer else 1) << 20
        return SimpleNamespace(free=0 if full else collection.RESERVE + 2**30)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    done = pi.collect(kilobytes=1024)
    assert why in done.unreachable["pi1"]
    # What is no more than was recorded is gone on with.
    assert (pi.incoming / ".pulling").exists() != longer


def test_a_builder_that_talks_much_is_told_of_in_short(pi: Pi) -> None:
    pi.host.build("demo")
    port = ssh_server.free_port()
    with listening(pi.place, pi.host_key, port, "head -c 100000000 /dev/zero | tr '\\\\0' x >&2"):
        done = pi.collect(port=port)
    assert len(done.unreachable["pi1"]) < 400


def test_what_is_said_is_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rsync, "_MOST_SAID", 100)
    told, (read, write) = bytearray(), os.pipe()
    os.write(write, b"x" * 6000)
    os.close(write)
    rsync._listen(os.fdopen(read, "rb"), told)
    assert len(told) == 100


def test_an_index_host_without_rsync_says_so(pi: Pi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    host = Host("pi1", "127.0.0.1", (ssh_server.public(pi.host_key),))
    with pytest.raises(PullFailed, match="rsync is not installed here"):
        pull(host, pi.access, ["1-1/a"], tmp_path, largest=1, stop=lambda: None)

"""Collecting from a builder that a real sshd stands for: cut connections, hostile outboxes, changed host keys."""

import getpass
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from piwheels_builder.db.connect import connected
from piwheels_builder.index import collection, publication
from piwheels_builder.index.collection import Collection, collect
from piwheels_builder.index.publication import Report
from piwheels_builder.index.rsync import Access
from tests.support import ssh_server
from tests.support.fleet import Fleet
from tests.support.modules import run_module
from tests.support.published import IndexHost, public_directory

pytestmark = pytest.mark.skipif(
    not (ssh_server.SSHD and shutil.which("rsync") and shutil.which("rrsync")),
    reason="needs sshd and rsync: apt-get install openssh-server rsync",
)
#: sshd serves whoever starts it; nobody has no shell.
USER = getpass.getuser()


@dataclass
class Pi:
    """The builder's ssh server, and the index host beside it."""

    host: IndexHost
    place: Path
    port: int
    host_key: Path
    access: Access

    @property
    def incoming(self) -> Path:
        return self.host.place / "incoming"

    @property
    def outbox(self) -> Path:
        return self.host.outbox

    def collect(self, **changes: Any) -> Collection:
        with connected(self.host.conninfo, autocommit=True) as connection:
            return collect(connection, {"pi1": self.incoming}, replace(self.access, **changes), {})

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.incoming)) for path in self.incoming.glob("[!.]*/*"))

    def sent(self) -> int:
        """Bytes that the builder sent, of all connections."""
        return (self.place / "sent").stat().st_size


@contextmanager
def listening(place: Path, key: Path, port: int, command: str) -> Iterator[None]:
    """The server with the publisher's key, which may do nothing but ``command``."""
    public = (place / "publisher.pub").read_text()
    authorized = place / f"authorized_keys-{port}"
    authorized.write_text(f'command="{command}",restrict {public}')
    authorized.chmod(0o644)
    with ssh_server.serving_logins(key, authorized, port):
        yield


@pytest.fixture
def pi(fleet: Fleet) -> Iterator[Pi]:
    with public_directory() as place, ssh_server.directory() as its:
        (place / "outbox").mkdir()
        host_key, publisher = ssh_server.make_key(its, "host"), its / "publisher"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", publisher], check=True)
        port = ssh_server.free_port()
        fleet.ask("UPDATE builder SET address = '127.0.0.1', host_keys = ARRAY[%s]", ssh_server.public(host_key))
        access = Access(publisher, user=USER, port=port, seconds=60, silent_seconds=10)
        with listening(its, host_key, port, f"rrsync -ro -no-lock {place / 'outbox'} | tee -a {its / 'sent'}"):
            yield Pi(IndexHost(fleet, place), its, port, host_key, access)


def publish(pi: Pi, done: Collection) -> Report:
    """What follows a collection, of files that were recorded long before."""
    pi.host.fleet.ask("UPDATE attempt SET recorded_at = recorded_at - interval '3 minutes'")
    with connected(pi.host.conninfo) as connection:
        return publication.publish(
            connection,
            pi.host.tree,
            {"pi1": pi.incoming},
            pi.host.rules,
            recorded_before=done.collected_at,
            uncollected=list(done.unreachable),
        )


def test_what_is_awaited_comes_and_nothing_else_and_goes_once_it_is_settled(pi: Pi) -> None:
    wheel = pi.host.build("demo")
    (wheel.parent / "log.txt").write_text("not asked for")
    (pi.outbox / "extra").mkdir()
    (pi.outbox / "extra/extra-1.0-py3-none-any.whl").write_text("nor this")
    done = pi.collect()
    assert (done.collected, done.unreachable) == ({"pi1": 1}, {})
    assert pi.files() == [f"{wheel.parent.name}/{wheel.name}"]
    # Nothing is asked for again that is there.
    assert pi.collect().collected == {}
    assert publish(pi, done).published == [wheel.name]
    assert (pi.collect().collected, pi.files()) == ({}, [])


def test_the_module_tells_publication_what_it_needs(pi: Pi) -> None:
    wheel = pi.host.build("demo")
    incoming = {"pi1": str(pi.incoming)}
    access = {"user": USER, "ports": {"pi1": pi.port}, "private_key": str(pi.access.private_key)}
    arguments = {"database": pi.host.conninfo, "incoming": incoming, **access}
    assert run_module("wheel_collection", arguments, check=True)["collected"] == {"pi1": 1}
    assert pi.files() == []
    done = run_module("wheel_collection", arguments)
    assert (done["changed"], done["collected"]) == (True, {"pi1": 1})
    publication = {"database": pi.host.conninfo, "published_dir": str(pi.host.tree), "incoming": incoming}
    told = {"recorded_before": done["collected_at"], "uncollected": list(done["unreachable_builders"])}
    assert run_module("wheel_publication", {**publication, **told})["published"] == [wheel.name]


def test_a_wheel_gone_from_its_builder_is_lost_and_stops_no_other(pi: Pi) -> None:
    there, gone = pi.host.build("there"), pi.host.build("gone")
    gone.unlink()
    done = pi.collect()
    assert done.unreachable == {}
    report = publish(pi, done)
    assert (report.published, report.lost) == ([there.name], [gone.name])


def make_link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("x")


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(1000))


@pytest.mark.parametrize("make", [make_link, make_fifo, make_directory, lengthen])
@pytest.mark.parametrize("beside_a_larger_one", [False, True])
def test_what_is_no_file_or_too_large_does_not_come(pi: Pi, make: Any, beside_a_larger_one: bool) -> None:
    wheel, honest = pi.host.build("demo"), pi.host.build("honest", text="x" * (5000 if beside_a_larger_one else 0))
    make(wheel)
    done = pi.collect()
    assert f"{honest.parent.name}/{honest.name}" in pi.files(), done.unreachable
    report = publish(pi, done)
    assert (report.published, report.lost or report.refused != []) == ([honest.name], [wheel.name])
    assert not any(path.is_symlink() for path in pi.incoming.rglob("*"))


@pytest.mark.parametrize("served", ["", "-l ", "-rl "])
def test_a_builder_that_answers_with_other_files_than_asked_for_leaves_nothing(pi: Pi, served: str) -> None:
    """Its key's forced command is its own: it may run any server."""
    wheel = pi.host.build("demo")
    hostile = pi.place / "hostile"
    (hostile / wheel.parent.name).mkdir(parents=True)
    (hostile / wheel.parent.name / "evil").write_text("evil")
    (hostile / "evil").write_text("evil")
    (hostile / "link").symlink_to("/etc")
    asked = " ".join(f"{hostile}/./{name}" for name in ("", "evil", f"{wheel.parent.name}/evil"))
    command = f"rsync --server --sender {served}-dRe.LsfxCIvu . {asked} /etc/hosts"
    port = ssh_server.free_port()
    with listening(pi.place, pi.host_key, port, command):
        done = pi.collect(port=port, silent_seconds=5)
    assert (pi.files(), list(done.unreachable)) == ([], ["pi1"])
    assert not (pi.host.place / "evil").exists()
    assert pi.collect().unreachable == {}
    assert pi.files() == [f"{wheel.parent.name}/{wheel.name}"]
    assert not list(pi.incoming.glob("**/evil"))
    assert publish(pi, done).published == [wheel.name]


def test_a_server_that_never_answers_is_left_in_time(pi: Pi) -> None:
    pi.host.build("demo")
    port = ssh_server.free_port()
    with listening(pi.place, pi.host_key, port, "sleep 60"):
        began = time.monotonic()
        done = pi.collect(port=port, seconds=2)
        assert time.monotonic() - began < 20
    assert "longer than 2 s" in done.unreachable["pi1"]


def test_a_changed_host_key_is_refused(pi: Pi) -> None:
    pi.host.build("demo")
    other = ssh_server.make_key(pi.place, "other")
    port = ssh_server.free_port()
    with listening(pi.place, other, port, f"rrsync -ro -no-lock {pi.outbox}"):
        done = pi.collect(port=port)
    assert "host key is not the one" in done.unreachable["pi1"]
    assert pi.files() == []
    pi.host.fleet.ask("UPDATE builder SET host_keys = NULL")
    assert "no host key" in pi.collect().unreachable["pi1"]
    # Then those of the file count.
    known_hosts = pi.place / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{pi.port} {ssh_server.public(pi.host_key)}\n")
    assert pi.collect(known_hosts=known_hosts).collected == {"pi1": 1}


@pytest.mark.parametrize("address", ["-oProxyCommand=touch evil", "a b", "", "x;y"])
def test_what_is_no_address_is_not_asked(pi: Pi, address: str) -> None:
    pi.host.build("demo")
    pi.host.fleet.ask("UPDATE builder SET address = nullif(%s, '')", address)
    assert "provision" in pi.collect().unreachable["pi1"]


def test_nobody_waits_for_a_builder_that_is_away(pi: Pi) -> None:
    wheel = pi.host.build("demo")
    pi.host.fleet.add_builder("pi2")
    pi.host.fleet.ask("UPDATE builder SET address = '127.0.0.1', host_keys = ARRAY[%s]", ssh_server.public(pi.host_key))
    pi.host.fleet.want("other")
    batch = pi.host.fleet.lease("pi2")
    assert batch is not None
    pi.host.fleet.record("pi2", batch.lease_id, batch.builds[0].build_id, wheel="other-1.0-py3-none-any.whl")
    both = {"pi1": pi.incoming, "pi2": pi.host.place / "incoming2"}
    with connected(pi.host.conninfo) as connection:
        done = collect(connection, both, pi.access, {"pi2": ssh_server.free_port()})
    assert (done.collected, list(done.unreachable)) == ({"pi1": 1}, ["pi2"])
    assert pi.files() == [f"{wheel.parent.name}/{wheel.name}"]


def a_large_wheel(pi: Pi, megabytes: int = 40) -> Path:
    """Not a wheel at all, but its bytes cannot be compressed."""
    build_id = pi.host.fleet.want("large")
    batch = pi.host.fleet.lease("pi1")
    assert batch is not None
    path = pi.outbox / f"{batch.lease_id}-{build_id}" / "large-1.0-py3-none-any.whl"
    path.parent.mkdir()
    path.write_bytes(os.urandom(megabytes << 20))
    pi.host.record(str(batch.lease_id), build_id, path.name, path.read_bytes())
    return path


def arrived(pi: Pi, path: Path) -> int:
    try:
        return (pi.incoming / ".pulling" / path.parent.name / path.name).stat().st_size
    except FileNotFoundError:
        return 0


def senders(pi: Pi) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "--sender" in (line := process.info["cmdline"] or [])
        and line[0].endswith("rsync")
        and "--server" in line
        and process.cwd() == str(pi.outbox)
    ]


def receivers() -> list[psutil.Process]:
    return [process for process in psutil.Process().children(recursive=True) if process.name() == "rsync"]


@pytest.mark.parametrize("cut", ["builder", "index host"])
def test_a_transfer_that_was_cut_goes_on_where_it_ended(pi: Pi, cut: str) -> None:
    path = a_large_wheel(pi)
    done: list[Collection] = []
    slow = threading.Thread(target=lambda: done.append(pi.collect(kilobytes=8192)))
    slow.start()
    deadline = time.monotonic() + 30
    while arrived(pi, path) < 12 << 20 and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in senders(pi) if cut == "builder" else receivers():
        process.kill()
    slow.join()
    assert done[0].unreachable
    assert pi.files() == []
    had = arrived(pi, path)
    assert 12 << 20 <= had < 40 << 20
    # What is not collected whole is not lost.
    assert not publish(pi, done[0]).lost
    before = pi.sent()
    assert pi.collect().collected == {"pi1": 1}
    assert pi.sent() - before < (40 << 20) - had + (2 << 20)
    assert (pi.incoming / path.parent.name / path.name).read_bytes() == path.read_bytes()


def test_two_collections_at_once_do_no_harm(pi: Pi) -> None:
    wheels = [pi.host.build(f"demo{number}") for number in range(5)]
    done: list[Collection] = []
    threads = [threading.Thread(target=lambda: done.append(pi.collect())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.unreachable for each in done] == [{}, {}, {}]
    assert sum(each.collected.get("pi1", 0) for each in done) == 5
    assert sorted(publish(pi, done[0]).published) == sorted(wheel.name for wheel in wheels)


def test_whoever_holds_the_lock_is_waited_for_so_long_and_no_longer(pi: Pi) -> None:
    pi.host.build("demo")
    pi.incoming.mkdir()
    with collection._locked(pi.incoming, 0) as free:
        assert free
        assert pi.collect(seconds=0.5).unreachable == {"pi1": "another collection is at work on its files"}
    assert pi.collect().collected == {"pi1": 1}


def test_a_full_disk_is_told(pi: Pi, monkeypatch: pytest.MonkeyPatch) -> None:
    pi.host.build("demo")
    monkeypatch.setattr(collection, "RESERVE", 2**60)
    assert "make room there" in pi.collect().unreachable["pi1"]


def test_a_quarantined_builder_is_not_asked(pi: Pi) -> None:
    pi.host.build("demo")
    pi.host.fleet.ask("SELECT suspect_builder('pi1', 'a lie', true)", role="piwheels_publisher")
    assert (pi.collect().collected, pi.files()) == ({}, [])

"""Host keys are pinned on first contact, kept, and refused when they change. Against a real sshd."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from piwheels_builder.errors import BadInput
from piwheels_builder.host_keys.asking import Host, Unanswered, ask
from piwheels_builder.host_keys.known_hosts import HostKey
from piwheels_builder.host_keys.pinning import Report, Wishes, pin
from tests.support.modules import run_module
from tests.support.ssh_server import SSHD, directory, fingerprint, free_port, make_key, public, running

pytestmark = pytest.mark.skipif(SSHD is None, reason="needs sshd (apt-get install openssh-server)")

SECONDS = 20.0


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    with directory() as found:
        yield found


@pytest.fixture(scope="module")
def first(place: Path) -> Path:
    return make_key(place, "first")


@pytest.fixture(scope="module")
def second(place: Path) -> Path:
    return make_key(place, "second")


@pytest.fixture(scope="module")
def rsa(place: Path) -> Path:
    return make_key(place, "rsa", "rsa")


def contact(host: Host, path: Path, wishes: Wishes | None = None, **options: bool) -> Report:
    return pin([host], path, wishes or Wishes(), seconds=SECONDS, **options)


def test_a_new_host_is_pinned_once_and_ssh_itself_believes_it(first: Path, tmp_path: Path) -> None:
    host, known = Host("pi1", "127.0.0.1", free_port()), tmp_path / "fleet/known_hosts"
    with running([first], host.port):
        report = contact(host, known)
        assert str(report.pinned["pi1"]) == public(first)
        assert report.pinned["pi1"].fingerprint == fingerprint(first)
        assert known.read_text() == f"[127.0.0.1]:{host.port} {public(first)}\n"
        assert known.stat().st_mode & 0o777 == 0o644
        assert not [path for path in known.parent.iterdir() if path != known]
        again = contact(host, known)
        assert (again.pinned, str(again.keys["pi1"])) == ({}, public(first))
        # Nobody may log in; what counts is that ssh gets as far as asking.
        command = ["ssh", "-F", "none", "-oBatchMode=yes", "-oStrictHostKeyChecking=yes", f"-oUserKnownHostsFile={known}"]
        told = subprocess.run([*command, "-p", str(host.port), "nobody@127.0.0.1"], capture_output=True, text=True, check=False)
        assert "Permission denied" in told.stderr


def test_a_changed_key_is_refused_and_never_overwritten(first: Path, second: Path, tmp_path: Path) -> None:
    host, known = Host("pi1", "127.0.0.1", free_port()), tmp_path / "known_hosts"
    with running([first], host.port):
        contact(host, known)
    before = known.read_bytes()
    with running([second], host.port):
        report = contact(host, known)
        refusal = report.refused["pi1"]
        assert fingerprint(first) in refusal
        assert fingerprint(second) in refusal
        assert "host_keys_forget=pi1" in refusal
        assert "ssh-keygen -R" in refusal
        assert (report.keys, report.pinned, known.read_bytes()) == ({}, {}, before)
        forgotten = contact(host, known, Wishes(forget=["pi1"]))
        assert str(forgotten.pinned["pi1"]) == public(second)
        assert known.read_text() == f"[127.0.0.1]:{host.port} {public(second)}\n"


def test_the_type_that_is_known_is_asked_for(first: Path, rsa: Path, tmp_path: Path) -> None:
    host, known = Host("pi1", "127.0.0.1", free_port()), tmp_path / "known_hosts"
    with running([rsa], host.port):
        assert str(contact(host, known).pinned["pi1"]) == public(rsa)
    with running([first, rsa], host.port):
        assert str(contact(host, known).keys["pi1"]) == public(rsa)
        assert str(ask(host, [], SECONDS)) == public(first)
    with running([first], host.port):
        assert list(contact(host, known).refused) == ["pi1"]


def test_hashed_names_are_known_and_forgotten(first: Path, second: Path, tmp_path: Path) -> None:
    host, known = Host("pi1", "127.0.0.1", free_port()), tmp_path / "known_hosts"
    known.write_text(f"# kept\n[127.0.0.1]:{host.port} {public(first)}\nother.invalid {public(second)}")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", known], check=True, capture_output=True)
    assert "127.0.0.1" not in known.read_text()
    with running([first], host.port):
        assert contact(host, known).pinned == {}
    with running([second], host.port):
        assert list(contact(host, known).refused) == ["pi1"]
        contact(host, known, Wishes(forget=["pi1"]))
    lines = known.read_text().splitlines()
    assert [lines[0], lines[2]] == ["# kept", f"[127.0.0.1]:{host.port} {public(second)}"]
    assert len(lines) == 3


def test_ipv6(first: Path, tmp_path: Path) -> None:
    host, known = Host("pi2", "::1", free_port(socket.AF_INET6)), tmp_path / "known_hosts"
    with running([first], host.port, "::1"):
        contact(host, known)
        assert known.read_text() == f"[::1]:{host.port} {public(first)}\n"
        assert contact(host, known).pinned == {}


def test_an_expected_key_is_compared_at_first_contact(first: Path, second: Path, tmp_path: Path) -> None:
    host, known = Host("pi1", "127.0.0.1", free_port()), tmp_path / "known_hosts"
    with running([first], host.port):
        report = contact(host, known, Wishes({"pi1": [HostKey.parse(public(second))]}))
        assert fingerprint(second) in report.refused["pi1"]
        assert not known.exists()
        contact(host, known, Wishes({"pi1": [HostKey.parse(public(second)), HostKey.parse(public(first))]}))
        assert public(first) in known.read_text()


def test_a_revoked_key_is_refused_even_when_forgotten(first: Path, tmp_path: Path) -> None:
    host, known = Host("pi1", "127.0.0.1", free_port()), tmp_path / "known_hosts"
    known.write_text(f"@revoked * {public(first)}\n")
    with running([first], host.port):
        assert "revoked" in contact(host, known, Wishes(forget=["pi1"])).refused["pi1"]


def test_check_mode_tells_and_writes_nothing(first: Path, tmp_path: Path) -> None:
    host, known = Host("pi1", "127.0.0.1", free_port()), tmp_path / "known_hosts"
    with running([first], host.port):
        assert list(contact(host, known, check=True).pinned) == ["pi1"]
    assert not known.exists()


def test_a_name_that_is_no_host_cannot_be_forgotten(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="pi9"):
        contact(Host("pi1", "127.0.0.1"), tmp_path / "known_hosts", Wishes(forget=["pi9"]))


Talk = Callable[[socket.socket], object]


def _say_nothing(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.recv(65536)


def _say(words: bytes) -> Talk:
    return lambda connection: connection.sendall(words)


def _never_end(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x" * 4096)
        time.sleep(0.01)


def _drip(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"wait\r\n")
        time.sleep(0.1)


@contextmanager
def talking(talk: Talk) -> Iterator[int]:
    """A server of loopback that has accepted, and then does as it likes."""

    def serve() -> None:
        try:
            connection, _ = listening.accept()
            with connection:
                talk(connection)
        except OSError:
            pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("talk", "why"),
    [
        (_say_nothing, "within 2 s"),
        (_never_end, "within 2 s"),
        (_drip, "within 2 s"),
        (_say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "no ssh server answers there"),
        (_say(b"SSH-2.0-\x1b[2Jevil\r\n" + bytes(200)), "no ssh server answers there"),
        (_say(b"SSH-1.5-old\r\n"), "no ssh server answers there"),
        (_say(b""), "no ssh server answers there"),
    ],
)
def test_what_is_no_ssh_server_is_given_up_in_time(talk: Talk, why: str) -> None:
    with talking(talk) as port:
        began = time.monotonic()
        with pytest.raises(Unanswered, match=why) as raised:
            ask(Host("pi1", "127.0.0.1", port), [], 2)
        assert time.monotonic() - began < 6
        assert str(raised.value).isprintable()


def test_one_silent_host_keeps_no_other_from_being_pinned(first: Path, second: Path, tmp_path: Path) -> None:
    known, good, closed = tmp_path / "known_hosts", free_port(), free_port()
    known.write_text(f"[127.0.0.1]:{closed} {public(second)}\n")
    with running([first], good):
        hosts = [{"name": "pi1", "address": "127.0.0.1", "port": good}, {"name": "pi2", "address": "127.0.0.1", "port": closed}]
        result = run_module("host_key", {"hosts": hosts, "known_hosts": str(known)})
        assert result["changed"]
        assert result["pinned"] == {"pi1": f"ssh-ed25519 {fingerprint(first)}"}
        assert result["host_keys"] == {"pi1": public(first), "pi2": public(second)}
        assert "refused" in result["unreachable_hosts"]["pi2"]
        assert result["diff"]["after"] == f"[127.0.0.1]:{good} {public(first)}\n"
        assert any(fingerprint(first) in warning for warning in result["warnings"])
        assert not run_module("host_key", {"hosts": hosts, "known_hosts": str(known)})["changed"]
    nobody = run_module("host_key", {"hosts": hosts[1:], "known_hosts": str(known)})
    assert nobody["failed"]
    assert "pi2" in nobody["msg"]


def test_a_refused_host_fails_the_module_after_the_others_are_pinned(first: Path, second: Path, tmp_path: Path) -> None:
    known, good, changed = tmp_path / "known_hosts", free_port(), free_port()
    known.write_text(f"[127.0.0.1]:{changed} {public(first)}\n")
    with running([first], good), running([second], changed):
        hosts = [{"name": "bad", "address": "127.0.0.1", "port": changed}, {"name": "good", "address": "127.0.0.1", "port": good}]
        result = run_module("host_key", {"hosts": hosts, "known_hosts": str(known)})
    assert result["failed"]
    assert fingerprint(second) in result["msg"]
    assert list(result["refused"]) == ["bad"]
    assert len(known.read_text().splitlines()) == 2


def test_two_runs_at_once_lose_no_line(first: Path, tmp_path: Path) -> None:
    known, ports = tmp_path / "known_hosts", [free_port() for _ in range(4)]
    with running([first], ports[0]), running([first], ports[1]), running([first], ports[2]), running([first], ports[3]):
        threads = [threading.Thread(target=contact, args=(Host(f"pi{port}", "127.0.0.1", port), known)) for port in ports]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(known.read_text().splitlines()) == 4


def test_a_file_that_cannot_be_written_is_named(first: Path) -> None:
    port = free_port()
    with running([first], port):
        host = {"name": "pi1", "address": "127.0.0.1", "port": port}
        # Where nobody may make a file; a mode would not keep root out.
        result = run_module("host_key", {"hosts": [host], "known_hosts": "/proc/known_hosts"})
    assert "known_hosts cannot be written" in result["msg"]

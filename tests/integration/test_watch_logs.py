"""Logs followed live by `watch`, through a real sshd, and what it says to a builder there. Beside it, what must not get through."""

import asyncio
import getpass
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from textual.pilot import Pilot

from piwheels_builder.builder.draining import reason_to_drain
from piwheels_builder.watching.reach import Login, Place, places
from piwheels_builder.watching.terminal import Watch
from tests.integration.test_watch import piloted, reader, say, settings, until
from tests.support import ssh_server
from tests.support.building import Building
from tests.support.fleet import Fleet

__all__ = ["settings"]
pytestmark = pytest.mark.skipif(not ssh_server.SSHD, reason="needs sshd: apt-get install openssh-server")
#: A title, a colour, a clear screen by C1, a sequence over two writes, text that runs backwards, a progress bar.
HOSTILE = (b"\x1b]0;owned\x07\x1b[31mred\x1b[2J \xc2\x9b2J", b"\x1b", b"[5mblink \xe2\x80\xaegpj.exe\rall-over\n")


@dataclass(frozen=True)
class Reached:
    """pi1's state directory, and how it is reached."""

    building: Building
    place: Place

    @property
    def login(self) -> Login:
        assert self.place.login is not None
        return self.place.login

    def with_login(self, **changes: object) -> Place:
        return replace(self.place, login=replace(self.login, **changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def sshd() -> Iterator[tuple[int, Path]]:
    """Its port, and the directory of its keys."""
    with ssh_server.directory() as place:
        ssh_server.make_key(place, "host")
        ssh_server.make_key(place, "other")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / "dispatcher"], check=True)
        authorized = place / "authorized_keys"
        authorized.write_text((place / "dispatcher.pub").read_text())
        with ssh_server.serving_logins(place / "host", authorized) as port:
            yield port, place


@pytest.fixture
def pi1(sshd: tuple[int, Path], tmp_path: Path) -> Reached:
    port, keys = sshd
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {ssh_server.public(keys / 'host')}\n")
    login = Login("127.0.0.1", port, getpass.getuser(), keys / "dispatcher", known_hosts)
    return Reached(Building(tmp_path / "pi1"), Place("pi1", str(tmp_path / "pi1"), login))


def shown(app: Watch) -> list[str]:
    return [line.text.rstrip() for line in app.log_view.lines]


def about(app: Watch) -> str:
    return str(app.about.render())


def test_the_log_of_the_chosen_builder_grows_while_it_builds(fleet: Fleet, pi1: Reached) -> None:
    building = pi1.building
    building.begin("scipy", "2.0")
    building.write("scipy", b"first\nsec")

    async def act(app: Watch, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: shown(app) == ["first"])
        assert "scipy 2.0" in about(app)
        building.write("scipy", b"ond\n")
        await until(pilot, lambda: shown(app) == ["first", "second"])
        # The last words of a build come before the next one's, though its directory is gone by then.
        building.write("scipy", b"the end\n")
        building.end("scipy")
        await until(pilot, lambda: "builds nothing now" in about(app) or "over" in about(app))
        assert shown(app)[-1] == "the end"
        building.begin("numpy")
        building.write("numpy", b"x" * 300_000 + b"\nhere\n")
        await until(pilot, lambda: shown(app)[-1:] == ["here"])
        assert "KB before are not shown" in shown(app)[0]
        assert "second" not in shown(app)

    piloted(fleet, act, {"pi1": pi1.place})


def test_each_build_of_a_builder_can_be_followed_and_skipped(fleet: Fleet, pi1: Reached) -> None:
    for project in ("lxml", "numpy"):
        pi1.building.begin(project)
        pi1.building.write(project, f"this is {project}\n".encode())

    async def act(app: Watch, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: app.followed is not None)
        first, second = ("lxml", "numpy") if app.followed and app.followed.project == "lxml" else ("numpy", "lxml")
        await until(pilot, lambda: shown(app) == [f"this is {first}"])
        await pilot.press("b")
        await until(pilot, lambda: shown(app) == [f"this is {second}"])
        assert "2 of 2" in about(app)
        await say(app, pilot, "s", "y")
        await until(pilot, lambda: fleet.ask("SELECT project FROM operator_instruction WHERE instruction = 'skip'") == [(second,)])

    piloted(fleet, act, {"pi1": pi1.place})


def test_a_builder_is_drained_over_ssh_and_let_go_on(fleet: Fleet, pi1: Reached) -> None:
    state_dir = pi1.building.state_dir

    async def act(app: Watch, pilot: Pilot[int]) -> None:
        await say(app, pilot, "d", "n")
        assert reason_to_drain(state_dir) is None
        await say(app, pilot, "d", "y")
        await until(pilot, lambda: reason_to_drain(state_dir) == "said from watch")
        await say(app, pilot, "u", "y")
        await until(pilot, lambda: reason_to_drain(state_dir) is None)

    piloted(fleet, act, {"pi1": pi1.place})


@pytest.mark.parametrize("trouble", ["another key", "no key", "revoked", "not let in", "away"])
def test_a_builder_that_cannot_be_followed_is_told_of(
    fleet: Fleet, pi1: Reached, sshd: tuple[int, Path], tmp_path: Path, trouble: str
) -> None:
    port, keys = sshd
    known = tmp_path / "known_hosts"
    place, words = pi1.place, trouble
    if trouble == "another key":
        known.write_text(f"[127.0.0.1]:{port} {ssh_server.public(keys / 'other')}\n")
        words = "shows another host key"
    elif trouble == "no key":
        known.write_text("")
        words = "no host key of pi1"
    elif trouble == "revoked":
        known.write_text(known.read_text() + f"@revoked * {ssh_server.public(keys / 'host')}\n")
        words = "no host key of pi1"
    elif trouble == "not let in":
        place, words = pi1.with_login(private_key=keys / "other"), "does not let in"
    else:
        gone = ssh_server.free_port()
        known.write_text(f"[127.0.0.1]:{gone} {ssh_server.public(keys / 'host')}\n")
        place, words = pi1.with_login(port=gone), "cannot be followed"
    before = known.read_text()
    pi1.building.begin("numpy")
    pi1.building.write("numpy", b"never shown\n")

    async def act(app: Watch, pilot: Pilot[int]) -> None:
        await until(pilot, lambda: words in about(app))
        assert shown(app) == []
        assert app.table.row_count == 3

    piloted(fleet, act, {"pi1": place})
    # Nobody is believed for having asked.
    assert known.read_text() == before


def test_a_real_terminal_gets_no_sequence_of_a_stranger_and_is_left_with_q(fleet: Fleet, tmp_path: Path) -> None:
    fleet.ask("UPDATE builder SET standing = 'paused', standing_reason = E'why\\x1b[41mnot' WHERE name = 'pi2' RETURNING 1")
    building = Building(tmp_path / "here")
    building.begin("numpy")
    for part in HOSTILE:
        building.write("numpy", part)
    (tmp_path / "builder.yml").write_text(
        yaml.safe_dump(
            {
                "name": "pi1",
                "database": reader(fleet),
                "state_dir": str(tmp_path / "here"),
                "pythons": {},
                "architecture": "armv7l",
                "os_release": "bookworm",
            }
        )
    )
    with in_a_terminal("watch") as (process, controller):
        seen = read_until(controller, b"all-over")
        assert b"blink" in seen
        for forbidden in (b"owned", b"\x1b[31mred", b"\x1b[2J", b"\xc2\x9b", b"\xe2\x80\xae", b"\x1b[41m", b"\x1b[5m"):
            assert forbidden not in seen
        os.write(controller, b"q")
        assert left(process, controller) == 0


def test_a_signal_leaves_the_terminal_as_it_was() -> None:
    with in_a_terminal("watch") as (process, controller):
        read_until(controller, b"numpy")
        process.send_signal(signal.SIGTERM)
        assert left(process, controller, after := bytearray()) == 128 + signal.SIGTERM
    # The other screen is left, and the cursor shown again.
    assert b"\x1b[?1049l" in after
    assert b"\x1b[?25h" in after


@contextmanager
def in_a_terminal(*arguments: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "piwheels_builder.cli", *arguments]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, start_new_session=True)
    os.close(terminal)
    try:
        yield process, controller
    finally:
        process.kill()
        process.wait()
        os.close(controller)


def read_until(controller: int, wanted: bytes, seconds: float = 60) -> bytes:
    deadline, seen = time.monotonic() + seconds, b""
    while not re.search(wanted, seen):
        assert time.monotonic() < deadline, seen[-2000:]
        if select.select([controller], [], [], 0.2)[0]:
            seen += os.read(controller, 65536)
    return seen


def left(process: "subprocess.Popen[bytes]", controller: int, after: bytearray | None = None) -> int:
    """The exit code. What comes meanwhile is read, or the process would wait for it."""
    deadline = time.monotonic() + 60
    while True:
        over = process.poll() is not None
        if select.select([controller], [], [], 0.1)[0]:
            try:
                (bytearray() if after is None else after).extend(os.read(controller, 65536))
            except OSError:
                break
        elif over:
            break
        assert time.monotonic() < deadline
    return process.wait()


def test_where_builders_are_stands_in_the_inventory_of_the_rounds(tmp_path: Path) -> None:
    (tmp_path / "controller").mkdir()
    inventory = {
        "vars": {
            "fleet_state_dir": "/var/lib/piwheels-builder",
            "ansible_ssh_private_key_file": "/etc/piwheels-builder/ssh/dispatcher",
            "fleet_controller_known_hosts": "/etc/piwheels-builder/ssh/known_hosts",
        },
        "children": {
            "builders": {
                "hosts": {
                    "pi3": {"ansible_host": "Pi3.Local", "ansible_port": 2222, "ansible_user": "piwheels-fleet"},
                    "pi4": {"ansible_host": "10.0.0.4", "ansible_port": 22, "ansible_user": "x", "fleet_state_dir": "/data"},
                }
            }
        },
    }
    path = tmp_path / "controller/inventory.yml"
    path.write_text(yaml.safe_dump({"all": inventory}))
    found = places(tmp_path)
    assert found["pi3"].state_dir == "/var/lib/piwheels-builder/builder"
    assert found["pi4"].state_dir == "/data/builder"
    pi3 = found["pi3"].login
    assert pi3 is not None
    assert (pi3.known_as, pi3.user) == ("[pi3.local]:2222", "piwheels-fleet")
    assert str(pi3.known_hosts) == "/etc/piwheels-builder/ssh/known_hosts"


def test_reading_a_log_blocks_no_key(fleet: Fleet, pi1: Reached) -> None:
    """A host that takes connections and says nothing."""

    async def act(app: Watch, pilot: Pilot[int]) -> None:
        await pilot.pause(0.6)
        began = time.monotonic()
        await pilot.press("down")
        assert app.chosen is app.builders["pi2"]
        assert time.monotonic() - began < 5

    async def run(port: int) -> None:
        pi1.login.known_hosts.write_text(pi1.login.known_hosts.read_text().replace(str(pi1.login.port), str(port)))
        app = Watch(reader(fleet), 0.2, {"pi1": pi1.with_login(port=port)})
        async with app.run_test() as pilot:
            await until(pilot, lambda: bool(app.builders))
            await act(app, pilot)

    with socket.create_server(("127.0.0.1", 0)) as mute:
        asyncio.run(run(mute.getsockname()[1]))

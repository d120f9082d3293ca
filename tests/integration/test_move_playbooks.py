"""`make move-database`: the two playbooks it runs, between two fleets of one."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from piwheels_builder.db.embedded import EmbeddedDatabase
from tests.support.database import fresh_database, rows
from tests.support.fleet import Fleet
from tests.support.published import IndexHost, public_directory

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ROLES = ("owner", "dispatcher", "publisher", "reader")


@dataclass(frozen=True)
class Home:
    """A fleet of one's state directory and database, with an inventory of its own, as provisioning leaves them."""

    state_dir: Path
    database: EmbeddedDatabase

    def prepare(self) -> None:
        (self.state_dir / "etc").mkdir(parents=True)
        (self.state_dir / "etc/fleet.yml").write_text(json.dumps({"database": self.conninfos}))
        own: dict[str, object] = {
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
            "fleet_python": sys.executable,
        }
        own |= {"fleet_supervisor": "supervisord", "fleet_become": False, "fleet_publisher_user": "", "fleet_dispatcher_user": ""}
        own |= {"fleet_state_dir": str(self.state_dir), "fleet_etc_dir": str(self.state_dir / "etc")}
        own |= {"fleet_database": self.conninfos, "fleet_incoming": {"pi1": str(self.state_dir / "outbox")}}
        hosts = {"hosts": {"here": own}}
        (self.state_dir / "inventory.json").write_text(json.dumps({"all": {"children": {"index": hosts, "builders": hosts}}}))

    @property
    def conninfos(self) -> dict[str, str]:
        return {role: self.database.conninfo(f"piwheels_{role}") for role in ROLES}

    def play(self, playbook: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        command = [str(BIN / "ansible-playbook"), "-i", str(self.state_dir / "inventory.json"), f"playbooks/{playbook}.yml"]
        environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1"}
        arguments = ["-e", json.dumps(variables)]
        return subprocess.run([*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def old(fleet: Fleet) -> Iterator[tuple[Home, IndexHost]]:
    """A fleet of one under supervisord, whose builder is a program that sleeps."""
    with public_directory() as place:
        home = Home(place, fleet.database)
        home.prepare()
        (place / "outbox").mkdir()
        (place / "etc/supervisord.conf").write_text(
            f"[supervisord]\nlogfile={place}/log\npidfile={place}/pid\n"
            f"[unix_http_server]\nfile={place}/sock\n[supervisorctl]\nserverurl=unix://{place}/sock\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
            "[program:builder]\ncommand=sleep 1000\nstartsecs=0\n"
        )
        subprocess.run([BIN / "supervisord", "-c", place / "etc/supervisord.conf"], check=True, cwd="/", capture_output=True)
        try:
            yield home, IndexHost(fleet, place)
        finally:
            subprocess.run(
                [BIN / "supervisorctl", "-c", place / "etc/supervisord.conf", "shutdown"], check=True, capture_output=True
            )


@pytest.fixture
def new(database_server: EmbeddedDatabase) -> Iterator[Home]:
    with fresh_database(database_server) as database, public_directory() as place:
        home = Home(place, database)
        home.prepare()
        (place / "published").mkdir()
        yield home


def states(home: Home) -> list[tuple[str, str]]:
    return rows(
        home.database,
        "SELECT name, state FROM build JOIN release USING (release_id) JOIN project USING (project_id) ORDER BY name",
    )


def test_a_fleet_of_one_moves_with_all_it_has(old: tuple[Home, IndexHost], new: Home) -> None:
    home, host = old
    host.build("first")
    waiting = host.build("waiting")
    host.fleet.want("wanted")
    assert host.fleet.lease("pi1") is not None

    done = home.play("move_out")
    assert done.returncode == 0, done.stdout + done.stderr
    status = subprocess.run(
        [BIN / "supervisorctl", "-c", home.state_dir / "etc/supervisord.conf", "status"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "STOPPED" in status.stdout
    done = new.play("move_in", move_from=str(home.state_dir))
    assert done.returncode == 0, done.stdout + done.stderr

    # What waited was published before the copy was made.
    assert states(home) == [("first", "published"), ("waiting", "published"), ("wanted", "leased")]
    assert states(new) == [("first", "published"), ("waiting", "published"), ("wanted", "pending")]
    wheels = {path.relative_to(home.state_dir): path.read_bytes() for path in (home.state_dir / "published").rglob("*.whl")}
    assert {path.name for path in wheels} == {"first-1.0-py3-none-any.whl", waiting.name}
    for path, content in wheels.items():
        assert (new.state_dir / path).read_bytes() == content
    page = "published/simple/wa/waiting.html.gz"
    assert (new.state_dir / page).read_bytes() == (home.state_dir / page).read_bytes()
    assert not (new.state_dir / "move").exists()

    # Again, as after a kill: nothing is loaded twice, and a page that is newer stays.
    assert home.play("move_out").returncode == 0
    (new.state_dir / page).write_text("broken")
    done = new.play("move_in", move_from=str(home.state_dir))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "loaded before" in done.stdout
    assert (new.state_dir / page).read_bytes() == (home.state_dir / page).read_bytes()


def test_a_fleet_with_builds_of_its_own_is_left_alone(old: tuple[Home, IndexHost], new: Home) -> None:
    home, host = old
    host.build("first")
    theirs = Fleet(new.database)
    theirs.add_builder("pi7")
    theirs.want("theirs")
    assert home.play("move_out").returncode == 0
    done = new.play("move_in", move_from=str(home.state_dir))
    assert "has builds already" in done.stdout
    assert states(new) == [("theirs", "pending")]
    assert list((new.state_dir / "published").iterdir()) == []

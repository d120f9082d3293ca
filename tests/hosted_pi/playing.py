"""The real playbooks over hosted Pis: this machine as index host, a real database, the fake API, an sshd that lets nobody in."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.hosted_pi.fake import FakeApi
from tests.hosted_pi.support import KEY
from tests.support.fleet import Fleet
from tests.support.ssh_server import directory, make_key, running

ROOT = Path(__file__).parents[2]
PREFIX = "wheels-"


@dataclass(frozen=True)
class Played:
    """A run of a playbook: its exit code, and its output in one line."""

    exit_code: int
    output: str


@dataclass
class Controller:
    """Whoever runs playbooks, from an inventory with one index host and the account's Pis. ``ports`` are where their sshd is."""

    place: Path
    api: FakeApi
    fleet: Fleet
    port: int
    environment: dict[str, str] = field(default_factory=dict)

    def write_inventory(self, **plugin: object) -> None:
        """The example that people copy, with this machine in it."""
        self.place.mkdir(exist_ok=True)
        hub = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        (self.place / "hosts.yml").write_text(yaml.safe_dump({"index": {"hosts": {"hub": hub}}, "builders": {}}))
        example: dict[str, Any] = yaml.safe_load((ROOT / "inventory/hosted.example/hosted_pi.yml").read_text())
        reached = {"ansible_host": "'127.0.0.1'", "ansible_port": str(self.port)}
        told = {**example, "prefix": PREFIX, "compose": reached, "cache_connection": str(self.place.with_name("cache")), **plugin}
        (self.place / "hosted_pi.yml").write_text(yaml.safe_dump(told))
        (self.place / "group_vars").mkdir(exist_ok=True)
        settings = {
            "fleet_python": sys.executable,
            "fleet_become": False,
            "fleet_database": {"owner": self.fleet.database.conninfo("piwheels_owner")},
            "hosted_pi_ssh_keys": [KEY],
        }
        (self.place / "group_vars/all.yml").write_text(yaml.safe_dump(settings))

    def start(self, playbook: str, *options: str, **variables: object) -> "subprocess.Popen[str]":
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.place), playbook, *options]
        environment = {**os.environ, **self.api.environment, "ANSIBLE_NOCOLOR": "1", **self.environment}
        return subprocess.Popen(
            [*command, "-e", json.dumps(variables)],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def play(self, playbook: str, *options: str, **variables: object) -> Played:
        running = self.start(playbook, *options, **variables)
        output, _ = running.communicate(timeout=300)
        return Played(running.returncode, " ".join(output.split()))

    def order(self, count: int, *options: str, **variables: object) -> Played:
        return self.play("playbooks/order.yml", *options, count=count, **variables)

    def builders(self) -> dict[str, dict[str, Any]]:
        """What the inventory says of each builder."""
        command = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(self.place), "--list"]
        environment = {**os.environ, **self.api.environment, **self.environment}
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
        listed = json.loads(done.stdout)
        hosts: dict[str, dict[str, Any]] = listed["_meta"]["hostvars"]
        return {name: hosts.get(name, {}) for name in listed.get("builders", {}).get("hosts", [])}

    def written(self) -> dict[str, dict[str, Any]]:
        """The table of hosted Pis, by name."""
        return {row["name"]: row for (row,) in self.fleet.ask("SELECT row_to_json(hosted_pi) FROM hosted_pi ORDER BY name")}


def kill(running: "subprocess.Popen[str]") -> None:
    """End a playbook and all its forks, as a power cut does."""
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()


@contextmanager
def greeting(port: int) -> Iterator[None]:
    """One sshd in the place of all; nobody can log in."""
    with directory() as place, running([make_key(place, "key")], port, "127.0.0.1", "MaxStartups=200"):
        yield


def wait_until(come: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not come():
        assert time.monotonic() < until
        time.sleep(0.02)

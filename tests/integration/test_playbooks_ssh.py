"""The real playbooks over ssh: a fleet of one whose two halves are reached like two hosts, through an sshd on loopback."""

import contextlib
import getpass
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from piwheels_builder.db.connect import connected
from tests.support import ssh_server
from tests.support.trial import Played, Trial, trial_fleet

pytestmark = pytest.mark.skipif(
    not (ssh_server.SSHD and shutil.which("rsync") and shutil.which("rrsync")),
    reason="needs sshd and rsync: apt-get install openssh-server rsync",
)
#: As root, somebody is become on the index host: root again, since a fleet of one has no other users.
BECOME = {"fleet_become": True, "fleet_dispatcher_user": "root", "fleet_publisher_user": "root", "ansible_become_method": "su"}


@dataclass
class TwoHosts:
    """``hub`` is the index host and ``localhost`` the builder."""

    trial: Trial
    inventory: Path
    place: Path
    port: int

    def play(self, playbook: str, **variables: object) -> Played:
        return self.trial.play(playbook, "-i", str(self.inventory), **variables)

    def start(self, playbook: str, **variables: object) -> "subprocess.Popen[str]":
        return self.trial.start(playbook, "-i", str(self.inventory), **variables)


@pytest.fixture(scope="module")
def hosts() -> Iterator[TwoHosts]:
    with trial_fleet(fleet_projects=["docopt==0.6.2"]) as trial, ssh_server.directory() as place:
        played = trial.play("provision.yml")
        assert played.exit_code == 0, played.output
        with listening(trial, place) as port:
            yield TwoHosts(trial, write_inventory(trial, place, port), place, port)


def listening(trial: Trial, place: Path) -> AbstractContextManager[int]:
    """sshd with the operator's key, and the publisher's, which may read the outbox."""
    ssh_server.make_key(place, "host")
    for name in ("operator", "publisher"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / name], check=True)
    only_outbox = f'command="rrsync -ro -no-lock {trial.state_dir}/builder/outbox",restrict '
    lines = [(place / "operator.pub").read_text(), only_outbox + (place / "publisher.pub").read_text()]
    authorized = place / "authorized_keys"
    authorized.write_text("".join(lines))
    return ssh_server.serving_logins(place / "host", authorized)


def write_inventory(trial: Trial, place: Path, port: int) -> Path:
    owner = f"host={trial.state_dir}/database/run dbname=piwheels user=piwheels_owner"
    with connected(owner) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE builder SET address = '127.0.0.1', host_keys = ARRAY[%s]", [ssh_server.public(place / "host")])
    known_hosts = place / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {ssh_server.public(place / 'host')}\n")
    ours = yaml.safe_load((Path(__file__).parents[2] / "inventory/local.yml").read_text())
    variables = ours["all"]["children"]["builders"]["hosts"]["localhost"]
    variables |= {
        "ansible_connection": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_port": port,
        "ansible_user": getpass.getuser(),
        "ansible_ssh_private_key_file": str(place / "operator"),
        "ansible_ssh_common_args": f"-F /dev/null -o UserKnownHostsFile={known_hosts} -o IdentitiesOnly=yes",
        "fleet_state_dir": str(trial.state_dir),
        "fleet_incoming": {"localhost": f"{trial.state_dir}/incoming/localhost"},
        "fleet_collection": {
            "database": "{{ fleet_database.publisher }}",
            "incoming": "{{ fleet_incoming }}",
            "private_key": str(place / "publisher"),
            "user": getpass.getuser(),
        },
    }
    hub = {**variables, **(BECOME if os.geteuid() == 0 else {})}
    children = {
        "index": {"hosts": {"hub": hub}},
        "builders": {"hosts": {"localhost": variables}},
        "clients": {"hosts": {"users_pi": variables}},
    }
    path = place / "inventory.yml"
    path.write_text(json.dumps({"all": {"children": children}}))
    return path


def states(hosts: TwoHosts) -> list[str]:
    return [build["state"] for build in hosts.trial.report("docopt")]


def test_a_run_builds_collects_and_publishes_over_ssh(hosts: TwoHosts) -> None:
    played = hosts.play("build.yml")
    assert played.exit_code == 0, played.output
    assert "localhost: 1 of 1 done; 1 built, 0 failed" in played.output
    assert states(hosts) == ["published"]
    # Nothing else was brought, and what was published is swept by the next collection.
    assert hosts.play("build.yml").changed == 0


def test_lost_connections_are_survived(hosts: TwoHosts) -> None:
    hosts.trial.command("piwheels-builder", "requeue", "docopt")
    told, over, cuts = [], threading.Event(), 0

    def cut_often() -> None:
        nonlocal cuts
        for _ in range(10):
            cuts += cut_all(hosts.port)
            if over.wait(1):
                return

    cutting = threading.Thread(target=cut_often)
    with hosts.start("build.yml") as running:
        assert running.stdout is not None
        for line in running.stdout:
            told.append(line)
            if line.startswith("localhost: 0 of 1") and not cutting.ident:
                cutting.start()
            if "1 of 1 done" in line:
                # What follows is the end of the run, where nothing is waited for.
                over.set()
    cutting.join()
    assert running.returncode == 0, "".join(told)
    assert cuts > 1
    assert states(hosts) == ["published"]


def cut_all(port: int) -> int:
    """End every session that sshd serves here, and those that wait for the next. Returns how many."""
    cut = 0
    for connection in psutil.net_connections("tcp4"):
        ours = connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_ESTABLISHED
        if ours and connection.pid:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(connection.pid).kill()
                cut += 1
    return cut


def test_rounds_over_ssh(hosts: TwoHosts) -> None:
    hosts.trial.command("piwheels-builder", "requeue", "docopt")
    for _ in range(10):
        played = hosts.play("build.yml", fleet_converge="round")
        assert played.exit_code == 0, played.output
        if states(hosts) == ["published"]:
            return
    raise AssertionError(played.output)


def test_a_users_pi_is_set_up_over_ssh(hosts: TwoHosts) -> None:
    pip_conf, uv_toml = hosts.place / "pip.conf", hosts.place / "uv.toml"
    url = "http://shelf/bookworm/simple/"
    wishes = {"client_index_url": url, "client_pip_conf": str(pip_conf), "client_uv_toml": str(uv_toml)}
    played = hosts.play("client.yml", **wishes)
    assert played.exit_code == 0, played.output
    assert url in pip_conf.read_text()
    assert url in uv_toml.read_text()
    assert hosts.play("client.yml", **wishes).changed == 0
    hosts.play("client.yml", **wishes, client_state="absent")
    assert not pip_conf.exists()


def test_more_builders_than_a_run_until_drained_can_keep_are_refused(hosts: TwoHosts) -> None:
    played = hosts.play("build.yml", dispatch_most_drained=0)
    assert played.exit_code != 0
    assert "fleet_converge=round" in played.output

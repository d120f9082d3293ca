"""provision.yml on bare hosts: what it leaves behind, and that it leaves it alone when it comes again."""

from collections.abc import Mapping

import pytest

from tests.rack.hosts import Host
from tests.rack.playbooks import Run, play

BUILDERS = ("pi1", "pi2", "bookworm", "trixie")
#: Tries to connect as a user of builds; prints whether it could.
_CONNECT = """
import os, socket, sys
os.setgid(90001); os.setuid(90001)
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print("connected")
except OSError as error:
    print("refused", error)
"""


def test_a_second_run_changes_nothing(provisioned: Run) -> None:
    assert provisioned
    again = play("provision.yml").succeeded()
    print(f"provisioning converged hosts again took {again.seconds:.0f} s")
    assert set(again.changed.values()) == {0}, again.output


def test_a_dry_run_on_a_converged_fleet_shows_no_difference(provisioned: Run) -> None:
    assert provisioned
    dry = play("provision.yml", options=("--check", "--diff")).succeeded()
    assert set(dry.changed.values()) == {0}, dry.output
    assert "+++" not in dry.output, dry.output


def test_every_host_was_touched(provisioned: Run) -> None:
    assert {"index", *BUILDERS} <= set(provisioned.changed)


@pytest.mark.parametrize("name", ["index", *BUILDERS])
def test_nobody_logs_in_by_password(provisioned: Run, rack: Mapping[str, Host], name: str) -> None:
    assert provisioned
    told = rack[name].must("/usr/sbin/sshd", "-T")
    assert "passwordauthentication no" in told
    assert "kbdinteractiveauthentication no" in told


@pytest.mark.parametrize("name", BUILDERS)
def test_the_service_runs_and_is_heard_of(provisioned: Run, rack: Mapping[str, Host], name: str) -> None:
    assert provisioned
    assert rack[name].must("systemctl", "is-active", "piwheels-builder.service").strip() == "active"
    told = rack["index"].must("piwheels-builder", "status")
    assert name in told


def test_only_known_ports_are_open(provisioned: Run, rack: Mapping[str, Host]) -> None:
    assert provisioned
    listening = rack["index"].must("ss", "-Hltn").splitlines()
    ports = {line.split()[3].rsplit(":", 1)[1] for line in listening if not line.split()[3].startswith(("127.", "[::1]"))}
    assert ports <= {"22", "80", "443", "5432"}
    assert {"22", "443", "5432"} <= ports


def test_the_tree_belongs_to_the_publisher_alone(provisioned: Run, rack: Mapping[str, Host]) -> None:
    assert provisioned
    told = rack["index"].must(
        "find", "/var/lib/piwheels-builder/published", "(", "!", "-user", "piwheels-publisher", "-o", "-perm", "/022", ")"
    )
    assert told == ""


@pytest.mark.parametrize("name", BUILDERS)
def test_a_builder_keeps_its_key_to_itself(provisioned: Run, rack: Mapping[str, Host], name: str) -> None:
    assert provisioned
    assert rack[name].must("stat", "-c", "%U %a", "/etc/piwheels-builder/client.key").strip() == "root 600"
    assert rack["index"].run("find", "/etc", "/var/lib/piwheels-builder", "-name", "client.key").output == ""


@pytest.mark.parametrize("name", ["bookworm", "trixie"])
def test_builds_reach_neither_database_nor_ssh_nor_neighbours(provisioned: Run, rack: Mapping[str, Host], name: str) -> None:
    assert provisioned
    index = rack["index"].address
    assert index.ipv4
    for address, port in ((index.ipv4, 5432), (index.ipv4, 22), (index.ipv4, 443), (index.ipv6, 5432), ("127.0.0.1", 22)):
        told = rack[name].must("python3", "-c", _CONNECT, address, str(port))
        assert told.startswith("refused"), (address, port, told)
    # The very same as root, so that what is shown is the rule and not a missing network.
    assert rack[name].must("python3", "-c", _CONNECT.replace("90001", "0"), index.ipv4, "5432").startswith("connected")


def test_the_database_wants_a_certificate(provisioned: Run, rack: Mapping[str, Host]) -> None:
    assert provisioned
    address = rack["index"].address.ipv4
    for login, mode in (("builder_bookworm", "require"), ("builder_bookworm", "disable"), ("piwheels_owner", "require")):
        script = f"import psycopg2; psycopg2.connect('host={address} dbname=piwheels user={login} sslmode={mode}')"
        done = rack["bookworm"].run("/opt/piwheels-builder/venv/bin/python", "-c", script)
        assert done.status != 0
        refusals = ("connection requires a valid client certificate", "no pg_hba.conf entry", "pg_hba.conf rejects connection")
        assert any(told in done.errors for told in refusals), done.errors


def test_a_changed_host_key_is_refused(provisioned: Run, rack: Mapping[str, Host]) -> None:
    assert provisioned
    trixie = rack["trixie"]
    trixie.must(
        "sh", "-c", "mkdir -p /root/kept && cp -a /etc/ssh/ssh_host_* /root/kept/ && rm /etc/ssh/ssh_host_* && ssh-keygen -qA"
    )
    trixie.restart_service("ssh")
    try:
        refused = play("provision.yml")
        assert refused.code != 0
        assert "trixie" in refused.output
        assert "SHA256:" in refused.output
    finally:
        trixie.must("sh", "-c", "rm /etc/ssh/ssh_host_* && cp -a /root/kept/* /etc/ssh/ && rm -r /root/kept")
        trixie.restart_service("ssh")

"""A fleet at work moves its database to a host of its own, which another one follows; neither is ever handed anybody's key."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.rack import apart
from tests.rack import rack as racks
from tests.rack.hosts import Host
from tests.rack.playbooks import Run, play

#: What is left out of the rack: one builder shows it as well as four.
HOSTS = ("index", "bookworm", "database", "copy")
LIMIT = ("-i", apart.INVENTORY, "--limit", ",".join(HOSTS))
QUIET = {"fleet_controller_timer": False}
#: Built here even where upstream has a wheel.
OURS = {"fleet_build_policy": "all", "fleet_upstream_wins": False}
BEFORE, AFTER, LAST = "docopt==0.6.2", "markupsafe==3.0.3", "pyserial==3.5"
TOOL = "/opt/piwheels-builder/venv/bin/piwheels-builder"
KEYS = (
    "find",
    "/etc/piwheels-builder",
    "/root",
    "/var/lib/piwheels-builder",
    "-type",
    "f",
    "-name",
    "*.key",
    "-printf",
    "%p %u %m\n",
)
#: The inventory once the replica is the database.
_PROMOTED = "all: {{children: {{fleet: {{children: {{database: {{hosts: {{copy: {{ansible_host: {address}}}}}}}}}}}}}}}\n"
LOG_IN = "import sys, psycopg2; psycopg2.connect(sys.argv[1])"


@pytest.fixture(scope="module")
def hosts(provisioned: Run, rack: Mapping[str, Host]) -> Iterator[Mapping[str, Host]]:
    """Those that this is about, all on; the database is still where the index is."""
    assert provisioned
    number = rack["index"].address.number
    racks.up(number, [kind.name for kind in apart.KINDS])
    yield {name: rack[name] for name in HOSTS[:2]} | {host.name: host for host in apart.hosts(number)}


@pytest.fixture(scope="module")
def moved(hosts: Mapping[str, Host]) -> Run:
    """The last run of the move, as docs/operate.md tells it, of a fleet that has built something."""
    index = hosts["index"]
    play("build.yml", extra={"fleet_projects": [BEFORE], **OURS}, options=("--limit", "index,bookworm")).succeeded()
    index.must("systemctl", "disable", "--now", "piwheels-build.timer")
    index.must(TOOL, "copy-database", "/root/move")
    play("provision.yml", extra=QUIET, options=(*LIMIT[:3], "index,database")).succeeded()
    index.must(TOOL, "load-database", "/root/move")
    last = play("provision.yml", options=LIMIT).succeeded()
    # Nobody may need it any more.
    index.must("systemctl", "disable", "--now", "postgresql@15-main.service", "piwheels-database-firewall.service")
    return last


def run(*playbooks: str, **extra: object) -> Run:
    return play(*playbooks, extra=extra, options=LIMIT)


def test_what_was_built_before_is_known_and_more_is_built(moved: Run, hosts: Mapping[str, Host]) -> None:
    assert moved
    assert ".whl" in hosts["index"].must(TOOL, "report", BEFORE)
    run("build.yml", fleet_projects=[BEFORE, AFTER], **OURS).succeeded()
    assert ".whl" in hosts["index"].must(TOOL, "report", AFTER)
    asked = "SELECT count(*) FROM attempt JOIN builder USING (builder_id) WHERE builder.name = 'bookworm'"
    told = hosts["database"].must("psql", "-h", "/run/postgresql", "-U", "piwheels_reader", "-Atc", asked, "piwheels")
    assert int(told) >= 2


def test_the_rounds_of_the_index_host_find_it(moved: Run, hosts: Mapping[str, Host]) -> None:
    assert moved
    done = hosts["index"].run("systemctl", "start", "piwheels-build.service")
    assert done.status == 0, hosts["index"].run("journalctl", "-u", "piwheels-build", "-n", "60", "--no-pager").output


def test_a_second_run_and_a_dry_run_change_nothing(moved: Run) -> None:
    assert moved
    assert set(run("provision.yml").succeeded().changed.values()) == {0}
    dry = play("provision.yml", options=(*LIMIT, "--check", "--diff")).succeeded()
    assert set(dry.changed.values()) == {0}, dry.output


def test_every_key_is_where_it_was_made_and_nobody_elses_to_read(moved: Run, hosts: Mapping[str, Host]) -> None:
    assert moved
    found = {name: dict(_keys(host)) for name, host in hosts.items()}
    assert found["database"] == {"tls/server.key": "postgres 600"}
    assert found["copy"] == {"tls/server.key": "postgres 600", "database/replica.key": "postgres 600"}
    assert {name: mode for name, mode in found["index"].items() if name.startswith("database/")} == {
        "database/owner.key": "root 600",
        "database/dispatcher.key": "piwheels-dispatcher 600",
        "database/publisher.key": "piwheels-publisher 600",
        "database/reader.key": "piwheels-dispatcher 600",
    }
    sums = [
        host.must("sha256sum", f"/etc/piwheels-builder/{key}").split()[0] for name, host in hosts.items() for key in found[name]
    ]
    assert len(set(sums)) == len(sums)


def _keys(host: Host) -> list[tuple[str, str]]:
    lines = [line.split(" ", 1) for line in host.run(*KEYS).output.splitlines()]
    return [(path.removeprefix("/etc/piwheels-builder/"), mode) for path, mode in lines]


def test_the_index_hosts_roles_log_in_from_there_alone(moved: Run, hosts: Mapping[str, Host]) -> None:
    assert moved
    place = "host={} dbname=piwheels user={} sslmode=require sslcert={} sslkey={}"
    server = str(hosts["database"].address.ipv4)
    directory = "/etc/piwheels-builder"
    owner = place.format(server, "piwheels_owner", f"{directory}/database/owner.pem", f"{directory}/database/owner.key")
    assert _logs_in(hosts["index"], owner) == ""
    # Another role by it; and none.
    assert "certificate authentication failed" in _logs_in(
        hosts["index"], owner.replace("user=piwheels_owner", "user=piwheels_publisher")
    )
    builders = place.format(server, "piwheels_owner", f"{directory}/client.pem", f"{directory}/client.key")
    assert "rejects connection" in _logs_in(hosts["bookworm"], builders)
    dispatcher = builders.replace("piwheels_owner", "piwheels_dispatcher")
    assert "no pg_hba.conf entry" in _logs_in(hosts["bookworm"], dispatcher)
    assert "rejects connection" in _logs_in(hosts["index"], f"host={server} dbname=piwheels user=piwheels_owner sslmode=disable")


def _logs_in(host: Host, conninfo: str) -> str:
    return host.run("/opt/piwheels-builder/venv/bin/python", "-c", LOG_IN, conninfo).errors


def test_builds_do_not_reach_it(moved: Run, hosts: Mapping[str, Host]) -> None:
    assert moved
    script = "import os, socket; os.setuid(90001); socket.create_connection(('{}', 5432), 3)"
    for name in ("database", "copy"):
        address = hosts[name].address.ipv4
        assert hosts["bookworm"].run("python3", "-c", script.format(address)).status != 0
        assert hosts["bookworm"].run("python3", "-c", script.format(address).replace("90001", "0")).status == 0


def test_a_replica_that_is_cut_off_is_told_and_catches_up(moved: Run, hosts: Mapping[str, Host]) -> None:
    assert moved
    assert hosts["index"].must(TOOL, "replicas").startswith("copy: streaming")
    hosts["copy"].cut()
    try:
        # The database lets go of who says nothing for a minute.
        until = "for i in $(seq 150); do /opt/piwheels-builder/venv/bin/piwheels-builder replicas || exit $?; sleep 1; done"
        told = hosts["index"].run("sh", "-c", until)
        assert told.status == 75, told
        assert "copy is not connected" in told.errors
        judged = run("build.yml", fleet_converge="round")
        assert judged.code != 0
        assert "copy is not connected" in judged.output
    finally:
        hosts["copy"].mend()
    again = "for i in $(seq 90); do /opt/piwheels-builder/venv/bin/piwheels-builder replicas && exit 0; sleep 1; done; exit 1"
    assert hosts["index"].run("sh", "-c", again).status == 0


def test_who_reads_reads_there_and_goes_on_without_it(moved: Run, hosts: Mapping[str, Host]) -> None:
    assert moved
    run("provision.yml", fleet_reads_from_replicas=True).succeeded()
    asked = "SELECT pg_is_in_recovery()"
    script = (
        "from piwheels_builder.settings import load_fleet; import psycopg2;"
        f"c = psycopg2.connect(load_fleet().conninfo('reader')).cursor(); c.execute('{asked}'); print(c.fetchone()[0])"
    )
    python = "/opt/piwheels-builder/venv/bin/python"
    assert hosts["index"].must(python, "-c", script).strip() == "True"
    assert ".whl" in hosts["index"].must(TOOL, "report", BEFORE)
    hosts["copy"].must("systemctl", "stop", "postgresql@15-main.service")
    try:
        assert hosts["index"].must(python, "-c", script).strip() == "False"
        assert "bookworm" in hosts["index"].must(TOOL, "status")
    finally:
        hosts["copy"].must("systemctl", "start", "postgresql@15-main.service")


def test_an_upgraded_index_host_brings_the_schema_along(moved: Run, hosts: Mapping[str, Host]) -> None:
    assert moved
    forget = "DELETE FROM schema_step WHERE name = 'functions and grants'"
    hosts["database"].must("psql", "-h", "/run/postgresql", "-U", "piwheels_owner", "-c", forget, "piwheels")
    done = play("provision.yml", options=(*LIMIT[:3], "index"), extra={"fleet_reads_from_replicas": True}).succeeded()
    assert done.changed["index"] == 1, done.output


def test_a_replica_becomes_the_database(moved: Run, hosts: Mapping[str, Host], tmp_path: Path) -> None:
    """As docs/operate.md tells it, when the database's host is gone. The last test: that host is off afterwards."""
    assert moved
    (tmp_path / "hosts.yml").write_text(_PROMOTED.format(address=hosts["copy"].address.ipv4))
    options = ("-i", str(tmp_path / "hosts.yml"), "--limit", "index,copy,bookworm")
    hosts["database"].kill()
    refused = play("provision.yml", options=options)
    assert "copy follows another server, and the inventory has the database here" in refused.output
    promote = "/usr/lib/postgresql/15/bin/pg_ctl promote -D /var/lib/postgresql/15/main"
    hosts["copy"].must("su", "postgres", "-s", "/bin/sh", "-c", promote)
    play("provision.yml", options=options).succeeded()
    assert ".whl" in hosts["index"].must(TOOL, "report", AFTER)
    play("build.yml", extra={"fleet_projects": [LAST], **OURS}, options=options).succeeded()
    assert ".whl" in hosts["index"].must(TOOL, "report", LAST)

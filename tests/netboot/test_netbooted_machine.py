"""A whole emulated ARM machine without a disk becomes a builder: it boots from the server that role netboot_server made, by DHCP,
TFTP and NFS, is provisioned like any other, and what it builds is published.

For ``make acceptance-full``: half an hour, most of it an emulated processor's. Boot ROMs of Pis are test_boot_rom.py's.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.netboot.netbooted import Netbooted, netbooted
from tests.netboot.server import server
from tests.rack import rack as racks
from tests.rack.addresses import rack_number
from tests.rack.controller import Controller
from tests.rack.fleet import Fleet
from tests.rack.hosts import Host, host
from tests.rack.playbooks import Run, play
from tests.rack.upstream import Release, serving

WITH_NETBOOT = ("-i", "tests/netboot/inventory.yml")
SERVICE = "piwheels-builder.service"
STATE = "/var/lib/piwheels-builder"
#: From its switch to ssh.
SECONDS_TO_SSH = 90
#: When it is given up; for a machine that is busy with other tests.
SECONDS_TO_BOOT = 600
#: An emulated processor, of which other tests have their part: provision.yml, and a run of build.yml.
SECONDS_TO_PROVISION, SECONDS_TO_BUILD = 2400, 1200
_ATTEMPTS = """
    SELECT coalesce(json_agg(told), '[]') FROM (
        SELECT project.name AS project, builder.name AS builder, outcome, seconds, peak_memory
        FROM attempt JOIN builder USING (builder_id) JOIN project USING (project_id)
        WHERE project.name = ANY ('{%s}')) AS told
"""
_WHEELS = """
    SELECT coalesce(json_agg(wheel.filename), '[]')
    FROM wheel JOIN build USING (build_id) JOIN release USING (release_id) JOIN project USING (project_id)
    WHERE project.name = '%s' AND published_at IS NOT NULL
"""


@dataclass(frozen=True)
class Builder:
    """The machine as a builder, and its fleet."""

    machine: Netbooted
    fleet: Fleet

    def build(self, *projects: str, upstream: str = "") -> None:
        """Run build.yml until these are no longer wanted of this builder."""
        wishes = {"fleet_projects": projects, "fleet_build_policy": "all", "fleet_upstream_wins": False, "fleet_part": "diskless"}
        run = Controller({**wishes, **({"fleet_upstream": upstream} if upstream else {})}, WITH_NETBOOT)
        began = time.monotonic()
        run.start()
        assert run.finish(tries=1, seconds=SECONDS_TO_BUILD) is None, run.said
        print(f"build.yml for {', '.join(projects)} took {time.monotonic() - began:.0f} s")

    def attempts(self, *projects: str) -> list[dict[str, object]]:
        attempts: list[dict[str, object]] = self.fleet.ask(_ATTEMPTS % ",".join(projects))
        return attempts


@pytest.fixture(scope="module")
def index() -> Iterator[Host]:
    """The rack's index host: of the whole rack where that is up, else alone."""
    number = rack_number()
    found = host("index", number)
    alone = not found.is_running()
    racks.up(number, ["index"])
    yield found
    if alone and not os.environ.get("RACK_KEEP"):
        racks.down(number)


@pytest.fixture(scope="module")
def machine(index: Host) -> Iterator[Netbooted]:
    """The machine, off; its server runs, and serves nothing yet."""
    assert index
    number = rack_number()
    racks.up(number, ["netboot"])
    found = netbooted(number)
    yield found
    if not os.environ.get("RACK_KEEP"):
        found.remove()
        server(number).remove()


def serve(root: str) -> Run:
    """Have the server serve what the inventory says, with a root of this kind for the machine."""
    run = play("netboot.yml", extra={"netboot_root": root}, options=WITH_NETBOOT).succeeded()
    print(f"netboot.yml took {run.seconds:.0f} s ({root} root)")
    return run


def boot(machine: Netbooted) -> float:
    """Switch it on, off first if it is not; the seconds until ssh answers."""
    machine.kill()
    began = time.monotonic()
    machine.start()
    machine.wait(SECONDS_TO_BOOT)
    seconds = time.monotonic() - began
    print(f"from its switch to ssh: {seconds:.1f} s")
    return seconds


def test_a_shared_root_stays_as_it_is(machine: Netbooted) -> None:
    serve("shared")
    assert boot(machine) < SECONDS_TO_SSH
    try:
        assert json.loads(machine.must("findmnt", "--json", "--target", "/"))["filesystems"][0]["fstype"] == "overlay"
        assert machine.must("findmnt", "-n", "-o", "FSTYPE", "--target", STATE).strip().startswith("nfs")
        machine.must("sh", "-c", f"touch /usr/changed {STATE}/kept && sync -f {STATE}/kept")
        assert boot(machine) < SECONDS_TO_SSH
        machine.must("test", "-e", f"{STATE}/kept")
        assert machine.run("test", "-e", "/usr/changed").status == 1
    finally:
        machine.stop()


@pytest.fixture(scope="module")
def booted(machine: Netbooted) -> float:
    """The machine is up, from a root of its own. The seconds that took."""
    serve("own")
    return boot(machine)


@pytest.fixture(scope="module")
def builder(booted: float, machine: Netbooted, index: Host) -> Iterator[Builder]:
    """The machine as a provisioned builder. The fleet knows nothing of it afterwards."""
    assert booted
    # Rounds of the index host's own would want other releases.
    extra = {"fleet_controller_timer": False}
    options = (*WITH_NETBOOT, "--limit", f"index,{machine.name}")
    run = play("provision.yml", extra=extra, options=options, seconds=SECONDS_TO_PROVISION).succeeded()
    print(f"provision.yml took {run.seconds:.0f} s")
    fleet = Fleet(index)
    yield Builder(machine, fleet)
    if not os.environ.get("RACK_KEEP"):
        machine.kill()
        fleet.ask(f"SELECT to_json(retire_builder('{machine.name}', 'the test is over'))")
        play("provision.yml", options=("--limit", "index")).succeeded()


def test_it_answers_in_time(booted: float, machine: Netbooted) -> None:
    assert booted < SECONDS_TO_SSH
    assert machine.must("uname", "-m").strip() == "armv7l"
    assert machine.must("findmnt", "-n", "-o", "FSTYPE", "--target", "/").strip() == "nfs4"


def test_serving_again_changes_nothing(booted: float) -> None:
    assert booted
    assert set(serve("own").changed.values()) == {0}


def test_builds_are_spared_the_network(builder: Builder) -> None:
    assert builder.machine.must("findmnt", "-n", "-o", "FSTYPE", "--target", "/run/piwheels").strip() == "tmpfs"
    settings = builder.machine.must("cat", "/etc/piwheels-builder/builder.yml")
    assert 'caches_dir: "/run/piwheels"' in settings
    assert "sandbox:" not in settings


def test_a_release_that_wants_too_much_memory_ends_alone(builder: Builder) -> None:
    greedy, modest = Release("greedy", megabytes=700), Release("modest", megabytes=100)
    machine = builder.machine
    service = ("systemctl", "show", "--property=MainPID,NRestarts", SERVICE)
    before = machine.must(*service)
    assert "builds are bounded by control groups in /sys/fs/cgroup/" in machine.must("journalctl", "-b", "-o", "cat", "-u", SERVICE)
    gateway = builder.fleet.index.address.gateway_ipv4
    assert gateway
    with serving(gateway) as upstream:
        upstream.offer(greedy, modest)
        builder.build(greedy.project, modest.project, upstream=upstream.url)
    ended = {(attempt["project"], attempt["outcome"]) for attempt in builder.attempts(greedy.project, modest.project)}
    assert ended == {("greedy", "out_of_memory"), ("modest", "built")}
    assert "Memory cgroup out of memory" in machine.must("journalctl", "-b", "-k", "-o", "cat")
    assert machine.must(*service) == before


def test_a_real_release_is_built_and_published(builder: Builder) -> None:
    builder.build("spidev==3.8")
    (attempt,) = builder.attempts("spidev")
    print(f"spidev: {attempt}")
    assert (attempt["builder"], attempt["outcome"]) == (builder.machine.name, "built")
    (wheel,) = builder.fleet.ask(_WHEELS % "spidev")
    assert wheel.endswith("-cp311-cp311-linux_armv7l.whl")
    assert wheel in builder.fleet.get("spidev/").decode()


def test_a_power_cut_leaves_a_builder(builder: Builder) -> None:
    boot(builder.machine)
    gateway = builder.fleet.index.address.gateway_ipv4
    assert gateway
    with serving(gateway) as upstream:
        upstream.offer(Release("after-the-cut", platform=True))
        builder.build("after-the-cut", upstream=upstream.url)
    # Its twin for armv6l is there, too.
    assert "after_the_cut-1.0-cp311-cp311-linux_armv7l.whl" in builder.fleet.ask(_WHEELS % "after-the-cut")

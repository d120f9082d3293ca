"""The power is cut, again and again, while a whole machine builds: what its journal leaves must be enough to go on.

What such a cut loses is lost here too: the disk (volatile.py) holds writes back until the guest flushes, lets some of them through
in any order, and ends together with the emulator. What is not shown: disks that lie about flushes, or tear a block of 4 KiB.

For ``make acceptance-full``: a quarter of an hour.
"""

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.rack import rack as racks
from tests.rack.addresses import rack_number
from tests.rack.controller import Controller
from tests.rack.fleet import Fleet
from tests.rack.hosts import Host, host
from tests.rack.playbooks import play
from tests.rack.power import KIND, Machine, machine
from tests.rack.upstream import Release, Upstream, serving
from tests.rack.violations import violations

pytestmark = pytest.mark.skipif(os.environ.get("ACCEPTANCE") != "full", reason="takes a quarter of an hour: make acceptance-full")

CUTS = 20
BUILDS = 60
SERVICE = "piwheels-builder.service"
WITH_MACHINE = ("-i", "tests/rack/with_machine.yml")
#: From its switch to ssh. It takes ten where nothing else goes on, and some minutes on a machine that is busy with other tests.
SECONDS_TO_BOOT = 300
_OUTCOMES = """
    SELECT coalesce(json_object_agg(outcome, times), '{}') FROM (
        SELECT outcome, count(*) AS times FROM attempt JOIN project USING (project_id)
        WHERE project.name = ANY ('{%s}') GROUP BY outcome) AS told
"""


@dataclass(frozen=True)
class Scene:
    """The machine, the fleet it is a builder of, and the upstream that both are told of."""

    machine: Machine
    fleet: Fleet
    upstream: Upstream

    def run_of(self, releases: list[Release]) -> Controller:
        """A run of build.yml for these releases and this one builder, not begun yet."""
        self.upstream.offer(*releases)
        names = [release.project for release in releases]
        wishes = {"fleet_projects": names, "fleet_upstream": self.upstream.url, "fleet_build_policy": "all", "fleet_part": "whole"}
        return Controller(wishes, WITH_MACHINE)

    def outcomes(self, releases: list[Release]) -> dict[str, int]:
        """How many attempts of these releases ended how."""
        told: dict[str, int] = self.fleet.ask(_OUTCOMES % ",".join(release.project for release in releases))
        return told


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
def scene(index: Host) -> Iterator[Scene]:
    """The machine as a provisioned builder. The fleet knows nothing of it afterwards."""
    racks.up(rack_number(), [KIND.name])
    found, fleet = machine(rack_number()), Fleet(index)
    gateway = index.address.gateway_ipv4
    assert gateway
    with serving(gateway) as upstream:
        # Rounds of the index host's own would want other releases. And asking pip for its index takes emulated builds a minute.
        wishes = {"fleet_controller_timer": False, "builder_upstream": upstream.url}
        play("provision.yml", extra=wishes, options=(*WITH_MACHINE, "--limit", f"index,{KIND.name}")).succeeded()
        # So that no cut takes what its provisioning has not flushed, which is not the question here.
        found.restart()
        found.must("systemctl", "start", SERVICE, seconds=SECONDS_TO_BOOT)
        fleet.forget()
        yield Scene(found, fleet, upstream)
    if not os.environ.get("RACK_KEEP"):
        found.remove()
        fleet.ask(f"SELECT to_json(retire_builder('{KIND.name}', 'the test is over'))")
        play("provision.yml", options=("--limit", "index")).succeeded()


def test_a_release_that_wants_too_much_memory_ends_alone(scene: Scene) -> None:
    greedy, modest = Release(f"greedy-{os.getpid()}", megabytes=700), Release(f"modest-{os.getpid()}", megabytes=300)
    service = ("systemctl", "show", "--property=MainPID,NRestarts", SERVICE)
    before = scene.machine.must(*service)
    assert "builds are bounded by control groups in /sys/fs/cgroup/" in scene.machine.must(
        "journalctl", "-b", "-o", "cat", "-u", SERVICE
    )
    run = scene.run_of([greedy, modest])
    run.start()
    assert run.finish() is None, run.said
    assert scene.outcomes([greedy]) == {"out_of_memory": 1}
    assert scene.outcomes([modest]) == {"built": 1}
    assert "Memory cgroup out of memory" in scene.machine.must("journalctl", "-b", "-k", "-o", "cat")
    assert scene.machine.must(*service) == before


def test_nothing_is_lost_doubled_or_booked_by_power_cuts(scene: Scene) -> None:
    releases = [Release(f"cut-{os.getpid()}-{number}", seconds=1, platform=number % 2 == 0) for number in range(BUILDS)]
    run = scene.run_of(releases)
    run.start()
    boots = _cut_again_and_again(scene, run, releases)
    scene.fleet.index.run("piwheels-builder", "resume", KIND.name)
    failed = run.finish(tries=6, seconds=300)
    found = [f"no run succeeds: {failed}"] if failed else violations(scene.fleet, releases)
    outcomes = scene.outcomes(releases)
    print(f"\n{'power cuts':>10} {'builds':>7} {'killed attempts':>16} {'longest boot':>13} {'violations':>11}")
    print(f"{len(boots):10} {len(releases):7} {outcomes.get('killed', 0):16} {max(boots):11.0f} s {len(found):11}")
    assert found == []
    assert set(outcomes) == {"built", "killed"}
    scene.machine.stop()
    scene.machine.check_disk()
    scene.machine.start()
    scene.machine.wait()


def _cut_again_and_again(scene: Scene, run: Controller, releases: list[Release]) -> list[float]:
    """Returns how many seconds each boot took until ssh answered."""
    seed = time.time_ns() % 2**32
    print(f"\ncut at moments drawn by seed {seed}")
    chance = random.Random(seed)
    boots = []
    for _ in range(CUTS):
        _wait_for_a_build(scene, run, releases)
        time.sleep(chance.uniform(0, 4))
        scene.machine.kill()
        began = time.monotonic()
        scene.machine.start()
        scene.machine.wait(SECONDS_TO_BOOT)
        boots.append(time.monotonic() - began)
    return boots


def _wait_for_a_build(scene: Scene, run: Controller, releases: list[Release], seconds: float = 180) -> None:
    """Until the machine has built one more release, and goes on with the next."""
    before = scene.outcomes(releases).get("built", 0)
    until = time.monotonic() + seconds
    while scene.outcomes(releases).get("built", 0) == before:
        assert time.monotonic() < until, f"nothing is built: {run.said}"
        if not run.runs():
            # It gave the machine up, of whose builds every other one ends like that; its operator begins again.
            scene.fleet.index.run("piwheels-builder", "resume", KIND.name)
            run.start()
        time.sleep(0.5)

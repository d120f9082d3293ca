"""The fault matrix: what is broken, how, and how it is made good again. One cell is one fault in the middle of one run.

              kill  stop  network  disk  restart
builder        x     x       x      -      x      its disk is its host's
controller     x     x       x      x      x
postgresql     x     x       x      x      x
nginx          x     x       x      -      x      serves files, writes logs alone; the tree on a full disk is the index host's
publish        x     x       x      -      x      writes to the index host's disk; started again: two at once
builder-host   x     x       x      x      x
index-host     x     x       x      x      x

And what is no blow: clocks that jump, a builder from an old image, two hosts of one name, an index host away for longer than a
lease.
"""

import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.rack import blows, oddities, publishing
from tests.rack.commands import RackError
from tests.rack.controller import Controller
from tests.rack.hosts import Host
from tests.rack.scene import Act, Scene, Which, builder, index, nothing
from tests.rack.upstream import Release, Upstream
from tests.rack.violations import violations

#: Seconds that a thing stays broken.
HOLD = 4.0
SERVICE = "piwheels-builder.service"
NGINX = "piwheels-index.service"
POSTGRESQL = "postgresql@15-main.service"


@dataclass(frozen=True)
class Fault:
    """``strike`` breaks, ``mend`` makes good after ``hold`` seconds. ``prepare`` comes before the run, ``restore`` after all."""

    who: str
    what: str
    strike: Act
    mend: Act = nothing
    hold: float = HOLD
    prepare: Act = nothing
    restore: Act = nothing
    #: Besides the wishes of every run.
    wishes: Mapping[str, object] = field(default_factory=dict)
    #: Whether each build may be leased once only: nothing of what was done is thrown away.
    once: bool = False

    @property
    def name(self) -> str:
        return f"{self.who}-{self.what}"


@dataclass
class Cell:
    """A fault and what came of it."""

    fault: Fault
    builds: int = 0
    attempts: int = 0
    seconds: float = 0
    violations: list[str] = field(default_factory=list)


def run_cell(hosts: Mapping[str, Host], upstream: Upstream, fault: Fault, label: str) -> Cell:
    """Want some releases, break something while they are built, mend it, let the run end, and look what came of them."""
    began, releases = time.monotonic(), _releases(label)
    upstream.offer(*releases)
    projects = [release.project for release in releases]
    wishes = {"fleet_projects": projects, "fleet_upstream": upstream.url, "fleet_build_policy": "all", "fleet_part": "native"}
    scene = Scene(hosts, Controller({**wishes, **fault.wishes}), releases)
    try:
        scene.fleet.forget()
        fault.prepare(scene)
        found = _break(scene, fault)
    finally:
        scene.controller.signal(signal.SIGKILL)
        scene.controller.forget()
        fault.restore(scene)
    builds = scene.fleet.builds(projects)
    cell = Cell(fault, len(builds), sum(build["attempts"] for build in builds), time.monotonic() - began, found)
    if fault.once:
        cell.violations += [f"thrown away and done again: {build['project']}" for build in builds if build["leases"] > 1]
    return cell


def table(cells: Sequence[Cell]) -> list[str]:
    """A line for each fault: how often it struck, over how many builds, and what was violated."""
    lines = [f"{'cell':24} {'times':>5} {'builds':>6} {'attempts':>8} {'seconds':>7} {'violations':>10}"]
    for name in dict.fromkeys(cell.fault.name for cell in cells):
        mine = [cell for cell in cells if cell.fault.name == name]
        builds, attempts = sum(cell.builds for cell in mine), sum(cell.attempts for cell in mine)
        seconds, wrong = sum(cell.seconds for cell in mine), sum(len(cell.violations) for cell in mine)
        lines.append(f"{name:24} {len(mine):5} {builds:6} {attempts:8} {seconds:7.0f} {wrong:10}")
    return lines


def _break(scene: Scene, fault: Fault) -> list[str]:
    scene.controller.start()
    _wait_for_builds(scene)
    fault.strike(scene)
    time.sleep(fault.hold)
    fault.mend(scene)
    failed = scene.controller.finish(meanwhile=lambda: _hurry(scene))
    return [f"no run succeeds: {failed}"] if failed else violations(scene.fleet, scene.releases, scene.builders)


def _releases(label: str) -> list[Release]:
    """Wheels for all, for each, for the newer Python only, and a failure."""
    pure = [Release(f"{label}-pure-{number}", seconds=1) for number in range(4)]
    each = [Release(f"{label}-each-{number}", seconds=1, platform=True) for number in range(3)]
    newer = [Release(f"{label}-newer-{number}", seconds=1, requires_python=">=3.12") for number in range(4)]
    return [*pure, *each, *newer, Release(f"{label}-fails", fails=True)]


def _wait_for_builds(scene: Scene, seconds: float = 120) -> None:
    """Until the run is in full swing."""
    until = time.monotonic() + seconds
    while scene.fleet.attempts(scene.projects) < 2:
        assert scene.controller.runs(), scene.controller.said
        assert time.monotonic() < until, f"nothing is built: {scene.controller.said}"
        time.sleep(0.5)


def _hurry(scene: Scene) -> None:
    with suppress(RackError):  # The database may still be starting.
        scene.fleet.hurry(scene.projects)


def _of_service(who: str, which: Which, unit: str) -> list[Fault]:
    return [
        Fault(who, "kill", blows.kill(which, unit), blows.start(which, unit)),
        Fault(who, "stop", blows.stop(which, unit), blows.start(which, unit)),
        Fault(who, "restart", blows.restart(which, unit), hold=0),
    ]


def _of_host(who: str, which: Which) -> list[Fault]:
    return [
        Fault(who, "kill", blows.plug_out(which), blows.switch_on(which), hold=1),
        Fault(who, "stop", blows.shut_down(which), blows.switch_on(which), hold=1),
        Fault(who, "network", blows.cut(which), blows.mend(which)),
        Fault(who, "disk", blows.fill(which), blows.free(which)),
        Fault(who, "restart", blows.reboot(which), hold=0),
    ]


FAULTS = [
    *_of_service("builder", builder, SERVICE),
    Fault("builder", "network", blows.shut_out(builder, 5432, "index"), blows.let_through(builder)),
    Fault("controller", "kill", blows.signal_controller(signal.SIGKILL), hold=0),
    Fault("controller", "stop", blows.signal_controller(signal.SIGTERM), hold=0),
    Fault("controller", "network", blows.cut_all, blows.mend_all),
    Fault("controller", "disk", oddities.fill_controller, oddities.free_controller, hold=0),
    Fault("controller", "restart", blows.signal_controller(signal.SIGINT), hold=0),
    *_of_service("postgresql", index, POSTGRESQL),
    Fault("postgresql", "network", blows.close_port(index, 5432), blows.let_through(index)),
    Fault(
        "postgresql",
        "disk",
        oddities.fill_database,
        oddities.free_database,
        prepare=oddities.move_database_to_a_small_disk,
        restore=oddities.move_database_back,
    ),
    *_of_service("nginx", index, NGINX),
    Fault("nginx", "network", blows.close_port(index, 443), blows.let_through(index)),
    Fault("publish", "kill", publishing.strike("KILL"), hold=0),
    Fault("publish", "stop", publishing.strike("TERM"), hold=0),
    Fault("publish", "network", blows.shut_out(index, 22, "bookworm"), blows.let_through(index)),
    Fault("publish", "restart", publishing.twice_at_once, hold=0),
    *_of_host("builder-host", builder),
    *_of_host("index-host", index),
    Fault("clock", "forward", oddities.set_clock(2), oddities.set_clock(0), 1, oddities.own_clock, oddities.real_clock),
    Fault("clock", "back", oddities.set_clock(-2), oddities.set_clock(0), 1, oddities.own_clock, oddities.real_clock),
    Fault("builder-host", "old-image", oddities.restore_image, hold=0, prepare=oddities.keep_image),
    Fault("builder", "twice-resume", oddities.clone, oddities.resume, 0, restore=oddities.remove_clone),
    Fault("builder", "twice-distrust", oddities.clone, oddities.distrust, 0, restore=oddities.remove_clone),
    Fault(
        "index-host",
        "long-off",
        blows.plug_out(index),
        oddities.after_the_lease(blows.switch_on(index)),
        oddities.LEASE + 5,
        oddities.short_leases,
        oddities.usual_leases,
        {"fleet_lease_seconds": oddities.LEASE},
        once=True,
    ),
    Fault("index-host", "long-cut", blows.cut(index), oddities.hours_later(blows.mend(index)), once=True),
]

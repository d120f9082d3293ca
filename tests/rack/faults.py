"""The fault matrix: what is broken, how, and how it is made good again. One cell is one fault in the middle of one run."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.rack.controller import Controller
from tests.rack.fleet import Fleet, violations
from tests.rack.hosts import Host
from tests.rack.upstream import Release, Upstream

#: Seconds that a thing stays broken.
HOLD = 8.0
SERVICE = "piwheels-builder.service"
NGINX = "piwheels-index.service"
POSTGRESQL = "postgresql@15-main.service"


@dataclass(frozen=True)
class Scene:
    """What a fault may reach."""

    hosts: Mapping[str, Host]
    controller: Controller

    @property
    def index(self) -> Host:
        return self.hosts["index"]

    @property
    def builder(self) -> Host:
        return self.hosts["bookworm"]


Act = Callable[[Scene], None]


def _nothing(_: Scene) -> None:
    pass


@dataclass(frozen=True)
class Fault:
    """``strike`` breaks, ``mend`` makes good after ``hold`` seconds."""

    who: str
    what: str
    strike: Act
    mend: Act = _nothing
    hold: float = HOLD

    @property
    def name(self) -> str:
        return f"{self.who}-{self.what}"


@dataclass
class Cell:
    """A fault and what came of it."""

    fault: Fault
    builds: int = 0
    violations: list[str] = field(default_factory=list)


def run_cell(hosts: Mapping[str, Host], upstream: Upstream, fault: Fault, label: str) -> Cell:
    """Want some releases, break something while they are built, mend it, let the run end, and look what came of them."""
    fleet = Fleet(hosts["index"])
    releases = _releases(label)
    projects = [release.project for release in releases]
    upstream.offer(*releases)
    wishes = {"fleet_projects": projects, "fleet_upstream": upstream.url, "fleet_build_policy": "all"}
    scene = Scene(hosts, Controller(wishes))
    try:
        scene.controller.start()
        _wait_for_builds(fleet, scene.controller, projects)
        fault.strike(scene)
        time.sleep(fault.hold)
        fault.mend(scene)
        failed = scene.controller.finish()
        found = [f"no run succeeds: {failed}"] if failed else violations(fleet, releases)
    finally:
        scene.controller.signal(signal.SIGKILL)
        scene.controller.forget()
    return Cell(fault, len(fleet.builds(projects)), found)


def _releases(label: str) -> list[Release]:
    """Wheels for all, for each, for the newer Python only, and a failure."""
    pure = [Release(f"{label}-pure-{number}", seconds=1) for number in range(6)]
    each = [Release(f"{label}-each-{number}", seconds=1, platform=True) for number in range(4)]
    newer = [Release(f"{label}-newer-{number}", seconds=1, requires_python=">=3.12") for number in range(5)]
    return [*pure, *each, *newer, Release(f"{label}-fails", fails=True)]


def _wait_for_builds(fleet: Fleet, controller: Controller, projects: list[str], seconds: float = 120) -> None:
    """Until the run is in full swing."""
    until = time.monotonic() + seconds
    while fleet.attempts(projects) < 2:
        assert controller.runs(), controller.said
        assert time.monotonic() < until, f"nothing is built: {controller.said}"
        time.sleep(0.5)


def _kill(who: Callable[[Scene], Host], unit: str) -> Act:
    return lambda scene: who(scene).kill_service(unit)


def _systemctl(who: Callable[[Scene], Host], verb: str, unit: str) -> Act:
    def act(scene: Scene) -> None:
        who(scene).must("systemctl", verb, unit)

    return act


def _index(scene: Scene) -> Host:
    return scene.index


def _builder(scene: Scene) -> Host:
    return scene.builder


def _close_port(who: Callable[[Scene], Host], port: int) -> Act:
    rules = f"table inet fault {{ chain input {{ type filter hook input priority -50; tcp dport {port} drop; }} }}"

    def act(scene: Scene) -> None:
        who(scene).must("nft", "-f", "-", stdin=rules)

    return act


def _open_port(who: Callable[[Scene], Host]) -> Act:
    def act(scene: Scene) -> None:
        who(scene).must("nft", "delete", "table", "inet", "fault")

    return act


def _signal_publisher(name: str) -> Act:
    def act(scene: Scene) -> None:
        # Whoever publishes at this moment; several times, since it is over in a second.
        for _ in range(20):
            scene.index.run("pkill", f"-{name}", "-u", "piwheels-publisher")
            time.sleep(0.2)

    return act


def _on(who: Callable[[Scene], Host], act: Callable[[Host], None]) -> Act:
    return lambda scene: act(who(scene))


def _back(who: Callable[[Scene], Host]) -> Act:
    def act(scene: Scene) -> None:
        who(scene).start()
        who(scene).wait()

    return act


def _cut_controller(scene: Scene) -> None:
    for host in scene.hosts.values():
        host.cut()


def _mend_controller(scene: Scene) -> None:
    for host in scene.hosts.values():
        host.mend()


def _signal_controller(number: signal.Signals) -> Act:
    return lambda scene: scene.controller.signal(number)


def _fill_controller(scene: Scene) -> None:
    """Its temporary files and sockets lie on a file system without a free byte, from the next run on."""
    place = Path(tempfile.mkdtemp(prefix="rack-full-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
    (place / "ballast").write_bytes(b"0" * 60_000)
    scene.controller.environment = {"ANSIBLE_HOME": str(place), "TMPDIR": str(place)}
    scene.controller.signal(signal.SIGKILL)
    scene.controller.wait(10)
    scene.controller.start()


def _free_controller(scene: Scene) -> None:
    place = scene.controller.environment.pop("TMPDIR")
    scene.controller.environment.clear()
    scene.controller.signal(signal.SIGKILL)
    scene.controller.wait(10)
    subprocess.run(["umount", place], check=True)
    Path(place).rmdir()


def _of_service(who: str, host: Callable[[Scene], Host], unit: str, port: int | None) -> list[Fault]:
    faults = [
        Fault(who, "kill", _kill(host, unit), _systemctl(host, "start", unit)),
        Fault(who, "stop", _systemctl(host, "stop", unit), _systemctl(host, "start", unit)),
        Fault(who, "restart", _systemctl(host, "restart", unit), hold=0),
    ]
    if port is not None:
        faults.append(Fault(who, "network", _close_port(host, port), _open_port(host)))
    return faults


def _of_host(who: str, host: Callable[[Scene], Host]) -> list[Fault]:
    return [
        Fault(who, "kill", _on(host, Host.kill), _back(host), hold=2),
        Fault(who, "stop", _on(host, Host.stop), _back(host), hold=2),
        Fault(who, "restart", _on(host, Host.restart), hold=0),
        Fault(who, "network", _on(host, Host.cut), _on(host, Host.mend)),
        Fault(who, "disk", _on(host, Host.fill_disk), _on(host, Host.free_disk)),
    ]


FAULTS = [
    *_of_service("builder", _builder, SERVICE, None),
    Fault("controller", "kill", _signal_controller(signal.SIGKILL), hold=1),
    Fault("controller", "stop", _signal_controller(signal.SIGTERM), hold=1),
    Fault("controller", "restart", _signal_controller(signal.SIGINT), hold=1),
    Fault("controller", "network", _cut_controller, _mend_controller),
    Fault("controller", "disk", _fill_controller, _free_controller),
    *_of_service("postgresql", _index, POSTGRESQL, 5432),
    *_of_service("nginx", _index, NGINX, 443),
    Fault("publish", "kill", _signal_publisher("KILL"), hold=0),
    Fault("publish", "stop", _signal_publisher("TERM"), hold=0),
    *_of_host("builder-host", _builder),
    *_of_host("index-host", _index),
]

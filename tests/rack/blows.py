"""Blows at services, hosts, their network and their disks. Each is proved: what was struck no longer answers, runs or writes."""

import signal
from collections.abc import Callable

from tests.rack.commands import run
from tests.rack.hosts import Host
from tests.rack.scene import Act, Scene, Which, soon

STATE = "/var/lib/piwheels-builder"
#: Prints what a script in a host needs to know: whether anybody answers at a port.
_CONNECT = "timeout 3 bash -c '</dev/tcp/{to}/{port}' 2>/dev/null"
_RULES = "table inet fault {{\n chain {chain}\n}}\n"
_WRITE = "head -c 65536 /dev/zero > {place}/.probe; wrote=$?; rm -f {place}/.probe; exit $wrote"


def kill(which: Which, unit: str) -> Act:
    """kill -9 all processes of a service."""

    def act(scene: Scene) -> None:
        before = told(which(scene), unit, "MainPID")
        assert before != "0", f"{unit} does not run"
        which(scene).kill_service(unit)
        soon(lambda: told(which(scene), unit, "MainPID") != before, f"{unit} survived")

    return act


def stop(which: Which, unit: str) -> Act:
    """Stop a service in order."""

    def act(scene: Scene) -> None:
        which(scene).must("systemctl", "stop", unit)
        assert told(which(scene), unit, "ActiveState") != "active", f"{unit} still runs"

    return act


def start(which: Which, unit: str) -> Act:
    """Start a service that may have come back by itself."""

    def act(scene: Scene) -> None:
        which(scene).must("systemctl", "start", unit)

    return act


def restart(which: Which, unit: str) -> Act:
    """Restart a service in order."""

    def act(scene: Scene) -> None:
        before = told(which(scene), unit, "InvocationID")
        which(scene).restart_service(unit)
        assert told(which(scene), unit, "InvocationID") != before, f"{unit} was not restarted"

    return act


def told(host: Host, unit: str, what: str) -> str:
    """A property of a unit."""
    return host.must("systemctl", "show", f"--property={what}", "--value", unit).strip()


def close_port(which: Which, port: int) -> Act:
    """Drop what comes to a port, without a word, of connections that exist as well."""
    rules = _RULES.format(chain=f"input {{ type filter hook input priority -50; tcp dport {port} drop; }}")

    def act(scene: Scene) -> None:
        assert connects(scene.builder, which(scene).name, port), f"nobody answers at port {port}"
        _nft(which(scene), "-f", "-", stdin=rules)
        assert not connects(scene.builder, which(scene).name, port), f"port {port} still answers"

    return act


def shut_out(which: Which, port: int, to: str) -> Act:
    """End whatever a host says to a port of others, and refuse it from now on."""
    chain = f"type filter hook output priority -50; tcp dport {port} reject with tcp reset;"
    rules = _RULES.format(chain=f"output {{ {chain} }}")

    def act(scene: Scene) -> None:
        assert connects(which(scene), to, port), f"nobody answers at port {port} of {to}"
        _nft(which(scene), "-f", "-", stdin=rules)
        assert not connects(which(scene), to, port), f"port {port} of {to} can still be reached"

    return act


def let_through(which: Which) -> Act:
    """Undo either of them."""

    def act(scene: Scene) -> None:
        _nft(which(scene), "delete", "table", "inet", "fault")

    return act


def _nft(host: Host, *words: str, stdin: str = "") -> None:
    """By this machine's nft: an index host has none."""
    run("ip", "netns", "exec", host.address.name, "nft", *words, stdin=stdin)


def connects(host: Host, to: str, port: int) -> bool:
    """Whether a connection from a host is answered."""
    return host.run("sh", "-c", _CONNECT.format(to=to, port=port)).status == 0


def plug_out(which: Which) -> Act:
    """Pull a host's plug."""
    return _power(which, Host.kill)


def shut_down(which: Which) -> Act:
    """Shut a host down in order."""
    return _power(which, Host.stop)


def _power(which: Which, how: Callable[[Host], None]) -> Act:
    def act(scene: Scene) -> None:
        assert which(scene).is_running(), "it is off"
        how(which(scene))
        assert not which(scene).is_running(), "it is still on"

    return act


def switch_on(which: Which) -> Act:
    """Start a host and wait until it answers."""

    def act(scene: Scene) -> None:
        which(scene).start()
        which(scene).wait()

    return act


def reboot(which: Which) -> Act:
    """Shut a host down and start it."""

    def act(scene: Scene) -> None:
        before = which(scene).leader()
        which(scene).restart()
        assert which(scene).leader() != before, "it was not restarted"

    return act


def cut(which: Which) -> Act:
    """Pull a host's network cable."""

    def act(scene: Scene) -> None:
        which(scene).cut()
        assert not which(scene).answers(), "it still answers"

    return act


def mend(which: Which) -> Act:
    """Plug it in again."""

    def act(scene: Scene) -> None:
        which(scene).mend()
        soon(which(scene).answers, "it does not answer again", 30)

    return act


def cut_all(scene: Scene) -> None:
    """Pull the cable of whoever runs the playbook, which is on the other end of everybody's."""
    for host in scene.hosts.values():
        host.cut()
    assert not any(host.answers() for host in scene.builders), "a builder still answers"


def mend_all(scene: Scene) -> None:
    """Plug it in again."""
    for host in scene.hosts.values():
        host.mend()


def fill(which: Which) -> Act:
    """Leave no free byte where a host keeps its state."""

    def act(scene: Scene) -> None:
        assert writes(which(scene), STATE), "its disk takes nothing to begin with"
        which(scene).fill_disk()
        assert not writes(which(scene), STATE), "its disk still takes something"

    return act


def free(which: Which) -> Act:
    """Give the bytes back."""

    def act(scene: Scene) -> None:
        which(scene).free_disk()
        assert writes(which(scene), STATE), "its disk still takes nothing"

    return act


def writes(host: Host, place: str) -> bool:
    """Whether 64 KiB can be written there."""
    return host.run("sh", "-c", _WRITE.format(place=place)).status == 0


def signal_controller(number: signal.Signals) -> Act:
    """End ansible-playbook."""

    def act(scene: Scene) -> None:
        assert scene.controller.runs(), f"it has ended: {scene.controller.said}"
        scene.controller.signal(number)
        soon(lambda: not scene.controller.runs(), f"it goes on: {scene.controller.said}", 30)

    return act

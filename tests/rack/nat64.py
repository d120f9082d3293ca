"""IPv4 for hosts that have none: tayga translates packets, unbound invents addresses for names, as hosted Pis have it."""

import shutil
from pathlib import Path

from tests.rack import network, places, processes
from tests.rack.addresses import NAT64_PLACE, Address, ipv6_network
from tests.rack.commands import run

PROGRAMS = ("tayga", "unbound")


def device(number: int) -> str:
    """The link that packets are translated behind."""
    return f"nat64-r{number}"


def pool(number: int) -> str:
    """The IPv4 network, without a length, that translated hosts appear in."""
    return f"10.{90 + number}.{NAT64_PLACE}.0"


def start(number: int, clients: list[Address]) -> None:
    """Start what does not run yet, listening on the gateways of `clients` only. Raises RackError."""
    directory = places.state(number) / "nat64"
    directory.mkdir(exist_ok=True)
    (directory / "tayga.conf").write_text(tayga_conf(number, directory))
    (directory / "unbound.conf").write_text(unbound_conf(number, clients))
    if not Path("/sys/class/net", device(number)).exists():
        run("tayga", "--config", directory / "tayga.conf", "--mktun")
        run("ip", "link", "set", device(number), "up")
        run("ip", "route", "replace", f"{pool(number)}/24", "dev", device(number))
        run("ip", "-6", "route", "replace", network.translated(number), "dev", device(number))
    commands = (
        ["tayga", "--nodetach", "--config", str(directory / "tayga.conf")],
        ["unbound", "-d", "-c", str(directory / "unbound.conf")],
    )
    for command in commands:
        if processes.found(command[0], command[-1]) is None:
            processes.start(command, directory / f"{command[0]}.log", [])


def tayga_conf(number: int, directory: Path) -> str:
    """tayga's settings."""
    return f"""\
tun-device {device(number)}
ipv4-addr 10.{90 + number}.{NAT64_PLACE}.1
ipv6-addr fd90:{number}:{NAT64_PLACE + 1}::1
prefix {network.translated(number)}
dynamic-pool {pool(number)}/24
data-dir {directory}
"""


def unbound_conf(number: int, clients: list[Address]) -> str:
    """unbound's settings. Every name gets a translated address: this machine may have no IPv6 to the outside."""
    listening = "\n".join(f"    interface: {client.gateway_ipv6}" for client in clients)
    forwarding = "\n".join(f"    forward-addr: {server}" for server in network.nameservers())
    return f"""\
server:
{listening}
    ip-freebind: yes
    access-control: {ipv6_network(number)} allow
    module-config: "dns64 iterator"
    dns64-prefix: {network.translated(number)}
    dns64-synthall: yes
    username: ""
    chroot: ""
    directory: ""
    pidfile: ""
    use-syslog: no
    do-not-query-localhost: no
remote-control:
    control-enable: no
forward-zone:
    name: "."
{forwarding}
"""


def stop(number: int) -> None:
    """Stop both and take the link away, if they are there. Raises RackError."""
    directory = places.state(number) / "nat64"
    for program in PROGRAMS:
        pid = processes.found(program, str(directory / f"{program}.conf"))
        if pid is not None:
            processes.must_end(pid, program)
    if Path("/sys/class/net", device(number)).exists():
        run("ip", "link", "delete", device(number))
    shutil.rmtree(directory, ignore_errors=True)

"""The segment that Pis and their server share: a bridge on this machine, with what was the server's gateway on it."""

from pathlib import Path

from tests.rack import network
from tests.rack.addresses import Address
from tests.rack.commands import run


def bridge(number: int) -> str:
    """The bridge of a rack; a link's name has at most 15 characters."""
    return f"br-r{number}-netboot"


def lay(server: Address) -> None:
    """Turn the cable of the server, which is plugged in, into a port of the bridge, and let the bridge be its gateway."""
    take_away(server.number)
    name = bridge(server.number)
    # Without spanning tree: a port that listens for half a minute would outlast a boot ROM's patience.
    run("ip", "link", "add", name, "type", "bridge", "stp_state", "0", "forward_delay", "0")
    for family in ("-4", "-6"):
        run("ip", family, "address", "flush", "dev", server.link, "scope", "global")
    run("ip", "link", "set", server.link, "master", name)
    network.give_addresses(server, name)


def plug_in(machine: Address) -> None:
    """Lay the cable of an emulated machine, which to its emulator is a tap device, to the bridge. Raises RackError without one."""
    network.unplug(machine)
    run("ip", "tuntap", "add", "mode", "tap", "name", machine.link)
    run("ip", "link", "set", machine.link, "master", bridge(machine.number), "up")


def take_away(number: int) -> None:
    """Remove the bridge, if there is one. Its ports stay."""
    if Path("/sys/class/net", bridge(number)).exists():
        run("ip", "link", "delete", bridge(number))

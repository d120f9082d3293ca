"""A file server for Pis that only seem to be there: a host of the rack in place 9, and a network of its own with a socket for a Pi.

Its interface `pis` leads to a switch (namespace rackN-switch), and from there to `eth0` of whoever boots (namespace rackN-pi).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.rack.addresses import Address, Kind
from tests.rack.commands import run
from tests.rack.hosts import Host

KIND = Kind("files", 9, "bookworm", "native")
#: The Pis' network, the same in each rack, which nothing else can reach: whose address is 10.9.0.1, and whose the house's router's.
NETWORK, SERVER, ROUTER = "10.9.0.0/24", "10.9.0.1", "10.9.0.254"
INTERFACE = "pis"
#: What this machine needs besides, to make a card, to be the router of the house, and to ask by NFS: package -> a file of it.
PACKAGES = {
    "dnsmasq-base": "/usr/sbin/dnsmasq",
    "dosfstools": "/usr/sbin/mkfs.vfat",
    "fdisk": "/usr/sbin/sfdisk",
    "libnfs-utils": "/usr/bin/nfs-cat",
    "mtools": "/usr/bin/mcopy",
}
#: As many as copying an image needs at once, and some that this machine's other racks hold.
_LOOPS = 32


@dataclass(frozen=True)
class FileServer(Host):
    """The host, and the network of its Pis."""

    @property
    def switch(self) -> str:
        """The namespace with the switch, where another DHCP server may run."""
        return f"rack{self.address.number}-switch"

    @property
    def pi(self) -> str:
        """The namespace whose eth0 is a Pi's."""
        return f"rack{self.address.number}-pi"

    def start(self) -> None:
        """Switch it on, with its Pis' network laid. Does not wait for it. Raises RackError."""
        if not self.is_running():
            super().start()
            self._lay()

    def _nspawn(self) -> list[str]:
        # A file server finds files by their handles, which a container is else refused.
        return [*super()._nspawn(), "--system-call-filter=open_by_handle_at"]

    def _lay(self) -> None:
        self._take_away()
        for name in (self.switch, self.pi):
            run("ip", "netns", "add", name)
        inside = ("ip", "-n", self.switch, "link")
        run(*inside, "add", "switch", "type", "bridge", "stp_state", "0", "forward_delay", "0")
        for port, namespace, name in (("server", self.address.name, INTERFACE), ("pi", self.pi, "eth0")):
            run(*inside, "add", port, "type", "veth", "peer", "name", name, "netns", namespace)
            run(*inside, "set", port, "master", "switch", "up")
        run(*inside, "set", "switch", "up")
        run("ip", "-n", self.switch, "address", "add", f"{ROUTER}/24", "dev", "switch")
        run("ip", "-n", self.address.name, "address", "add", f"{SERVER}/24", "dev", INTERFACE)
        run("ip", "-n", self.address.name, "link", "set", INTERFACE, "up")

    def _take_away(self) -> None:
        for name in (self.switch, self.pi):
            if Path("/run/netns", name).exists():
                run("ip", "netns", "delete", name)

    def have_loops(self) -> None:
        """Give it the loop devices that a real host has."""
        nodes = "".join(f"[ -e /dev/loop{number} ] || mknod /dev/loop{number} b 7 {number}\n" for number in range(_LOOPS))
        self.must("sh", "-euc", f"[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237\n{nodes}")

    def lan(self, namespace: str, *command: str) -> Sequence[str]:
        """A command line in the switch's or the Pi's namespace."""
        return ("ip", "netns", "exec", namespace, *command)

    def remove(self) -> None:
        """Stop it at once and remove everything of it, its Pis' network too. Raises RackError."""
        super().remove()
        self._take_away()


def file_server(number: int) -> FileServer:
    """The file server of a rack, whether it was made yet or not."""
    return FileServer(Address(number, KIND))

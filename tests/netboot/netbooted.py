"""A whole emulated ARM machine in the rack that has no disk: u-boot asks its server by DHCP and TFTP, and its root comes by NFS.

It is a host of the rack like the others, in place 8 and only where it is asked for: ``netbooted(number)`` here, and the inventory
beside this file besides the rack's own. Its power goes as a Pi's does; its server keeps what it must not lose.
"""

import signal
from dataclasses import dataclass
from pathlib import Path

from tests.netboot import image, segment
from tests.netboot.server import server
from tests.rack import network, places, processes
from tests.rack.addresses import Address
from tests.rack.commands import RackError
from tests.rack.hosts import SECONDS_TO_STOP, Done, Host

PROGRAM = "qemu-system-arm"
#: In MiB, as a Pi 3 has it; what its root changes is in it too.
MEMORY = 1024
_NOT_HERE = "a netbooted machine has no disk"


@dataclass(frozen=True)
class OnSegment(Address):
    """The address of a machine on the segment of the netboot server, whose gateway is its own."""

    @property
    def _server(self) -> Address:
        return server(self.number).address

    @property
    def ipv4(self) -> str:
        """Beside the server's."""
        return f"10.{90 + self.number}.{self._server.kind.place}.{self.kind.place}"

    @property
    def gateway_ipv4(self) -> str | None:
        """The server's."""
        return self._server.gateway_ipv4

    @property
    def mac(self) -> str:
        """What its server knows it by."""
        return f"52:54:00:90:{self.number:02}:{self.kind.place:02}"


@dataclass(frozen=True)
class Netbooted(Host):
    """A netbooted machine. Commands in it go over ssh, so only while its cable is whole."""

    address: OnSegment

    def start(self) -> None:
        """Switch it on, with its cable plugged in. Does not wait for it. Its server is up. Raises RackError."""
        if self.is_running():
            return
        self.directory.mkdir(parents=True, exist_ok=True)
        self.console.unlink(missing_ok=True)
        segment.plug_in(self.address)
        processes.start(self._emulator(), self.console, [])

    def _emulator(self) -> list[str]:
        return [
            # Without `highmem` a kernel for 32 bits finds all of the machine's devices.
            *(
                PROGRAM,
                "-M",
                "virt,highmem=off",
                "-cpu",
                "cortex-a15",
                "-accel",
                "tcg,thread=multi",
                "-smp",
                "2",
                "-m",
                str(MEMORY),
            ),
            *("-name", self.address.name, "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", "-nodefaults"),
            *("-bios", image.PACKAGES["u-boot-qemu"]),
            *("-netdev", f"tap,id=cable,ifname={self.address.link},script=no,downscript=no"),
            *("-device", f"virtio-net-device,netdev=cable,mac={self.address.mac}"),
            *("-device", "virtio-rng-device"),
        ]

    def stop(self) -> None:
        """Shut it down in order, and wait; one that hangs is switched off. Raises RackError."""
        pid = self._main_pid()
        if pid is None:
            return
        self.run("systemctl", "poweroff", "--no-block", seconds=60)
        if not processes.gone(pid, PROGRAM, SECONDS_TO_STOP):
            self.kill()

    def kill(self) -> None:
        """Cut its power. Raises RackError."""
        pid = self._main_pid()
        if pid is None:
            return
        network.cut(self.address)
        if not processes.end(pid, PROGRAM, sent=signal.SIGKILL):
            raise RackError(f"{self.name} is still there after SIGKILL (process {pid})")

    def remove(self) -> None:
        """Cut its power and remove everything of it but what its server has. Raises RackError."""
        self.kill()
        network.unplug(self.address)
        places.remove(self.directory)

    def run(self, *command: str, stdin: str = "", seconds: float = 600) -> Done:
        """Run a command in it as root, over ssh."""
        return self.ssh(*command, stdin=stdin, seconds=seconds)

    def known_host(self) -> str:
        """Lines of a known_hosts file that name its keys, as its server has made them."""
        keys = [file.read_text().split()[:2] for file in sorted(self.kept.glob("etc/ssh/ssh_host_*_key.pub"))]
        return "".join(f"{self.address.reached_at} {' '.join(key)}\n" for key in keys)

    @property
    def kept(self) -> Path:
        """What its server has for it alone: its own root, or the layer over one that is shared."""
        place = server(self.address.number).disks.state / "netboot/hosts" / self.name
        return place / "root" if (place / "root").exists() else place / "layer"

    def fill_disk(self) -> None:
        """Not here. Raises RackError."""
        raise RackError(_NOT_HERE)

    keep_image = restore_image = fill_disk

    def _main_pid(self) -> int | None:
        return processes.found(PROGRAM, self.address.name)


def netbooted(number: int) -> Netbooted:
    """The netbooted machine of a rack, whether it was made yet or not."""
    return Netbooted(OnSegment(number, image.USERLAND))

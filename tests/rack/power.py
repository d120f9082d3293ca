"""A whole emulated machine in the rack, for what hosts that share this machine's kernel can't show: a kernel of its own,
control groups that systemd delegates and the kernel enforces, a power cut that a journal must outlive in spite of a disk's cache.

It is a host of the rack like the others, in place 6 and only where it is asked for: ``machine(number)`` here, and the inventory
with_machine.yml besides the rack's own.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.rack import bootable, furnish, network, places, processes
from tests.rack.addresses import Address, Kind
from tests.rack.commands import RackError, run
from tests.rack.hosts import SECONDS_TO_STOP, Done, Host

KIND = Kind("machine", 6, "bookworm", "native")
#: In MiB: so much that a build meets the bound of its memory class (640) before the machine's own end, and so little that there is
#: no larger class to try it in.
MEMORY = 1024
_NOT_HERE = "a whole machine has one disk for everything, which is cut, not filled or put back"
_DISK_PROGRAM = "tests.rack.volatile"
_DISK = "disk.ext4"


@dataclass(frozen=True)
class Machine(Host):
    """An emulated machine. Commands in it go over ssh, so only while its cable is whole. Its one disk is volatile.py's."""

    @property
    def disk(self) -> Path:
        """The file of its disk."""
        return self.directory / _DISK

    def start(self) -> None:
        """Switch it on, with its cable plugged in. Does not wait for it. Raises RackError."""
        if self.is_running():
            return
        self._end_disk()
        tree = self._make_disk()
        _plug_in(self.address)
        self._start_disk()
        processes.start(self._emulator(bootable.kernel(tree, self.directory)), self.console, [])

    def _make_disk(self) -> Path:
        """Its disk, where it has none yet. Returns the tree that it is made from."""
        tree = bootable.bootable_tree(self.address)
        if not self.disk.exists():
            self.disks.remove()
            self.disks.mount(tree)
            authorised = (places.state(self.address.number) / "ssh/id.pub").read_text()
            furnish.furnish(self.disks.root, self.address, authorised)
            bootable.make_disk(self.disks.root, self.address, self.disk)
            self.disks.unmount()
        return tree

    def _start_disk(self) -> None:
        command = [sys.executable, "-m", _DISK_PROGRAM, str(self.disk), str(self._socket)]
        self._socket.unlink(missing_ok=True)
        processes.start(["env", f"PYTHONPATH={Path(__file__).parents[2]}", *command], self.directory / "disk.log", [])
        until = time.monotonic() + 30
        while not self._socket.exists():
            if time.monotonic() > until:
                raise RackError(f"the disk of {self.name} does not start; see {self.directory / 'disk.log'}")
            time.sleep(0.05)

    def _emulator(self, kernel: Path) -> list[str]:
        return [
            # Not kvm, which isn't to be had everywhere, and hangs where it only seems to be there.
            *(bootable.PROGRAM, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", str(MEMORY)),
            *("-name", self.address.name, "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", "-nodefaults"),
            *("-kernel", str(kernel), "-append", bootable.COMMAND_LINE),
            *("-drive", f"id=disk,file=nbd+unix:///?socket={self._socket},format=raw,if=none,cache=writeback"),
            *("-device", "nvme,drive=disk,serial=1,romfile="),
            *("-netdev", f"tap,id=cable,ifname={self.address.link},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=cable,romfile=,mac=52:54:00:90:{self.address.number:02}:06"),
            *("-device", "virtio-rng-pci"),
        ]

    def stop(self) -> None:
        """Shut it down in order, and wait; one that hangs is switched off. Raises RackError."""
        pid = self._main_pid()
        if pid is None:
            return
        self.run("systemctl", "poweroff", "--no-block", seconds=60)
        if not processes.gone(pid, bootable.PROGRAM, SECONDS_TO_STOP):
            self.kill()
        self._end_disk()

    def kill(self) -> None:
        """Cut its power: it ends at once, and so does its disk, with whatever it had not kept. Raises RackError."""
        pid = self._main_pid()
        if pid is None:
            return
        network.cut(self.address)
        # The disk first: it would otherwise go on with what is on its way.
        self._end_disk()
        if not processes.end(pid, bootable.PROGRAM, sent=signal.SIGKILL):
            raise RackError(f"{self.name} is still there after SIGKILL (process {pid})")

    def _end_disk(self) -> None:
        pid = self._disk_pid()
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            processes.gone(pid, Path(sys.executable).name, 10)

    def remove(self) -> None:
        """Cut its power and remove everything of it. Raises RackError."""
        self.kill()
        self._end_disk()
        network.unplug(self.address)
        places.remove(self.directory)

    def run(self, *command: str, stdin: str = "", seconds: float = 600) -> Done:
        """Run a command in it as root, over ssh."""
        return self.ssh(*command, stdin=stdin, seconds=seconds)

    def known_host(self) -> str:
        """Lines of a known_hosts file that name its keys, as they were made with it."""
        keys = [file.read_text().split()[:2] for file in sorted((self.disks.changed / "etc/ssh").glob("ssh_host_*_key.pub"))]
        return "".join(f"{self.address.reached_at} {' '.join(key)}\n" for key in keys)

    def check_disk(self) -> None:
        """Have the file system checked by its own program, which changes nothing. The machine is off. Raises RackError."""
        run("e2fsck", "-f", "-n", self.disk)

    def fill_disk(self) -> None:
        """Not here. Raises RackError."""
        raise RackError(_NOT_HERE)

    keep_image = restore_image = fill_disk

    @property
    def _socket(self) -> Path:
        return self.directory / "disk.socket"

    def _main_pid(self) -> int | None:
        return processes.found(bootable.PROGRAM, self.address.name)

    def _disk_pid(self) -> int | None:
        return processes.found(Path(sys.executable).name, str(self._socket))


def machine(number: int) -> Machine:
    """The whole machine of a rack, whether it was made yet or not. The rack's index host is up before it is started."""
    return Machine(Address(number, KIND))


def _plug_in(address: Address) -> None:
    """Lay its cable: to an emulator it is a tap device."""
    network.unplug(address)
    run("ip", "tuntap", "add", "mode", "tap", "name", address.link)
    network.this_side(address)

"""One host of the rack: its power, its cable, its disk, and commands in it. What fault tests break, they break here."""

import errno
import os
import shlex
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.rack import disks, furnish, images, network, places, processes
from tests.rack.addresses import Address, addresses
from tests.rack.commands import RackError

NSPAWN = "systemd-nspawn"
#: Seconds that a host has to answer by ssh; an emulated one on a busy machine takes a minute and a half.
SECONDS_TO_BOOT = 300
SECONDS_TO_STOP = 90
#: Seconds that killed processes have to leave their control groups; one that is being reaped still counts.
SECONDS_TO_EMPTY = 30


@dataclass(frozen=True)
class Done:
    """What became of a command in a host."""

    status: int
    output: str
    errors: str


@dataclass(frozen=True)
class Host:
    """A host of a rack by its address. Every method may be called in any state unless it says otherwise."""

    address: Address

    @property
    def name(self) -> str:
        """Its name in the inventory."""
        return self.address.kind.name

    @property
    def directory(self) -> Path:
        """Where this machine keeps it."""
        return places.state(self.address.number) / self.name

    @property
    def disks(self) -> disks.Disks:
        """Its disks."""
        return disks.Disks(self.directory / "disks")

    @property
    def console(self) -> Path:
        """What it said while it booted."""
        return self.directory / "console"

    # Power

    def start(self) -> None:
        """Switch it on, with its cable plugged in. Does not wait for it. Raises RackError."""
        if self.is_running():
            return
        self._make()
        network.plug_in(self.address)
        processes.start(self._nspawn(), self.console, self._control_groups())
        until = time.monotonic() + 10
        while not self.is_running():
            if time.monotonic() > until:
                raise self._is_off()
            time.sleep(0.05)

    def _make(self) -> None:
        kept = images.archives_of(self.address.kind)
        base = images.base_image(self.address.kind)
        furnished = self.directory / "furnished"
        if not furnished.exists():
            self.disks.remove()
            self.disks.mount(base)
            disks.share_archives(kept, self.disks)
            furnish.furnish(self.disks.root, self.address, (places.state(self.address.number) / "ssh/id.pub").read_text())
            furnished.touch()
        self.disks.mount(base)

    def _nspawn(self) -> list[str]:
        # Without systemd here nobody else makes control groups: _control_groups did.
        alone = [] if _systemd_is_here() else ["--keep-unit"]
        return [
            *("env", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"),
            *(NSPAWN, "--quiet", "--boot", "--register=no", *alone),
            *(f"--machine={self.address.name}", f"--hostname={self.name}", f"--directory={self.disks.root}"),
            *(f"--bind={self.disks.state}:/{disks.STATE_DIRECTORY}", "--resolv-conf=off", "--timezone=off", "--link-journal=no"),
            *(f"--network-namespace-path=/run/netns/{self.address.name}", "--capability=CAP_NET_ADMIN", "--console=pipe"),
        ]

    def _control_groups(self) -> list[Path]:
        """A control group of its own: hosts that shared one would end each other's services."""
        groups = [Path("/sys/fs/cgroup", kind, self.address.name) for kind in ("systemd", "unified")]
        groups = [] if _systemd_is_here() else [group for group in groups if group.parent.exists()]
        for group in groups:
            group.mkdir(exist_ok=True)
        return groups

    def stop(self) -> None:
        """Shut it down in order, and wait; one that hangs is switched off. Raises RackError."""
        pid = self._main_pid()
        if pid is None:
            return
        # Not by nspawn's own signal: qemu-user numbers real-time signals otherwise, and the host would go into rescue mode.
        self.run("systemctl", "poweroff", "--no-block", seconds=60)
        if not processes.gone(pid, NSPAWN, SECONDS_TO_STOP):
            self.kill()
        self._keep_what_it_fetched()

    def kill(self) -> None:
        """Pull its plug: its processes end at once, and no neighbour hears of it. Raises RackError."""
        pid = self._main_pid()
        if pid is None:
            return
        network.cut(self.address)
        leader = processes.child(pid)
        os.kill(pid, signal.SIGKILL)
        if leader is not None and processes.is_running(leader, "systemd"):
            processes.end(leader, "systemd", sent=signal.SIGKILL)
        if not processes.gone(pid, NSPAWN, 10):
            msg = f"{self.name} is still there after SIGKILL (process {pid})"
            raise RackError(msg)

    def restart(self) -> None:
        """Shut it down and switch it on, and wait until it answers. Raises RackError."""
        self.stop()
        self.start()
        self.wait()

    def is_running(self) -> bool:
        """Whether it is switched on."""
        return self._main_pid() is not None

    def answers(self) -> bool:
        """Whether its sshd answers over the network."""
        try:
            with socket.create_connection((self.address.reached_at, 22), timeout=5) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def wait(self, seconds: float = SECONDS_TO_BOOT) -> None:
        """Wait until it answers. Raises RackError with the end of its console."""
        until = time.monotonic() + seconds
        while not self.answers():
            if not self.is_running() or time.monotonic() > until:
                raise self._is_off()
            time.sleep(0.2)

    def _is_off(self) -> RackError:
        said = self.console.read_text(errors="replace")[-1500:] if self.console.exists() else ""
        return RackError(f"{self.name} does not answer at {self.address.reached_at}; its console ({self.console}) ends:\n{said}")

    def remove(self) -> None:
        """Stop it at once and remove everything of it; the packages it fetched are kept. Raises RackError."""
        self.kill()
        self._keep_what_it_fetched()
        network.unplug(self.address)
        places.remove(self.directory)
        with suppress(OSError):
            Path("/run/systemd/nspawn/propagate", self.address.name).rmdir()
        for kind in ("systemd", "unified"):
            _remove_control_groups(Path("/sys/fs/cgroup", kind, self.address.name))

    # Cable and disks

    def cut(self) -> None:
        """Pull its network cable."""
        network.cut(self.address)

    def mend(self) -> None:
        """Plug its network cable in again."""
        network.mend(self.address)

    def fill_disk(self) -> None:
        """Leave no free byte below /var/lib/piwheels-builder."""
        self.disks.fill()

    def free_disk(self) -> None:
        """Give the bytes of `fill_disk` back."""
        self.disks.free()

    def keep_image(self) -> None:
        """Shut it down and keep a copy of its disks, as somebody does with the card of a Pi. Leaves it off. Raises RackError."""
        self.stop()
        self.disks.keep()

    def restore_image(self) -> None:
        """Pull its plug and give it the disks of `keep_image` again. Leaves it off. Raises RackError."""
        self.kill()
        self.disks.put_back()

    # Commands

    def run(self, *command: str, stdin: str = "", seconds: float = 600) -> Done:
        """Run a command in it as root, by this machine and not over its network. Raises RackError if it is off."""
        words = ["nsenter", "--target", str(self.leader()), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wdns=/root"]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return _done([*words, "env", "-i", path, "HOME=/root", "LANG=C.UTF-8", *command], stdin, seconds)

    def must(self, *command: str, stdin: str = "", seconds: float = 600) -> str:
        """Run a command in it as `run` does, and return what it printed. Raises RackError when it fails."""
        done = self.run(*command, stdin=stdin, seconds=seconds)
        if done.status:
            msg = f"{self.name}: {shlex.join(command)} ended with {done.status}: {(done.output + done.errors)[-2000:]}"
            raise RackError(msg)
        return done.output

    def ssh(self, *command: str, stdin: str = "", user: str = "root", seconds: float = 600) -> Done:
        """Run a command in it over ssh, as whoever the rack's key may be. Its host key is read from its disk."""
        return _done([*self.ssh_words(user), shlex.join(command)], stdin, seconds)

    def ssh_words(self, user: str = "root") -> list[str]:
        """The beginning of an ssh command line to it."""
        known = self.directory / "known_hosts"
        known.write_text(self.known_host())
        options = [f"UserKnownHostsFile={known}", "StrictHostKeyChecking=yes", "BatchMode=yes", "ConnectTimeout=10"]
        key = places.state(self.address.number) / "ssh/id"
        return ["ssh", "-i", str(key), *[f"-o{option}" for option in options], f"{user}@{self.address.reached_at}"]

    def known_host(self) -> str:
        """Lines of a known_hosts file that name its keys, read from its disk."""
        keys = [file.read_text().split()[:2] for file in sorted((self.disks.root / "etc/ssh").glob("ssh_host_*_key.pub"))]
        return "".join(f"{self.address.reached_at} {' '.join(key)}\n" for key in keys)

    def restart_service(self, unit: str) -> None:
        """Restart a unit of its systemd. Raises RackError."""
        self.must("systemctl", "restart", unit)

    def kill_service(self, unit: str) -> None:
        """SIGKILL every process of a unit. Raises RackError."""
        self.must("systemctl", "kill", "--signal=SIGKILL", "--kill-whom=all", unit)

    def leader(self) -> int:
        """The process that is its PID 1. Raises RackError if it is off."""
        pid = self._main_pid()
        leader = None if pid is None else processes.child(pid)
        if leader is None:
            msg = f"{self.name} is off: `python3 -m tests.rack up {self.name}` switches it on"
            raise RackError(msg)
        return leader

    def _main_pid(self) -> int | None:
        return processes.found(NSPAWN, f"--machine={self.address.name}")

    def _keep_what_it_fetched(self) -> None:
        disks.keep_archives(images.archives_of(self.address.kind), self.disks)


def host(name: str, number: int) -> Host:
    """A host of a rack by its name. Raises RackError."""
    known = addresses(number)
    if name not in known:
        msg = f"there is no host {name!r} in a rack; there are {', '.join(known)}"
        raise RackError(msg)
    return Host(known[name])


def _systemd_is_here() -> bool:
    return Path("/run/systemd/system").exists()


def _done(words: list[str], stdin: str, seconds: float) -> Done:
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


def _remove_control_groups(group: Path) -> None:
    if not group.exists():
        return
    until = time.monotonic() + SECONDS_TO_EMPTY
    for below, _, _ in os.walk(group, topdown=False):
        _remove_control_group(Path(below), until)


def _remove_control_group(group: Path, until: float) -> None:
    """Remove one without groups below; EBUSY says that a process is still in it."""
    while True:
        try:
            group.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > until:
                msg = f"{group} can't be removed: {error.strerror}"
                raise RackError(msg) from error
            time.sleep(0.1)
        else:
            return

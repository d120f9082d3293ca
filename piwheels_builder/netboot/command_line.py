"""The kernel command line of a netbooted machine, and the directories that are exported to it."""

import uuid
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from piwheels_builder.netboot.machines import Machine, Server

#: The kernel's nfsroot= would read and write 4 KiB at a time; a server that can do less says so.
_SIZES = "rsize=131072,wsize=131072"
#: Limits of memory and the pressure of builds on it: a Pi's kernel has both switched off.
_CONTROL_GROUPS = ("cgroup_enable=memory", "cgroup_memory=1", "psi=1")


def command_line(machine: Machine, server: Server, nfs_version: str, more: Iterable[str] = ()) -> str:
    """One line. Its address is said outright: asking for it once more by DHCP costs seconds, and clients of another identity."""
    where = f"{server.directory}/images/{machine.image}" if machine.shared else f"{server.directory}/hosts/{machine.name}/root"
    options = f"vers={nfs_version},proto=tcp,nolock,{_SIZES}"
    words = [
        *(() if machine.model == "u-boot" else ("console=serial0,115200", "console=tty1")),
        *("root=/dev/nfs", f"nfsroot={server.address}:{where},{options}", "ro" if machine.shared else "rw"),
        f"ip={machine.address}:{server.address}:{server.router}:{server.network.netmask}:{machine.name}:eth0:off",
        *("rootwait", "net.ifnames=0", *_CONTROL_GROUPS),
    ]
    if machine.shared:
        host = f"{server.address}:{server.directory}/hosts/{machine.name}"
        words += ["init=/.piwheels/init", f"piwheels.host={host}", f"piwheels.nfs={options}"]
    return " ".join([*words, *more])


@dataclass(frozen=True)
class Export:
    """A directory of the file server, and who may mount it. ``number`` and ``uuid`` stay the same: they are in file handles."""

    path: str
    number: int
    uuid: str
    clients: tuple[str, ...]
    writable: bool


def exports(machines: Iterable[Machine], server: Server) -> list[Export]:
    """Everything that is exported, each to those machines only that need it."""
    wanted: dict[tuple[str, bool], list[str]] = {}
    for machine in machines:
        host = f"{server.directory}/hosts/{machine.name}"
        mine = (
            [(f"{server.directory}/images/{machine.image}", False), (f"{host}/layer", False), (f"{host}/state", True)]
            if machine.shared
            else [(f"{host}/root", True)]
        )
        for key in mine:
            wanted.setdefault(key, []).append(machine.address)
    found, taken = [], set[int]()
    for (path, writable), clients in sorted(wanted.items()):
        number = _number(path, taken)
        taken.add(number)
        found.append(Export(path, number, str(uuid.uuid5(uuid.NAMESPACE_URL, path)), tuple(clients), writable))
    return found


def _number(path: str, taken: set[int]) -> int:
    """From 1 to 65534, by the path alone unless another has it."""
    number = zlib.crc32(path.encode()) % 65534 + 1
    while number in taken:
        number = number % 65534 + 1
    return number

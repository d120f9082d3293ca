"""The machines of the inventory that boot from the network, as the operator described them; what cannot be is refused here."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from typing import Any

from piwheels_builder.errors import BadInput

#: What each kind of machine asks for at least, by TFTP. U-Boot asks for a script, whatever the board.
NEEDED = {
    "3B": ("bootcode.bin", "start.elf", "fixup.dat", "config.txt"),
    "3B+": ("bootcode.bin", "start.elf", "fixup.dat", "config.txt"),
    "4": ("start4.elf", "fixup4.dat", "config.txt"),
    "5": ("config.txt",),
    "u-boot": ("boot.scr.uimg",),
}
#: Those whose boot ROM, not an EEPROM, does the asking.
ROMS = ("3B", "3B+")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_SERIAL = re.compile(r"[0-9a-f]{8}")


@dataclass(frozen=True)
class Server:
    """The file server as the machines see it, and the network that it shares with them."""

    address: IPv4Address
    network: IPv4Network
    router: str
    #: Where it keeps everything, an absolute path without blanks.
    directory: str

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> "Server":
        """Raises BadInput."""
        try:
            address, network = IPv4Address(given["address"]), IPv4Network(given["network"])
            router = str(IPv4Address(given["router"])) if given["router"] else ""
        except (AddressValueError, NetmaskValueError, ValueError) as error:
            msg = f"netboot_server_address, _network or _router: {error}. Write them like 10.9.0.1, 10.9.0.0/24 and 10.9.0.254"
            raise BadInput(msg) from error
        if address not in network:
            msg = f"netboot_server_address {address} is not in netboot_server_network {network}: machines could not reach it"
            raise BadInput(msg)
        if not re.fullmatch(r"/[\w./-]+", given["directory"]):
            msg = f"netboot_server_dir is {given['directory']!r}: a kernel command line takes an absolute path without blanks"
            raise BadInput(msg)
        return cls(address, network, router, given["directory"].rstrip("/"))


@dataclass(frozen=True)
class Machine:
    """One netbooted machine. ``mac`` has colons and lower case; ``serial`` is empty where nobody knows it."""

    name: str
    mac: str
    address: str
    model: str
    serial: str
    shared: bool
    image: str

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> "Machine":
        """Raises BadInput."""
        found = cls(
            name=str(given["name"]),
            mac=str(given["mac"]).lower().replace("-", ":"),
            address=str(given["address"]),
            model=str(given["model"]),
            # A Pi's serial number has sixteen digits, of which its firmware sends the last eight.
            serial=str(given.get("serial") or "").lower()[-8:],
            shared=given.get("root", "own") == "shared",
            image=str(given["image"]),
        )
        found._check(given.get("root", "own"))
        return found

    def _check(self, root: str) -> None:
        wrong = {
            "its name": not _NAME.fullmatch(self.name),
            f'netboot_mac {self.mac!r} (write "dc:a6:32:01:02:03", in quotes)': not _MAC.fullmatch(self.mac),
            f"netboot_serial {self.serial!r} (the last eight digits of Serial in /proc/cpuinfo, in quotes)": bool(
                self.serial and not _SERIAL.fullmatch(self.serial)
            ),
            f"netboot_model {self.model!r} (one of {', '.join(NEEDED)}, in quotes)": self.model not in NEEDED,
            f"netboot_root {root!r} (own or shared)": root not in ("own", "shared"),
        }
        for what, is_wrong in wrong.items():
            if is_wrong:
                msg = f"{self.name}: {what} cannot be; correct it in the inventory"
                raise BadInput(msg)

    @property
    def directory(self) -> str:
        """What its MAC is called in TFTP paths."""
        return self.mac.replace(":", "-")


def read(given: Iterable[Mapping[str, Any]], server: Server, images: Iterable[str]) -> list[Machine]:
    """The machines by name; no two share an address, and each can be served. Raises BadInput."""
    machines = sorted((Machine.from_mapping(one) for one in given), key=lambda one: one.name)
    known = set(images)
    for machine in machines:
        _check_address(machine, server)
        if machine.image not in known:
            msg = (
                f"{machine.name}: netboot_image is {machine.image or 'not said'}, "
                f"netboot_server_images has {', '.join(sorted(known)) or 'none'}"
            )
            raise BadInput(msg)
    for what in ("mac", "address", "serial", "name"):
        _check_unique(machines, what)
    return machines


def _check_address(machine: Machine, server: Server) -> None:
    try:
        address = IPv4Address(machine.address)
    except AddressValueError as error:
        msg = f"{machine.name}: netboot_address {machine.address!r} is no IPv4 address"
        raise BadInput(msg) from error
    ends = (server.address, server.network.network_address, server.network.broadcast_address)
    if address not in server.network or address in ends or machine.address == server.router:
        msg = f"{machine.name}: netboot_address {address} is not one that a machine in {server.network} may have; choose a free one"
        raise BadInput(msg)


def _check_unique(machines: list[Machine], what: str) -> None:
    seen: dict[str, str] = {}
    for machine in machines:
        value = getattr(machine, what)
        if value and value in seen:
            msg = f"{seen[value]} and {machine.name} have the same netboot_{what}, {value}: correct one of them"
            raise BadInput(msg)
        seen[value] = machine.name

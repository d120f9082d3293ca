"""A Pi that boots from the network, up to its kernel: the DHCP and TFTP of its boot ROM or EEPROM, without a Pi.

By hand, as root in a network namespace or on a spare interface, whose addresses and MAC it takes over:

    python3 -m tests.netboot.boot_rom --model 4 --interface eth1 --mac dc:a6:32:01:02:03 --serial 1a2b3c4d --into /tmp/pi4
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from tests.netboot import dhcp
from tests.netboot.dhcp import Packet, Wire
from tests.netboot.models import MODELS, Ask, Model
from tests.netboot.tftp import Absent, Broken, Client

#: A boot ROM's patience: five tries, five seconds apart; EEPROMs try for longer.
TRIES, SECONDS = 5, 5.0
#: How long it goes on to listen for another server, where there is a proxy.
_MORE = 1.5
VENDOR_CLASS = b"PXEClient:Arch:00000:UNDI:002001"


class NoBoot(Exception):
    """The Pi would show a rainbow, or nothing: why."""


@dataclass(frozen=True)
class Pi:
    """A Pi and its cable. ``prefix``: serial, mac or none, as TFTP_PREFIX says; a mask ROM knows serial only."""

    model: Model
    interface: str
    mac: str
    serial: str
    prefix: str = "serial"
    pause: float = 0.0
    #: The one file that it asks for, without any prefix; empty for a whole boot.
    only: str = ""

    @property
    def mac_bytes(self) -> bytes:
        return bytes.fromhex(self.mac.replace(":", ""))


@dataclass
class Boot:
    """What it got. ``absent`` are the files that the server said it had none of."""

    address: str
    server: str
    files: dict[str, int] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    seconds: float = 0.0


def boot(pi: Pi, into: Path) -> Boot:
    """Boot until the kernel would start, writing each file below ``into`` as it was named. Raises NoBoot."""
    began = time.monotonic()
    _ip("link", "set", pi.interface, "down")
    _ip("address", "flush", "dev", pi.interface)
    _ip("link", "set", pi.interface, "address", pi.mac, "up")
    _answer_arp(pi, always=True)
    with Wire(pi.interface) as wire:
        found = _addressed(pi, wire)
    try:
        _load(pi, found, into)
    except Broken as error:
        raise NoBoot(f"TFTP: {error}") from error
    found.seconds = round(time.monotonic() - began, 1)
    return found


def _addressed(pi: Pi, wire: Wire) -> Boot:
    for _ in range(TRIES):
        transaction = random.getrandbits(32)
        wire.send(_packet(pi, transaction, dhcp.DISCOVER))
        sent = time.monotonic()
        lease, server = _chosen(pi, list(_offers(pi, wire, transaction, sent)))
        if lease is None or server is None:
            time.sleep(max(0.0, sent + SECONDS - time.monotonic()))
            continue
        if pi.model.requests:
            _request(pi, wire, transaction, lease)
        length = IPv4Address(lease.options.get(dhcp.MASK, b"\xff\xff\xff\0"))
        _ip("address", "add", f"{lease.your}/{int(length).bit_count()}", "dev", pi.interface)
        return Boot(str(lease.your), str(server))
    msg = f"no server offered an address and the words {pi.model.words!r} in {TRIES} tries"
    raise NoBoot(msg)


def _offers(pi: Pi, wire: Wire, transaction: int, sent: float) -> Iterator[Packet]:
    """Every offer that it hears; some seconds more where a first one says nothing of booting."""
    until = sent + SECONDS
    while (left := until - time.monotonic()) > 0:
        packet = wire.hear(transaction, left)
        if packet is None or packet.kind != dhcp.OFFER or time.monotonic() - sent < pi.model.deaf_seconds:
            continue
        yield packet
        until = min(until, time.monotonic() + _MORE)


def _chosen(pi: Pi, offers: list[Packet]) -> tuple[Packet | None, IPv4Address | None]:
    """The offer of an address, and who serves the files: whoever says the words, or else a full server that names one."""
    lease = next((offer for offer in offers if int(offer.your)), None)
    for offer in offers:
        if pi.model.words in offer.options.get(dhcp.VENDOR, b""):
            named = int(offer.next_server) and offer.next_server
            return lease, named or offer.server
    return lease, None


def _request(pi: Pi, wire: Wire, transaction: int, lease: Packet) -> None:
    wanted = {dhcp.ADDRESS: lease.your.packed, dhcp.SERVER: lease.options[dhcp.SERVER]}
    wire.send(_packet(pi, transaction, dhcp.REQUEST, wanted))
    until = time.monotonic() + SECONDS
    while (left := until - time.monotonic()) > 0:
        packet = wire.hear(transaction, left)
        if packet and packet.kind == dhcp.ACK:
            return
    msg = f"{lease.server} offered {lease.your} and did not acknowledge it"
    raise NoBoot(msg)


def _packet(pi: Pi, transaction: int, kind: int, more: dict[int, bytes] | None = None) -> Packet:
    options = {
        dhcp.TYPE: bytes([kind]),
        **(more or {}),
        dhcp.WANTED: bytes([1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135]),
        dhcp.ARCHITECTURE: b"\0\0",
        dhcp.UNDI: b"\1\2\1",
        dhcp.UUID: pi.model.uuid(pi.mac_bytes, bytes.fromhex(pi.serial)),
        dhcp.CLASS: VENDOR_CLASS,
    }
    return Packet(transaction, pi.mac_bytes, options)


def _load(pi: Pi, found: Boot, into: Path) -> None:
    rom = Client(found.server, pause=pi.pause)
    if pi.only:
        _answer_arp(pi, always=pi.model.arp)
        _take(Ask(pi.only), pi.only, rom, found, into)
        return
    for ask in pi.model.rom:
        _answer_arp(pi, always=pi.model.arp)
        _take(ask, ask.name, rom, found, into)
    loader = Client(found.server, block=1024, pause=pi.pause)
    prefix = _prefix(pi, loader)
    for ask in pi.model.files:
        _take(ask, prefix + ask.name, loader, found, into)


def _prefix(pi: Pi, client: Client) -> str:
    prefix = {"serial": f"{pi.serial}/", "mac": f"{pi.mac.replace(':', '-')}/", "none": ""}[pi.prefix]
    for name in pi.model.probes:
        try:
            client.size(prefix + name)
        except Absent:
            continue
        return prefix
    return ""


def _take(ask: Ask, name: str, client: Client, found: Boot, into: Path) -> None:
    try:
        said = client.size(name) if client.block else None
        data = client.fetch(name)
    except Absent as error:
        if ask.needed:
            msg = f"the server has no {name}: {error}"
            raise NoBoot(msg) from error
        found.absent.append(name)
        return
    if said is not None and said != len(data):
        msg = f"{name} was said to have {said} bytes, {len(data)} came"
        raise NoBoot(msg)
    place = into / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    found.files[name] = len(data)


def _answer_arp(pi: Pi, *, always: bool) -> None:
    """Whether others that ask for its MAC are answered."""
    Path("/proc/sys/net/ipv4/conf", pi.interface, "arp_ignore").write_text("0" if always else "8")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, timeout=10, capture_output=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", choices=MODELS, required=True)
    for name in ("interface", "mac", "serial"):
        options.add_argument(f"--{name}", required=True)
    options.add_argument("--prefix", choices=["serial", "mac", "none"], default="serial")
    options.add_argument("--pause", type=float, default=0.0)
    options.add_argument("--only", default="")
    options.add_argument("--into", type=Path, required=True)
    given = options.parse_args()
    pi = Pi(MODELS[given.model], given.interface, given.mac, given.serial, given.prefix, given.pause, given.only)
    try:
        print(json.dumps(asdict(boot(pi, given.into))))
    except NoBoot as error:
        sys.exit(f"the Pi does not boot: {error}")


if __name__ == "__main__":
    main()

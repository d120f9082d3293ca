"""DHCP as a boot ROM speaks it: packets by hand, since what ROMs get wrong is what no client library lets one do."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Self

COOKIE = b"\x63\x82\x53\x63"
DISCOVER, OFFER, REQUEST, ACK = 1, 2, 3, 5
MASK, ROUTER, ADDRESS, TYPE, SERVER, WANTED, CLASS, TFTP_SERVER, ARCHITECTURE, UNDI, UUID, VENDOR = (
    1,
    3,
    50,
    53,
    54,
    55,
    60,
    66,
    93,
    94,
    97,
    43,
)
_FIXED = struct.Struct("!BBBBIHH4s4s4s4s16s192s")
_MOST = 4096
_IP_PROTOCOL = 0x0800
_NOBODY = IPv4Address(0)


@dataclass(frozen=True)
class Packet:
    """A BOOTP packet with its DHCP options, as bytes by number. ``your`` and ``next_server`` are 0.0.0.0 where nothing is said."""

    transaction: int
    mac: bytes
    options: dict[int, bytes] = field(default_factory=dict)
    reply: bool = False
    your: IPv4Address = _NOBODY
    next_server: IPv4Address = _NOBODY

    def encode(self) -> bytes:
        """As a client sends it, at least as long as BOOTP asks for."""
        none = bytes(4)
        fixed = _FIXED.pack(1, 1, 6, 0, self.transaction, 0, 0, none, none, none, none, self.mac.ljust(16, b"\0"), bytes(192))
        options = b"".join(bytes([number, len(value)]) + value for number, value in self.options.items())
        return (fixed + COOKIE + options + b"\xff").ljust(320, b"\0")

    @classmethod
    def decode(cls, data: bytes) -> Self | None:
        """None where it is no whole DHCP packet."""
        if len(data) < _FIXED.size + 4 or data[_FIXED.size : _FIXED.size + 4] != COOKIE:
            return None
        fixed = _FIXED.unpack_from(data)
        options = dict(_options(data[_FIXED.size + 4 :]))
        return cls(fixed[4], fixed[11][:6], options, fixed[0] == 2, IPv4Address(fixed[8]), IPv4Address(fixed[9]))

    @property
    def kind(self) -> int:
        """DISCOVER, OFFER and so on; 0 where it does not say."""
        return self.options.get(TYPE, b"\0")[0] if self.options.get(TYPE) else 0

    @property
    def server(self) -> IPv4Address | None:
        """Who sent it."""
        value = self.options.get(SERVER, b"")
        return IPv4Address(value) if len(value) == 4 else None


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    place = 0
    while place < len(data) and data[place] != 255:
        if data[place] == 0:
            place += 1
            continue
        if place + 1 >= len(data) or place + 2 + data[place + 1] > len(data):
            return
        yield data[place], data[place + 2 : place + 2 + data[place + 1]]
        place += 2 + data[place + 1]


class Wire:
    """An interface without an address: what it hears at port 68, also what is sent to an address that it has not taken yet."""

    def __init__(self, interface: str) -> None:
        name = interface.encode()
        self._out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
        self._out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._out.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._out.bind(("", 68))
        self._in = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_IP_PROTOCOL))
        self._in.bind((interface, _IP_PROTOCOL))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._out.close()
        self._in.close()

    def send(self, packet: Packet) -> None:
        self._out.sendto(packet.encode(), ("255.255.255.255", 67))

    def hear(self, transaction: int, seconds: float) -> Packet | None:
        """The next reply of that transaction; None where it was something else, or nothing came in that time."""
        self._in.settimeout(max(seconds, 0.001))
        try:
            data = self._in.recv(_MOST)
        except TimeoutError:
            return None
        packet = _udp_to_client(data)
        return packet if packet and packet.reply and packet.transaction == transaction else None


def _udp_to_client(data: bytes) -> Packet | None:
    if len(data) < 28 or data[9] != socket.IPPROTO_UDP:
        return None
    header = (data[0] & 15) * 4
    if len(data) < header + 8 or int.from_bytes(data[header + 2 : header + 4], "big") != 68:
        return None
    return Packet.decode(data[header + 8 :])

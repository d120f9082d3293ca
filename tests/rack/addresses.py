"""Which hosts a rack has, and their addresses: host k of rack N has 10.(90+N).k.2/24 and fd90:N:k::2/64."""

import os
from dataclasses import dataclass

from tests.rack.commands import RackError


@dataclass(frozen=True)
class Kind:
    """What a host is: its name, its place in the rack, its Debian release and architecture."""

    name: str
    place: int
    release: str
    architecture: str
    #: No IPv4 address, as hosted Pis have none.
    ipv6_only: bool = False

    @property
    def image(self) -> str:
        """The name of the base image it starts from."""
        return f"{self.release}-{self.architecture}"


KINDS = (
    Kind("index", 1, "bookworm", "native"),
    Kind("pi1", 2, "bookworm", "armhf"),
    Kind("pi2", 3, "bookworm", "armhf", ipv6_only=True),
    Kind("bookworm", 4, "bookworm", "native"),
    Kind("trixie", 5, "trixie", "native"),
)
#: The place in the rack's addresses where NAT64 takes its IPv4 addresses from.
NAT64_PLACE = 64


@dataclass(frozen=True)
class Address:
    """Where a host of a rack is found, and the link that leads to it."""

    number: int
    kind: Kind

    @property
    def ipv4(self) -> str | None:
        """Its IPv4 address, without a length; None for a host that has none."""
        return None if self.kind.ipv6_only else f"10.{90 + self.number}.{self.kind.place}.2"

    @property
    def ipv6(self) -> str:
        """Its IPv6 address, without a length."""
        return f"fd90:{self.number}:{self.kind.place}::2"

    @property
    def gateway_ipv4(self) -> str | None:
        """This machine's end of the cable, IPv4."""
        return None if self.kind.ipv6_only else f"10.{90 + self.number}.{self.kind.place}.1"

    @property
    def gateway_ipv6(self) -> str:
        """This machine's end of the cable, IPv6."""
        return f"fd90:{self.number}:{self.kind.place}::1"

    @property
    def reached_at(self) -> str:
        """The address that ssh uses."""
        return self.ipv4 or self.ipv6

    @property
    def link(self) -> str:
        """The name of this machine's end of the cable; a link's name has at most 15 characters."""
        return f"ve-r{self.number}-{self.kind.name}"

    @property
    def name(self) -> str:
        """What the host is called on this machine: its network namespace, control group and nspawn machine."""
        return f"rack{self.number}-{self.kind.name}"


def rack_number() -> int:
    """The number of the rack, from RACK_NUMBER (0 to 9). Raises RackError."""
    given = os.environ.get("RACK_NUMBER", "0")
    if not (given.isascii() and given.isdigit() and len(given) == 1):
        msg = f"RACK_NUMBER is {given!r}; it says which of the racks 0 to 9 is meant"
        raise RackError(msg)
    return int(given)


def addresses(number: int) -> dict[str, Address]:
    """Every host of a rack by its name."""
    return {kind.name: Address(number, kind) for kind in KINDS}


def ipv4_network(number: int) -> str:
    """All IPv4 addresses of a rack."""
    return f"10.{90 + number}.0.0/16"


def ipv6_network(number: int) -> str:
    """All IPv6 addresses of a rack."""
    return f"fd90:{number}::/32"

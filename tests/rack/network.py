"""The rack's network on this machine: a cable and a network for each host, forwarding between them, and NAT to the outside."""

import json
from pathlib import Path

from tests.rack import places
from tests.rack.addresses import Address, ipv4_network, ipv6_network
from tests.rack.commands import run, works

FORWARDING = ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding")
#: The network that IPv6-only hosts see IPv4 in, translated; below it every IPv4 address has its place.
TRANSLATED = "fd90:{number}:64::/96"


def plug_in(address: Address) -> None:
    """Lay a host's cable: a network namespace of its own, with addresses and routes, before the host boots into it."""
    unplug(address)
    run("ip", "netns", "add", address.name)
    run("ip", "link", "add", address.link, "type", "veth", "peer", "name", "eth0", "netns", address.name)
    this_side(address)
    _that_side(address)


def this_side(address: Address) -> None:
    """Give this machine's end of a cable its addresses, and switch it on."""
    give_addresses(address, address.link)


def give_addresses(address: Address, link: str) -> None:
    """Give a link of this machine the addresses that a host has its gateway at, and switch it on."""
    if address.gateway_ipv4:
        run("ip", "address", "add", f"{address.gateway_ipv4}/24", "dev", link)
    # Else Linux would forget the address with the cable.
    Path("/proc/sys/net/ipv6/conf", link, "keep_addr_on_down").write_text("1\n")
    run("ip", "-6", "address", "add", f"{address.gateway_ipv6}/64", "dev", link, "nodad")
    run("ip", "link", "set", link, "up")


def _that_side(address: Address) -> None:
    inside = ("ip", "-n", address.name)
    run(*inside, "link", "set", "lo", "up")
    run(*inside, "link", "set", "eth0", "up")
    run(*inside, "-6", "address", "add", f"{address.ipv6}/64", "dev", "eth0", "nodad")
    # This machine may have no IPv6 to the outside: only a host that has nothing else may try.
    beyond = "default" if address.kind.ipv6_only else ipv6_network(address.number)
    run(*inside, "-6", "route", "add", beyond, "via", address.gateway_ipv6)
    if address.ipv4 and address.gateway_ipv4:
        run(*inside, "address", "add", f"{address.ipv4}/24", "dev", "eth0")
        run(*inside, "route", "add", "default", "via", address.gateway_ipv4)


def unplug(address: Address) -> None:
    """Take a host's cable and namespace away, if there are any."""
    if Path("/sys/class/net", address.link).exists():
        run("ip", "link", "delete", address.link)
    if Path("/run/netns", address.name).exists():
        run("ip", "netns", "delete", address.name)


def cut(address: Address) -> None:
    """Pull a host's cable. Nobody on either side is told."""
    run("ip", "link", "set", address.link, "down")


def mend(address: Address) -> None:
    """Plug the cable in again."""
    run("ip", "link", "set", address.link, "up")


def is_cut(address: Address) -> bool:
    """Whether the cable is pulled."""
    flags = Path("/sys/class/net", address.link, "flags")
    return flags.exists() and not int(flags.read_text(), 16) & 1


def translated(number: int) -> str:
    """The IPv6 network that stands for all of IPv4 in a rack."""
    return TRANSLATED.format(number=number)


def forward(number: int) -> None:
    """Let hosts of the rack reach one another and, in this machine's name, the outside."""
    with places.locked(places.lock_of("forwarding")):
        _remember_forwarding()
        for setting in FORWARDING:
            Path("/proc/sys", setting).write_text("1\n")
    run("nft", "-f", "-", stdin=ruleset(number))


def ruleset(number: int) -> str:
    """nftables' rules of a rack: a table of its own, made anew each time."""
    table = f"inet piwheels_rack_{number}"
    here = ipv4_network(number)
    return f"""
table {table} {{}}
delete table {table}
table {table} {{
    chain outgoing {{
        type nat hook postrouting priority srcnat;
        ip saddr {here} ip daddr != {here} masquerade
    }}
}}
"""


def stop_forwarding(number: int) -> None:
    """Remove the rack's rules; the last rack also sets forwarding back to what it was. May be called twice."""
    if _has_rules(number):
        run("nft", "delete", "table", "inet", f"piwheels_rack_{number}")
    before = places.STATE / "forwarding.json"
    with places.locked(places.lock_of("forwarding")):
        if before.exists() and not any(_has_rules(other) for other in range(10)):
            for setting, value in json.loads(before.read_text()).items():
                Path("/proc/sys", setting).write_text(value)
            before.unlink()


def _has_rules(number: int) -> bool:
    return works("nft", "list", "table", "inet", f"piwheels_rack_{number}")


def _remember_forwarding() -> None:
    before = places.STATE / "forwarding.json"
    if not before.exists():
        before.write_text(json.dumps({setting: Path("/proc/sys", setting).read_text() for setting in FORWARDING}))


def forwards(number: int) -> bool:
    """Whether the rack's rules stand and this machine forwards."""
    on = all(Path("/proc/sys", setting).read_text().strip() == "1" for setting in FORWARDING)
    return on and _has_rules(number)


def nameservers() -> list[str]:
    """The name servers of this machine that a host can reach too, which those on loopback are not."""
    for file in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if not file.exists():
            continue
        lines = [line.split() for line in file.read_text().splitlines()]
        found = [line[1] for line in lines if len(line) > 1 and line[0] == "nameserver" and not line[1].startswith(("127.", "::1"))]
        if found:
            return found
    return []

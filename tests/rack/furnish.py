"""What makes a host of a base image: its name, its neighbours, its keys, and the rack's key to it."""

import uuid
from pathlib import Path

from tests.rack import network
from tests.rack.addresses import Address, addresses
from tests.rack.commands import run

#: What nobody reads on a test host, and dpkg takes a while to unpack.
_UNREAD = ("doc", "man", "locale", "info")


def furnish(root: Path, address: Address, authorised: str) -> None:
    """Write what is a host's own into its root file system, before it boots for the first time.

    `authorised` is the line of the key that may log in as root. Raises RackError.
    """
    files = {
        "etc/hostname": f"{address.kind.name}\n",
        "etc/hosts": hosts_file(address),
        "etc/resolv.conf": resolver(address),
        "etc/machine-id": f"{uuid.uuid4().hex}\n",
        "root/.ssh/authorized_keys": authorised,
        # A host that loses its power is made good by its file system, not by a sync for each of a thousand unpacked files.
        "etc/dpkg/dpkg.cfg.d/rack": "force-unsafe-io\n" + "".join(f"path-exclude=/usr/share/{name}/*\n" for name in _UNREAD),
    }
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.write_text(content)
    run("ssh-keygen", "-q", "-A", "-f", root)


def hosts_file(address: Address) -> str:
    """The names of all hosts of the rack, with the addresses at which this one reaches them."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    for other in addresses(address.number).values():
        lines += [f"{other.ipv6} {other.kind.name}"]
        lines += [f"{other.ipv4} {other.kind.name}"] if other.ipv4 and address.ipv4 else []
    return "\n".join(lines) + "\n"


def resolver(address: Address) -> str:
    """resolv.conf: this machine's name servers; for an IPv6-only host the rack's own, which translates."""
    servers = [address.gateway_ipv6] if address.kind.ipv6_only else network.nameservers()
    return "".join(f"nameserver {server}\n" for server in servers)

"""Print what this host has for a database server, as JSON: its memory, Debian's cluster on a port, the addresses of other hosts.

The port is the first argument, their names are the others.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys


def addresses(name):
    """Of a name as this host resolves it, as networks of one address each; none where it doesn't."""
    try:
        found = {answer[4][0] for answer in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)}
    except OSError:
        return []
    return sorted(f"{address}/{128 if ':' in address else 32}" for address in found if "%" not in address)


port, *names = sys.argv[1:]
told = subprocess.run(["pg_lsclusters", "--no-header"], capture_output=True, text=True, check=True).stdout
clusters = [line.split() for line in told.splitlines()]
found = [(version, name, data) for version, name, at, _, _, data, *_ in clusters if at == port]
version, name, data = found[0] if found else ("0", "none", "")
described = {
    "memory_mb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
    "version": int(version.partition(".")[0]),
    "unit": f"postgresql@{version}-{name}.service",
    "etc_dir": str(pathlib.Path("/etc/postgresql") / version / name),
    "data_dir": data,
    "follows": (pathlib.Path(data) / "standby.signal").exists(),
    "programs": f"/usr/lib/postgresql/{version}/bin",
    "clusters": [f"{version}/{name} on port {at}" for version, name, at, *_ in clusters],
    "addresses": {name: addresses(name) for name in names},
}
print(json.dumps(described))

"""Print what this host has for a database server, as JSON: its memory, and Debian's cluster on a port."""

import json
import os
import pathlib
import subprocess
import sys

port = sys.argv[1]
told = subprocess.run(["pg_lsclusters", "--no-header"], capture_output=True, text=True, check=True).stdout
clusters = [line.split() for line in told.splitlines()]
found = [(version, name) for version, name, at, *_ in clusters if at == port]
version, name = found[0] if found else ("0", "none")
described = {
    "memory_mb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
    "version": int(version.partition(".")[0]),
    "unit": f"postgresql@{version}-{name}.service",
    "etc_dir": str(pathlib.Path("/etc/postgresql") / version / name),
    "clusters": [f"{version}/{name} on port {at}" for version, name, at, *_ in clusters],
}
print(json.dumps(described))

"""Print what an interpreter and its machine build for. Runs in any Python since 3.6, so it imports nothing of ours."""

import json
import os
import pathlib
import platform
import struct
import sys

# What a 32-bit userland calls its machine under a 64-bit kernel is the kernel's name, not its own.
OF_32_BITS = {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}
# How much longer than on a Pi 4 a build takes, by how the model is called; the first that fits counts.
SLOWNESS = (
    ("Pi Zero 2", 2.0),
    ("Pi Zero", 6.0),
    ("Pi Model", 6.0),
    ("Pi Compute Module Rev", 6.0),
    ("Pi 2", 3.0),
    ("Pi 3", 2.0),
    ("Pi Compute Module 3", 2.0),
    # The Pi 500 as well.
    ("Pi 5", 0.5),
    ("Pi Compute Module 5", 0.5),
)


def abi() -> str:
    kind = {"cpython": "cp", "pypy": "pp"}.get(sys.implementation.name, sys.implementation.name)
    free_threaded = "t" if "t" in getattr(sys, "abiflags", "") else ""
    return f"{kind}{sys.version_info[0]}{sys.version_info[1]}{free_threaded}"


def architecture() -> str:
    machine = platform.machine()
    return OF_32_BITS.get(machine, machine) if struct.calcsize("P") == 4 else machine


def os_release() -> str:
    lines = pathlib.Path("/etc/os-release").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    return fields.get("VERSION_CODENAME", "").strip("\"'") or fields.get("PRETTY_NAME", "").strip("\"'")


def model() -> str:
    try:
        return pathlib.Path("/proc/device-tree/model").read_text().strip("\0\n")
    except OSError:
        return ""


def slowness(model: str) -> float:
    return next((factor for name, factor in SLOWNESS if name in model), 1.0)


described = {
    "abi": abi(),
    # Not the one of a virtual environment, which comes and goes.
    "interpreter": os.path.realpath(sys.executable),
    "architecture": architecture(),
    "os_release": os_release(),
    "memory_mb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
    "processors": os.cpu_count() or 1,
    "slowness": slowness(model()),
}
print(json.dumps(described))

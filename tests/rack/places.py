"""Where the rack keeps things on this machine: base images in a cache for all racks, hosts in a directory of each rack."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.rack.commands import run

STATE = Path("/var/lib/piwheels-rack")


def cache() -> Path:
    """The cache, RACK_CACHE or a directory of its own."""
    return Path(os.environ.get("RACK_CACHE") or "/var/cache/piwheels-rack")


def state(number: int) -> Path:
    """What a rack has while it is up."""
    return STATE / str(number)


def lock_of(name: str) -> Path:
    """The file that two programs lock which must not work on the same thing of this machine."""
    return Path("/run/lock", f"piwheels-rack-{name}")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, waiting for whoever has it. A process that is killed loses its lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def mounts_below(directory: Path) -> list[Path]:
    """What is mounted at or below a directory, the last mounted first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    root = str(directory)
    return [Path(point) for point in reversed(points) if point == root or point.startswith(root + "/")]


def is_in_use(image: Path) -> bool:
    """Whether a host of any rack is mounted over a base image."""
    options = [line.split()[-1] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return any(f"lowerdir={image}," in option for option in options)


def remove(directory: Path) -> None:
    """Remove a directory with all below; what is mounted there is unmounted first, and never emptied. Raises RackError."""
    for point in mounts_below(directory):
        run("umount", point)
    if directory.exists():
        shutil.rmtree(directory)

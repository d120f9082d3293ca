"""What a network root costs builds, and what role netboot_client's places for them save.

    .venv/bin/python -m bench.netboot_root [--megabits 100] [--milliseconds 0.5] [--json FILE]

As root, on x86_64 Debian. An emulated machine with its whole root on NFS builds a release of many small files in three placements:
everything on the network root; as role builder leaves it (small builds in memory, what they are made with on the root); and with
role netboot_client. The cable to the file server lets so many megabits through and delays each byte so long, each way.
"""

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name, canonicalize_version

from bench import netboot_machine
from bench.offline import Offline, prepare, read_list, served
from bench.throttle import throttled
from tests.rack import places

#: pytz has a file for each of 600 time zones, and nothing to compile: what it costs is files.
RELEASES = ("pytz",)
REQUIRES = ("setuptools", "packaging", "wheel")
#: A Pi with 2 GB: its memory as role builder is told of it, and role netboot_client's parts.
MEGABYTES = 2048
TOLD_MB = 1960
BUILDS_PERCENT, CACHES_PERCENT = 25, 15
#: Long before the first build: build requirements have no upload time here.
UPLOADED = "2026-01-01T00:00:00+00:00"


def placements() -> list[dict[str, Any]]:
    builds, caches = TOLD_MB * BUILDS_PERCENT // 100, TOLD_MB * CACHES_PERCENT // 100
    role = {"build_memory_mb": builds, "caches_dir": "/run/piwheels", "memory_mb": TOLD_MB - caches, "file_server": ["/"]}
    return [
        {"name": "all on the root", "settings": {"build_in_memory": False}, "shm_mb": TOLD_MB // 4, "caches_mb": 0},
        {"name": "role builder alone", "settings": {}, "shm_mb": TOLD_MB // 4, "caches_mb": 0},
        {"name": "with role netboot_client", "settings": role, "shm_mb": builds, "caches_mb": caches},
    ]


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options = parsed()
    place = places.cache() / "netboot-bench"
    place.mkdir(parents=True, exist_ok=True)
    root = place / "root"
    netboot_machine.make_root(root)
    netboot_machine.make_initial_ramdisk(root, place / "initrd")
    pins = [pin for pin in read_list() if pin.project in (RELEASES if pin.is_release else REQUIRES)]
    offline = prepare(place / "offline", pins)
    found = list(measured(options, place, offline))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    for line in table(found):
        print(line)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megabits", type=float, default=100.0, help="a second that the cable lets through, each way")
    parser.add_argument("--milliseconds", type=float, default=0.5, help="by which the cable delays each byte, each way")
    parser.add_argument("--json", type=Path, help="where all figures go")
    return parser.parse_args()


def measured(options: argparse.Namespace, place: Path, offline: Offline) -> Iterator[dict[str, Any]]:
    """What the machine measured, in its order."""
    root = place / "root"
    with served(place / "offline") as here, netboot_machine.exported(root, place) as port:
        index = here.replace("127.0.0.1", "10.0.2.2")
        plan = {"placements": placements(), "releases": list(releases(offline, index)), "index": index}
        (root / "bench/plan.json").write_text(json.dumps(plan))
        with throttled(port, options.megabits, options.milliseconds / 1000) as cable:
            for line in netboot_machine.boot(root, place, cable, MEGABYTES):
                print(line, file=sys.stderr, flush=True)
                if "bench: " in line:
                    yield json.loads(line.partition("bench: ")[2])


def releases(offline: Offline, index: str) -> Iterator[Mapping[str, Any]]:
    for pin, path in offline.sdists.items():
        url = index.replace("/simple/", f"/files/{path.name}")
        sdist = {"filename": path.name, "url": url, "sha256": pin.sha256, "size": path.stat().st_size, "upload_time": UPLOADED}
        yield {"project": canonicalize_name(pin.project), "version": canonicalize_version(pin.version), "sdist": sdist}


def table(found: list[dict[str, Any]]) -> Iterator[str]:
    """In Markdown, a line for each placement."""
    names = list(found[0]["seconds"]) if found else []
    yield f"| placement | {' | '.join(f'{name}, first' for name in names)} | {' | '.join(names)} | NFS calls | MB | ms a call |"
    yield f"|---|{'--:|' * (2 * len(names) + 3)}"
    for first, again in zip(found[::2], found[1::2], strict=True):
        seconds = [f"{one['seconds'][name]:.1f}" for one in (first, again) for name in names]
        calls = f"{first['calls']} + {again['calls']}"
        megabytes = f"{(first['sent'] + first['received']) / 1e6:.0f} + {(again['sent'] + again['received']) / 1e6:.0f}"
        each = (first["milliseconds"] + again["milliseconds"]) / max(1, first["calls"] + again["calls"])
        yield f"| {first['name']} | {' | '.join(seconds)} | {calls} | {megabytes} | {each:.1f} |"


if __name__ == "__main__":
    main()

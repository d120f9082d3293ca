"""How fast releases become wheels: pip in a loop against the service and the command, over a fixed list of real releases.

    python -m bench.build [--quick] [--rounds 3] [--json FILE]

Every side reads the same sdists and the same wheels of build requirements from a cache on this machine, made at the first run by
pip from the index it is configured with (--cache). Prints a table for docs/benchmarks.md; exit code 1 when a goal is missed.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench.build_report import Measured, as_json, goals, told
from bench.offline import prepare, served
from bench.sides import Site, by_command, by_pip, service
from bench.watching import Footprint
from piwheels_builder.builder.trial import default_state_dir
from piwheels_builder.builder.warm_parent import IDLE_SECONDS

#: Of the list, for --quick.
_QUICK = ("docopt", "requests", "idna", "urllib3", "rich", "tqdm", "spidev", "markupsafe")
#: Seconds after the last build until the service counts as idle, its warm parents gone, and for how long it is then watched.
_SETTLE = IDLE_SECONDS + 15
_WATCH = 60


def main() -> int:
    options = _parser().parse_args()
    began = time.monotonic()
    offline = prepare(options.cache)
    if options.quick:
        offline = replace(offline, releases=tuple(release for release in offline.releases if release.project in _QUICK))
    with served(options.cache) as index, tempfile.TemporaryDirectory(prefix="run-", dir=options.cache) as place:
        site = Site(offline, index, Path(place), _tell, _environment(index, Path(place)))
        measured = measure(site, 1, 5, 10) if options.quick else measure(site, options.rounds, _SETTLE, _WATCH)
    _tell(f"done after {time.monotonic() - began:.0f} s\n")
    print(told(measured))
    if options.json:
        options.json.write_text(json.dumps(as_json(measured), indent=1) + "\n", encoding="utf-8")
    return 0 if all(goal.reached for goal in goals(measured)) else 1


def measure(site: Site, rounds: int, settle: float, watch: float) -> Measured:
    """All sides, one after the other; within a round in turn, so that a change of the machine's mood meets all of them."""
    cores = os.cpu_count() or 1
    with service(site, site.place / "one", slots=1) as one:
        fresh = one.footprint()
        cold = one.build_all("service, cold")
        # It remembers resolutions by the index that was named, and pip's configuration names it here: once for all rounds.
        by_command(site, "command, first", one.state)
        pip, warm, command = [], [], []
        for number in range(1, rounds + 1):
            pip.append(by_pip(site))
            warm.append(one.build_all(f"service, round {number}"))
            command.append(by_command(site, f"command, round {number}", one.state))
        idle, cpu = _idle(one.footprint, settle, watch)
    # The same state directory: its environments are there already.
    with service(site, site.place / "one", slots=cores) as many:
        many.build_all("in parallel, cold")
        parallel = [many.build_all(f"in parallel, round {number}") for number in range(1, rounds + 1)]
    return Measured(
        site.releases, site.offline.pip_version, cores, pip, cold, warm, command, parallel, fresh=fresh, idle=idle, cpu=cpu / watch
    )


def _idle(look: Callable[[], Footprint], settle: float, watch: float) -> tuple[Footprint, float]:
    """The footprint after a while without work, and seconds of CPU that it took in ``watch`` seconds of that."""
    _tell(f"service, idle for {settle + watch:.0f} s")
    time.sleep(settle)
    before = look()
    time.sleep(watch)
    after = look()
    return after, max(0.0, after.cpu - before.cpu)


def _environment(index: str, place: Path) -> dict[str, str]:
    """The same for every side: nothing of the caller's that could slow one of them down or send it to the network."""
    (place / "tmp").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "TMPDIR": str(place / "tmp"),
        "LANG": "C.UTF-8",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_INDEX_URL": index,
    }


def _tell(what: str) -> None:
    """One line that is written over; where it can't be, a line for whatever is new."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)
    else:
        print(what, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round over eight releases: to try it, not to quote it")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of which the median counts (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--cache", type=Path, default=default_state_dir() / "bench", help="default: %(default)s")
    return parser


if __name__ == "__main__":
    sys.exit(main())

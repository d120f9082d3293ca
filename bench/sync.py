"""Sync at full size, against a local upstream that serves a generated catalogue: first fill, nothing changed, 500 changed.

    python -m bench.sync --size first        # an empty database is filled, then followed
    python -m bench.sync --size today        # the kept database of 736,344 projects is followed, nothing changed

Every sync is a process of its own, as the module and the command are; its memory is that of all its processes together,
what they share counted more than once.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from bench.catalogue.databases import database
from bench.catalogue.shape import ARCHITECTURE, OS_RELEASE, PYTHONS, SIZES
from bench.catalogue.upstream import LocalUpstream, serving
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.sync import Ways, sync
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.queue.members import register_builder
from piwheels_builder.targets import Target
from tests.support.database import embedded_server, fresh_database, rows

CHANGED = 500
FILL_PER_SECOND, SECONDS_UNCHANGED, SECONDS_CHANGED, MEGABYTES = 1000, 5, 60, 300
_SAMPLE_SECONDS = 0.2


@dataclass(frozen=True)
class Round:
    """A sync that was measured: ``requests`` upstream answered for it, ``megabytes`` at most, ``cpu`` seconds of its processes."""

    visited: int
    filled: int
    left: int
    releases: int
    files: int
    wanted: int
    behind: int
    seconds: float
    cpu: float
    megabytes: float
    requests: int

    def __str__(self) -> str:
        return (
            f"{self.visited:,} projects, {self.releases:,} releases, {self.files:,} files, {self.wanted:,} builds wanted; "
            f"{self.requests:,} requests, {self.seconds:.1f} s ({self.cpu:.1f} s of processor), {self.megabytes:.0f} MB"
        )


def main() -> int:
    """Exit code 1 where a goal is missed."""
    options = _options()
    if options.round:
        return _round(json.loads(options.round))
    with serving(options.size, prepared=options.size != "today") as upstream, _database(options.size) as filled:
        goals = _followed(filled, upstream) if options.size == "today" else _all(filled, upstream, options)
    for told, reached in goals:
        print(f"{'reached' if reached else 'MISSED '}  {told}")
    return 0 if all(reached for _, reached in goals) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="first")
    parser.add_argument("--releases", default="latest", help="wanted of each project: a number, latest or all")
    parser.add_argument("--fill-seconds", type=float, help="end the first fill after so long, and leave the rest out")
    parser.add_argument("--round", help=argparse.SUPPRESS)
    return parser.parse_args()


@contextmanager
def _database(size: Any) -> Iterator[EmbeddedDatabase]:
    if size == "today":
        with database(size) as kept:
            yield kept
        return
    with embedded_server() as server, fresh_database(server) as empty:
        add_targets(empty)
        yield empty


def add_targets(empty: EmbeddedDatabase) -> None:
    """The targets that the generated catalogue is built for."""
    with connected(empty.conninfo("piwheels_owner")) as connection:
        register_builder(connection, "pi", 8192, 4, [Target(python, ARCHITECTURE, OS_RELEASE) for python in PYTHONS])


def _all(empty: EmbeddedDatabase, upstream: LocalUpstream, options: argparse.Namespace) -> list[tuple[str, bool]]:
    first = measured(empty, upstream, options.releases, options.fill_seconds)
    rate = first.filled / first.seconds
    print(f"first fill: {first}")
    goals = [
        (f"fill {rate:,.0f} projects/s, goal {FILL_PER_SECOND:,}", rate >= FILL_PER_SECOND),
        (f"fill in {first.megabytes:.0f} MB, goal {MEGABYTES}", first.megabytes <= MEGABYTES),
    ]
    if first.left:
        return goals
    goals += _unchanged(empty, upstream, options.releases)
    upstream.change(min(CHANGED, SIZES[options.size].projects // 2))
    changed = measured(empty, upstream, options.releases)
    print(f"{CHANGED} changed: {changed}")
    goals.append((f"{CHANGED} changed in {changed.seconds:.1f} s, goal {SECONDS_CHANGED}", changed.seconds <= SECONDS_CHANGED))
    goals.append((f"then {changed.behind} behind, goal 0", changed.behind == 0))
    return goals


def _followed(kept: EmbeddedDatabase, upstream: LocalUpstream) -> list[tuple[str, bool]]:
    """Nothing but the row that says how fresh the catalogue is changes in the kept database, and that is taken back."""
    try:
        return _unchanged(kept, upstream, "latest")
    finally:
        rows(kept, "DELETE FROM upstream_state")


def _unchanged(filled: EmbeddedDatabase, upstream: LocalUpstream, releases: str) -> list[tuple[str, bool]]:
    goals = []
    # As after a round that left something undone: the page of all names is read and compared.
    rows(filled, "UPDATE upstream_state SET listing_etag = NULL")
    for how in ("the page of all names read", "the page of all names not modified"):
        unchanged = measured(filled, upstream, releases)
        print(f"nothing changed, {how}: {unchanged}")
        reached = unchanged.seconds <= SECONDS_UNCHANGED and unchanged.requests == 1
        goals.append((f"nothing changed, {how}: {unchanged.seconds:.1f} s, {unchanged.requests} request", reached))
        goals.append((f"in {unchanged.megabytes:.0f} MB, goal {MEGABYTES}", unchanged.megabytes <= MEGABYTES))
    return goals


def measured(filled: EmbeddedDatabase, upstream: LocalUpstream, releases: str, seconds: float | None = None) -> Round:
    """One round over all of upstream, in a process of its own."""
    order = {
        "conninfo": filled.conninfo("piwheels_dispatcher"),
        "upstream": upstream.url,
        "releases": releases,
        "seconds": seconds,
    }
    before, began = sum(upstream.requests().values()), time.monotonic()
    command = [sys.executable, "-m", "bench.sync", "--round", json.dumps(order)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        most = _most_megabytes(process)
        assert process.stdout is not None
        told = json.loads(process.stdout.read())
    took = time.monotonic() - began
    return Round(**told, seconds=took, megabytes=most, requests=sum(upstream.requests().values()) - before)


def _most_megabytes(process: "subprocess.Popen[str]") -> float:
    whole, most = psutil.Process(process.pid), 0.0
    while process.poll() is None:
        try:
            most = max(most, sum(each.memory_info().rss for each in [whole, *whole.children(recursive=True)]) / 1e6)
        except psutil.NoSuchProcess:
            continue
        time.sleep(_SAMPLE_SECONDS)
    return most


def _round(order: dict[str, Any]) -> int:
    """What the process does."""
    policy = Policy.read("missing", "all", order["releases"])
    with UpstreamIndex(order["upstream"]) as upstream:
        report = sync(order["conninfo"], upstream, policy, ways=Ways(seconds=order["seconds"]))
    with connected(order["conninfo"]) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT behind FROM upstream_state")
        (behind,) = cursor.fetchone() or (0,)
    times = psutil.Process().cpu_times()
    told = {
        "visited": report.visited,
        "filled": report.filled.projects,
        "left": report.left,
        "releases": report.releases,
        "files": report.files,
        "wanted": len(report.wanted) + report.filled.wanted,
        "behind": behind,
        "cpu": times.user + times.system + times.children_user + times.children_system,
    }
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())

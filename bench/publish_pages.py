"""Write the whole index of a generated catalogue, then publish wheels one by one among its releases.

    python -m bench.publish_pages [--size percent|first] [--wheels 20] [--names 736344]

Real PostgreSQL and a real tree on this machine's disk; the catalogue is simulated (bench/catalogue/shape.py). Every page is
written as JSON and HTML, compressed, and synced; those of the OS release besides where they differ. Exit code 1 where a goal is
missed, at the size first: the whole index within 60 s, one wheel with its page of 100 files within 50 ms (median,
over a connection that is open).
"""

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import aiosql

from bench.catalogue.databases import database
from piwheels_builder.db.connect import Connection, connected
from piwheels_builder.index.layout import SimpleRoot
from piwheels_builder.index.pages import listing_html, listing_json
from piwheels_builder.index.publication import Report, publish
from piwheels_builder.index.tree import open_tree
from piwheels_builder.targets import Target
from tests.support.fleet import Fleet
from tests.support.published import IndexHost, public_directory

INDEX_SECONDS, WHEEL_SECONDS = 60.0, 0.050
_queries = aiosql.from_path(Path(__file__).with_suffix(".sql"), "psycopg2")
_TARGET = Target("cp311", "armv7l", "bookworm")
_FILES = 100
Result = TypeVar("Result")


@dataclass(frozen=True)
class Figures:
    """Seconds; ``inodes`` are files and directories of all pages."""

    index: float
    again: float
    wheels: tuple[float, ...]
    inodes: int

    @property
    def wheel(self) -> float:
        return statistics.median(self.wheels)


def main() -> int:
    options = _parser().parse_args()
    with database(options.size, copy=True) as catalogue, public_directory() as place:
        figures = measure(IndexHost(Fleet(catalogue), place), options.wheels)
        measure_listing(place, options.names)
    return 1 if options.size == "first" and not (figures.index <= INDEX_SECONDS and figures.wheel <= WHEEL_SECONDS) else 0


def measure(host: IndexHost, wheels: int) -> Figures:
    """The whole index, the same again, then wheels of one project, each with the page and whatever else is due."""
    host.outbox.mkdir()
    with connected(host.conninfo) as connection:
        projects, releases, served = _queries.count_pages(connection)
    print(f"{projects:,} projects with pages, {releases:,} releases, {served:,} wheels of ours (simulated)")
    index, report = _timed("write the whole index", lambda: _publish(host))
    if not 0 < report.pages_written <= projects:
        raise SystemExit(f"measured something else: {report}")
    inodes = sum(1 for root in ("simple", "bookworm") for _ in (host.tree / root).rglob("*"))
    print(f"{inodes:,} inodes for the pages of {report.pages_written:,} projects")
    again, _ = _timed("look at all of it again, nothing changed", lambda: _publish(host, rerender=True))
    print(f"sync a small file on this disk: median {_sync_seconds(host.place) * 1000:.1f} ms")
    figures = Figures(index, again, tuple(_measure_wheel(host, number) for number in range(wheels)), inodes)
    print(f"publish one wheel, its page of {_FILES} files included: median {figures.wheel * 1000:.0f} ms")
    return figures


def _sync_seconds(place: Path) -> float:
    """What the disk itself takes: nothing is published faster than in four of these, one after the other."""
    taken = []
    for number in range(50):
        with (place / f"synced-{number}").open("wb") as file:
            file.write(b"x" * 10_000)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def measure_listing(place: Path, names: int) -> None:
    """The listing of a root, once its names are known."""
    listed, root = [f"some-project-{number}" for number in range(names)], SimpleRoot()
    with open_tree(place / "listing") as tree:

        def write() -> bool:
            return tree.write({root.listing("json"): listing_json(listed), root.listing("html"): listing_html(listed)})

        _timed(f"write a listing of {names:,} names", write)


def _measure_wheel(host: IndexHost, number: int) -> float:
    name = f"measured-{number}"
    build_id = host.fleet.want(name, _TARGET, priority=0)
    with connected(host.fleet.database.conninfo("piwheels_owner")) as connection:
        _queries.add_sdists(connection, name=name, sdists=_FILES - 2)
    host.finish(build_id, name, text="x" * 50_000)
    with connected(host.conninfo) as connection:
        began = time.perf_counter()
        report = _publish_over(connection, host)
        seconds = time.perf_counter() - began
    if len(report.published) != 1 or report.pages_written != 1:
        raise SystemExit(f"measured something else: {report}")
    return seconds


def _publish(host: IndexHost, *, rerender: bool = False) -> Report:
    with connected(host.conninfo) as connection:
        return _publish_over(connection, host, rerender=rerender)


def _publish_over(connection: Connection, host: IndexHost, *, rerender: bool = False) -> Report:
    # What the catalogue's history has in the outbox is nowhere.
    return publish(connection, host.tree, {"pi1": host.outbox}, host.rules, uncollected=["pi1"], rerender=rerender)


def _timed(what: str, work: Callable[[], Result]) -> tuple[float, Result]:
    began, busy = time.perf_counter(), _processor_seconds()
    result = work()
    seconds = time.perf_counter() - began
    print(f"{what}: {seconds:.2f} s, of which {_processor_seconds() - busy:.2f} of a processor, besides the database", flush=True)
    return seconds, result


def _processor_seconds() -> float:
    """Of this process and those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure publication at full size.")
    parser.add_argument("--size", choices=("percent", "first"), default="first")
    parser.add_argument("--wheels", type=int, default=20)
    parser.add_argument("--names", type=int, default=736_344, help="in the listing")
    return parser


if __name__ == "__main__":
    sys.exit(main())

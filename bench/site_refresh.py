"""Bring the pages of a thousand touched projects up to date, divide a whole upstream's names for searching, look at a page.

    python -m bench.site_refresh [--size percent|first] [--projects 1000] [--names 736344]

Real PostgreSQL with a generated catalogue (bench/catalogue/shape.py), a real tree on this machine's disk, and, where it is there,
Debian's Chromium. Exit code 1 where a goal is missed: the thousand within 5 s, what one search reads 100 kB, the first
paint of a project's page 200 ms (median of nine), what a first visit reads 150 kB.
"""

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiosql

from bench.catalogue.databases import database
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.db.connect import connected
from piwheels_builder.index.tree import open_tree
from piwheels_builder.site.refresh import SiteRules, refreshing
from piwheels_builder.site.search import search_files
from tests.support.browser import chromium
from tests.support.published import nginx_serving, public_directory

REFRESH_SECONDS, SEARCH_BYTES, PAINT_SECONDS, VISIT_BYTES = 5.0, 100_000, 0.200, 150_000
_queries = aiosql.from_path(Path(__file__).with_suffix(".sql"), "psycopg2")
_RULES = SiteRules(Policy("missing", None, None))


@dataclass
class Spent:
    """Seconds by the clock and of this process."""

    seconds: float = 0
    processor: float = 0


def main() -> int:
    options = _parser().parse_args()
    with database(options.size, copy=True) as catalogue, public_directory() as place:
        conninfo = catalogue.conninfo("piwheels_publisher")
        fast = measure_refresh(conninfo, place / "published", options.projects)
        found = measure_search(options.names)
        seen = measure_page(conninfo, place) if shutil.which("chromium") else True
    return 0 if fast and found and seen else 1


def measure_refresh(conninfo: str, published: Path, projects: int) -> bool:
    """Every page of the touched projects is new, then none of them is; then what moves."""
    with connected(conninfo) as connection, open_tree(published) as tree, refreshing(connection, tree, _RULES) as refresh:
        ids = [project_id for (project_id,) in _queries.largest_projects(connection, most=projects)]
        refresh.state.swept_to = None
        with _measured(f"write the pages of {len(ids):,} projects") as first:
            if refresh.projects(ids) != len(ids):
                raise SystemExit("measured something else: not every project had a page")
        with _measured("look at the same again, nothing changed"):
            refresh.projects(ids)
        with _measured("write what moves, and the search index"):
            refresh.overview()
        with _measured("write what moves"):
            refresh.overview()
    sizes = sorted(path.stat().st_size for path in published.glob("site/project/*/*.html.gz"))
    print(f"a project's page: median {sizes[len(sizes) // 2]:,} bytes, the largest {sizes[-1]:,} (compressed)")
    return first.seconds <= REFRESH_SECONDS


def measure_search(names: int) -> bool:
    """The files of so many names, one in ten of them with pages of ours. One search reads the list of files and one of them."""
    made = [f"{first}-{second}{number}" for number in range(names // 900 + 1) for first in _WORDS for second in _WORDS][:names]
    with _measured(f"divide {len(made):,} names"):
        files = {place.name: len(content) for place, content in search_files(made, set(made[::10])).items()}
    most = files.pop("shards.json") + max(files.values())
    print(f"{len(files):,} files; one search reads {most:,} bytes at most (not compressed)")
    return most <= SEARCH_BYTES


def measure_page(conninfo: str, place: Path) -> bool:
    """The first paint of the page of the project with the most releases, nothing cached."""
    with connected(conninfo) as connection:
        ((name,),) = _queries.name_of_largest(connection)
    paints, read = [], 0.0
    with nginx_serving(place / "published", place, "http://upstream.invalid/simple") as url, chromium() as page:
        page.size(1280)
        for _ in range(9):
            page.send("Network.clearBrowserCache")
            page.received = 0
            page.open(f"{url}/project/{name}/")
            page.until("performance.getEntriesByName('first-contentful-paint').length")
            paints.append(page.run("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000)
            read = page.received
    paint = statistics.median(paints)
    print(f"first paint of {name}: median {1000 * paint:.0f} ms; a first visit reads {read:,.0f} bytes")
    return paint <= PAINT_SECONDS and read <= VISIT_BYTES


_WORDS = [
    f"{first}{second}" for first in ("py", "data", "web", "lib", "micro", "open") for second in ("tool", "net", "kit", "api", "x")
]


@contextmanager
def _measured(what: str) -> Iterator[Spent]:
    spent, clock, processor = Spent(), time.perf_counter(), time.process_time()
    yield spent
    spent.seconds, spent.processor = time.perf_counter() - clock, time.process_time() - processor
    print(f"{what}: {spent.seconds:.2f} s, of it {spent.processor:.2f} s of this process", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure the site.")
    parser.add_argument("--size", choices=("percent", "first"), default="percent")
    parser.add_argument("--projects", type=int, default=1000)
    parser.add_argument("--names", type=int, default=736_344, help="to be searched")
    return parser


if __name__ == "__main__":
    sys.exit(main())

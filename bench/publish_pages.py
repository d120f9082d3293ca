"""How long publication takes: the pages of many projects, and one wheel from the outbox to its page.

    python -m bench.publish_pages [--projects 1000] [--files 10] [--wheels 50]

Real PostgreSQL and a real tree on this machine's /tmp; prints one line per measurement.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import connected
from piwheels_builder.index.publication import Report
from tests.support.database import embedded_server, fresh_database
from tests.support.fleet import Fleet
from tests.support.published import IndexHost, public_directory

_queries = aiosql.from_path(Path(__file__).with_suffix(".sql"), "psycopg2")


def main() -> None:
    options = _parser().parse_args()
    with embedded_server() as server, fresh_database(server) as database, public_directory() as place:
        (place / "outbox").mkdir()
        fleet = Fleet(database)
        fleet.add_builder("pi1")
        host = IndexHost(fleet, place)
        measure_pages(host, options.projects, options.files)
        measure_wheels(host, options.wheels)


def measure_pages(host: IndexHost, projects: int, files: int) -> None:
    """Half of the files upstream's, half ours; every page exists in two roots, as HTML, JSON and both compressed."""
    with connected(host.fleet.database.conninfo("piwheels_owner")) as connection:
        _queries.add_projects(connection, projects=projects)
        _queries.add_releases(connection, releases=files // 2)
        _queries.add_sdists(connection)
        _queries.add_builds(connection)
        _queries.add_attempts(connection)
        _queries.add_wheels(connection)
        _queries.make_pages_due(connection)
    sized = f"{projects} projects x {files} files in two roots"
    with timed(f"write the pages of {sized}", projects):
        expect(host.publish(), pages=projects)
    with connected(host.fleet.database.conninfo("piwheels_owner")) as connection:
        _queries.make_pages_due(connection)
    with timed(f"look at them again, unchanged: {sized}", projects):
        expect(host.publish(), pages=0)
    with connected(host.fleet.database.conninfo("piwheels_owner")) as connection:
        _queries.yank_project(connection, name="project7")
    host.page_changed("project7")
    with timed("write one page among them", 1):
        expect(host.publish(), pages=1)


def measure_wheels(host: IndexHost, wheels: int) -> None:
    for number in range(wheels):
        host.build(f"wheel{number}", text="x" * 50_000)
    with timed(f"publish {wheels} wheels of projects of their own, pages and listings included", wheels):
        expect(host.publish(), pages=wheels)
    host.build("single", text="x" * 50_000)
    with timed("publish one wheel", 1):
        expect(host.publish(), pages=1)


@contextmanager
def timed(what: str, number: int) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    print(f"{what}: {seconds:.2f} s ({1000 * seconds / number:.1f} ms each)", flush=True)


def expect(report: Report, *, pages: int) -> None:
    if report.refused or report.lost or report.pages_written != pages:
        raise SystemExit(f"measured something else: {report}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure publication.")
    parser.add_argument("--projects", type=int, default=1000)
    parser.add_argument("--files", type=int, default=10, help="files on each page")
    parser.add_argument("--wheels", type=int, default=50)
    return parser


if __name__ == "__main__":
    main()

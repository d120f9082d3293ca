"""Make a catalogue of a size and look at it, or serve it: python -m bench.catalogue load --size first."""

import argparse
import sys
import time
from contextlib import suppress

from bench.catalogue.databases import database, home, place_of
from bench.catalogue.generate import Catalogue
from bench.catalogue.load import queries
from bench.catalogue.shape import SIZES
from bench.catalogue.shelf import Shelf
from bench.catalogue.upstream import LocalUpstream, serve
from piwheels_builder.db.connect import Connection, connected

#: Bytes a release may take in the database, all in.
GOAL = 2_500


def main() -> int:
    """Exit code 1 where a goal is missed."""
    options = _options()
    return int(options.run(options))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.catalogue", description=__doc__)
    commands = parser.add_subparsers(required=True)
    load = commands.add_parser("load", help="make the database of a size unless it is there; say how large it is")
    load.add_argument("--size", choices=SIZES, default="percent", help="percent (the default) of first, 2017; sample of today")
    load.set_defaults(run=_load)
    serve_ = commands.add_parser("serve", help="serve it as an upstream index on 127.0.0.1, until interrupted")
    serve_.add_argument("--size", choices=SIZES, default="percent")
    serve_.add_argument("--port", type=int, default=0, help="default: any free one")
    serve_.add_argument("--html", action="store_true", help="without JSON, serials and ETags")
    serve_.add_argument("--prepared", action="store_true", help="make all pages first, and keep them: for first, 0.6 GB")
    serve_.set_defaults(run=_serve)
    change = commands.add_parser("change", help="let something happen to so many projects of a server that runs")
    change.add_argument("projects", type=int)
    change.add_argument("--server", required=True, help="what serve said: http://127.0.0.1:PORT/simple/")
    change.set_defaults(run=_change)
    return parser.parse_args()


def _serve(options: argparse.Namespace) -> int:
    catalogue = Catalogue(SIZES[options.size])
    with suppress(KeyboardInterrupt):
        serve(catalogue, options.port, html=options.html, shelf=Shelf(catalogue, home()) if options.prepared else None)
    return 0


def _change(options: argparse.Namespace) -> int:
    for change in LocalUpstream(options.server).change(options.projects):
        print(f"{change['serial']}  {change['project']}  {change['kind']}  {change['version'] or ''}")
    return 0


def _load(options: argparse.Namespace) -> int:
    began, is_there = time.monotonic(), place_of(options.size).exists()
    with database(options.size) as kept, connected(kept.conninfo("piwheels_owner")) as connection:
        print(f"{place_of(options.size)}: " + ("was there" if is_there else f"made in {time.monotonic() - began:.0f} s"))
        each = _show_sizes(connection, SIZES[options.size].releases)
    return 1 if each > GOAL else 0


def _show_sizes(connection: Connection, releases: int) -> float:
    print(f"{'bytes a release':24}{'rows':>12}{'heap':>8}{'TOAST':>8}{'indexes':>8}{'all':>8}")
    total = 0
    for table, rows, heap, toast, indexes in queries.table_bytes(connection):
        all_in = heap + toast + indexes
        total += all_in
        figures = "".join(f"{bytes_ / releases:8.0f}" for bytes_ in (heap, toast, indexes, all_in))
        print(f"{table:24}{rows:12,}{figures}")
    print(f"{'all tables':24}{'':36}{total / releases:8.0f}   goal {GOAL}")
    for index, bytes_ in queries.index_bytes(connection):
        print(f"  {index:40}{bytes_ / releases:8.0f}")
    return float(total / releases)


if __name__ == "__main__":
    sys.exit(main())

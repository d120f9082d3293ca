"""Prove the queue's shape: 752,817 releases x 3 targets with a history, 1 % wanted; how long do lease and record take?

Run: .venv/bin/python -m bench.queue_shape. Uses an embedded PostgreSQL with its defaults, one client, SQL time.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiosql

from piwheels_builder.db.connect import Connection, connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from tests.support.database import embedded_server, fresh_database

_queries = aiosql.from_path(Path(__file__).with_suffix(".sql"), "psycopg2")
#: Nodes of a plan that read a whole table; on these two that would be the whole catalogue or history.
_FORBIDDEN = {("Seq Scan", table) for table in ("build", "release", "upstream_file", "attempt", "wheel", "queue")}


def main() -> int:
    """Fill a database, time leases and records, look at the plans. Exit code 1 where a plan scans a whole table."""
    options = _options()
    with embedded_server() as server, fresh_database(server) as database:
        _fill(database, options.releases)
        leases, records = _run(database, options.rounds, options.builds)
        _show(f"lease of {options.builds} builds", leases)
        _show("record of one attempt", records)
        scans = _full_scans(database)
        print("plans with a full scan:", ", ".join(scans) or "none")
    return 1 if scans else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=int, default=752_817, help="releases in the catalogue (default: the first run's)")
    parser.add_argument("--rounds", type=int, default=1000, help="batches leased and recorded")
    parser.add_argument("--builds", type=int, default=10, help="builds in a batch")
    return parser.parse_args()


def _fill(database: EmbeddedDatabase, releases: int) -> None:
    started = time.perf_counter()
    with connected(database.conninfo("piwheels_owner")) as connection:
        for fill in ("targets", "projects", "releases", "files", "builds", "attempts", "wheels", "queue"):
            getattr(_queries, f"fill_{fill}")(connection, releases=releases)
    with connected(database.conninfo("piwheels_owner"), autocommit=True) as connection:
        _queries.analyze(connection)
        counts = dict(_queries.row_counts(connection))
    with connected(database.superuser_conninfo(), autocommit=True) as connection:
        _queries.checkpoint(connection)
    print(f"filled in {time.perf_counter() - started:.0f} s:", ", ".join(f"{n:,} {table}" for table, n in counts.items()))


def _run(database: EmbeddedDatabase, rounds: int, builds: int) -> tuple[list[float], list[float]]:
    leases, records = [], []
    with (
        connected(database.conninfo("piwheels_dispatcher"), autocommit=True) as dispatcher,
        connected(database.conninfo("builder_bench"), autocommit=True) as builder,
    ):
        for _ in range(rounds):
            seconds, rows = _timed(lambda: list(_queries.lease(dispatcher, builds=builds)))
            leases.append(seconds)
            for place, row in enumerate(rows):
                seconds, answer = _timed(partial(_record, builder, place, *row))
                records.append(seconds)
                if answer != "recorded":
                    raise SystemExit(f"a result was not recorded, but {answer}")
    return leases, records


def _record(connection: Connection, place: int, lease_id: str, build_id: int, wheel: str) -> Any:
    """Every fourth attempt has failed."""
    if place % 4 == 0:
        return _queries.record_failure(connection, lease_id=lease_id, build_id=build_id)
    return _queries.record_success(connection, lease_id=lease_id, build_id=build_id, wheel=wheel)


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def _show(what: str, seconds: list[float]) -> None:
    ordered = sorted(seconds)
    p99 = ordered[int(len(ordered) * 0.99)]
    print(f"{what}: {len(ordered)} calls, median {statistics.median(ordered) * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms")


def _full_scans(database: EmbeddedDatabase) -> list[str]:
    """Tables that the statements inside lease_batch and record_attempt read whole, by auto_explain's plans."""
    with connected(database.superuser_conninfo(database.name)) as connection:
        _queries.explain_inner_statements(connection)
        rows = list(_queries.lease(connection, builds=10))
        _queries.be_the_bench_builder(connection)
        for place, row in enumerate(rows):
            _record(connection, place, *row)
        connection.rollback()
        plans = [json.loads(notice.partition("plan:\n")[2]) for notice in connection.notices if "plan:" in notice]
    if not plans:
        raise SystemExit("no plan was seen: auto_explain told nothing")
    found = {(node["Node Type"], node.get("Relation Name", "")) for plan in plans for node in _nodes(plan["Plan"])}
    return sorted(table for kind, table in found & _FORBIDDEN for _ in [kind])


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]


if __name__ == "__main__":
    sys.exit(main())

"""A million leases and results through one table: is the last as fast as the first, and how large do table and indexes grow?

Run: .venv/bin/python -m bench.queue_churn [--results N]. A database of the first run's size; as the queue empties, finished builds
are queued again, so that it stays some 20,000 long. Two clients lease batches of ten and record each build. Ends with 1 where the
last calls take half as long again as the first, or a table or index has grown by half since the first tenth.
"""

import argparse
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.queue_filled import FIRST, fill, queries, server_of_8_gb
from bench.queue_shape import record
from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from tests.support.database import fresh_database

_CLIENTS = 2
#: Builds queued again at once, when so many results have come in.
_REFILL = 5000
RATIO = 1.5


@dataclass
class Tenth:
    """A tenth of the run: seconds of its calls, and the bytes and dead rows of each table and index at its end."""

    leases: list[float] = field(default_factory=list)
    records: list[float] = field(default_factory=list)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def p99(self, calls: Sequence[float]) -> float:
        return sorted(calls)[int(len(calls) * 0.99)]


def main() -> int:
    """Run, print a table, compare the last tenth with the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=1_000_000)
    parser.add_argument("--releases", type=int, default=FIRST)
    options = parser.parse_args()
    with server_of_8_gb() as server, fresh_database(server) as database:
        fill(database, options.releases)
        tenths = churn(database, options.results)
    _print(tenths)
    missed = grown(tenths[0], tenths[-1])
    print("\n".join(f"missed: {what}" for what in missed) or "every goal is reached")
    return 1 if missed else 0


def churn(database: EmbeddedDatabase, results: int) -> list[Tenth]:
    """Lease and record so many builds; what each tenth of them was like."""
    tenths, after = [], 0
    for _ in range(10):
        tenth = Tenth()
        for share in _shares(results // 10):
            after = _refill(database, share, after)
            clients = [threading.Thread(target=_work, args=(database, share // _CLIENTS, tenth)) for _ in range(_CLIENTS)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
        with connected(database.conninfo("piwheels_owner"), autocommit=True) as connection:
            tenth.sizes = {name: (size, dead) for name, size, dead in queries.sizes(connection)}
        tenths.append(tenth)
        print(f"{len(tenths)} tenths of {results:,}", file=sys.stderr, flush=True)
    return tenths


def grown(first: Tenth, last: Tenth) -> list[str]:
    """What the last tenth does worse than the first by half."""
    calls = {"lease": (first.leases, last.leases), "record": (first.records, last.records)}
    worse = [what for what, (early, late) in calls.items() if last.p99(late) > RATIO * first.p99(early)]
    return worse + [name for name, (size, _) in last.sizes.items() if size > RATIO * first.sizes[name][0] + 4e6]


def _shares(results: int) -> list[int]:
    return [min(_REFILL, results - begun) for begun in range(0, results, _REFILL)]


def _refill(database: EmbeddedDatabase, builds: int, after: int) -> int:
    with connected(database.conninfo("piwheels_dispatcher")) as connection:
        last = queries.want_again(connection, builds=builds, after=after)
    # From the beginning again, where all have had their turn.
    return int(last) if last else 0


def _work(database: EmbeddedDatabase, results: int, tenth: Tenth) -> None:
    with (
        connected(database.conninfo("piwheels_dispatcher"), autocommit=True) as dispatcher,
        connected(database.conninfo("builder_bench"), autocommit=True) as builder,
    ):
        done = 0
        while done < results:
            started = time.perf_counter()
            rows = list(queries.lease(dispatcher, builds=10))
            tenth.leases.append(time.perf_counter() - started)
            if not rows:
                return
            for place, row in enumerate(rows):
                started = time.perf_counter()
                record(builder, place, *row)
                tenth.records.append(time.perf_counter() - started)
            done += len(rows)


def _print(tenths: Sequence[Tenth]) -> None:
    print(
        "\n| tenth | lease: median, p99 ms | record: median, p99 ms | "
        + " | ".join(f"{name} MB" for name in tenths[0].sizes)
        + " |"
    )
    for number, tenth in enumerate(tenths, 1):
        calls = (f"{statistics.median(each) * 1e3:.2f}, {tenth.p99(each) * 1e3:.2f}" for each in (tenth.leases, tenth.records))
        sizes = (f"{size / 1e6:.1f} ({dead:,})" for size, dead in tenth.sizes.values())
        print(f"| {number} | {' | '.join(calls)} | {' | '.join(sizes)} |")


if __name__ == "__main__":
    sys.exit(main())

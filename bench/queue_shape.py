"""Prove the queue's shape: the same questions to a queue of the first run's size and of today's index, each with its whole history.

Run: .venv/bin/python -m bench.queue_shape [--releases N ...]. One client unless it says otherwise, wall time of each call with its
commit; embedded PostgreSQL with the memory that role database gives a host of 8 GB. Simulated catalogue: three targets, one build
in a hundred wanted. Ends with 1 where a goal is missed.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bench.queue_crowd import Crowd, crowd
from bench.queue_filled import FIRST, TODAY, fill, queries, server_of_8_gb
from bench.queue_touched import touched
from piwheels_builder.db.connect import Connection, connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.queue import leasing
from piwheels_builder.queue.statistics import statistics as counted
from tests.support.database import fresh_database
from tests.support.fleet import TERM

#: Goals: seconds of the slowest call in a hundred, the same at another size, builds a second that a crowd leases.
SLOWEST, RATIO, CROWD = 0.010, 1.5, 2000
LEASE, RECORD = "lease a batch of 10 builds", "record an attempt"


@dataclass
class Figures:
    """What was measured at one size: seconds of every call, rows that each question read, what the crowd and the old query did."""

    releases: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    crowd: Crowd | None = None
    naive: float = 0.0

    def p99(self, what: str) -> float:
        ordered = sorted(self.seconds[what])
        return ordered[int(len(ordered) * 0.99)]


def main() -> int:
    """Measure at each size, print tables, compare with the goals."""
    options = _options()
    measured = []
    for releases in options.releases:
        with server_of_8_gb() as server, fresh_database(server) as database:
            fill(database, releases)
            measured.append(measure(database, releases, options.rounds))
    _print(measured)
    missed = list(_missed(measured))
    print("\n".join(f"missed: {goal}" for goal in missed) or "every goal is reached")
    return 1 if missed else 0


def measure(database: EmbeddedDatabase, releases: int, rounds: int) -> Figures:
    """All figures of a filled database. The crowd first, while the queue is whole."""
    figures = Figures(releases)
    figures.crowd = crowd(database, 64, min(20_000, releases // 50))
    figures.rows = touched(database)
    with ExitStack() as open_ones:
        as_role = partial(_autocommitting, open_ones, database)
        dispatcher, builder, reader = as_role("piwheels_dispatcher"), as_role("builder_bench"), as_role("piwheels_reader")
        leasing.tend(dispatcher, TERM)
        _time(figures, "totals of the queue", 200, partial(leasing.queue_totals, reader))
        _time(figures, "statistics of everything", 200, partial(counted, reader))
        _time(figures, "tend: reclaim, wake orphans, fold counts", 200, partial(leasing.tend, dispatcher, TERM))
        _lease_and_record(figures, dispatcher, builder, rounds)
        figures.naive, _ = _timed(lambda: list(queries.what_next_as_fleets_before(reader, builds=10)))
    return figures


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--releases", type=int, nargs="+", default=[FIRST, TODAY], help="sizes (default: the first run's, and today's)"
    )
    parser.add_argument("--rounds", type=int, default=1000, help="batches leased and recorded (default: %(default)s)")
    return parser.parse_args()


def _autocommitting(open_ones: ExitStack, database: EmbeddedDatabase, role: str) -> Connection:
    return open_ones.enter_context(connected(database.conninfo(role), autocommit=True))


def _lease_and_record(figures: Figures, dispatcher: Connection, builder: Connection, rounds: int) -> None:
    leases, records = figures.seconds.setdefault(LEASE, []), figures.seconds.setdefault(RECORD, [])
    for _ in range(rounds):
        seconds, rows = _timed(lambda: list(queries.lease(dispatcher, builds=10)))
        leases.append(seconds)
        for place, row in enumerate(rows):
            seconds, answer = _timed(partial(record, builder, place, *row))
            records.append(seconds)
            if answer != "recorded":
                raise SystemExit(f"a result was not recorded, but {answer}")


def record(connection: Connection, place: int, lease_id: str, build_id: int, wheel: str) -> Any:
    """Every fourth attempt has failed."""
    if place % 4 == 0:
        return queries.record_failure(connection, lease_id=lease_id, build_id=build_id)
    return queries.record_success(connection, lease_id=lease_id, build_id=build_id, wheel=wheel)


def _time(figures: Figures, what: str, times: int, call: Callable[[], object]) -> None:
    figures.seconds[what] = [_timed(call)[0] for _ in range(times)]


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def _missed(measured: Sequence[Figures]) -> Iterator[str]:
    for figures in measured:
        for what in (LEASE, RECORD):
            if figures.p99(what) > SLOWEST:
                yield f"{what}, {figures.releases:,} releases: p99 {figures.p99(what) * 1e3:.1f} ms"
        if figures.crowd is None or figures.crowd.twice or figures.crowd.builds_a_second < CROWD:
            yield f"64 leasers, {figures.releases:,} releases: {figures.crowd}"
    if len(measured) > 1 and measured[-1].p99(LEASE) > RATIO * measured[0].p99(LEASE):
        yield f"{LEASE}: {measured[-1].p99(LEASE) / measured[0].p99(LEASE):.2f} times as long"


def _print(measured: Sequence[Figures]) -> None:
    sizes = " | ".join(f"{figures.releases:,} releases" for figures in measured)
    print(f"\n| median, p99 in ms | {sizes} |\n|---|{'--:|' * len(measured)}")
    for what in measured[0].seconds:
        cells = (f"{statistics.median(each.seconds[what]) * 1e3:.2f}, {each.p99(what) * 1e3:.2f}" for each in measured)
        print(f"| {what} | {' | '.join(cells)} |")
    crowds = (f"{each.crowd.builds_a_second:,.0f}" if each.crowd else "" for each in measured)
    print(f"| 64 leasers at once, builds a second | {' | '.join(crowds)} |")
    print(f"| what next, as fleets before asked it: seconds | {' | '.join(f'{each.naive:.1f}' for each in measured)} |")
    print(f"\n| rows read | {sizes} |\n|---|{'--:|' * len(measured)}")
    for what in measured[0].rows:
        print(f"| {what} | {' | '.join(str(each.rows[what]) for each in measured)} |")


if __name__ == "__main__":
    sys.exit(main())

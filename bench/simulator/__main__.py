"""Simulate fleets of 1, 5, 19, 50 and 200 Pis over one queue, by the real lease SQL and batch sizes, in virtual time.

Run: .venv/bin/python -m bench.simulator [--releases N] [--builders N ...]. Exit code 1 where a goal is missed.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.simulator.database import fill, measure_no_disk, naive_question, virtual
from bench.simulator.fleet import Faults, SimulatedBuilder
from bench.simulator.idleness import Idleness, ideal_makespan
from bench.simulator.simulation import Simulation, Traffic
from bench.simulator.work import Release, releases
from piwheels_builder.db.embedded import EmbeddedDatabase
from tests.support.database import embedded_server, fresh_database

#: Share of slots idle though work for them had not begun; makespan over its lower bound, for fleets of these sizes.
MOST_IDLE = 0.02
MOST_OVER = {19: 1.03, 200: 1.05}
#: What each fleet is made of, in turn: MB of memory and speed. Assumed: most are Pi 4 with 4 GB, every fourth is a Pi 3 with 1 GB,
#: half as fast (roles/builder/files/describe.py), every eighth has 8 GB.
MODELS = ((3792, 1.0), (3792, 1.0), (3792, 1.0), (906, 0.5), (3792, 1.0), (7810, 1.0), (3792, 1.0), (906, 0.5))
SLOTS = 4
#: What each slot of a builder has waiting (dispatch_spool_seconds).
SPOOL_SECONDS = 7200.0


@dataclass(frozen=True)
class Outcome:
    """One fleet's run. ``makespan``, ``bound``, ``ideal`` and ``tail`` in virtual seconds.

    ``by_longest`` where the longest build alone is the bound; ``ideal`` is what a scheduler that knows everything would reach; in
    the ``tail`` everything has begun.
    """

    builders: int
    builds: int
    makespan: float
    bound: float
    by_longest: bool
    ideal: float
    naive_question: float
    idleness: Idleness
    tail: float
    wasted: float
    deaths: int
    parked: int
    traffic: Traffic
    real_seconds: float

    @property
    def idle(self) -> float:
        return self.idleness.share

    @property
    def naive(self) -> float:
        """No fleet ends sooner where each build is asked for by the query of fleets before, on as many cores as there are here."""
        return max(self.bound, self.builds * self.naive_question / (os.cpu_count() or 1))

    @property
    def over(self) -> float:
        return self.makespan / self.bound

    @property
    def misses(self) -> list[str]:
        """Goals that it missed."""
        most = MOST_OVER.get(self.builders)
        found = [f"{self.builders} builders: idle {self.idle:.1%}, at most {MOST_IDLE:.0%}"] if self.idle > MOST_IDLE else []
        return found + ([f"{self.builders} builders: {self.over:.3f} x bound, at most {most}"] if most and self.over > most else [])


def main() -> int:
    """Simulate each fleet, print the table, say which goals were missed."""
    options = _options()
    work = list(releases(options.releases, options.seed, known=options.known))
    total, longest = sum(each.truth.seconds for each in work), max(each.truth.seconds for each in work)
    print(f"{len(work):,} builds, {total / 86400:.2f} days of one slot, the longest {longest:.0f} s", flush=True)
    with embedded_server() as server:
        measure_no_disk(server)
        outcomes = [
            _told(simulated(server, work, size, options.seed, spool_seconds=options.spool_seconds)) for size in options.builders
        ]
    missed = [miss for outcome in outcomes for miss in outcome.misses]
    print("goals missed:", "; ".join(missed) or "none")
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--releases", type=int, default=75_282, help="builds in the queue (default: a tenth of the first run's)")
    parser.add_argument("--builders", type=int, nargs="+", default=[1, 5, 19, 50, 200])
    parser.add_argument(
        "--spool-seconds", type=float, default=SPOOL_SECONDS, help="what each slot has waiting (default: %(default)s)"
    )
    parser.add_argument("--known", action="store_true", help="all was built before, for another target")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def fleet(size: int) -> list[SimulatedBuilder]:
    """Builders of all models in turn."""
    models = [MODELS[number % len(MODELS)] for number in range(size)]
    return [SimulatedBuilder(f"pi{number}", SLOTS, memory, speed) for number, (memory, speed) in enumerate(models)]


def lower_bound(work: Sequence[Release], builders: Sequence[SimulatedBuilder]) -> tuple[float, bool]:
    """No schedule ends sooner: all work at all speed, or the longest build on the fastest; and whether it is the latter."""
    spread = sum(each.truth.seconds for each in work) / sum(builder.slots * builder.speed for builder in builders)
    longest = max(each.truth.seconds for each in work) / max(builder.speed for builder in builders)
    return max(spread, longest), longest > spread


def simulated(
    server: EmbeddedDatabase,
    work: Sequence[Release],
    size: int,
    seed: int,
    faults: Faults | None = None,
    *,
    spool_seconds: float = SPOOL_SECONDS,
) -> Outcome:
    """One fleet's run, on a database of its own."""
    builders, began = fleet(size), time.perf_counter()
    with fresh_database(server) as database:
        fill(database, work, builders)
        naive = naive_question(database)
        with virtual(database) as virtual_database:
            run = Simulation(virtual_database, work, builders, faults or Faults(), seed, spool_seconds=spool_seconds)
            makespan = run.run()
            left, parked = virtual_database.unfinished()
    if left > parked:
        raise SystemExit(f"{left - parked} builds are left in the queue at the end of the run")
    bound, by_longest = lower_bound(work, builders)
    return Outcome(
        builders=size,
        builds=len(work),
        makespan=makespan,
        bound=bound,
        by_longest=by_longest,
        ideal=ideal_makespan(work, builders),
        naive_question=naive,
        idleness=run.idleness,
        tail=makespan - run.idleness.begun_at,
        wasted=run.wasted,
        deaths=run.deaths,
        parked=parked,
        traffic=run.traffic,
        real_seconds=time.perf_counter() - began,
    )


def _told(outcome: Outcome) -> Outcome:
    traffic, longest = outcome.traffic, " (the longest build)" if outcome.by_longest else ""
    leases = sorted(traffic.leases)
    median, p99 = statistics.median(leases) * 1e3, leases[int(len(leases) * 0.99)] * 1e3
    print(
        f"{outcome.builders:4} builders: makespan {outcome.makespan:.0f} s,"
        f" bound {outcome.bound:.0f} s{longest}, {outcome.over:.3f} x"
        f" (ideal {outcome.ideal / outcome.bound:.3f} x); idle {outcome.idle:.2%} (slots: {outcome.idleness});"
        f" tail {outcome.tail:.0f} s; {outcome.deaths} deaths, {outcome.wasted:.0f} s in vain,"
        f" {outcome.parked} parked; {traffic.questions / outcome.makespan:.2f} questions/s, {len(leases)} calls that leased"
        f" ({median:.0f} ms median, {p99:.0f} ms p99), {traffic.leased / traffic.batches:.0f} builds a batch;"
        f" simulated in {outcome.real_seconds:.0f} s;"
        f" as fleets before asked ({outcome.naive_question:.2f} s a build):"
        f" {outcome.naive / outcome.bound:.0f} x bound at least",
        flush=True,
    )
    return outcome


if __name__ == "__main__":
    sys.exit(main())

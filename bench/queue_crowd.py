"""Sixty-four leasers at once, as if each builder asked for itself: how many builds a second, and is any leased twice?"""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Barrier

from bench.queue_filled import queries
from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase

#: What one lease asks for. A round of dispatch asks for what fills a spool, up to 500.
BATCH = 10


@dataclass(frozen=True)
class Crowd:
    """What a crowd of leasers did, in wall time from the first lease to the last."""

    builds: int
    leases: int
    twice: int
    seconds: float

    @property
    def builds_a_second(self) -> float:
        return self.builds / self.seconds


def crowd(database: EmbeddedDatabase, leasers: int, builds: int) -> Crowd:
    """Lease about ``builds`` builds, each leaser an equal share; all of them are given back."""
    with connected(database.conninfo("piwheels_owner")) as connection:
        list(queries.add_leasers(connection, number=leasers))
    together = Barrier(leasers + 1)
    with ThreadPoolExecutor(leasers) as pool:
        lease = partial(_lease, database, together, builds // leasers)
        asked = [pool.submit(lease, f"leaser-{number}") for number in range(1, leasers + 1)]
        together.wait()
        started = time.perf_counter()
        got = [future.result() for future in asked]
        seconds = time.perf_counter() - started
    with connected(database.conninfo("piwheels_owner")) as connection:
        queries.give_all_back(connection)
    counted = Counter(build_id for batches in got for batch in batches for build_id in batch)
    twice = sum(1 for times in counted.values() if times > 1)
    return Crowd(len(counted), sum(map(len, got)), twice, seconds)


def _lease(database: EmbeddedDatabase, together: Barrier, share: int, builder: str) -> list[list[int]]:
    batches: list[list[int]] = []
    with connected(database.conninfo("piwheels_dispatcher"), autocommit=True) as connection:
        together.wait()
        while share > 0:
            batch = [build_id for (build_id,) in queries.lease_for(connection, builder=builder, builds=BATCH)]
            if not batch:
                break
            batches.append(batch)
            share -= len(batch)
    return batches

"""Lease batches to builders and take leases back, as the dispatcher role.

Who calls: the module version_batch, once a round on the index host. Cost: one SQL call a hungry builder, each reading only
the head of the queue's index (docs/benchmarks.md).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain, groupby
from pathlib import Path
from typing import Any
from uuid import UUID

import aiosql
from psycopg2.extras import register_uuid

from piwheels_builder.condition import Condition
from piwheels_builder.db.connect import Connection, Cursor
from piwheels_builder.errors import BadInput
from piwheels_builder.queue.batch import Batch, LeasedBuild, Sdist
from piwheels_builder.queue.plan import SMALLEST_BATCH_SECONDS, BuilderLoad, Portion, ServedFleet, portions
from piwheels_builder.targets import Target

#: A batch never holds more, however short its builds are: a lease lost loses no more than this.
MOST_BUILDS = 2000
#: Urgent work that each slot of a builder may hold besides what fills its spool: as much as is begun within minutes.
URGENT_SPOOL_SECONDS = 600.0
#: Attempts that teach, in one call.
_MOST_LEARNED = 5000
register_uuid()  # type: ignore[no-untyped-call]
_queries = aiosql.from_path(Path(__file__).with_name("leasing.sql"), "psycopg2")


@dataclass(frozen=True)
class QueueTotals:
    """Counts of unfinished builds, by what holds them up; each build counts once. unpublished are wheels on their way.

    too_large are those that need a builder with more memory than any active one of their target has.
    """

    leasable: int
    leased: int
    waiting: int
    held: int
    delayed: int
    too_large: int
    unpublished: int

    @property
    def to_hand_out(self) -> int:
        """What some builder is still to be given, sooner or later."""
        return self.leasable + self.waiting + self.delayed + self.too_large


def builder_loads(connection: Connection, only: Iterable[str] | None = None) -> list[BuilderLoad]:
    """What waits in each builder's spool and outbox. Raises BadInput for a name in ``only`` that is no builder."""
    wanted = None if only is None else sorted(set(only))
    found = _queries.builder_loads(connection, builders=wanted)
    loads = [BuilderLoad(*(*fields, Condition(*condition))) for *fields, condition in found]
    if unknown := set(wanted or ()) - {load.name for load in loads}:
        raise BadInput(f"no builder is called {', '.join(sorted(unknown))}: run `ansible-playbook provision.yml` for it")
    return loads


def served_fleet(connection: Connection) -> ServedFleet:
    """All builders that may be given work, together."""
    return ServedFleet(*_queries.served_fleet(connection))


def lease_batches(
    connection: Connection,
    loads: Sequence[BuilderLoad],
    spool_seconds: float,
    term: timedelta,
    *,
    fleet: ServedFleet | None = None,
) -> list[Batch]:
    """One batch for each hungry builder of ``loads`` that some leasable build fits, and one of urgent builds for others that are
    served.

    ``fleet`` is all of it, since batches are its shares (None: ``loads`` are all of it). The caller commits, delivers, or gives
    them back.
    """
    _queries.end_delays(connection)
    leasable = _queries.leasable_seconds(connection)
    planned = portions(loads, leasable, spool_seconds, fleet)
    batches = []
    for portion in chain(planned, _urgent_portions(connection, loads, {portion.builder for portion in planned})):
        rows = _lease(connection, portion, term)
        for lease_id, builds in groupby(rows, key=lambda row: row["lease_id"]):
            batches.append(Batch(lease_id, portion.builder, tuple(_build(row) for row in builds)))
    return _with_urgency(connection, batches)


def _urgent_portions(connection: Connection, loads: Sequence[BuilderLoad], hungry: Collection[str]) -> Iterator[Portion]:
    """For builders that are served and not hungry, the emptiest first. One at a time: what is leased meanwhile waits no more."""
    others = sorted((load for load in loads if load.is_served and load.name not in hungry), key=lambda load: load.spool_seconds)
    for number, load in enumerate(others):
        waiting = _queries.urgent_seconds(connection, builder=load.name)
        room = URGENT_SPOOL_SECONDS * load.slots - _queries.urgent_held(connection, builder=load.name) if waiting else 0
        if room > 0:
            # No more than waits: a batch begins with what is urgent.
            share = max(waiting / (len(others) - number), SMALLEST_BATCH_SECONDS)
            yield Portion(load.name, min(waiting, share, room))


def _with_urgency(connection: Connection, batches: Sequence[Batch]) -> list[Batch]:
    builds = [build.build_id for batch in batches for build in batch.builds]
    urgent = {build_id for (build_id,) in _queries.urgent_builds(connection, builds=builds)} if builds else set()
    return [
        replace(batch, builds=tuple(replace(build, urgent=build.build_id in urgent) for build in batch.builds)) for batch in batches
    ]


def held_batches(connection: Connection, builders: Sequence[str]) -> list[Batch]:
    """What is leased to these builders, as batches: delivering one again does nothing where it arrived, and what a run that died
    did not deliver arrives after all.
    """
    with _queries.held_builds_cursor(connection, builders=list(builders)) as cursor:
        rows = _named(cursor)
    leases = groupby(rows, key=lambda row: (row["lease_id"], row["builder"]))
    return _with_urgency(
        connection, [Batch(lease_id, builder, tuple(map(_build, builds))) for (lease_id, builder), builds in leases]
    )


def could_have(connection: Connection, builders: Sequence[str]) -> list[str]:
    """Which of these could be given something that nobody has: whoever was given nothing all the same should ask again."""
    return [name for (name,) in _queries.could_have(connection, builders=list(builders))]


def release_leases(connection: Connection, leases: Iterable[UUID], reason: str) -> int:
    """Give leases back, for batches that could not be delivered. Returns how many builds are pending again."""
    return sum(_queries.release_lease(connection, lease_id=lease, reason=reason) for lease in leases)


def tend(connection: Connection, term: timedelta) -> tuple[int, int]:
    """What has changed since the last time: expired leases are reclaimed, orphaned siblings woken, and attempts have taught what to
    expect of the builds that are left. Returns the first two counts.
    """
    _queries.learn_estimates(connection, most=_MOST_LEARNED)
    return _queries.reclaim_leases(connection, term=term), _queries.wake_orphans(connection)


def queue_totals(connection: Connection) -> QueueTotals:
    """What is still to do, for progress and for knowing when a run is over."""
    return QueueTotals(*_queries.queue_totals(connection))


def clock(connection: Connection) -> str:
    """The database's time, as ISO 8601."""
    return str(_queries.clock(connection).isoformat())


def tally(connection: Connection, builders: Sequence[str], since: str) -> dict[str, dict[str, int]]:
    """What these builders' attempts came to since then (ISO 8601), by name; infrastructure faults are neither built nor failed."""
    rows = _queries.tally(connection, builders=list(builders), since=since)
    return {builder: {"built": built, "failed": failed} for builder, built, failed in rows}


def _lease(connection: Connection, portion: Portion, term: timedelta) -> list[dict[str, Any]]:
    bounds = {"seconds": portion.seconds, "builds": portion.builds or MOST_BUILDS}
    long_ones = {"longest": portion.longest, "critical": portion.critical}
    with _queries.lease_batch_cursor(connection, builder=portion.builder, term=term, **bounds, **long_ones) as cursor:
        return _named(cursor)


def _named(cursor: Cursor) -> list[dict[str, Any]]:
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _build(row: dict[str, Any]) -> LeasedBuild:
    return LeasedBuild(
        build_id=row["build_id"],
        project=row["project"],
        version=row["version"],
        target=Target(row["python"], row["architecture"], row["os_release"]),
        sdist=Sdist(row["filename"], row["url"], row["sha256"], row["size"], row["upload_time"]),
        estimate_seconds=row["estimate_seconds"],
        memory_class=row["memory_class"],
    )

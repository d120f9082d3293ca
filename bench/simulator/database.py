"""The fleet's real database in virtual time: filling it, leasing from it by the product's own code, recording what builders did."""

import io
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import aiosql

from bench.queue_filled import queries as queue_queries
from bench.simulator.fleet import SimulatedBuilder
from bench.simulator.work import Release
from piwheels_builder.db.connect import Connection, connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.queue.batch import Batch
from piwheels_builder.queue.leasing import builder_loads, lease_batches, served_fleet, tend
from piwheels_builder.queue.members import register_builder
from piwheels_builder.targets import Target

_queries = aiosql.from_path(Path(__file__).with_suffix(".sql"), "psycopg2")
TARGET = Target("cp311", "armv7l", "bookworm")
TERM = timedelta(hours=4)
#: Seconds to wait for what no time alone will bring.
HORIZON = 3600.0


@dataclass(frozen=True)
class Result:
    """How an attempt ended. ``began`` and ``seconds`` are virtual, ``peak`` is in bytes."""

    lease_id: UUID
    build_id: int
    outcome: str
    began: float
    seconds: float
    peak: int


def fill(database: EmbeddedDatabase, releases: Sequence[Release], builders: Sequence[SimulatedBuilder]) -> None:
    """Builders and a queue of everything, nothing of it tried. Ids of builds are those of releases."""
    with connected(database.conninfo("piwheels_owner")) as connection:
        for builder in builders:
            register_builder(connection, builder.name, builder.memory_mb, builder.slots, [TARGET], slowness=1 / builder.speed)
        names = {each.project_id: each.project for each in releases}
        _copy(connection, "project", ("project_id", "name"), names.items())
        columns = ("release_id", "project_id", "version", "spelling", "newest_first")
        _copy(connection, "release", columns, ((r.release_id, r.project_id, r.version, r.version, r.number) for r in releases))
        _copy(connection, "upstream_file", ("project_id", "filename", "release_id", "kind", "url", "size"), map(_sdist, releases))
        builds = ((r.release_id, r.release_id, 1, "wanted") for r in releases)
        _copy(connection, "build", ("build_id", "release_id", "target_id", "reason"), builds)
        queue = ((r.release_id, 1, r.priority, r.estimate, r.memory_class) for r in releases)
        _copy(connection, "queue", ("build_id", "target_id", "priority", "estimate_seconds", "memory_class"), queue)
    with connected(database.superuser_conninfo(database.name), autocommit=True) as connection:
        _queries.analyze(connection)
        _queries.install_virtual_time(connection)


def measure_no_disk(server: EmbeddedDatabase) -> None:
    """A server of which nothing is to outlive it."""
    with connected(server.superuser_conninfo(), autocommit=True) as connection:
        _queries.measure_no_disk(connection)
        _queries.reload_settings(connection)


def naive_question(database: EmbeddedDatabase) -> float:
    """Seconds that the query of fleets before takes here to find one build."""
    with connected(database.conninfo("piwheels_reader")) as connection:
        began = time.perf_counter()
        list(queue_queries.what_next_as_fleets_before(connection, builds=1))
        return time.perf_counter() - began


def _sdist(release: Release) -> tuple[object, ...]:
    name = f"{release.project}-{release.version}.tar.gz"
    return (release.project_id, name, release.release_id, "sdist", f"http://upstream.invalid/{name}", release.sdist_bytes)


def _copy(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO("".join("\t".join(map(str, row)) + "\n" for row in rows))
    with connection.cursor() as cursor:
        cursor.copy_from(text, table, columns=list(columns))


class VirtualDatabase:
    """Two connections, the dispatcher's and one that acts as each builder; both told the time with every call, in seconds."""

    def __init__(self, dispatcher: Connection, builders: Connection, begin: datetime) -> None:
        self._dispatcher = dispatcher
        self._builders = builders
        self._begin = begin

    def lease(self, now: float, names: Sequence[str] | None, spool_seconds: float) -> list[Batch]:
        """What the module version_batch does: one round for these builders, or for all."""
        self._set_time(self._dispatcher, now)
        tend(self._dispatcher, TERM)
        loads = builder_loads(self._dispatcher, names)
        batches = lease_batches(self._dispatcher, loads, spool_seconds, TERM, fleet=served_fleet(self._dispatcher))
        self._dispatcher.commit()
        return batches

    def end(self, now: float, results: Sequence[Result]) -> set[int]:
        """Results that end their builds. Returns the builds that it counted for: those still leased so."""
        self._set_time(self._builders, now)
        ended = {build_id for (build_id,) in _queries.end_builds(self._builders, results=self._told(results))}
        self._builders.commit()
        return ended

    def record(self, now: float, builder: str, results: Sequence[Result]) -> dict[int, str]:
        """Results that end no build, by record_attempt itself. The answers by build."""
        self._set_time(self._builders, now)
        _queries.be(self._builders, login=f"builder_{builder}")
        answers = dict(_queries.record(self._builders, results=self._told(results)))
        _queries.be_oneself(self._builders)
        self._builders.commit()
        return answers

    def heartbeat(self, now: float, builder: SimulatedBuilder) -> None:
        """It lives, and holds what it holds."""
        self._set_time(self._builders, now)
        _queries.be(self._builders, login=f"builder_{builder.name}")
        _queries.heartbeat(self._builders, leases=builder.leases())
        _queries.be_oneself(self._builders)
        self._builders.commit()

    def leasable_classes(self, now: float) -> frozenset[int]:
        """The memory classes of which something could be leased now."""
        self._set_time(self._builders, now)
        found = frozenset(row[0] for row in _queries.leasable_classes(self._builders))
        self._builders.commit()
        return found

    def next_change(self, now: float) -> float:
        """When time alone makes something leasable that is not: the end of a pause or of a lease."""
        self._set_time(self._builders, now)
        (seconds,) = _queries.next_change(self._builders)
        self._builders.commit()
        return now + (HORIZON if seconds is None else float(seconds))

    def unfinished(self) -> tuple[int, int]:
        """What is left in the queue, and how much of it is parked."""
        left, parked = _queries.unfinished(self._builders)
        self._builders.commit()
        return left, parked

    def _set_time(self, connection: Connection, now: float) -> None:
        _queries.set_time(connection, now=self._moment(now))

    def _told(self, results: Sequence[Result]) -> str:
        return json.dumps([{**asdict(result), "started_at": self._moment(result.began)} for result in results], default=str)

    def _moment(self, seconds: float) -> str:
        return (self._begin + timedelta(seconds=seconds)).isoformat()


@contextmanager
def virtual(database: EmbeddedDatabase) -> Iterator[VirtualDatabase]:
    """A filled database in virtual time, which begins two days from now."""
    with (
        connected(database.conninfo("piwheels_dispatcher")) as dispatcher,
        connected(database.superuser_conninfo(database.name)) as builders,
    ):
        _queries.own_search_path(dispatcher)
        _queries.own_search_path(builders)
        begin = datetime.fromisoformat(_queries.begin_of_time(builders))
        # Settings of a transaction that is rolled back are, too.
        dispatcher.commit()
        builders.commit()
        yield VirtualDatabase(dispatcher, builders, begin)

"""How many rows each question to the queue reads, by auto_explain's plans: a shape that no clock can blur.

What a plan reads must grow with what it returns, and not with catalogue, history or queue. A plan that degenerates (an index that
is gone, a table read whole, a head of the queue full of what cannot be leased) shows here, at any size.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiosql

from piwheels_builder.db.connect import Connection, connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.queue import leasing
from piwheels_builder.queue.demand import demands
from piwheels_builder.queue.failures import Kind, requeue_failures
from piwheels_builder.queue.statistics import statistics

_queries = aiosql.from_path(Path(__file__).with_name("queue_shape.sql"), "psycopg2")
#: Nodes that read what other nodes of the same plan have read.
_DERIVED = {"Subquery Scan", "CTE Scan", "Function Scan", "WorkTable Scan", "Named Tuplestore Scan", "Values Scan"}


@dataclass(frozen=True)
class _Question:
    """What is asked, after a preparation that nobody watches; its answer is handed to the question."""

    name: str
    ask: Callable[..., Any]
    prepare: Callable[[Connection], tuple[Any, ...]] = lambda _: ()


def touched(database: EmbeddedDatabase) -> dict[str, int]:
    """Rows read by each question, of a database filled by bench.queue_filled; nothing is kept."""
    counted = {}
    with connected(database.superuser_conninfo(database.name)) as connection:
        notices: list[str] = []
        connection.notices = notices
        for question in _questions():
            prepared = question.prepare(connection)
            _queries.explain_inner_statements(connection)
            notices.clear()
            question.ask(connection, *prepared)
            counted[question.name] = sum(map(_rows_read, notices))
            connection.rollback()
    return counted


def _questions() -> Iterator[_Question]:
    yield _Question("lease 10 builds", _lease)
    yield _Question("lease 10 builds behind 200 paused ones", _lease, lambda each: _pause(each, 200, "1 hour"))
    yield _Question("record a wheel", _record_wheel, _lease_ten)
    yield _Question("record a failure", _record_failure, _lease_ten)
    yield _Question("heartbeat with a lease of 10", _heartbeat, _lease_ten)
    yield _Question("give a lease of 10 back", _give_back, _lease_ten)
    yield _Question("reclaim 10 builds", _queries.reclaim, _let_expire)
    yield _Question("wake orphans, where there are none", _queries.wake_orphans)
    yield _Question("end 10 pauses", _queries.end_delays, lambda each: _pause(each, 10, "-1 hour"))
    yield _Question("requeue a build", _requeue, lambda each: (_queries.some_failure(each),))
    yield _Question("requeue the 5 that lacked a header", _requeue_all, _lack_a_header)
    yield _Question("demand a project", _queries.demand)
    yield _Question("list the demand", demands)
    yield _Question("want 10 builds of a new target", _want, lambda each: (_queries.some_releases(each), _queries.new_target(each)))
    yield _Question("totals of the queue", leasing.queue_totals)
    yield _Question("loads of builders", leasing.builder_loads)
    yield _Question("statistics", statistics)


def _lease(connection: Connection) -> None:
    if len(list(_queries.lease(connection, builds=10))) != 10:
        raise SystemExit("the queue is too short for what is asked of it here")


def _lease_ten(connection: Connection) -> tuple[Any, ...]:
    """The lease, and the first of its builds."""
    return tuple(next(iter(list(_queries.lease(connection, builds=10)))))


def _record_wheel(connection: Connection, lease_id: str, build_id: int, wheel: str) -> None:
    _queries.be_the_bench_builder(connection)
    _expect_recorded(_queries.record_success(connection, lease_id=lease_id, build_id=build_id, wheel=wheel))


def _record_failure(connection: Connection, lease_id: str, build_id: int, _wheel: str) -> None:
    _queries.be_the_bench_builder(connection)
    _expect_recorded(_queries.record_failure(connection, lease_id=lease_id, build_id=build_id))


def _expect_recorded(answer: str) -> None:
    if answer != "recorded":
        raise SystemExit(f"a result was not recorded, but {answer}")


def _heartbeat(connection: Connection, lease_id: str, _build_id: int, _wheel: str) -> None:
    _queries.be_the_bench_builder(connection)
    _queries.heartbeat(connection, leases=[lease_id])


def _give_back(connection: Connection, lease_id: str, _build_id: int, _wheel: str) -> None:
    _queries.release(connection, lease_id=lease_id)


def _let_expire(connection: Connection) -> tuple[Any, ...]:
    _lease(connection)
    _queries.expire(connection)
    return ()


def _pause(connection: Connection, builds: int, until: str) -> tuple[Any, ...]:
    _queries.pause_some(connection, builds=builds, until=until)
    return ()


def _lack_a_header(connection: Connection) -> tuple[Any, ...]:
    _queries.lack_a_header(connection)
    return ()


def _requeue(connection: Connection, build: int) -> None:
    _queries.requeue(connection, build_id=build)


def _requeue_all(connection: Connection) -> None:
    requeue_failures(connection, Kind(missing="bench.h"), "again")


def _want(connection: Connection, releases: list[int], target: int) -> None:
    list(_queries.want(connection, releases=releases, target=target))


def _rows_read(notice: str) -> int:
    if "plan:" not in notice:
        return 0
    plan = json.loads(notice.partition("plan:\n")[2])
    return sum(_read_by(node) for node in _nodes(plan["Plan"]))


def _read_by(node: dict[str, Any]) -> int:
    if not node["Node Type"].endswith("Scan") or node["Node Type"] in _DERIVED:
        return 0
    rows = sum(node.get(what, 0) for what in ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck"))
    return round(float(rows * node["Actual Loops"]))


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)

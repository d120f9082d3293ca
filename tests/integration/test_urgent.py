"""What is fresh, forced or asked for does not wait behind hours of other work in the builders' spools."""

from datetime import UTC, datetime, timedelta

import pytest

from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.sync import sync
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.db.connect import connected
from piwheels_builder.queue.batch import Batch
from piwheels_builder.queue.leasing import builder_loads, held_batches, lease_batches
from tests.support.fleet import ARM64, Fleet
from tests.support.upstream import serve_upstream

HOURS = 10_000.0


@pytest.fixture
def full(fleet: Fleet) -> Fleet:
    """The spool of pi1 holds hours of work, and as much is left in the queue."""
    for number in range(4):
        fleet.want(f"back{number}", seconds=HOURS, priority=2)
    assert fleet.lease("pi1") is not None
    assert fleet.lease("pi1") is None
    return fleet


def urgent(batch: Batch | None) -> dict[str, bool]:
    return {build.project: build.urgent for build in batch.builds} if batch else {}


def test_a_full_builder_is_given_what_is_urgent_and_nothing_else(full: Fleet) -> None:
    full.want("forced", seconds=30, priority=0)
    full.want("asked-for", seconds=40, priority=-1)
    full.want("newest", seconds=20, priority=1)
    assert urgent(full.lease("pi1")) == {"asked-for": True, "forced": True}
    assert full.lease("pi1") is None


def test_a_hungry_builder_gets_it_with_its_other_work(fleet: Fleet) -> None:
    for number in range(20):
        fleet.want(f"back{number}", seconds=60, priority=2)
    fleet.want("forced", seconds=1, priority=0)
    given = urgent(fleet.lease("pi1"))
    assert len(given) > 1
    assert [project for project, is_urgent in given.items() if is_urgent] == ["forced"]


def test_a_batch_that_is_delivered_again_is_as_urgent_as_before(full: Fleet) -> None:
    full.want("forced", seconds=30, priority=0)
    full.lease("pi1")
    with connected(full.database.conninfo("piwheels_dispatcher")) as connection:
        again = held_batches(connection, ["pi1"])
    assert sorted(urgent(batch).get("forced", False) for batch in again) == [False, True]


def test_urgent_work_does_not_pile_up_on_one_builder(full: Fleet) -> None:
    for number in range(100):
        full.want(f"forced{number}", seconds=60, priority=0)
    first = full.lease("pi1")
    assert first is not None
    assert len(first.builds) == 10
    assert full.lease("pi1") is None


def test_full_builders_share_it(full: Fleet) -> None:
    full.add_builder("pi2")
    while full.lease("pi2"):
        pass
    for number in range(8):
        full.want(f"forced{number}", seconds=60, priority=0)
    with connected(full.database.conninfo("piwheels_dispatcher")) as connection:
        batches = lease_batches(connection, builder_loads(connection), 7200, timedelta(hours=4))
    assert {batch.builder: len(batch.builds) for batch in batches} == {"pi1": 4, "pi2": 4}


def test_it_is_for_builders_that_can_build_it_and_are_served(full: Fleet) -> None:
    full.add_builder("pi2", ARM64)
    full.want("for-others", ARM64, seconds=30, priority=0)
    assert full.lease("pi1") is None
    full.want("forced", seconds=30, priority=0)
    full.ask("SELECT pause_dispatch('pi1', 'a new card')", role="piwheels_dispatcher")
    assert full.lease("pi1") is None


def test_what_appears_upstream_today_is_urgent(full: Fleet) -> None:
    now = datetime.now(UTC)
    with serve_upstream() as upstream:
        for name, uploaded in (("young", now), ("old", now - timedelta(days=2))):
            upstream.change_file(name, upstream.add_sdist(name, "1.0"), **{"upload-time": uploaded.isoformat()})
        policy = Policy.read("missing", ["young", "old"], 1)
        with UpstreamIndex(upstream.url) as index:
            sync(full.database.conninfo("piwheels_dispatcher"), index, policy).raise_failures()
    assert urgent(full.lease("pi1")) == {"young": True}

"""What distrust_builder unsays: wheels, failures, parked builds, logs; and nothing that was said before, or by others."""

import pytest

from piwheels_builder.states import Outcome
from tests.integration.test_trust import lease_of, standing, wait_for_wheel
from tests.support.fleet import Fleet


def distrust(fleet: Fleet, since: object, *, withdraw: bool = False) -> list[tuple[str, str]]:
    told = fleet.ask(
        "SELECT became, project FROM distrust_builder('pi1', %s, 'a stranger was in', %s)",
        since,
        withdraw,
        role="piwheels_publisher",
    )
    return [(became, project) for became, project in told]


def test_distrust_unsays_what_was_said_since_a_moment(fleet: Fleet) -> None:
    before = wait_for_wheel(fleet, "before")
    fleet.ask("UPDATE attempt SET recorded_at = now() - interval '2 hours'")
    ((since,),) = fleet.ask("SELECT now() - interval '1 hour'")
    served, waiting, failed = wait_for_wheel(fleet, "served"), wait_for_wheel(fleet, "waiting"), fleet.want("failed")
    fleet.publish(2)
    assert fleet.record("pi1", lease_of(fleet), failed, Outcome.BUILD_ERROR) == "recorded"
    held = fleet.want("held")
    lease_of(fleet)
    assert distrust(fleet, since) == [("published", "served"), ("queued again", "failed"), ("queued again", "waiting")]
    states = [fleet.state(build_id) for build_id in (before, served, waiting, failed, held)]
    assert states == ["built", "published", "pending", "pending", "pending"]
    assert all(fleet.queued(build_id) for build_id in (waiting, failed, held))
    assert standing(fleet) == "quarantined"
    assert fleet.ask("SELECT build_id FROM wheel_awaiting") == [(before,)]
    assert distrust(fleet, since, withdraw=True) == [("withdrawn", "served")]
    assert fleet.ask("SELECT withdrawn_reason FROM wheel WHERE withdrawn_at IS NOT NULL") == [
        ("pi1 is distrusted: a stranger was in",)
    ]
    fleet.publish(1)
    assert fleet.state(before) == "published"


def test_distrust_lets_go_of_what_its_faults_parked(fleet: Fleet) -> None:
    fleet.add_builder("pi2")
    parked, others = fleet.want("parked"), fleet.want("others")
    for build_id, builder in ((parked, "pi1"), (others, "pi2")):
        for _ in range(5):
            fleet.ask("UPDATE queue SET not_before = '-infinity' WHERE held IS NULL")
            fleet.ask("UPDATE queue SET held = 'not now' WHERE build_id <> %s AND held IS NULL", build_id)
            fleet.record(builder, lease_of(fleet, builder), build_id, Outcome.KILLED)
            fleet.ask("UPDATE queue SET held = NULL WHERE held = 'not now'")
    assert fleet.lease("pi2") is None
    assert distrust(fleet, "infinity") == []
    assert distrust(fleet, "-infinity") == [("queued again", "parked")]
    assert [build.build_id for build in (fleet.lease("pi2") or pytest.fail("nothing")).builds] == [parked]


def test_nobody_waits_for_a_distrusted_builders_logs(fleet: Fleet) -> None:
    for project in ("before", "since"):
        fleet.record("pi1", lease_of(fleet) if fleet.want(project) else "", len(fleet.releases), Outcome.BUILD_ERROR, log_size=9)
        fleet.ask("UPDATE attempt SET recorded_at = recorded_at - interval '1 hour'")
    ((since,),) = fleet.ask("SELECT max(recorded_at) FROM attempt")
    distrust(fleet, since)
    assert fleet.ask("SELECT log_size FROM attempt ORDER BY attempt_id") == [(9,), (None,)]


def test_distrust_leaves_what_another_builder_said_later(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    fleet.record("pi1", lease_of(fleet), build_id, Outcome.BUILD_ERROR)
    fleet.ask("SELECT requeue_build(%s, 'again')", build_id)
    fleet.add_builder("pi2")
    fleet.record("pi2", lease_of(fleet, "pi2"), build_id, Outcome.BUILD_ERROR)
    assert distrust(fleet, "-infinity") == []
    assert fleet.state(build_id) == "failed"

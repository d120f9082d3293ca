"""A fleet that hires its builders: ordered by count, provisioned, built with, watched, retired and cancelled."""

import os
import re
from collections.abc import Iterator, Mapping

import pytest

from tests.rack.fleet import Fleet
from tests.rack.hired import PREFIX, Provider, hiring, serving
from tests.rack.hosts import Host
from tests.rack.playbooks import Run, play
from tests.rack.upstream import Release, Upstream
from tests.rack.violations import violations

_ATTEMPTS = """
    SELECT coalesce(json_object_agg(name, attempts), '{}') FROM (
        SELECT builder.name, count(*) AS attempts
        FROM attempt JOIN builder USING (builder_id) JOIN project USING (project_id)
        WHERE project.name = ANY ('{%s}') GROUP BY builder.name) AS told
"""
_WRITTEN = """
    SELECT coalesce(json_object_agg(name, CASE WHEN cancelled_at IS NOT NULL THEN 'cancelled'
                                               WHEN delivered_at IS NOT NULL THEN 'delivered' END), '{}')
    FROM hosted_pi WHERE failure IS NULL
"""
_NAMES = rf"{PREFIX}\d+"
#: What a test that failed has left, so that nobody waits for those who are gone.
_GIVE_UP = f"""
    UPDATE builder SET standing = 'retired' WHERE name LIKE '{PREFIX}%';
    UPDATE hosted_pi SET cancelled_at = now() WHERE cancelled_at IS NULL
"""


@pytest.fixture(scope="module")
def fleet(provisioned: Run, rack: Mapping[str, Host]) -> Iterator[Fleet]:
    """Its other builders are no members meanwhile; afterwards the index host knows them again, and no hired one."""
    assert provisioned
    fleet = Fleet(rack["index"])
    others = [name for name in rack if name != "index"]
    with fleet.without(*others):
        yield fleet
    fleet.ask(_GIVE_UP)
    if others:
        play("provision.yml").succeeded()


@pytest.fixture(scope="module")
def provider(fleet: Fleet) -> Iterator[Provider]:
    with hiring(fleet.index.address.number) as provider:
        yield provider


@pytest.fixture(scope="module")
def hired(provider: Provider) -> Run:
    """What the run said that hired two; before it there was none."""
    assert not re.findall(_NAMES, told(provider))
    return provider.play("provision.yml", count=2).succeeded()


@pytest.fixture
def upstream(fleet: Fleet) -> Iterator[Upstream]:
    with serving(fleet.index.address.gateway_ipv6) as upstream:
        yield upstream


def told(provider: Provider) -> str:
    """What hosted_pis.yml says, in one line."""
    return " ".join(provider.play("hosted_pis.yml").succeeded().output.split())


def wishes(upstream: Upstream, releases: list[Release]) -> dict[str, object]:
    upstream.offer(*releases)
    return {
        "fleet_projects": [release.project for release in releases],
        "fleet_upstream": upstream.url,
        "fleet_build_policy": "all",
    }


def some_releases(what: str, count: int) -> list[Release]:
    """Of names that no earlier run on a rack that was kept has built."""
    return [Release(f"hired-{what}-{os.getpid()}-{number}", seconds=3) for number in range(count)]


def attempts(fleet: Fleet, releases: list[Release]) -> dict[str, int]:
    found: dict[str, int] = fleet.ask(_ATTEMPTS % ",".join(release.project for release in releases))
    return found


def test_two_that_are_ordered_become_builders_that_build(hired: Run, provider: Provider, fleet: Fleet, upstream: Upstream) -> None:
    names = sorted(provider.pis)
    print(f"two Pis were ordered, and made builders, in {hired.seconds:.0f} s")
    assert len(names) == provider.api.asked("POST", "servers") == 2
    assert [name for name, state in fleet.ask(_WRITTEN).items() if state == "delivered"] == names
    for name in names:
        assert re.search(rf"{name}: a builder, [0-9.]+ minutes", hired.output), hired.output[-3000:]
    releases = some_releases("both", 8)
    provider.play("build.yml", **wishes(upstream, releases)).succeeded()
    assert violations(fleet, releases, list(provider.pis.values())) == []
    # Each built some.
    built = attempts(fleet, releases)
    assert set(built) == set(names), built
    said = told(provider)
    for name in names:
        assert re.search(rf"{name}: model 4, 4096 MB[^\"]*; builds, {built[name]} attempts within a day", said), said


def test_whoever_asks_for_as_many_again_gets_none_and_changes_nothing(hired: Run, provider: Provider) -> None:
    assert hired
    ordered = provider.api.asked("POST", "servers")
    again = provider.play("provision.yml", count=2).succeeded()
    print(f"asking for as many again took {again.seconds:.0f} s")
    assert "Nothing is ordered" in again.output
    assert provider.api.asked("POST", "servers") == ordered
    assert set(again.changed.values()) == {0}, again.output


def test_one_that_leaves_loses_no_build_and_costs_nothing_any_more(
    hired: Run, provider: Provider, fleet: Fleet, upstream: Upstream
) -> None:
    assert hired
    stays, leaves = sorted(provider.pis)
    pi, releases = provider.pis[leaves], some_releases("one", 8)
    asked = wishes(upstream, releases)
    # Both have something to do.
    provider.play("build.yml", **asked, fleet_converge="round").succeeded()
    retired = provider.play("retire.yml", keep=1).succeeded()
    print(f"draining, retiring and cancelling one of two took {retired.seconds:.0f} s")
    assert attempts(fleet, releases).get(leaves), "it had nothing to drain"
    provider.wait_until_gone(leaves)
    assert not pi.is_running()
    assert not pi.directory.exists()
    assert set(provider.api.pis) == {stays}
    assert fleet.ask(_WRITTEN) == {**fleet.ask(_WRITTEN), stays: "delivered", leaves: "cancelled"}
    assert [builder["name"] for builder in fleet.builders()] == [stays]
    provider.play("build.yml", **asked).succeeded()
    assert violations(fleet, releases, [provider.pis[stays]]) == []
    said = told(provider)
    assert f"{stays}: model 4" in said
    assert leaves not in said, said


def test_a_new_one_may_come_to_the_address_of_one_that_left(hired: Run, provider: Provider, fleet: Fleet) -> None:
    assert hired
    (stays,) = provider.pis
    provider.play("provision.yml", count=2).succeeded()
    (new,) = set(provider.pis) - {stays}
    assert {builder["name"]: builder["standing"] for builder in fleet.builders()} == {stays: "active", new: "active"}
    given_up = provider.play("retire.yml", keep=0).succeeded()
    print(f"giving up both took {given_up.seconds:.0f} s")
    for name in (stays, new):
        provider.wait_until_gone(name)
    assert not provider.api.pis
    assert not fleet.builders()
    assert not re.findall(_NAMES, told(provider))

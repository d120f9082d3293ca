"""A builder's slots never stand still while there is work. Two minutes of it: for `make acceptance-full`."""

import json
import os
from collections.abc import Iterator, Mapping

import pytest

from tests.rack.fleet import Fleet
from tests.rack.hosts import Host
from tests.rack.playbooks import Run, play
from tests.rack.upstream import Release, serving
from tests.rack.violations import violations

#: Share of its time, from its first attempt to its last, that a builder's slots stood still.
_IDLE = """
    SELECT json_object_agg(name, idle) FROM (
        SELECT builder.name, 1 - sum(seconds) / (slots * extract(epoch FROM
               max(started_at + seconds * interval '1 second') - min(started_at))) AS idle
        FROM attempt JOIN builder USING (builder_id) JOIN project USING (project_id)
        WHERE project.name LIKE 'idle-%d-%%' GROUP BY builder.name, slots) AS told
"""


@pytest.fixture
def busy(provisioned: Run, rack: Mapping[str, Host]) -> Iterator[list[Release]]:
    """Enough for the two native builders to work for a while: half of it for the Python of one, half for that of the other."""
    assert provisioned
    gateway = rack["index"].address.gateway_ipv4
    assert gateway
    pythons = (">=3.12", "<3.12")
    releases = [Release(f"idle-{os.getpid()}-{number}", seconds=5, requires_python=pythons[number % 2]) for number in range(40)]
    fleet = Fleet(rack["index"])
    fleet.forget()
    with serving(gateway) as upstream, fleet.without("pi1", "pi2"):
        upstream.offer(*releases)
        wishes = {"fleet_projects": [release.project for release in releases], "fleet_upstream": upstream.url}
        play("build.yml", extra={**wishes, "fleet_build_policy": "all", "fleet_part": "native"}).succeeded()
        yield releases


def test_builders_do_not_wait_while_there_is_work(busy: list[Release], rack: Mapping[str, Host]) -> None:
    fleet = Fleet(rack["index"])
    assert violations(fleet, busy) == []
    idle = fleet.ask(_IDLE % os.getpid())
    print(f"idle while there was work: {json.dumps(idle)}")
    assert set(idle) == {"bookworm", "trixie"}
    assert max(idle.values()) <= 0.02, idle

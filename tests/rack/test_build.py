"""build.yml on the rack: real releases become wheels for three targets, and install on the Pi that didn't build them."""

from collections.abc import Mapping

import pytest

from tests.rack.fleet import AUTHORITY, Fleet
from tests.rack.hosts import Host
from tests.rack.playbooks import Run, play
from tests.rack.upstream import Release, serving

PROJECTS = {"docopt": "0.6.2", "spidev": "3.8"}
#: Who built it, for which target, and what came of it.
_WHEELS = """
    SELECT json_agg(told) FROM (
        SELECT project.name AS project, builder.name AS builder, architecture, wheel.filename
        FROM wheel JOIN attempt USING (attempt_id) JOIN builder USING (builder_id) JOIN build ON build.build_id = wheel.build_id
        JOIN target USING (target_id) JOIN release USING (release_id) JOIN project ON project.project_id = release.project_id
        WHERE published_at IS NOT NULL) AS told
"""


@pytest.fixture(scope="module")
def built(provisioned: Run) -> Run:
    assert provisioned
    wishes = {"fleet_projects": [f"{name}=={version}" for name, version in PROJECTS.items()], "fleet_build_policy": "all"}
    return play("build.yml", extra={**wishes, "fleet_upstream_wins": False}).succeeded()


@pytest.fixture
def fleet(rack: Mapping[str, Host]) -> Fleet:
    return Fleet(rack["index"])


def test_every_release_is_published(built: Run, fleet: Fleet) -> None:
    assert built
    builds = fleet.builds(list(PROJECTS))
    assert {build["project"] for build in builds} == set(PROJECTS)
    unfinished = [build for build in builds if build["state"] not in {"published", "skipped"}]
    assert not unfinished, f"{unfinished}\n{fleet.builders()}\n{built.output}"


def test_wheels_carry_the_tags_of_their_target(built: Run, fleet: Fleet) -> None:
    assert built
    compiled = {wheel["architecture"]: wheel["filename"] for wheel in fleet.ask(_WHEELS) if wheel["project"] == "spidev"}
    assert compiled["armv7l"].endswith("-cp311-cp311-linux_armv7l.whl")
    assert compiled["x86_64"].endswith("_x86_64.whl")


def test_a_wheel_of_one_pi_installs_and_imports_on_the_other(built: Run, fleet: Fleet, rack: Mapping[str, Host]) -> None:
    assert built
    (wheel,) = (wheel for wheel in fleet.ask(_WHEELS) if wheel["project"] == "spidev" and wheel["architecture"] == "armv7l")
    other = rack["pi2" if wheel["builder"] == "pi1" else "pi1"]
    other.must("python3", "-m", "venv", "--clear", "/root/try", seconds=300)
    other.must("sh", "-c", "cat > /root/ca.pem", stdin=rack["index"].must("cat", AUTHORITY))
    index = ["--index-url", "https://index/simple/", "--cert", "/root/ca.pem"]
    told = other.must(
        "/root/try/bin/pip", "install", "--no-cache-dir", "--only-binary", ":all:", *index, "spidev==3.8", seconds=300
    )
    assert wheel["filename"] in told, told
    assert "SpiDev" in other.must("/root/try/bin/python", "-c", "import spidev; print(spidev.SpiDev)")


def test_failed_builds_leave_their_log_on_the_index(provisioned: Run, fleet: Fleet, rack: Mapping[str, Host]) -> None:
    assert provisioned
    gateway = rack["index"].address.gateway_ipv4
    assert gateway
    with serving(gateway) as upstream:
        upstream.offer(Release("log-fails", fails=True, requires_python=">=3.12"))
        wishes = {"fleet_projects": ["log-fails"], "fleet_upstream": upstream.url, "fleet_build_policy": "all"}
        play("build.yml", extra=wishes).succeeded()
    (attempt,) = fleet.ask("""
        SELECT json_agg(attempt_id) FROM attempt JOIN project USING (project_id)
        WHERE name = 'log-fails' AND log_stored_at IS NOT NULL""")[:1]
    assert b"this release never builds" in fleet.get(f"/logs/lo/log-fails/{attempt}.log.gz", accept="*/*")

"""Two controllers at once, for two parts of a fleet or for the same: no build is done twice, none is lost, and each run ends."""

import contextlib
import gzip
import re
import subprocess
from collections.abc import Iterator, Sequence

import psutil
import pytest

from piwheels_builder.db.embedded import EmbeddedDatabase
from tests.rack.upstream import Release
from tests.support.published import public_directory
from tests.support.two_builders import TwoBuilders, two_builders
from tests.support.upstream import serve_upstream

RELEASES = 12
#: Per release: states of its builds, how many attempts they had, and wheels that are served.
_CAME_OF_IT = """
    SELECT project.name, build.state::text,
           (SELECT count(*) FROM attempt WHERE attempt.build_id = build.build_id),
           (SELECT count(*) FROM wheel WHERE wheel.build_id = build.build_id AND published_at IS NOT NULL)
    FROM build JOIN release USING (release_id) JOIN project USING (project_id) ORDER BY project.name"""


@pytest.fixture
def fleet(database: EmbeddedDatabase) -> Iterator[TwoBuilders]:
    with serve_upstream() as upstream, public_directory() as place, two_builders(database, upstream, place) as fleet:
        fleet.offer(*(Release(f"release-{number:02}", seconds=0.5) for number in range(RELEASES)))
        yield fleet


def ended(running: Sequence["subprocess.Popen[str]"]) -> list[str]:
    told = [controller.communicate(timeout=900)[0] for controller in running]
    for controller, output in zip(running, told, strict=True):
        assert controller.returncode == 0, output
    return told


def kill_whole(controller: "subprocess.Popen[str]") -> None:
    """As a power cut would: Ansible's workers are sessions of their own, and outlive it otherwise."""
    whole = [psutil.Process(controller.pid), *psutil.Process(controller.pid).children(recursive=True)]
    for process in whole:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    controller.communicate()


def check_all_is_published_once(fleet: TwoBuilders) -> None:
    assert fleet.ask(_CAME_OF_IT) == [(f"release-{number:02}", "published", 1, 1) for number in range(RELEASES)]
    assert fleet.ask("SELECT build_id FROM queue") == []
    assert fleet.ask("SELECT project_id FROM page_due") == []
    assert fleet.ask("SELECT * FROM incident") == []
    # A lease for each build, and no build in two.
    assert fleet.ask("SELECT count(*), count(DISTINCT build_id) FROM lease, unnest(builds) AS build_id") == [(RELEASES, RELEASES)]
    listing = gzip.decompress((fleet.place / "published/simple/index.html.gz").read_bytes()).decode()
    assert re.findall(r'<a href="(release-\d+)/">', listing) == [f"release-{number:02}" for number in range(RELEASES)]


@pytest.mark.parametrize("parts", [("west", "east"), ("builders", "builders")], ids=["two parts", "the same part"])
def test_two_runs_until_drained(fleet: TwoBuilders, parts: Sequence[str]) -> None:
    told = ended([fleet.controller(fleet_part=part) for part in parts])
    check_all_is_published_once(fleet)
    if parts == ("west", "east"):
        assert [re.findall(r"^(pi\d) +: ok", output, re.MULTILINE) for output in told] == [["pi1"], ["pi2"]]


@pytest.mark.parametrize("part", ["east", "builders"], ids=["of another part", "of the same part"])
def test_one_of_them_is_killed_in_the_middle(fleet: TwoBuilders, part: str) -> None:
    killed, other = fleet.controller(fleet_part="west" if part == "east" else "builders"), fleet.controller(fleet_part=part)
    assert killed.stdout is not None
    assert any(re.search(r"\d+ of \d+ done", line) for line in killed.stdout), "the run ended first"
    kill_whole(killed)
    ended([other])
    # What the killed one had leased for its own part is that part's to finish.
    ended([fleet.controller()])
    check_all_is_published_once(fleet)

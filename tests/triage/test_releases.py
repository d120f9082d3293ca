"""Real releases that do not build: what the triage says of each is what a person said who read its log."""

import re
from collections import Counter

import pytest

from piwheels_builder.states import Blame, Outcome
from tests.triage.table import PLACE, Release, releases

RELEASES = releases()
BY_LOG = [release for release in RELEASES if release.found != "checking"]


@pytest.mark.parametrize("release", BY_LOG, ids=lambda release: f"{release.name}-{release.python}")
def test_what_a_person_says(release: Release) -> None:
    said = release.said
    assert said.outcome is (release.taken_for or release.outcome)
    if not release.taken_for:
        assert (said.error_line, said.missing) == (release.error_line, release.missing)


def test_the_table_is_wide_and_its_misses_are_few() -> None:
    assert len(RELEASES) >= 45
    assert len({release.outcome for release in RELEASES}) >= 10
    assert all(release.outcome.blame is Blame.RELEASE for release in RELEASES)
    assert sum(release.taken_for is not None for release in RELEASES) <= len(RELEASES) * 0.05
    assert Counter(release.said.outcome for release in BY_LOG)[Outcome.BUILD_ERROR] <= len(BY_LOG) * 0.1


def test_what_is_missing_is_named() -> None:
    """Those three outcomes are about one thing: which, says every row."""
    about_one = {Outcome.IMPORT_ERROR, Outcome.MISSING_HEADER, Outcome.MISSING_PROGRAM, Outcome.REQUIREMENT_WITHOUT_WHEEL}
    assert not [release.name for release in RELEASES if release.outcome in about_one and not release.missing]


def test_every_log_is_somebodys_and_names_no_machine() -> None:
    logs = sorted((PLACE / "logs").iterdir())
    assert len(logs) == len(RELEASES)
    machine = re.compile(r"/root/|(?<!build)/home/")
    assert not [log.name for log in logs if machine.search(log.read_text(encoding="utf-8"))]

"""The generated catalogue: as large as it says, the same for the same seed, and in the words that the real code has for it."""

from collections import Counter

import pytest
from packaging.utils import canonicalize_name, canonicalize_version

from bench.catalogue import shape
from bench.catalogue.generate import Catalogue
from bench.catalogue.history import history_of
from bench.catalogue.names import name_of, number_of, spelling_of
from bench.catalogue.pages import JSON_TYPE, json_page
from bench.catalogue.shape import SIZES, Size
from piwheels_builder.catalogue.facts import KnownFile, KnownProject, KnownRelease
from piwheels_builder.catalogue.filenames import FileKind, classify
from piwheels_builder.catalogue.needs import Wanted, need
from piwheels_builder.catalogue.pages import decode_page
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.take_over import ranked
from piwheels_builder.targets import Target

PERCENT = Catalogue(SIZES["percent"])
SOME = [PERCENT.project(number) for number in range(0, PERCENT.size.projects, 5)]


@pytest.mark.parametrize("size", [SIZES["percent"], SIZES["first"]])
def test_projects_have_exactly_so_many_releases_together(size: Size) -> None:
    assert Catalogue(size).releases_before[-1] == size.releases


def test_every_project_has_a_release_and_few_have_many() -> None:
    counts = sorted(map(PERCENT.count, range(PERCENT.size.projects)))
    assert counts[0] == 1
    assert counts[len(counts) // 2] < 5
    assert counts[-1] > 100


def test_a_page_depends_on_seed_and_number_alone() -> None:
    again = Catalogue(SIZES["percent"])
    assert [again.project(number) for number in (700, 3)] == [PERCENT.project(number) for number in (700, 3)]
    assert Catalogue(SIZES["percent"], seed=7).project(3) != PERCENT.project(3)


@pytest.mark.parametrize("number", [0, 1, 120, 121, 14_640, 14_641, 736_343])
def test_names_are_normalized_and_found_again(number: int) -> None:
    assert number_of(name_of(number)) == number
    assert canonicalize_name(spelling_of(number)) == canonicalize_name(name_of(number), validate=True) == name_of(number)


def test_no_two_projects_have_one_name() -> None:
    assert len({name_of(number) for number in range(50_000)}) == 50_000


@pytest.mark.parametrize("name", ["acme", "acme-acme0", "acme-acme01", "acme-nobody", "ACME-acme", "acme-acme-acme", ""])
def test_names_of_nobody_are_not_found(name: str) -> None:
    assert number_of(name) is None


def test_a_project_beyond_the_last_is_not_found() -> None:
    assert PERCENT.find(name_of(1_135)) == 1_135
    assert PERCENT.find(name_of(1_136)) is None


def test_files_are_what_their_names_say() -> None:
    for project in SOME:
        for release in project.releases:
            assert release.version == canonicalize_version(release.spelling)
            for file in release.files:
                said = classify(project.name, file.filename)
                assert (said.kind, said.canonical_version, said.refusal) == (file.kind, release.version, file.refusal)


def test_releases_are_ranked_as_sync_ranks_them() -> None:
    for project in SOME:
        page = decode_page(canonicalize_name(project.name), json_page(project), JSON_TYPE, "http://127.0.0.1/simple/")
        assert page is not None
        rows = ranked(page, [(file, classify(project.name, file.filename)) for file in page.files], {})
        assert [row["version"] for row in rows] == [release.version for release in project.newest_first()]


def test_what_has_an_sdist_is_wanted_for_every_target_and_has_a_build_of_each() -> None:
    policy = Policy.read("all", "all", "all")
    targets = [Target(python, shape.ARCHITECTURE, shape.OS_RELEASE) for python in shape.PYTHONS]
    for project in SOME:
        history = history_of(PERCENT, project)
        wanted = 0
        for release in project.releases:
            files = tuple(
                KnownFile(file.filename, FileKind(file.kind), file.refusal, file.requires_python) for file in release.files
            )
            known = KnownRelease(1, project.name, release.version, release.spelling, 1, files)
            wanted += sum(isinstance(need(KnownProject(project.name), known, target, policy), Wanted) for target in targets)
        assert len(history.builds) == wanted


def test_a_release_ends_as_this_fleet_ends_it() -> None:
    histories = [history_of(PERCENT, PERCENT.project(number)) for number in range(PERCENT.size.projects)]
    states = Counter(build.state for history in histories for build in history.builds)
    outcomes = Counter(attempt.outcome for history in histories for attempt in history.attempts)
    queued = {one.build_id for history in histories for one in history.queued}
    releases = sum(states.values()) / 3
    assert states["pending"] == len(queued)
    assert 0.7 < (states["published"] + states["skipped"]) / sum(states.values()) < 0.82
    assert outcomes["built"] == states["published"]
    assert 0.005 < len({(number - 1) // 3 for number in queued}) / releases < 0.02
    assert sum(one.waits_for in queued for history in histories for one in history.queued if one.waits_for) > 0

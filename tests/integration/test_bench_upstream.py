"""The local upstream index serves what was loaded, and what happens there is what it says."""

from collections.abc import Iterator

import pytest
import requests
from packaging.utils import NormalizedName

from bench.catalogue.changes import KINDS, NEW, REMOVAL, UNYANK, YANK, LivingIndex
from bench.catalogue.databases import database as kept_database
from bench.catalogue.generate import Catalogue
from bench.catalogue.shape import SIZES
from bench.catalogue.upstream import LocalUpstream, serving
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.sync import sync
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.errors import UnknownProject
from tests.support.database import rows

PERCENT = Catalogue(SIZES["percent"])
EVERYTHING = Policy.read("all", "all", "all")
SOME = [PERCENT.project(number).name for number in range(0, 1_136, 36)]


@pytest.fixture
def upstream() -> Iterator[LocalUpstream]:
    with serving("percent") as server:
        yield server


def test_what_is_loaded_is_what_is_served(upstream: LocalUpstream) -> None:
    with kept_database("percent") as database:
        for page_is_known, kind in [(True, "not modified"), (False, "pages")]:
            if not page_is_known:
                rows(database, "UPDATE project SET serial = NULL, etag = NULL")
            report = sync(database.conninfo("piwheels_dispatcher"), UpstreamIndex(upstream.url), EVERYTHING, SOME)
            assert not report
            assert not report.failures
            assert upstream.requests()[kind] == len(SOME)


def test_changes_are_followed(upstream: LocalUpstream) -> None:
    with kept_database("percent") as database, UpstreamIndex(upstream.url) as index:
        changes = upstream.change(40)
        report = sync(database.conninfo("piwheels_dispatcher"), index, EVERYTHING, [change["project"] for change in changes])
        assert sorted(report.changed) == sorted(change["project"] for change in changes)
        assert sorted(report.gone) == sorted(change["project"] for change in changes if change["kind"] == REMOVAL)
        served = rows(database, "SELECT name, serial FROM project WHERE serial > %s", [PERCENT.serial])
        assert dict(served) == {change["project"]: change["serial"] for change in changes if change["kind"] != REMOVAL}


def test_the_page_of_names_has_serials_and_is_asked_for_conditionally(upstream: LocalUpstream) -> None:
    answer = requests.get(upstream.url, timeout=10)
    page = answer.json()
    assert page["meta"]["_last-serial"] == PERCENT.serial
    assert len(page["projects"]) == 1_136
    assert page["projects"][3]["_last-serial"] == PERCENT.serial_of(3)
    known = {"If-None-Match": answer.headers["ETag"]}
    assert requests.get(upstream.url, headers=known, timeout=10).status_code == 304
    changes = {change["project"]: change for change in upstream.change(200)}
    again = requests.get(upstream.url, headers=known, timeout=10).json()
    assert again["meta"]["_last-serial"] == PERCENT.serial + 200
    moved = {item["name"] for item in again["projects"]} - {item["name"] for item in page["projects"]}
    assert not moved
    assert len(again["projects"]) == 1_136 - sum(change["kind"] == REMOVAL for change in changes.values())


def test_prepared_pages_are_those_that_would_be_made(upstream: LocalUpstream) -> None:
    with serving("percent", prepared=True) as prepared:
        for _ in range(2):
            for name in (PERCENT.project(number).name for number in (0, 1, 499, 500, 1_135)):
                pages = [requests.get(f"{each.url}{name}/", timeout=10).content for each in (upstream, prepared)]
                assert len(set(pages)) == 1
            removed = [change["project"] for change in prepared.change(300) if change["kind"] == REMOVAL]
            assert [change["project"] for change in upstream.change(300) if change["kind"] == REMOVAL] == removed
        assert requests.get(f"{prepared.url}{removed[0]}/", timeout=10).status_code == 404


def test_an_upstream_that_speaks_html_alone() -> None:
    with serving("percent", html=True) as upstream, UpstreamIndex(upstream.url) as index:
        with index.listing() as listing:
            assert listing is not None
            assert len(list(listing.projects)) == 1_136
        page = index.page(NormalizedName(SOME[1]))
        assert page is not None
        assert (page.serial, page.etag) == (None, None)
        assert [file.filename for file in page.files] == [
            file.filename for one in PERCENT.project(36).releases for file in one.files
        ]


def test_what_is_not_there(upstream: LocalUpstream) -> None:
    with UpstreamIndex(upstream.url) as index, pytest.raises(UnknownProject):
        index.page(NormalizedName("acme-nobody"))
    assert requests.post(upstream.url, timeout=10).status_code == 405
    with pytest.raises(ValueError, match="half at most"):
        upstream.change(1_000)


def test_everything_happens_and_to_a_project_once_at_a_time() -> None:
    index = LivingIndex(PERCENT)
    for _ in range(3):
        changes = index.change(100)
        assert len({change.project for change in changes}) == 100
    assert {change.kind for change in changes} == set(KINDS)
    assert sum(change.kind == NEW for change in changes) > 50
    assert [change.serial for change in changes] == list(range(PERCENT.serial + 201, PERCENT.serial + 301))
    assert LivingIndex(PERCENT).change(100) == LivingIndex(PERCENT).change(100)


def test_a_yank_is_taken_back() -> None:
    index = LivingIndex(PERCENT)
    yanked = {change.project: change.version for change in index.change(100) if change.kind == YANK}
    unyanked = {change.project: change.version for change in index.change(100) if change.kind == UNYANK}
    assert unyanked
    assert unyanked.items() <= yanked.items()

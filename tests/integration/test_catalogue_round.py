"""Rounds over all of upstream: one request where nothing changed, what changed and no more where something did."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from piwheels_builder.catalogue import filling, visiting
from piwheels_builder.catalogue import sync as syncing
from piwheels_builder.catalogue.freshness import Freshness, freshness
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.sync import Ways, sync
from piwheels_builder.catalogue.sync_report import SyncReport
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.errors import UpstreamError
from tests.support.fleet import ARM64, BOOKWORM, TRIXIE, Fleet
from tests.support.upstream import Upstream, serve_upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serve_upstream() as server:
        server.etags = True
        yield server


@pytest.fixture
def fleet(database: EmbeddedDatabase) -> Fleet:
    fleet = Fleet(database)
    fleet.add_builder("pi", BOOKWORM, TRIXIE)
    return fleet


class Following:
    """Rounds with the arguments a test cares about."""

    def __init__(self, fleet: Fleet, upstream: Upstream) -> None:
        self.fleet = fleet
        self.upstream = upstream

    def round(self, *, releases: Any = "all", **ways: Any) -> SyncReport:
        self.upstream.requests.clear()
        with UpstreamIndex(self.upstream.url, backoff_seconds=0.01) as index:
            conninfo = self.fleet.database.conninfo("piwheels_dispatcher")
            return sync(conninfo, index, Policy.read("missing", "all", releases), ways=Ways(**ways))

    def asked(self) -> list[str]:
        """Paths asked for by the last round, the page of all names first."""
        paths = [path.removeprefix("/simple/") for path, _ in self.upstream.requests]
        return [paths[0], *sorted(paths[1:])]

    def freshness(self) -> Freshness:
        with connected(self.fleet.database.conninfo("piwheels_reader")) as connection:
            found = freshness(connection)
        assert found is not None
        return found

    def hurry(self) -> None:
        """Let a day go by for what failed."""
        self.fleet.ask("UPDATE unfollowed_project SET try_again_at = now()")


@pytest.fixture
def following(fleet: Fleet, upstream: Upstream) -> Following:
    return Following(fleet, upstream)


def add_projects(upstream: Upstream, number: int) -> None:
    for place in range(number):
        upstream.add_sdist(f"demo{place}", "1.0")


def test_a_round_with_nothing_changed_is_one_conditional_request(following: Following, upstream: Upstream) -> None:
    add_projects(upstream, 3)
    assert len(following.round().wanted) == 6
    report = following.round()
    assert (report.visited, bool(report), following.asked()) == (0, False, [""])
    assert "If-None-Match" in upstream.requests[0][1]
    upstream.etags = False
    # Where upstream knows no ETags the page is read again, and still no other.
    following.round()
    report = following.round()
    assert (report.visited, bool(report), following.asked()) == (0, False, [""])


def test_what_changed_alone_is_asked_for_and_can_be_leased_at_once(following: Following, upstream: Upstream, fleet: Fleet) -> None:
    add_projects(upstream, 5)
    following.round()
    fleet.lease_all("pi")
    upstream.add_sdist("demo3", "2.0")
    upstream.add_sdist("newcomer", "1.0")
    report = following.round()
    assert following.asked() == ["", "demo3/", "newcomer/"]
    assert len(report.wanted) == 4
    assert {(row["project"], row["version"]) for row in fleet.lease_all("pi")} == {("demo3", "2"), ("newcomer", "1")}


def test_a_round_looks_through_the_catalogue_for_a_target_that_is_new(
    following: Following, upstream: Upstream, fleet: Fleet
) -> None:
    add_projects(upstream, 3)
    following.round()
    fleet.add_builder("new", ARM64)
    report = following.round()
    assert (report.visited, report.swept.queued, bool(report), following.asked()) == (0, 3, True, [""])
    assert not following.round()


def test_yanks_unyanks_deletions_and_late_sdists_are_followed(following: Following, upstream: Upstream, fleet: Fleet) -> None:
    add_projects(upstream, 2)
    upstream.add_file("demo1", "demo1-2.0-cp39-cp39-win_amd64.whl")
    following.round()
    upstream.change_file("demo0", "demo0-1.0.tar.gz", yanked="leaks")
    assert {build.reason for build in following.round().skipped} == {"yanked upstream"}
    upstream.change_file("demo0", "demo0-1.0.tar.gz", yanked=False)
    assert len(following.round().wanted) == 2
    upstream.add_sdist("demo1", "2.0")
    assert {build.version for build in following.round().wanted} == {"2.0"}
    upstream.add_sdist("demo0", "2.0")
    upstream.remove_file("demo0", "demo0-1.0.tar.gz")
    assert {(build.version, build.reason) for build in following.round().skipped} == {("1.0", "no files")}
    assert fleet.ask("SELECT filename FROM upstream_file WHERE filename LIKE 'demo0%%'") == [("demo0-2.0.tar.gz",)]


def test_a_project_that_is_removed_and_registered_again_by_somebody_else(
    following: Following, upstream: Upstream, fleet: Fleet
) -> None:
    add_projects(upstream, 2)
    following.round()
    upstream.remove_project("demo1")
    report = following.round()
    assert (report.gone, following.asked()) == (("demo1",), ["", "demo1/"])
    assert following.round().visited == 0
    upstream.add_sdist("demo1", "7.0")
    assert following.round().changed == ("demo1",)
    assert fleet.ask("SELECT filename, status FROM upstream_file JOIN project USING (project_id) WHERE name = 'demo1'") == [
        ("demo1-7.0.tar.gz", "active")
    ]
    queued = fleet.ask("SELECT DISTINCT spelling FROM queue JOIN build USING (build_id) JOIN release USING (release_id)")
    assert sorted(queued) == [("1.0",), ("7.0",)]


@pytest.mark.parametrize("how", ["left out", "answered 404", "emptied"])
def test_mass_deletion_is_held_back_until_somebody_says_a_word(
    following: Following, upstream: Upstream, fleet: Fleet, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visiting, "FEW_DELETIONS", 2)
    add_projects(upstream, 5)
    following.round()
    before = dict(upstream.projects)
    for place in range(3):
        name = f"demo{place}"
        if how == "left out":
            upstream.remove_project(name)
        else:
            upstream.projects[name] = {**before[name], "serial": 9, "files": [] if how == "emptied" else before[name]["files"]}
            if how == "answered 404":
                upstream.fail(f"/simple/{name}/", status=404, times=2)
    upstream.add_sdist("demo4", "2.0")
    report = following.round()
    assert sorted(report.held_back) == ["demo0", "demo1", "demo2"]
    assert report.changed == ("demo4",)
    with pytest.raises(UpstreamError, match=r"3 projects would lose all their files.*--accept-deletions"):
        report.raise_failures()
    assert fleet.ask("SELECT status, count(*) FROM project JOIN upstream_file USING (project_id) GROUP BY 1") == [("active", 6)]
    found = following.freshness()
    assert (found.held_back, found.behind, found.is_stale(60)) == (3, 3, True)
    assert sorted(following.round(accept_deletions=True).changed) == ["demo0", "demo1", "demo2"]
    assert (following.freshness().held_back, following.freshness().is_stale(60)) == (0, False)


def test_few_deletions_need_no_word(following: Following, upstream: Upstream) -> None:
    add_projects(upstream, 4)
    following.round()
    upstream.remove_project("demo0")
    upstream.remove_project("demo1")
    report = following.round()
    assert (sorted(report.gone), report.held_back) == (["demo0", "demo1"], ())


def test_a_page_of_all_names_that_breaks_off_deletes_nothing(following: Following, upstream: Upstream, fleet: Fleet) -> None:
    add_projects(upstream, 4)
    following.round()
    upstream.add_sdist("demo0", "2.0")
    upstream.fail("/simple/", truncated=True)
    with pytest.raises(UpstreamError, match="breaks off"):
        following.round()
    assert fleet.ask("SELECT DISTINCT status FROM project") == [("active",)]
    assert following.round().changed == ("demo0",)


def test_a_page_that_cannot_be_read_is_not_asked_for_by_every_round(following: Following, upstream: Upstream) -> None:
    add_projects(upstream, 3)
    upstream.fail("/simple/demo1/", body=b"garbage", times=2)
    report = following.round()
    assert list(report.failures) == ["demo1"]
    found = following.freshness()
    # It is told of, and is no reason for an alarm: nobody can read that page.
    assert (found.unfollowed, found.behind, found.is_stale(60), found.examples[0].project) == (1, 0, False, "demo1")
    assert following.round().visited == 0
    following.hurry()
    assert list(following.round().failures) == ["demo1"]
    assert following.round().visited == 0
    following.hurry()
    assert following.round().changed == ("demo1",)
    assert following.freshness().unfollowed == 0


def test_upstreams_own_faults_are_being_behind(following: Following, upstream: Upstream, fleet: Fleet) -> None:
    add_projects(upstream, 3)
    following.round()
    then = following.freshness().followed_at
    upstream.add_sdist("demo1", "2.0")
    upstream.fail("/simple/demo1/", status=500, times=100)
    following.round()
    found = following.freshness()
    assert (found.behind, found.followed_at) == (1, then)
    fleet.ask("UPDATE upstream_state SET followed_at = now() - interval '61 minutes'")
    assert following.freshness().is_stale(60)
    # After a day it is that one page's fault.
    fleet.ask("UPDATE unfollowed_project SET since = now() - interval '25 hours'")
    following.round()
    assert (following.freshness().behind, following.freshness().is_stale(60)) == (0, False)


def test_a_round_that_was_cut_short_is_behind_and_the_next_goes_on(following: Following, upstream: Upstream) -> None:
    add_projects(upstream, 40)
    report = following.round(seconds=1e-9)
    assert (report.visited, report.left) == (0, 40)
    found = following.freshness()
    assert (found.behind, found.followed_at, found.is_stale(1e9)) == (40, None, True)
    assert len(following.round().changed) == 40
    assert following.freshness().behind == 0


def test_check_keeps_nothing(following: Following, upstream: Upstream, fleet: Fleet) -> None:
    add_projects(upstream, 3)
    assert len(following.round(check=True).wanted) == 6
    assert fleet.ask("SELECT 1 FROM project UNION ALL SELECT 1 FROM upstream_state") == []


def test_a_listing_without_serials_costs_a_request_for_each_project(following: Following, upstream: Upstream) -> None:
    upstream.serials = False
    add_projects(upstream, 3)
    following.round()
    upstream.add_sdist("demo1", "2.0")
    upstream.add_project("another")
    report = following.round()
    assert len(following.asked()) == 5
    assert report.changed == ("demo1",)


def rows_of(fleet: Fleet) -> dict[str, Any]:
    """What the catalogue says, without what depends on the order of writing."""
    return {
        "project": fleet.ask("SELECT name, serial, etag, status, status_reason, synced_at IS NOT NULL FROM project ORDER BY 1"),
        "release": fleet.ask(
            "SELECT name, version, spelling, newest_first FROM release JOIN project USING (project_id) ORDER BY 1, 2"
        ),
        "file": fleet.ask(
            "SELECT name, version, filename, kind::text, refusal, url, sha256, size, requires_python, yanked, yanked_reason,"
            " upload_time, metadata_sha256, provenance FROM upstream_file JOIN project USING (project_id)"
            " LEFT JOIN release USING (release_id) ORDER BY name, filename"
        ),
        "queue": fleet.ask(
            "SELECT name, version, queue.target_id, priority, estimate_seconds, leader.target_id, build.state::text, build.reason"
            " FROM queue JOIN build USING (build_id) JOIN release USING (release_id) JOIN project USING (project_id)"
            " LEFT JOIN build AS leader ON leader.build_id = waits_for ORDER BY 1, 2, 3"
        ),
    }


def awkward_projects(upstream: Upstream) -> None:
    """Everything that a fill writes, and what it must leave to the visits."""
    upstream.add_sdist("demo", "1.0", yanked="tab\there, \\backslash and\nnewline")
    says: dict[str, Any] = {"requires-python": ">=3.12", "core-metadata": {"sha256": "ab" * 32}}
    upstream.add_sdist("demo", "2.0", **says)
    says = {"requires-python": ""}
    upstream.add_sdist("demo", "1.1", **says)
    upstream.add_file("demo", "demo-2.0-py3-none-any.whl")
    upstream.add_file("demo", "demo-3.0-cp311-cp311-win_amd64.whl")
    upstream.add_file("demo", "demo-0.9.win32-py2.7.exe")
    upstream.add_file("demo", "nothing of this.tar.gz")
    upstream.add_project("demo", versions=["0.1", "1.0", "1.1", "2.0", "3.0"])
    upstream.add_project("empty")
    upstream.add_project("archived", **{"project-status": {"status": "archived", "reason": "tired"}})
    upstream.add_sdist("opted-out", "1.0")
    upstream.add_sdist("forced", "1.0")
    upstream.add_sdist("skipped", "1.0")
    for name in ("opted-out", "forced", "skipped"):
        upstream.add_file(name, f"{name.replace('-', '_')}-0.5-py3-none-any.whl")


@pytest.mark.parametrize("releases", ["all", "latest"])
def test_a_fill_writes_what_visits_would(
    following: Following, upstream: Upstream, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, releases: str
) -> None:
    awkward_projects(upstream)
    fleet.ask("INSERT INTO opt_out VALUES ('opted-out', 'please')")
    fleet.ask("INSERT INTO operator_instruction VALUES ('forced', '', 'force', 'x'), ('skipped', '', 'skip', 'x')")
    following.round(releases=releases)
    visited = rows_of(fleet)
    fleet.ask("TRUNCATE project CASCADE")
    fleet.ask("DELETE FROM upstream_state")
    monkeypatch.setattr(syncing, "WORTHWHILE", 1)
    report = following.round(releases=releases)
    assert report.filled.projects == 3
    assert rows_of(fleet) == visited
    assert following.freshness().behind == 0
    assert not following.round(releases=releases)


def test_one_bad_project_of_a_chunk_stops_no_other(
    following: Following, upstream: Upstream, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "WORTHWHILE", 1)
    add_projects(upstream, 12)
    upstream.fail("/simple/demo1/", body=b"garbage", times=100)
    fleet.ask("ALTER TABLE upstream_file ADD CONSTRAINT no_demo2 CHECK (filename NOT LIKE 'demo2-%%')")
    report = following.round()
    assert set(report.failures) == {"demo1", "demo2"}
    assert fleet.ask("SELECT count(*) FROM project") == [(10,)]
    assert following.freshness().unfollowed == 2


def test_a_fill_goes_on_where_the_last_one_ended_and_tells_how_far_it_is(
    following: Following, upstream: Upstream, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(syncing, "WORTHWHILE", 1)
    monkeypatch.setattr(syncing, "_NOTE_SECONDS", 0)
    monkeypatch.setattr(filling, "CHUNK", 10)
    add_projects(upstream, 60)
    told: list[filling.Filling] = []

    class Killed(Exception):
        pass

    def die(done: filling.Filling) -> None:
        told.append(done)
        if done.done >= 30:
            raise Killed

    with pytest.raises(Killed):
        following.round(filling=die)
    ((already,),) = fleet.ask("SELECT count(*) FROM project")
    assert 30 <= already < 60
    assert (told[0].projects, told[0].seconds_left is not None) == (60, True)
    found = following.freshness()
    assert (found.followed_at, found.projects) == (None, 60)
    assert 0 < found.behind <= 31
    report = following.round()
    assert report.filled.projects == 60 - already
    assert (report.left, following.freshness().behind) == (0, 0)


def test_the_newest_of_upstream_comes_first(following: Following, upstream: Upstream, fleet: Fleet) -> None:
    add_projects(upstream, 5)
    upstream.projects["demo3"]["serial"] = 99
    following.round()
    assert fleet.ask("SELECT name FROM project ORDER BY project_id LIMIT 1") == [("demo3",)]


def test_freshness_as_json(following: Following, upstream: Upstream) -> None:
    add_projects(upstream, 1)
    following.round()
    told = json.loads(json.dumps(following.freshness().told()))
    assert told["behind"] == 0
    assert told["followed_at"] == told["asked_at"]
    assert "all of upstream as of" in str(following.freshness())

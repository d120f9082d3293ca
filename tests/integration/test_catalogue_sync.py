"""Syncs of a real HTTP index into a real database, as the dispatcher role."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from piwheels_builder.catalogue.filenames import FileKind
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.sync import Ways, sync
from piwheels_builder.catalogue.sync_report import SyncReport
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.errors import BadInput, DatabaseAway, UnknownProject, UpstreamError
from piwheels_builder.states import Outcome
from piwheels_builder.targets import Target
from tests.support.fleet import ARM64, BOOKWORM, TRIXIE, Fleet
from tests.support.upstream import Upstream, serve_upstream

TABLES = ("project", "release", "upstream_file", "build", "queue", "page_due")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serve_upstream() as server:
        yield server


@pytest.fixture
def fleet(database: EmbeddedDatabase) -> Fleet:
    fleet = Fleet(database)
    fleet.add_builder("pi", BOOKWORM, TRIXIE)
    return fleet


class Catalogue:
    """Syncs with the arguments a test cares about."""

    def __init__(self, fleet: Fleet, upstream: Upstream) -> None:
        self.fleet = fleet
        self.upstream = upstream

    def sync(
        self, *projects: str, policy: str = "missing", releases: Any = "all", only: Any = None, check: bool = False
    ) -> SyncReport:
        listed: Any = "all" if projects == ("all",) else list(projects)
        conninfo = self.fleet.database.conninfo("piwheels_dispatcher")
        with UpstreamIndex(self.upstream.url, backoff_seconds=0.01) as index:
            return sync(conninfo, index, Policy.read(policy, listed, releases), only, Ways(check))

    def written(self) -> dict[str, Any]:
        """Every row with the transaction that wrote it: equal means that nothing was written in between."""
        return {table: self.fleet.ask(f"SELECT xmin::text, ctid::text, t.* FROM {table} t ORDER BY 2") for table in TABLES}

    def builds(self) -> dict[str, str]:
        """State by ``version target``."""
        rows = self.fleet.ask(
            "SELECT spelling || ' ' || python || ' ' || os_release, state::text FROM build JOIN release USING (release_id)"
            " JOIN target USING (target_id)"
        )
        return dict(rows)


@pytest.fixture
def catalogue(fleet: Fleet, upstream: Upstream) -> Catalogue:
    return Catalogue(fleet, upstream)


def test_kinds_are_the_databases(fleet: Fleet) -> None:
    assert [kind for (kind,) in fleet.ask("SELECT unnest(enum_range(NULL::file_kind))::text")] == [str(kind) for kind in FileKind]


def test_releases_files_and_refusals(catalogue: Catalogue, upstream: Upstream, fleet: Fleet) -> None:
    says: dict[str, Any] = {"requires-python": ">=3.9", "core-metadata": {"sha256": "ab" * 32}}
    upstream.add_sdist("Demo.Project", "1.0", **says)
    upstream.add_sdist("Demo.Project", "1.1", yanked="broken")
    upstream.add_file("Demo.Project", "demo.project-0.9-py2.7.egg")
    upstream.add_project("Demo.Project", versions=["0.9", "1.0", "1.1", "2004d"])
    report = catalogue.sync("demo_project")
    assert (report.changed, report.releases, report.files, report.failures) == (("demo-project",), 3, 3, {})
    assert fleet.ask(
        "SELECT filename, kind::text, refusal, version, requires_python, metadata_sha256, yanked, yanked_reason"
        " FROM upstream_file LEFT JOIN release USING (release_id) ORDER BY version"
    ) == [
        ("demo.project-0.9-py2.7.egg", "refused", "an egg, which no installer of today takes", "0.9", None, None, False, None),
        ("demo_project-1.0.tar.gz", "sdist", None, "1", ">=3.9", "ab" * 32, False, None),
        ("demo_project-1.1.tar.gz", "sdist", None, "1.1", None, None, True, "broken"),
    ]
    assert fleet.ask("SELECT DISTINCT upload_time::text, sha256 IS NOT NULL, size > 0 FROM upstream_file") == [
        ("2026-01-02 03:04:05.678901+00", True, True)
    ]


def test_newest_first_is_what_pip_would_choose(catalogue: Catalogue, upstream: Upstream, fleet: Fleet) -> None:
    for version in ("1.9", "1.10", "1!0.1", "2.0rc1", "2.0.dev1", "1.10.post1"):
        upstream.add_sdist("demo", version)
    upstream.add_sdist("demo", "9.0", yanked=True)
    upstream.add_project("demo", versions=["1.9", "1.10", "1!0.1", "2.0rc1", "2.0.dev1", "1.10.post1", "9.0", "10.0"])
    catalogue.sync("demo")
    ranked = [spelling for (spelling,) in fleet.ask("SELECT spelling FROM release ORDER BY newest_first")]
    assert ranked == ["1!0.1", "1.10.post1", "1.10", "1.9", "2.0rc1", "2.0.dev1", "10.0", "9.0"]


@pytest.mark.parametrize("mode", ["serials", "etags", "neither", "html"])
def test_a_second_sync_writes_not_a_single_row(catalogue: Catalogue, upstream: Upstream, mode: str) -> None:
    upstream.serials, upstream.etags, upstream.html = mode == "serials", mode == "etags", mode == "html"
    upstream.add_sdist("demo", "1.0")
    upstream.add_sdist("demo", "2.0", yanked="why not")
    upstream.add_file("demo", "demo-1.0.win32.exe")
    assert catalogue.sync("demo")
    before = catalogue.written()
    report = catalogue.sync("demo")
    assert not report
    assert (report.changed, report.wanted, report.visited) == ((), (), 1)
    assert catalogue.written() == before


@pytest.mark.parametrize("mode", ["serials", "etags", "neither", "html"])
def test_what_upstream_changes_is_followed(catalogue: Catalogue, upstream: Upstream, fleet: Fleet, mode: str) -> None:
    upstream.serials, upstream.etags, upstream.html = mode == "serials", mode == "etags", mode == "html"
    upstream.add_sdist("demo", "1.0")
    upstream.add_sdist("demo", "2.0")
    upstream.add_sdist("demo", "3.0")
    catalogue.sync("demo")
    upstream.change_file("demo", "demo-1.0.tar.gz", yanked="leaks")
    upstream.remove_file("demo", "demo-3.0.tar.gz")
    report = catalogue.sync("demo")
    assert report.files == 2
    assert fleet.ask("SELECT filename, yanked, yanked_reason FROM upstream_file ORDER BY 1") == [
        ("demo-1.0.tar.gz", True, "leaks"),
        ("demo-2.0.tar.gz", False, None),
    ]
    # Releases stay, behind those that are there: builds refer to them.
    ranked = [spelling for (spelling,) in fleet.ask("SELECT spelling FROM release ORDER BY newest_first")]
    assert ranked[0] == "2.0"
    assert sorted(ranked) == ["1.0", "2.0", "3.0"]


def test_a_project_that_is_gone_loses_nothing_and_may_come_back(catalogue: Catalogue, upstream: Upstream, fleet: Fleet) -> None:
    upstream.add_sdist("demo", "1.0")
    catalogue.sync("demo")
    page = upstream.projects.pop("demo")
    report = catalogue.sync("demo")
    assert (report.gone, report.failures, bool(report)) == (("demo",), {}, True)
    assert fleet.ask("SELECT status, count(filename) FROM project JOIN upstream_file USING (project_id) GROUP BY 1") == [
        ("gone", 1)
    ]
    assert set(catalogue.builds().values()) == {"skipped"}
    before = catalogue.written()
    assert not catalogue.sync("demo")
    assert catalogue.written() == before
    upstream.projects["demo"] = page
    assert catalogue.sync("demo").changed == ("demo",)
    assert fleet.ask("SELECT status FROM project") == [("active",)]
    assert set(catalogue.builds().values()) == {"pending"}


def test_a_failing_project_stops_no_other_and_all_are_named(catalogue: Catalogue, upstream: Upstream) -> None:
    for name in ("a", "b", "c", "d"):
        upstream.add_sdist(name, "1.0")
    upstream.fail("/simple/a/", status=500, times=1000)
    upstream.fail("/simple/b/", body=b"garbage", times=1000)
    report = catalogue.sync("a", "b", "c", "d", "nowhere")
    assert report.changed == ("c", "d")
    assert {project: type(error) for project, error in report.failures.items()} == {
        "a": UpstreamError,
        "b": UpstreamError,
        "nowhere": UnknownProject,
    }
    with pytest.raises(UpstreamError, match=r"3 of 5 projects failed(.|\n)*a: (.|\n)*b: (.|\n)*nowhere: "):
        report.raise_failures()
    with pytest.raises(UnknownProject):
        catalogue.sync("nowhere").raise_failures()


def test_a_project_that_the_database_refuses_stops_no_other(catalogue: Catalogue, upstream: Upstream, fleet: Fleet) -> None:
    upstream.add_sdist("demo", "1.0")
    upstream.add_sdist("big", "1.0")
    fleet.ask("ALTER TABLE upstream_file ADD CONSTRAINT no_big CHECK (filename NOT LIKE 'big%%')")
    report = catalogue.sync("big", "demo")
    assert report.changed == ("demo",)
    assert list(report.failures) == ["big"]
    # All or nothing.
    assert fleet.ask("SELECT name FROM project") == [("demo",)]


def test_check_keeps_nothing(catalogue: Catalogue, upstream: Upstream) -> None:
    upstream.add_sdist("demo", "1.0")
    before = catalogue.written()
    report = catalogue.sync("demo", check=True)
    assert (report.changed, len(report.wanted)) == (("demo",), 2)
    assert catalogue.written() == before


def test_all_projects(catalogue: Catalogue, upstream: Upstream) -> None:
    for name in ("a", "B.b", "c"):
        upstream.add_sdist(name, "1.0")
    assert set(catalogue.sync("all").changed) == {"a", "b-b", "c"}


def test_a_published_page_is_due_when_upstream_changes_it(catalogue: Catalogue, upstream: Upstream, fleet: Fleet) -> None:
    upstream.add_sdist("demo", "1.0")
    catalogue.sync("demo")
    assert fleet.ask("SELECT 1 FROM page_due") == []
    batch = fleet.lease("pi")
    assert batch is not None
    fleet.record("pi", batch.lease_id, batch.builds[0].build_id, Outcome.BUILT, "demo-1.0-py3-none-any.whl")
    fleet.publish(fleet.ask("SELECT wheel_id FROM wheel")[0][0])
    fleet.ask("DELETE FROM page_due")
    catalogue.sync("demo")
    assert fleet.ask("SELECT 1 FROM page_due") == []
    upstream.change_file("demo", "demo-1.0.tar.gz", yanked="x")
    catalogue.sync("demo")
    assert fleet.ask("SELECT name FROM page_due JOIN project USING (project_id)") == [("demo",)]


def test_the_oldest_leads_and_its_siblings_wait(catalogue: Catalogue, upstream: Upstream, fleet: Fleet) -> None:
    fleet.add_builder("arm64", ARM64)
    upstream.add_sdist("demo", "1.0")
    upstream.add_sdist("demo", "2.0")
    report = catalogue.sync("demo")
    assert [str(build) for build in report.wanted][:3] == [
        "demo==2.0 for cp311-aarch64-bookworm",
        "demo==2.0 for cp311-armv7l-bookworm",
        "demo==2.0 for cp313-armv7l-trixie",
    ]
    assert fleet.ask(
        "SELECT spelling, python, architecture, priority, waits_for IS NULL,"
        " waits_for = first_value(build_id) OVER (PARTITION BY release_id ORDER BY waits_for NULLS FIRST)"
        " FROM queue JOIN build USING (build_id) JOIN release USING (release_id) JOIN target ON target.target_id = build.target_id"
        " ORDER BY 1, 4, 5 DESC, 3, 2"
    ) == [
        ("1.0", "cp311", "aarch64", 2, True, None),
        ("1.0", "cp311", "armv7l", 2, False, True),
        ("1.0", "cp313", "armv7l", 2, False, True),
        ("2.0", "cp311", "aarch64", 1, True, None),
        ("2.0", "cp311", "armv7l", 1, False, True),
        ("2.0", "cp313", "armv7l", 1, False, True),
    ]


def test_a_target_added_later_waits_for_an_unfinished_leader_only(catalogue: Catalogue, upstream: Upstream, fleet: Fleet) -> None:
    upstream.add_sdist("demo", "1.0")
    catalogue.sync("demo")
    batch = fleet.lease("pi")
    assert batch is not None
    leader = batch.builds[0].build_id
    fleet.add_builder("later", Target("cp312", "armv7l", "bookworm"))
    catalogue.sync("demo")
    waits_for = fleet.ask(
        "SELECT waits_for FROM queue JOIN build USING (build_id) JOIN target ON target.target_id = build.target_id"
        " WHERE python = 'cp312'"
    )
    assert waits_for == [(leader,)]
    fleet.record("pi", batch.lease_id, leader, Outcome.COMPILE_ERROR)
    fleet.add_builder("latest", Target("cp314", "armv7l", "trixie"))
    catalogue.sync("demo")
    second = fleet.ask(
        "SELECT waits_for IS DISTINCT FROM %s FROM queue JOIN build USING (build_id)"
        " JOIN target ON target.target_id = build.target_id WHERE python = 'cp314'",
        leader,
    )
    assert second == [(True,)]
    assert catalogue.builds()["1.0 cp311 bookworm"] == "failed"


def test_a_target_that_our_own_wheel_serves_needs_no_build(catalogue: Catalogue, upstream: Upstream, fleet: Fleet) -> None:
    upstream.add_sdist("demo", "1.0")
    catalogue.sync("demo")
    batch = fleet.lease("pi")
    assert batch is not None
    fleet.record("pi", batch.lease_id, batch.builds[0].build_id, Outcome.BUILT, "demo-1.0-py3-none-any.whl")
    fleet.publish(fleet.ask("SELECT wheel_id FROM wheel")[0][0], TRIXIE)
    fleet.add_builder("arm64", ARM64)
    assert not catalogue.sync("demo")
    assert catalogue.builds() == {"1.0 cp311 bookworm": "published", "1.0 cp313 trixie": "skipped"}


def test_a_changed_policy_reaches_the_queue(catalogue: Catalogue, upstream: Upstream, fleet: Fleet) -> None:
    upstream.add_sdist("demo", "1.0")
    upstream.add_file("demo", "demo-1.0-py3-none-any.whl")
    assert catalogue.sync("demo").wanted == ()
    assert len(catalogue.sync("demo", policy="all").wanted) == 2
    assert not catalogue.sync("demo", policy="all")
    # Also where the project is no longer listed at all.
    skipped = catalogue.sync(policy="all").skipped
    assert {build.reason for build in skipped} == {"not in fleet_projects"}
    assert set(catalogue.builds().values()) == {"skipped"}
    assert fleet.ask("SELECT 1 FROM queue") == []
    assert len(catalogue.sync("demo", policy="all").wanted) == 2


def test_a_target_wanted_no_more_leaves_the_queue_and_leased_builds_stay(
    catalogue: Catalogue, upstream: Upstream, fleet: Fleet
) -> None:
    upstream.add_sdist("demo", "1.0")
    catalogue.sync("demo")
    fleet.lease("pi")
    fleet.add_builder("pi", BOOKWORM)
    assert [build.reason for build in catalogue.sync("demo").skipped] == ["the fleet no longer builds for its target"]
    assert not catalogue.sync()
    assert catalogue.builds() == {"1.0 cp311 bookworm": "leased", "1.0 cp313 trixie": "skipped"}


def test_a_forced_project_is_synced_without_being_listed(catalogue: Catalogue, upstream: Upstream, fleet: Fleet) -> None:
    upstream.add_sdist("demo", "1.0")
    fleet.ask("INSERT INTO operator_instruction VALUES ('demo', '1', 'force', 'asked for')")
    assert len(catalogue.sync().wanted) == 2
    assert {priority for (priority,) in fleet.ask("SELECT priority FROM queue")} == {0}


def test_a_file_that_no_builder_could_fetch_is_refused(catalogue: Catalogue, upstream: Upstream, fleet: Fleet) -> None:
    upstream.add_sdist("demo", "1.0", url="ftp://files.invalid/demo-1.0.tar.gz")
    upstream.add_project("demo", versions=["1.0"])
    assert catalogue.sync("demo").wanted == ()
    assert fleet.ask("SELECT kind::text, refusal, version FROM upstream_file LEFT JOIN release USING (release_id)") == [
        ("refused", "its URL is neither http nor https", "1")
    ]


def test_syncs_at_once_agree(catalogue: Catalogue, upstream: Upstream, fleet: Fleet) -> None:
    names = [f"demo{number}" for number in range(8)]
    for name in names:
        upstream.add_sdist(name, "1.0")
        upstream.add_sdist(name, "2.0")
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda _: catalogue.sync(*names), range(4)))
    assert [report.failures for report in reports] == [{}] * 4
    # Each build was put into the queue by exactly one of them.
    wanted = [str(build) for report in reports for build in report.wanted]
    assert len(wanted) == len(set(wanted)) == len(fleet.ask("SELECT 1 FROM queue")) == 8 * 2 * 2
    assert not catalogue.sync(*names)


def test_without_targets_nothing_can_be_wanted(database: EmbeddedDatabase, upstream: Upstream) -> None:
    with pytest.raises(BadInput, match="no target"):
        Catalogue(Fleet(database), upstream).sync("demo")


def test_a_database_that_is_away(upstream: Upstream) -> None:
    with UpstreamIndex(upstream.url) as index, pytest.raises(DatabaseAway):
        sync("host=/nonexistent dbname=x user=y", index, Policy())


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ("demo==9", "there is no demo==9 upstream; its newest releases: 3.0, 1.0, 2.0"),
        ("demo==2.0", "demo==2.0 cannot be built: no files"),
        ("demo==3", "demo==3.0 cannot be built: no sdist, only wheels"),
    ],
)
def test_a_named_version_that_nobody_can_build_is_told_of_and_the_rest_is_synced(
    fleet: Fleet, upstream: Upstream, wish: str, complaint: str
) -> None:
    upstream.add_sdist("demo", "1.0")
    upstream.add_file("demo", "demo-3.0-py3-none-any.whl")
    upstream.add_project("demo", versions=["1.0", "2.0", "3.0"])
    catalogue = Catalogue(fleet, upstream)
    report = catalogue.sync(wish, "demo==1.0", policy="all")
    assert str(report.failures["demo"]) == complaint
    assert set(catalogue.builds()) == {"1.0 cp311 bookworm", "1.0 cp313 trixie"}
    assert not catalogue.sync("demo==1.0", policy="all").failures

"""A fleet's memory moves into another PostgreSQL: whole, once, and without touching the old one."""

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.db.move import Manifest, load_copy, read_manifest, write_copy
from piwheels_builder.errors import BadInput, DatabaseRefused
from piwheels_builder.index.publication import publish
from piwheels_builder.states import Outcome
from tests.support.database import fresh_database, rows
from tests.support.debian_database import INSTALLED, debian_server
from tests.support.fleet import Fleet
from tests.support.published import IndexHost, public_directory


@pytest.fixture
def other(database_server: EmbeddedDatabase) -> Iterator[EmbeddedDatabase]:
    """The database of the real server: migrated, and empty."""
    with fresh_database(database_server) as fresh:
        yield fresh


@pytest.fixture
def host(fleet: Fleet) -> Iterator[IndexHost]:
    """A fleet with a history: two published wheels, a failed build, one that is leased, one that waits for it."""
    with public_directory() as place:
        (place / "outbox").mkdir()
        host = IndexHost(fleet, place)
        host.build("first")
        host.build("second")
        host.publish()
        failed = fleet.want("broken")
        batch = fleet.lease("pi1")
        assert batch is not None
        fleet.record("pi1", batch.lease_id, failed, Outcome.COMPILE_ERROR)
        fleet.ask(
            "UPDATE attempt SET log_tail = E'tab\\t newline\\n \\\\. \\\\N \u00fcn\u00efcode' WHERE build_id = %s",
            failed,
        )
        leader = fleet.want("leased")
        assert fleet.lease("pi1") is not None
        fleet.want("follower", leader=leader)
        yield host


def copy(database: EmbeddedDatabase, place: Path) -> Manifest:
    return write_copy(database.conninfo("piwheels_owner"), place / "copy", lambda _: None)


def load(database: EmbeddedDatabase, place: Path, **options: Any) -> bool:
    told: list[str] = []
    try:
        return load_copy(database.conninfo("piwheels_owner"), place / "copy", told.append, **options)
    finally:
        print(told)


def content(database: EmbeddedDatabase, table: str) -> list[str]:
    return sorted(text for (text,) in rows(database, f"SELECT row_to_json(its)::text FROM {table} AS its"))


def pages(tree: Path) -> dict[str, bytes]:
    return {str(path.relative_to(tree)): path.read_bytes() for path in (tree / "simple").rglob("*.gz")}


def check_moved(old: EmbeddedDatabase, new: EmbeddedDatabase, manifest: Manifest) -> None:
    changed = {"build", "queue", "builder"}
    # Leases are given back in the new one, which is counted there.
    counted = {"statistic_change"}
    assert {"attempt", "wheel", "release", "upstream_file", *changed} <= {table.name for table in manifest.tables}
    for table in (table for table in manifest.tables if table.name not in counted):
        assert len(content(new, table.name)) == len(content(old, table.name)) == table.rows
        if table.name not in changed:
            assert content(new, table.name) == content(old, table.name)
    assert rows(
        new, "SELECT name, state FROM build JOIN release USING (release_id) JOIN project USING (project_id) ORDER BY name"
    ) == [
        ("broken", "failed"),
        ("first", "published"),
        ("follower", "pending"),
        ("leased", "pending"),
        ("second", "published"),
    ]
    assert rows(new, "SELECT count(*) FROM queue WHERE lease_id IS NOT NULL") == [(0,)]
    assert rows(new, "SELECT count(*) FROM queue WHERE waits_for IS NOT NULL") == [(1,)]
    assert rows(new, "SELECT name, standing FROM builder") == [("pi1", "retired")]


def go_on(new: EmbeddedDatabase) -> None:
    """The fleet works on in its new database: the builder registers, and what was leased is handed out and built."""
    fleet = Fleet(new)
    fleet.add_builder("pi1")
    fresh = fleet.want("new")
    leased = fleet.lease_all("pi1")
    assert {build["project"] for build in leased} == {"leased", "new"}
    assert fleet.record("pi1", leased[0]["lease_id"], fresh) == "recorded"


def test_all_of_it_moves_and_pages_are_the_same(host: IndexHost, other: EmbeddedDatabase, tmp_path: Path) -> None:
    manifest = copy(host.fleet.database, tmp_path)
    assert load(other, tmp_path)
    check_moved(host.fleet.database, other, manifest)
    tree = host.place / "moved"
    shutil.copytree(host.tree, tree)
    before = pages(tree)
    for name in before:
        (tree / name).unlink()
    with connected(other.conninfo("piwheels_publisher")) as connection:
        publish(connection, tree, {}, host.rules, rerender=True)
    assert any("first" in name for name in before)
    assert pages(tree) == before
    go_on(other)


@pytest.mark.skipif(not INSTALLED, reason="needs Debian's PostgreSQL (apt-get install postgresql)")
def test_it_moves_to_an_older_postgresql(host: IndexHost, tmp_path: Path) -> None:
    manifest = copy(host.fleet.database, tmp_path)
    with debian_server(min(INSTALLED)) as server, fresh_database(server) as older:
        assert rows(older, "SHOW server_version_num") < rows(host.fleet.database, "SHOW server_version_num")
        assert load(older, tmp_path)
        check_moved(host.fleet.database, older, manifest)
        go_on(older)
        with fresh_database(server) as again:
            # And from there onward, as from one real server to the next.
            rows(older, "UPDATE wheel SET lost_at = now() WHERE published_at IS NULL")
            copy(older, tmp_path)
            assert load(again, tmp_path)


def test_the_old_one_is_only_read_and_a_second_time_changes_nothing(
    host: IndexHost, other: EmbeddedDatabase, tmp_path: Path
) -> None:
    first = copy(host.fleet.database, tmp_path)
    assert load(other, tmp_path)
    go_on(other)
    assert copy(host.fleet.database, tmp_path).id == first.id
    assert not load(other, tmp_path)
    assert rows(other, "SELECT count(*) FROM attempt") == [(4,)]


def test_a_fleet_that_went_on_does_not_move_over_its_own_past(host: IndexHost, other: EmbeddedDatabase, tmp_path: Path) -> None:
    copy(host.fleet.database, tmp_path)
    load(other, tmp_path)
    host.fleet.want("later")
    copy(host.fleet.database, tmp_path)
    with pytest.raises(DatabaseRefused, match="has builds already"):
        load(other, tmp_path)
    assert "later" not in str(content(other, "project"))


def test_a_database_with_builds_of_its_own_is_refused(host: IndexHost, other: EmbeddedDatabase, tmp_path: Path) -> None:
    theirs = Fleet(other)
    theirs.add_builder("pi7")
    copy(host.fleet.database, tmp_path)
    # What provisioning registered is no reason; the builders register again.
    assert load(other, tmp_path, check=True)
    assert content(other, "builder")
    theirs.want("theirs")
    for check in (True, False):
        with pytest.raises(DatabaseRefused, match="has builds already"):
            load(other, tmp_path, check=check)
    assert len(content(other, "project")) == 1


def test_what_provisioning_registered_is_replaced(host: IndexHost, other: EmbeddedDatabase, tmp_path: Path) -> None:
    Fleet(other).add_builder("pi7")
    manifest = copy(host.fleet.database, tmp_path)
    assert load(other, tmp_path)
    check_moved(host.fleet.database, other, manifest)


def test_it_is_taken_whole_or_not_at_all(host: IndexHost, other: EmbeddedDatabase, tmp_path: Path) -> None:
    manifest = copy(host.fleet.database, tmp_path)

    def dies(line: str) -> None:
        if line.startswith("wheel:"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_copy(other.conninfo("piwheels_owner"), tmp_path / "copy", dies)
    assert content(other, "project") == []
    assert load(other, tmp_path)
    check_moved(host.fleet.database, other, manifest)


def test_wheels_that_wait_are_not_left_behind(host: IndexHost, tmp_path: Path) -> None:
    host.build("unpublished")
    host.fleet.ask("UPDATE builder SET standing = 'quarantined'")
    with pytest.raises(DatabaseRefused, match="1 wheels"):
        copy(host.fleet.database, tmp_path)
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("strange", ["notes.txt", "backup.gz", "project.gz/inner"])
def test_a_directory_with_anything_else_in_it_is_left_alone(host: IndexHost, tmp_path: Path, strange: str) -> None:
    directory = tmp_path / "copy"
    (directory / strange).parent.mkdir(parents=True)
    (directory / strange).write_text("mine")
    with pytest.raises(BadInput, match=f"holds {strange.partition('/')[0]}"):
        copy(host.fleet.database, tmp_path)
    assert (directory / strange).read_text() == "mine"
    shutil.rmtree(directory)
    directory.mkdir()
    # What a copy that was interrupted has left.
    (directory / "project.gz").write_text("half")
    (directory / ".manifest.json").write_text("")
    copy(host.fleet.database, tmp_path)
    assert not (directory / ".manifest.json").exists()


def test_a_quarantine_moves_too(host: IndexHost, other: EmbeddedDatabase, tmp_path: Path) -> None:
    host.fleet.ask("SELECT suspect_builder('pi1', 'its wheel changed', true)")
    copy(host.fleet.database, tmp_path)
    load(other, tmp_path)
    Fleet(other).add_builder("pi1")
    assert rows(other, "SELECT standing, standing_reason FROM builder") == [("quarantined", "its wheel changed")]


def test_another_version_of_this_project_is_refused(host: IndexHost, other: EmbeddedDatabase, tmp_path: Path) -> None:
    copy(host.fleet.database, tmp_path)
    rows(other, "DELETE FROM schema_step WHERE name = '0003_learning.sql'")
    with pytest.raises(DatabaseRefused, match=r"differ in 0003_learning\.sql"):
        load(other, tmp_path)


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def _flip(file: Path) -> None:
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(b"first", b"worst"), mtime=0))


@pytest.mark.parametrize("damage", [_cut, _flip, Path.unlink])
def test_a_damaged_copy_is_refused(host: IndexHost, other: EmbeddedDatabase, tmp_path: Path, damage: Any) -> None:
    copy(host.fleet.database, tmp_path)
    damage(tmp_path / "copy/project.gz")
    with pytest.raises(BadInput, match=r"project\.gz .* is damaged"):
        load(other, tmp_path)
    assert content(other, "release") == []


@pytest.mark.parametrize("text", [None, "", "{}", "[]", '{"migrations": {}, "tables": [1], "sequences": {}}'])
def test_half_a_copy_is_refused(other: EmbeddedDatabase, tmp_path: Path, text: str | None) -> None:
    (tmp_path / "copy").mkdir()
    if text is not None:
        (tmp_path / "copy/manifest.json").write_text(text)
    with pytest.raises(BadInput, match="no whole copy"):
        load(other, tmp_path)


def test_a_copy_is_for_its_owner_alone(host: IndexHost, tmp_path: Path) -> None:
    manifest = copy(host.fleet.database, tmp_path)
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700
    assert read_manifest(tmp_path / "copy") == manifest
    assert json.loads((tmp_path / "copy/manifest.json").read_text())["tables"]

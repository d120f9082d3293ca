"""From a builder's outbox to the published tree: what is believed, what is refused, what stands on which page."""

import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from piwheels_builder.db.connect import connected
from piwheels_builder.errors import BadInput, StorageFault
from piwheels_builder.index import publication, rendering
from piwheels_builder.index.contents import PageRules
from piwheels_builder.index.publication import foresee
from tests.support.fleet import BOOKWORM, TRIXIE, Fleet
from tests.support.modules import run_module
from tests.support.published import IndexHost, make_wheel, public_directory

KILLER = Path(__file__).parents[1] / "support/killed_publication.py"


@pytest.fixture
def host(fleet: Fleet) -> Iterator[IndexHost]:
    with public_directory() as place:
        (place / "outbox").mkdir()
        yield IndexHost(fleet, place)


def lies(root: Path, project: str, kind: str = "json") -> Path:
    return root / project[:2] / f"{project}.{kind}.gz"


def unpacked(page: Path) -> str:
    return gzip.decompress(page.read_bytes()).decode()


def page(host: IndexHost, project: str, root: str = "simple") -> dict[str, Any] | None:
    """The JSON page, and that the HTML page has the same files."""
    # What the server does: an OS release whose page is the one of all has none of its own.
    place = next((place for place in (host.tree / root, host.tree / "simple") if lies(place, project).exists()), None)
    if place is None:
        return None
    content: dict[str, Any] = json.loads(unpacked(lies(place, project)))
    html = unpacked(lies(place, project, "html"))
    assert [html.count(f">{file['filename']}</a>") for file in content["files"]] == [1] * len(content["files"])
    assert html.count("<a ") == len(content["files"])
    return content


def filenames(host: IndexHost, project: str, root: str = "simple") -> list[str] | None:
    found = page(host, project, root)
    return None if found is None else [file["filename"] for file in found["files"]]


def listed(host: IndexHost, root: str = "simple") -> list[str]:
    return [project["name"] for project in json.loads(unpacked(host.tree / root / "index.json.gz"))["projects"]]


def state(host: IndexHost, project: str) -> tuple[str, str]:
    ((found, reason),) = host.fleet.ask(
        "SELECT state::text, reason FROM build JOIN release USING (release_id) JOIN project USING (project_id) WHERE name = %s",
        project,
    )
    return found, reason


def assert_whole(host: IndexHost) -> None:
    """Everything booked is on disk with its bytes, everything on disk is booked, pages and listings agree, nothing is left over."""
    booked = {
        f"{project}/{filename}": sha256
        for project, filename, sha256 in host.fleet.ask(
            "SELECT name, filename, sha256 FROM wheel JOIN build USING (build_id) JOIN release USING (release_id)"
            " JOIN project USING (project_id) WHERE published_at IS NOT NULL"
        )
    }
    found = {f"{path.parent.name}/{path.name}": path for path in host.tree.glob("wheels/*/*/*.whl")}
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items()} == booked
    for root in ("simple", "bookworm/simple"):
        pages = sorted(
            {path.name.removesuffix(".json.gz") for where in {root, "simple"} for path in host.tree.glob(f"{where}/*/*.json.gz")}
        )
        assert pages == listed(host, root)
        for project in pages:
            content = page(host, project, root)
            assert content is not None
            own = [file for file in content["files"] if file["url"].startswith("/wheels/")]
            for file in own:
                path = host.tree / file["url"][1:]
                assert file["hashes"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
                metadata = path.with_name(f"{path.name}.metadata").read_bytes()
                assert file["core-metadata"]["sha256"] == hashlib.sha256(metadata).hexdigest()
    assert list((host.tree / ".publishing").iterdir()) == []
    assert host.fleet.ask("SELECT * FROM page_due") == []


def test_a_wheel_is_served_with_upstreams_files_beside_it(host: IndexHost) -> None:
    host.build("demo-a", requires_python=">=3.8,<4")
    report = host.publish()
    assert (report.published, report.refused, report.lost, report.pages_written) == (["demo_a-1.0-py3-none-any.whl"], [], [], 1)
    assert state(host, "demo-a") == ("published", "serves demo_a-1.0-py3-none-any.whl")
    for root in ("simple", "bookworm/simple"):
        content = page(host, "demo-a", root)
        assert content is not None
        assert content["meta"] == {"api-version": "1.4"}
        assert content["versions"] == ["1.0"]
        assert content["project-status"] == {"status": "active"}
        sdist, wheel = content["files"]
        assert sdist["url"] == "http://upstream.invalid/demo-a"
        assert wheel["requires-python"] == ">=3.8,<4"
        assert wheel["size"] > 0
        assert wheel["upload-time"].endswith("Z")
    assert_whole(host)


def test_everybody_may_read_whatever_the_umask_was(host: IndexHost) -> None:
    before = os.umask(0o077)
    try:
        host.build("demo")
        host.publish()
    finally:
        os.umask(before)
    for path in host.tree.rglob("*"):
        if ".publishing" not in path.parts:
            assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


def test_a_second_publication_changes_nothing(host: IndexHost) -> None:
    host.build("demo")
    host.publish()
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in host.tree.rglob("*") if path.is_file()}
    host.page_changed("demo")
    report = host.publish(rerender=True)
    assert not report.changed
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in host.tree.rglob("*") if path.is_file()} == before


def test_a_page_of_one_length_and_second_gets_another_etag(host: IndexHost) -> None:
    host.build("demo")
    host.publish()
    html = host.tree / "simple/de/demo.html.gz"
    first = html.stat()
    host.fleet.ask("UPDATE upstream_file SET sha256 = repeat('e', 64)")
    host.page_changed("demo")
    host.publish()
    assert html.stat().st_size == first.st_size
    assert int(html.stat().st_mtime) > int(first.st_mtime)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def change(path: Path) -> None:
    path.write_bytes(b"x" + path.read_bytes()[1:])


def link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def link_directory(path: Path) -> None:
    path.parent.rename(path.parent.with_name("x"))
    path.parent.symlink_to("x")


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [lengthen, truncate, change, lambda path: path.write_bytes(b"")])
def test_a_wheel_with_other_bytes_than_recorded_is_built_again(host: IndexHost, damage: Callable[[Path], None]) -> None:
    """A disk or a line damaged it: that is not the release's fault."""
    damage(host.build("demo"))
    assert host.publish().lost == ["demo-1.0-py3-none-any.whl"]
    assert state(host, "demo") == ("pending", "its wheel was lost or damaged before it could be published")
    assert list(host.tree.glob("wheels/*/*/*")) == []
    assert filenames(host, "demo") is None


def test_a_wheel_that_is_damaged_again_and_again_is_parked(host: IndexHost) -> None:
    build_id = host.fleet.want("demo")
    for text in ("one", "two", "three"):
        assert host.fleet.ask("SELECT 1 FROM queue WHERE held IS NOT NULL") == []
        truncate(host.finish(build_id, "demo", text=text))
        host.publish()
    ((held,),) = host.fleet.ask("SELECT held FROM queue")
    assert held == "its wheel was lost or damaged 3 times before it could be published"
    assert state(host, "demo")[0] == "pending"
    assert host.fleet.lease("pi1") is None


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (link, "not a file"),
        (link_directory, "not a file"),
        (make_fifo, "not a file"),
        (make_directory, "not a file"),
    ],
)
def test_a_wheel_that_is_no_file_is_refused(host: IndexHost, damage: Callable[[Path], None], reason: str) -> None:
    damage(host.build("demo"))
    (refused,) = host.publish().refused
    assert refused.wheel == "demo-1.0-py3-none-any.whl"
    assert reason in refused.reason
    found, why = state(host, "demo")
    assert (found, reason in why) == ("failed", True)
    assert list(host.tree.glob("wheels/*/*/*")) == []
    assert filenames(host, "demo") is None


@pytest.mark.parametrize(
    ("filename", "content", "reason"),
    [
        ("../../../../etc/passwd", b"x", "not the filename of a wheel"),
        ("demo-1.0-py3-none-any.whl/../x-1.0-py3-none-any.whl", b"x", "filename"),
        ("demo-1.0-py3-none-any.whl", b"not a zip file", "broken|zip"),
        ("other-1.0-py3-none-any.whl", b"x", "not a wheel of demo"),
        ("demo-2.0-py3-none-any.whl", b"x", "not a wheel of demo"),
    ],
)
def test_what_its_builder_says_is_not_believed(host: IndexHost, filename: str, content: bytes, reason: str) -> None:
    build_id = host.fleet.want("demo")
    batch = host.fleet.lease("pi1")
    assert batch is not None
    entry = host.outbox / f"{batch.lease_id}-{build_id}"
    entry.mkdir()
    (entry / Path(filename).name).write_bytes(content)
    host.record(str(batch.lease_id), build_id, "demo-1.0-py3-none-any.whl", content)
    # The database takes no such name from a builder; publication does not rely on that.
    host.fleet.ask("UPDATE wheel SET filename = %s", filename)
    (refused,) = host.publish().refused
    assert re.search(reason, refused.reason)
    assert state(host, "demo")[0] == "failed"


def test_metadata_that_a_database_cannot_hold_is_refused_and_stops_no_other(host: IndexHost) -> None:
    host.build("evil", requires_python=">=3\0.8")
    host.build("honest")
    report = host.publish()
    assert report.published == ["honest-1.0-py3-none-any.whl"]
    assert [refused.wheel for refused in report.refused] == ["evil-1.0-py3-none-any.whl"]
    assert state(host, "evil")[0] == "failed"
    assert_whole(host)


def test_a_wheel_for_another_target_is_refused(host: IndexHost) -> None:
    host.build("demo", tag="cp39-cp39-linux_armv7l")
    (refused,) = host.publish().refused
    assert "does not install on cp311-armv7l-bookworm" in refused.reason


def test_a_missing_wheel_is_built_again_once_that_is_certain(host: IndexHost) -> None:
    ((early,),) = host.fleet.ask("SELECT clock_timestamp()")
    host.build("demo").unlink()
    assert not host.publish(recorded_before=early).changed
    assert state(host, "demo")[0] == "built"
    ((late,),) = host.fleet.ask("SELECT clock_timestamp()")
    assert host.publish(recorded_before=late).lost == ["demo-1.0-py3-none-any.whl"]
    assert state(host, "demo")[0] == "pending"


def test_nothing_is_lost_where_an_outbox_was_not_collected(host: IndexHost) -> None:
    host.build("demo")
    host.outbox.rename(host.place / "elsewhere")
    with pytest.raises(BadInput, match="collect them first"):
        host.publish()
    assert state(host, "demo")[0] == "built"


def test_a_rebuild_with_other_bytes_gets_a_build_tag(host: IndexHost) -> None:
    first = host.build("demo", text="one").read_bytes()
    host.publish()
    for number, text in enumerate(["two", "three"], start=1):
        host.rebuild("demo", text=text)
        assert host.publish().published == [f"demo-1.0-{number}-py3-none-any.whl"]
    assert (host.tree / "wheels/de/demo/demo-1.0-py3-none-any.whl").read_bytes() == first
    tagged = host.tree / "wheels/de/demo/demo-1.0-2-py3-none-any.whl"
    with zipfile.ZipFile(tagged) as wheel:
        assert b"Build: 2" in wheel.read("demo-1.0.dist-info/WHEEL")
        assert b"three" in wheel.read("demo.py")
    assert state(host, "demo") == ("published", f"serves {tagged.name}")
    assert_whole(host)


def test_a_rebuild_with_the_same_bytes_is_the_wheel_that_is_there(host: IndexHost) -> None:
    for text in ("one", "two", "two", "one"):
        host.rebuild("demo", text=text) if "demo" in host.fleet.releases else host.build("demo", text=text)
        host.publish()
        assert state(host, "demo")[0] == "published"
    assert sorted(path.name for path in host.tree.glob("wheels/de/demo/*.whl")) == [
        "demo-1.0-1-py3-none-any.whl",
        "demo-1.0-py3-none-any.whl",
    ]
    assert_whole(host)


def test_withdrawn_bytes_do_not_come_back(host: IndexHost) -> None:
    host.build("demo")
    host.publish()
    host.fleet.ask("SELECT withdraw_wheel(wheel_id, 'it crashes') FROM wheel", role="piwheels_publisher")
    host.publish()
    assert filenames(host, "demo") is None
    assert listed(host) == []
    assert (host.tree / "wheels/de/demo/demo-1.0-py3-none-any.whl").exists()
    host.rebuild("demo")
    (refused,) = host.publish().refused
    assert "it crashes" in refused.reason


def test_a_name_upstream_uses_is_never_shadowed(host: IndexHost) -> None:
    host.rules = PageRules(upstream_wins=False)
    host.fleet.want("demo")
    host.upstream_offers("demo", "demo-1.0-py3-none-any.whl")
    ((build_id,),) = host.fleet.ask("SELECT build_id FROM build")
    host.finish(build_id, "demo")
    assert host.publish().published == ["demo-1.0-1-py3-none-any.whl"]
    content = page(host, "demo")
    assert content is not None
    by_name = {file["filename"]: file["url"] for file in content["files"]}
    assert by_name["demo-1.0-py3-none-any.whl"] == "http://upstream.invalid/demo-1.0-py3-none-any.whl"
    assert by_name["demo-1.0-1-py3-none-any.whl"].startswith("/wheels/")


def test_upstreams_wheel_for_another_python_does_not_win(host: IndexHost) -> None:
    host.build("demo")
    host.upstream_offers("demo", "demo-1.0-py2.py3-none-any.whl", requires_python=">=3.12")
    host.publish()
    assert "demo-1.0-py3-none-any.whl" in (filenames(host, "demo") or [])


@pytest.mark.parametrize(
    ("ours", "theirs", "wins"),
    [
        ("cp311-cp311-linux_armv7l", "cp311-cp311-manylinux_2_31_armv7l", True),
        ("cp311-cp311-linux_armv7l", "cp38-abi3-manylinux_2_17_armv7l", True),
        ("cp311-cp311-linux_armv7l", "py3-none-any", True),
        ("cp311-cp311-linux_armv7l", "cp311-cp311-manylinux_2_31_aarch64", False),
        ("cp311-cp311-linux_armv7l", "cp311-cp311-manylinux_2_40_armv7l", False),
        ("py3-none-linux_armv7l", "cp311-cp311-manylinux_2_31_armv7l", True),
    ],
)
def test_upstream_wins_where_it_serves_the_target(host: IndexHost, ours: str, theirs: str, wins: bool) -> None:
    host.build("demo", tag=ours)
    host.publish(armv6_twins=False)
    own = f"demo-1.0-{ours}.whl"
    assert own in (filenames(host, "demo") or [])
    host.upstream_offers("demo", f"demo-1.0-{theirs}.whl")
    host.publish()
    assert (filenames(host, "demo") is None) == wins
    assert (listed(host) == []) == wins
    assert (host.tree / "wheels/de/demo" / own).exists()
    # Changed rules are noticed without being told.
    host.rules = PageRules(upstream_wins=False)
    host.publish()
    assert own in (filenames(host, "demo") or [])


def test_upstreams_slow_fallback_beside_platform_wheels_does_not_win(host: IndexHost) -> None:
    host.build("demo", tag="cp311-cp311-linux_armv7l")
    host.upstream_offers("demo", "demo-1.0-py3-none-any.whl")
    host.upstream_offers("demo", "demo-1.0-cp311-cp311-win_amd64.whl")
    host.publish()
    assert "demo-1.0-cp311-cp311-linux_armv7l.whl" in (filenames(host, "demo") or [])


def test_a_private_project_never_shows_upstreams_files(host: IndexHost) -> None:
    host.rules = PageRules(private_projects=frozenset({"demo"}))
    host.build("demo")
    host.upstream_offers("demo", "demo-1.0-cp311-cp311-linux_armv7l.whl")
    host.publish()
    assert filenames(host, "demo") == ["demo-1.0-py3-none-any.whl"]


def test_yanks_and_deletions_are_followed(host: IndexHost) -> None:
    host.build("demo")
    host.fleet.ask("UPDATE upstream_file SET yanked = true, yanked_reason = 'broken <b>'")
    host.publish()
    content = page(host, "demo")
    assert content is not None
    assert [file["yanked"] for file in content["files"]] == ["broken <b>"] * 2
    assert unpacked(host.tree / "simple/de/demo.html.gz").count('data-yanked="broken &lt;b&gt;"') == 2
    host.fleet.ask("DELETE FROM upstream_file")
    host.page_changed("demo")
    host.publish()
    assert filenames(host, "demo") is None


def test_a_quarantined_project_offers_no_files(host: IndexHost) -> None:
    host.build("demo")
    host.publish()
    host.fleet.ask("UPDATE project SET status = 'quarantined', status_reason = 'malware'")
    host.page_changed("demo")
    host.publish()
    content = page(host, "demo")
    assert content is not None
    assert (content["files"], content["versions"]) == ([], [])
    assert content["project-status"] == {"status": "quarantined", "reason": "malware"}


def test_roots_list_what_runs_there(host: IndexHost) -> None:
    host.fleet.add_builder("pi1", BOOKWORM, TRIXIE)
    host.build("pure", TRIXIE)
    host.build("plain", BOOKWORM, tag="py3-none-linux_armv7l")
    host.build("new", TRIXIE, tag="cp313-cp313-linux_armv7l")
    host.build("linked", TRIXIE, tag="py3-none-linux_armv7l")
    host.build("portable", TRIXIE, tag="py3-none-manylinux_2_31_armv7l")
    host.publish()
    host.fleet.ask("UPDATE wheel SET glibc_floor = '2.41' WHERE filename LIKE 'new%%'")
    host.fleet.ask("UPDATE wheel SET glibc_floor = '2.34' WHERE filename LIKE 'plain%%'")
    host.fleet.ask("UPDATE wheel SET glibc_floor = '2.28' WHERE filename LIKE 'linked%%' OR filename LIKE 'portable%%'")
    for project in ("pure", "plain", "new", "linked", "portable"):
        host.page_changed(project)
    host.publish()
    everywhere = ["plain", "portable", "pure"]
    assert listed(host) == everywhere
    assert listed(host, "bookworm/simple") == everywhere
    # Built there, a linux_* wheel may need other libraries than an older release has, whatever its C library.
    assert listed(host, "trixie/simple") == ["linked", "new", *everywhere]


def test_waiting_siblings_it_serves_end_and_others_start(host: IndexHost) -> None:
    host.fleet.add_builder("pi1", BOOKWORM, TRIXIE)
    leader = host.fleet.want("demo", BOOKWORM)
    waiting = host.fleet.want("demo", TRIXIE, leader=leader)
    host.finish(leader, "demo")
    host.publish()
    assert host.fleet.state(waiting) == "skipped"
    leader = host.fleet.want("other", BOOKWORM)
    waiting = host.fleet.want("other", TRIXIE, leader=leader)
    host.finish(leader, "other", tag="cp311-cp311-linux_armv7l")
    host.publish()
    assert host.fleet.state(waiting) == "pending"


def test_a_page_without_upstreams_sizes_says_so(host: IndexHost) -> None:
    host.build("demo")
    host.fleet.ask("UPDATE upstream_file SET size = NULL")
    host.publish()
    content = page(host, "demo")
    assert content is not None
    assert content["meta"]["api-version"] == "1.0"
    assert [file["filename"] for file in content["files"] if "size" not in file] == ["demo-1.0.tar.gz"]


def test_a_full_disk_books_nothing(host: IndexHost, monkeypatch: pytest.MonkeyPatch) -> None:
    host.build("demo")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(StorageFault, match="No space left"):
        patched.setattr(publication, "take", full)
        host.publish()
    assert state(host, "demo")[0] == "built"
    assert host.publish().published == ["demo-1.0-py3-none-any.whl"]
    assert_whole(host)


def test_a_tree_ahead_of_a_restored_database_keeps_its_bytes(host: IndexHost) -> None:
    there = make_wheel(host.tree / "wheels/de/demo", "demo", text="served before the restore")
    before = there.read_bytes()
    host.build("demo", text="built after it")
    assert host.publish().published == ["demo-1.0-1-py3-none-any.whl"]
    assert there.read_bytes() == before


def test_two_publishers_at_once_share_the_work(host: IndexHost) -> None:
    for number in range(12):
        host.build(f"demo{number}", text=f"{number}")
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda _: host.publish(), range(2)))
    published = [wheel for report in reports for wheel in report.published]
    assert sorted(published) == sorted(f"demo{number}-1.0-py3-none-any.whl" for number in range(12))
    assert_whole(host)


@pytest.fixture
def publish_until(host: IndexHost) -> Iterator[Callable[[object], bool]]:
    """Publish and die at a moment or after a step. Whether it died: False when it came to its end."""
    arguments = [str(KILLER), host.conninfo, str(host.tree), str(host.outbox)]
    with subprocess.Popen([sys.executable, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killer:

        def run(moment: object) -> bool:
            assert killer.stdin is not None
            assert killer.stdout is not None
            killer.stdin.write(f"{moment}\n")
            killer.stdin.flush()
            code = int(killer.stdout.readline())
            assert code in (0, -signal.SIGKILL)
            return code != 0

        yield run


def test_killed_at_every_moment_nothing_is_lost_or_doubled(host: IndexHost, publish_until: Callable[[object], bool]) -> None:
    moment, died = 0, True
    while died:
        moment += 1
        # A fresh project for every moment.
        project = f"demo{moment}"
        host.build(project)
        died = publish_until(moment)
        assert not publish_until("the end")
        assert list((host.tree / ".publishing").iterdir()) == []
        assert host.fleet.ask("SELECT * FROM page_due") == []
        assert state(host, project)[0] == "published"
        assert project in listed(host)
    assert_whole(host)
    assert moment > 30


@pytest.mark.parametrize("step", ["copied", "verified", "placed", "booked", "announced", "pages written", "pages booked"])
def test_a_build_tag_is_given_once_however_often_it_was_interrupted(
    host: IndexHost, publish_until: Callable[[object], bool], step: str
) -> None:
    host.build("demo", text="first")
    host.publish()
    host.rebuild("demo", text="second")
    assert publish_until(step)
    host.publish()
    assert sorted(path.name for path in host.tree.glob("wheels/de/demo/*.whl")) == [
        "demo-1.0-1-py3-none-any.whl",
        "demo-1.0-py3-none-any.whl",
    ]
    assert state(host, "demo") == ("published", "serves demo-1.0-1-py3-none-any.whl")
    assert_whole(host)


def test_many_pages_are_written_by_several_processes(host: IndexHost, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        host.build(f"demo{number}")
    monkeypatch.setattr(rendering, "PORTION", 2)
    monkeypatch.setattr(rendering.Renderer.__init__, "__defaults__", (4,))
    assert host.publish().pages_written == 5
    assert_whole(host)
    for path in host.tree.glob("simple/de/*"):
        path.unlink()
    assert host.publish(rerender=True).pages_written == 5
    assert_whole(host)


def test_what_stops_a_process_stops_the_publication(host: IndexHost, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        host.build(f"demo{number}")
    monkeypatch.setattr(rendering.Renderer.__init__, "__defaults__", (4,))
    (host.tree / "simple").mkdir(parents=True)
    (host.tree / "simple/de").write_text("a file where a directory belongs")
    with pytest.raises(StorageFault, match="publishing into"):
        host.publish()
    (host.tree / "simple/de").unlink()
    host.publish()
    assert_whole(host)


def test_the_listings_are_not_written_for_every_page(host: IndexHost) -> None:
    host.build("demo")
    host.publish()
    listing = host.tree / "simple/index.json.gz"
    before = listing.stat()
    host.rebuild("demo", text="another")
    host.publish()
    assert listing.stat().st_ino == before.st_ino
    # As if it had sixty thousand names, which are left alone for a minute.
    host.fleet.ask("UPDATE listing SET names = 61000")
    host.build("other")
    host.publish()
    assert (filenames(host, "other") is not None, listed(host)) == (True, ["demo"])
    host.fleet.ask("UPDATE listing SET written_at = now() - interval '61 seconds'")
    host.publish()
    assert listed(host) == ["demo", "other"]


def test_an_older_layout_is_followed_by_this_one(host: IndexHost) -> None:
    host.build("demo")
    host.publish()
    shutil.rmtree(host.tree / "simple")
    old = host.tree / "simple/de/demo"
    old.mkdir(parents=True)
    (old / "index.html").write_text("old")
    (host.tree / "simple/index.html").write_text("old")
    (host.tree / "trixie/simple/de").mkdir(parents=True)
    (host.tree / ".rules.json.gz").unlink()
    assert host.publish().pages_written == 1
    assert not old.exists()
    assert not (host.tree / "simple/index.html").exists()
    assert not (host.tree / "trixie/simple").exists()
    assert_whole(host)


def test_foreseeing_tells_and_changes_nothing(host: IndexHost) -> None:
    host.build("demo")
    host.build("gone").unlink()
    with connected(host.conninfo) as connection:
        report = foresee(connection, {"pi1": host.outbox})
    assert (report.published, report.lost) == (["demo-1.0-py3-none-any.whl"], ["gone-1.0-py3-none-any.whl"])
    assert state(host, "demo")[0] == "built"
    assert not host.tree.exists()


def test_the_module(host: IndexHost) -> None:
    good, bad = host.build("demo"), host.build("bad")
    link(bad)
    arguments = {"database": host.conninfo, "published_dir": str(host.tree), "incoming": {"pi1": str(host.outbox)}}
    foreseen = run_module("wheel_publication", arguments, check=True)
    assert foreseen["changed"]
    assert good.name in foreseen["diff"]["after"]
    assert not host.tree.exists()
    done = run_module("wheel_publication", arguments)
    assert (done["changed"], done["published"], done["lost"], done["pages_written"]) == (True, [good.name], [], 1)
    assert [refused["wheel"] for refused in done["refused"]] == [bad.name]
    assert f"published {good.name}\nrefused {bad.name}: " in done["diff"]["after"]
    again = run_module("wheel_publication", {**arguments, "private_projects": ["Demo"]})
    assert (again["changed"], again["published"], again["pages_written"]) == (True, [], 1)
    assert filenames(host, "demo") == [good.name]
    assert not run_module("wheel_publication", {**arguments, "private_projects": ["Demo"], "rerender": True})["changed"]
    failed = run_module("wheel_publication", {**arguments, "incoming": {"pi1": "/nonexistent"}})
    assert "collect them first" in failed["msg"]
    assert "offset from UTC" in run_module("wheel_publication", {**arguments, "recorded_before": "yesterday"})["msg"]

"""Wheels built on armv7l and served to the Pi 1 and Zero as well: when, under which name, and whatever is interrupted."""

import gzip
import hashlib
import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from piwheels_builder.catalogue.facts import known_project
from piwheels_builder.db.connect import connected
from piwheels_builder.queue.report import builds_of
from piwheels_builder.wheels import inspect_wheel
from tests.support import arm
from tests.support.fleet import TRIXIE, Fleet
from tests.support.published import IndexHost, public_directory, trial_serving
from tests.support.wheelmaking import make_wheel

KILLER = Path(__file__).parents[1] / "support/killed_publication.py"
TAG = "cp311-cp311-linux_armv7l"
WHEEL, TWIN = f"demo-1.0-{TAG}.whl", "demo-1.0-cp311-cp311-linux_armv6l.whl"


@pytest.fixture
def host(fleet: Fleet) -> Iterator[IndexHost]:
    with public_directory() as place:
        (place / "outbox").mkdir()
        yield IndexHost(fleet, place)


@pytest.fixture
def deliver(host: IndexHost, tmp_path: Path) -> Callable[..., Path]:
    """Build a project into a wheel with one library, made by gcc with these options."""

    def run(*options: str, project: str = "demo", tag: str = TAG, more: bytes = b"", again: int | None = None) -> Path:
        if again is None:
            build_id = host.fleet.want(project)
        else:
            build_id = again
            host.fleet.ask("SELECT requeue_build(%s, 'rebuild asked')", build_id, role="piwheels_dispatcher")
        batch = host.fleet.lease("pi1")
        assert batch is not None
        entry = host.outbox / f"{batch.lease_id}-{build_id}"
        entry.mkdir()
        wheel = make_wheel(entry, project, tag=tag, content={"a.so": arm.library(tmp_path, *options), "more": more})
        host.record(str(batch.lease_id), build_id, wheel.name, wheel.read_bytes())
        return wheel

    return run


def on_page(host: IndexHost, project: str = "demo", root: str = "simple") -> dict[str, str]:
    """Wheels on the page with their hashes, after a look at their files."""
    places = (host.tree / place / project[:2] / f"{project}.json.gz" for place in (root, "simple"))
    page = next((place for place in places if place.exists()), None)
    found = {}
    for file in json.loads(gzip.decompress(page.read_bytes()))["files"] if page else []:
        if not file["url"].startswith("/wheels/"):
            continue
        path = host.tree / file["url"][1:]
        assert file["hashes"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        metadata = path.with_name(f"{path.name}.metadata").read_bytes()
        assert file["core-metadata"]["sha256"] == hashlib.sha256(metadata).hexdigest()
        found[file["filename"]] = file["hashes"]["sha256"]
    return found


def contents(wheel: Path) -> dict[str, bytes]:
    """A wheel's files without those that say its tags."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist() if not name.endswith(("/WHEEL", "/RECORD"))}


def test_a_wheel_that_runs_on_a_pi_zero_is_served_to_it(host: IndexHost, deliver: Callable[..., Path]) -> None:
    made = deliver(*arm.ARMV6)
    assert host.publish().published == [WHEEL, TWIN]
    for root in ("simple", "bookworm/simple"):
        assert list(on_page(host, root=root)) == [TWIN, WHEEL]
    place = host.tree / "wheels/de/demo"
    assert (place / WHEEL).read_bytes() == made.read_bytes()
    assert contents(place / TWIN) == contents(place / WHEEL)
    assert {str(tag) for tag in inspect_wheel(place / TWIN).tags} == {"cp311-cp311-linux_armv6l"}
    before = {path: path.read_bytes() for path in place.iterdir()}
    assert not host.publish().changed
    assert {path: path.read_bytes() for path in place.iterdir()} == before


@pytest.mark.parametrize(("platform", "wheel"), [("linux_armv6l", TWIN), ("linux_armv7l", WHEEL)])
def test_pip_of_each_takes_its_own(
    host: IndexHost, deliver: Callable[..., Path], tmp_path: Path, platform: str, wheel: str
) -> None:
    deliver(*arm.ARMV6)
    host.publish()
    with trial_serving(host.tree, "http://127.0.0.1:9/simple/") as url:
        there = ["--platform", platform, "--python-version", "3.11", "--abi", "cp311", "--only-binary", ":all:"]
        command = [sys.executable, "-m", "pip", "download", "-q", "--isolated", "--disable-pip-version-check", *there]
        options = ["--no-cache-dir", "--index-url", f"{url}/simple/", "--dest", str(tmp_path / "got"), "demo"]
        subprocess.run([*command, *options], check=True)
    assert [path.name for path in (tmp_path / "got").iterdir()] == [wheel]


@pytest.mark.parametrize(
    ("options", "tag"), [((), TAG), (arm.ARMV6, "cp311-cp311-manylinux_2_31_armv7l"), (("-march=armv8-a", "-mfpu=neon"), TAG)]
)
def test_other_wheels_have_no_twin(host: IndexHost, deliver: Callable[..., Path], options: tuple[str, ...], tag: str) -> None:
    deliver(*options, tag=tag)
    host.publish()
    assert [name for name in on_page(host) if "armv6l" in name] == []
    assert len(on_page(host)) == (0 if "-march=armv8-a" in options else 1)


def test_no_twins_where_the_operator_wants_none(host: IndexHost, deliver: Callable[..., Path]) -> None:
    deliver(*arm.ARMV6)
    assert host.publish(armv6_twins=False).published == [WHEEL]
    assert list(on_page(host)) == [WHEEL]


def test_a_rebuilt_wheel_has_a_twin_of_its_own(host: IndexHost, deliver: Callable[..., Path]) -> None:
    deliver(*arm.ARMV6)
    host.publish()
    before = on_page(host)
    ((build_id,),) = host.fleet.ask("SELECT build_id FROM build")
    deliver(*arm.ARMV6, more=b"other", again=build_id)
    host.publish()
    added = {TWIN.replace("1.0-", "1.0-1-"), WHEEL.replace("1.0-", "1.0-1-")}
    assert before.items() <= on_page(host).items()
    assert set(on_page(host)) - set(before) == added
    # The same once more is the wheel that is there, and its twin with it.
    deliver(*arm.ARMV6, more=b"other", again=build_id)
    host.publish()
    assert set(on_page(host)) == {*before, *added}


def test_upstreams_own_file_of_that_name_stays_alone(host: IndexHost, deliver: Callable[..., Path]) -> None:
    deliver(*arm.ARMV6)
    host.upstream_offers("demo", TWIN)
    assert host.publish().published == [WHEEL]
    assert list(on_page(host)) == [WHEEL]


@pytest.mark.parametrize(
    ("theirs", "left"),
    [
        ("demo-1.0-py3-none-any.whl", []),
        ("demo-1.0-cp311-cp311-manylinux_2_31_armv7l.whl", [TWIN]),
        ("demo-1.0-cp311-abi3-linux_armv6l.whl", [WHEEL]),
    ],
)
def test_upstream_wins_over_a_twin_where_it_serves_a_pi_zero(
    host: IndexHost, deliver: Callable[..., Path], theirs: str, left: list[str]
) -> None:
    deliver(*arm.ARMV6)
    host.publish()
    host.upstream_offers("demo", theirs)
    host.publish()
    assert list(on_page(host)) == left


def test_a_twin_of_abi3_is_on_the_page_of_a_newer_os_release(host: IndexHost, deliver: Callable[..., Path]) -> None:
    host.fleet.add_builder("pi2", TRIXIE)
    deliver(*arm.ARMV6, tag="cp311-abi3-linux_armv7l")
    host.publish()
    for root in ("simple", "bookworm/simple", "trixie/simple"):
        assert list(on_page(host, root=root)) == ["demo-1.0-cp311-abi3-linux_armv6l.whl", "demo-1.0-cp311-abi3-linux_armv7l.whl"]


def test_a_twin_is_withdrawn_with_its_wheel(host: IndexHost, deliver: Callable[..., Path]) -> None:
    deliver(*arm.ARMV6)
    host.publish()
    host.fleet.ask("SELECT withdraw_wheel(wheel_id, 'it lies') FROM wheel WHERE filename = %s", WHEEL, role="piwheels_publisher")
    host.publish()
    assert on_page(host) == {}
    assert host.fleet.ask("SELECT DISTINCT withdrawn_reason FROM wheel") == [("it lies",)]
    assert (host.tree / "wheels/de/demo" / TWIN).exists()


def test_reports_name_the_wheel_and_not_its_twin(host: IndexHost, deliver: Callable[..., Path]) -> None:
    deliver(*arm.ARMV6)
    host.publish()
    with connected(host.fleet.database.conninfo("piwheels_reader")) as connection:
        (report,) = builds_of(connection, [canonicalize_name("demo")])
        facts = known_project(connection, canonicalize_name("demo"))
    assert facts is not None
    assert (report.wheel, report.reason) == (WHEEL, f"serves {WHEEL}")
    assert [build.wheel for build in facts.builds] == [WHEEL]


def test_a_wheel_has_one_twin(host: IndexHost, deliver: Callable[..., Path]) -> None:
    deliver(*arm.ARMV6)
    host.publish()
    again = "SELECT publish_twin(wheel_id, 'other', repeat('a', 64), 1) FROM wheel ORDER BY wheel_id"
    assert host.fleet.ask(again, role="piwheels_publisher") == [(False,), (False,)]


def test_killed_at_every_moment_both_are_there_or_neither(host: IndexHost, deliver: Callable[..., Path]) -> None:
    """Until both are booked: from there on it is the way of every wheel."""
    moment = 0
    published: dict[str, str] = {}
    arguments = [sys.executable, str(KILLER), host.conninfo, str(host.tree), str(host.outbox)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killer:

        def publish_until(when: object) -> bool:
            assert killer.stdin is not None
            assert killer.stdout is not None
            print(when, file=killer.stdin, flush=True)
            code = int(killer.stdout.readline())
            assert code in (0, -signal.SIGKILL)
            return code != 0

        while not published:
            moment += 1
            project = f"demo{moment}"
            deliver(*arm.ARMV6, project=project)
            assert publish_until(moment)
            published = dict(
                host.fleet.ask(
                    "SELECT filename, sha256 FROM wheel WHERE published_at IS NOT NULL AND filename LIKE %s", f"{project}-%"
                )
            )
            assert len(published) in (0, 2)
            assert not publish_until("the end")
            assert len(on_page(host, project)) == 2
            assert published.items() <= on_page(host, project).items()
    assert host.fleet.ask("SELECT count(*), count(twin_of) FROM wheel") == [(2 * moment, moment)]
    assert host.fleet.ask("SELECT * FROM page_due") == []
    assert list((host.tree / ".publishing").iterdir()) == []
    assert moment > 15

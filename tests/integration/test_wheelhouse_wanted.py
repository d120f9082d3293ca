"""What a wheelhouse lacks is built by the fleet before all else, and what that requires in turn, until nothing is missing."""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event, Thread

import pytest
import yaml

from piwheels_builder.states import Outcome
from piwheels_builder.wheelhouse import waiting
from tests.support.fleet import BOOKWORM, TRIXIE, Fleet
from tests.support.published import IndexHost, make_wheel, public_directory, trial_serving
from tests.support.upstream import Upstream, serve_upstream
from tests.support.wheelhouse import offer, wheelhouse


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serve_upstream() as index:
        yield index


@pytest.fixture
def host(fleet: Fleet, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IndexHost]:
    roles = {role: fleet.database.conninfo(f"piwheels_{role}") for role in ("dispatcher", "reader")}
    (tmp_path / "fleet.yml").write_text(yaml.safe_dump({"database": roles, "projects": [], "upstream": upstream.url}))
    monkeypatch.setenv("PIWHEELS_BUILDER_ETC", str(tmp_path))
    monkeypatch.setattr(waiting, "LOOK_EVERY", 0.1)
    with public_directory() as place:
        (place / "outbox").mkdir()
        yield IndexHost(fleet, place)


@pytest.fixture
def index(host: IndexHost, upstream: Upstream) -> Iterator[str]:
    with trial_serving(host.tree, upstream.url.rstrip("/")) as url:
        yield f"{url}/simple/"


def build_one(host: IndexHost, requires: Mapping[str, Sequence[str]], failing: Sequence[str]) -> None:
    """A round of the fleet."""
    batch = host.fleet.lease("pi1")
    for build in batch.builds if batch else ():
        assert batch
        if build.project in failing:
            host.fleet.record("pi1", batch.lease_id, build.build_id, Outcome.COMPILE_ERROR)
            continue
        place = host.outbox / f"{batch.lease_id}-{build.build_id}"
        wheel = make_wheel(place, build.project, build.version, requires=requires.get(build.project, ()))
        host.record(str(batch.lease_id), build.build_id, wheel.name, wheel.read_bytes())
    host.publish()


@pytest.fixture
def fleet_works(host: IndexHost) -> Iterator[Callable[..., None]]:
    """Call it, and rounds go on until the test is over."""
    over, threads = Event(), list[Thread]()

    def work(requires: Mapping[str, Sequence[str]], failing: Sequence[str] = ()) -> None:
        def rounds() -> None:
            while not over.is_set():
                build_one(host, requires, failing)
                time.sleep(0.05)

        threads.append(Thread(target=rounds, daemon=True))
        threads[-1].start()

    yield work
    over.set()
    for thread in threads:
        thread.join()


def test_it_goes_on_until_what_builds_require_is_built_too(
    upstream: Upstream,
    index: str,
    fleet_works: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for project in ("app", "spi", "deep"):
        upstream.add_sdist(project, "1.0")
    offer(upstream, tmp_path, "pure")
    fleet_works({"app": ["spi", "pure"], "spi": ["deep; platform_machine == 'armv7l'"]})
    assert wheelhouse("want", tmp_path, "app\n", BOOKWORM, index, "--wait") == 0
    assert re.findall(r"^(\w+)==1.0: published$", capsys.readouterr().out, re.MULTILINE) == ["app", "spi", "deep"]
    assert wheelhouse("lock", tmp_path, "app\n", BOOKWORM, index) == 0
    assert re.findall(r"^(\w+)==", capsys.readouterr().out, re.MULTILINE) == ["app", "deep", "pure", "spi"]


def test_without_waiting_it_is_queued_before_all_else(
    host: IndexHost, upstream: Upstream, index: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host.fleet.want("other", priority=0)
    upstream.add_sdist("app", "1.0")
    assert wheelhouse("want", tmp_path, "app\n", BOOKWORM, index) == 0
    assert "app==1.0: pending" in capsys.readouterr().out
    assert next(build.project for build in (host.fleet.lease("pi1") or pytest.fail("nothing to lease")).builds) == "app"
    assert wheelhouse("want", tmp_path, "app\n", TRIXIE, index) == 64
    assert "it builds for cp311-armv7l-bookworm" in capsys.readouterr().err


def test_an_older_release_will_do_where_the_newest_cannot_be_built(
    upstream: Upstream,
    index: str,
    fleet_works: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    upstream.add_sdist("app", "2.0")
    offer(upstream, tmp_path, "app", "1.0")
    fleet_works({}, failing=["app"])
    assert wheelhouse("want", tmp_path, "app\n", BOOKWORM, index, "--wait") == 0
    assert "app==2.0: failed: " in capsys.readouterr().out
    assert wheelhouse("want", tmp_path, "app>=2\n", BOOKWORM, index, "--wait") == 2
    told = capsys.readouterr().err
    assert "app==2.0: the error" in told
    assert "not to be built: 2.0" in told

"""What every client must do, a function each: the rows of the table. Each uses projects of its own, fails by AssertionError."""

import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from tests.clients.programs import CannotBeAsked, Client, Refused, Wish, installed
from tests.clients.scene import EARLY, LATE, PRIVATE, Scene

BETWEEN = datetime(2026, 3, 1, tzinfo=UTC)
Cell = Callable[[Client, Scene, str], str | None]


def says(site: Path, module: str) -> str:
    """Which wheel was installed: what its module prints."""
    return subprocess.run([sys.executable, "-m", module], cwd=site, capture_output=True, text=True, check=True).stdout.strip()


def got(client: Client, wish: Wish, place: Path) -> dict[str, str]:
    """What a client resolves, locks and installs by hash."""
    client.lock(place, wish)
    return installed(client.install(place))


def alone(client: Client, scene: Scene, name: str) -> None:
    """Our index alone: our wheel, and what it requires, of which we have nothing."""
    _built(scene, "plain")
    if not scene.upstream.projects.get("leaf"):
        scene.offer_wheel("leaf")
    place = client.project(name)
    assert got(client, Wish("plain", scene.index), place) == {"plain": "1.0", "leaf": "1.0"}
    assert says(client.install(place), "plain") == "ours"


def as_extra(client: Client, scene: Scene, name: str) -> None:
    """Upstream first, ours as an extra index: a wheel of ours where upstream has an sdist only."""
    _built(scene, "plain")
    place = client.project(name)
    assert got(client, Wish("plain", scene.upstream.url, scene.index), place) == {"plain": "1.0", "leaf": "1.0"}
    assert says(client.install(place), "plain") == "ours"


def locked_then_rebuilt(client: Client, scene: Scene, name: str) -> None:
    """What was locked before a rebuild installs after it, the first wheel; a new lock takes the second."""
    project = f"rebuilt-{client.name.replace('.', '-')}"
    _built(scene, project, text="first")
    place = client.project(name)
    client.lock(place, Wish(project, scene.index))
    scene.rebuild(project, text="second")
    module = project.replace("-", "_")
    assert says(client.install(place), module) in ("first", "second")
    client.lock(place, Wish(project, scene.index))
    assert says(client.install(place), module) == "second"


def yanked(client: Client, scene: Scene, name: str) -> None:
    """A yanked release is not taken, unless it is pinned."""
    if not scene.upstream.projects.get("yanked"):
        _built(scene, "yanked", "1.0", "2.0")
        scene.upstream.change_file("yanked", "yanked-2.0.tar.gz", yanked="wrong answers")
        scene.publish("yanked")
    place = client.project(name)
    assert got(client, Wish("yanked", scene.index), place) == {"yanked": "1.0"}
    assert got(client, Wish("yanked==2.0", scene.index), place) == {"yanked": "2.0"}


def requires_python(client: Client, scene: Scene, name: str) -> None:
    """A release for other Pythons is passed over."""
    if not scene.upstream.projects.get("picky"):
        scene.offer_wheel("picky", "2.0", requires_python=">=3.99,<4")
    _built(scene, "picky")
    assert got(client, Wish("picky", scene.index), client.project(name)) == {"picky": "1.0"}


def cutoff(client: Client, scene: Scene, name: str) -> None:
    """What was uploaded later than a moment is passed over, ours by the time it was published."""
    if not scene.upstream.projects.get("timed"):
        scene.offer_wheel("timed", "1.0", upload_time=EARLY)
        scene.offer_sdist("timed", "2.0", LATE)
        scene.publish("timed")
    place = client.project(name)
    assert got(client, Wish("timed", scene.index, cutoff=BETWEEN), place) == {"timed": "1.0"}
    assert got(client, Wish("timed", scene.index), place) == {"timed": "2.0"}


def upstream_wins(client: Client, scene: Scene, name: str) -> str | None:
    """Upstream adds a wheel: it is taken from then on. What was locked before installs still where the lock holds URLs."""
    project = f"later-{client.name.replace('.', '-')}"
    module = project.replace("-", "_")
    _built(scene, project)
    place = client.project(name)
    client.lock(place, Wish(project, scene.index))
    assert says(client.install(place), module) == "ours"
    scene.offer_wheel(project)
    scene.publish(project)
    answer = _still_installs(client, place, module)
    client.lock(place, Wish(project, scene.index))
    assert says(client.install(place), module) == "upstream's"
    return answer


def _still_installs(client: Client, place: Path, module: str) -> str | None:
    try:
        assert says(client.install(place), module) == "ours"
    except Refused:
        return "lock again"
    return None


def private(client: Client, scene: Scene, name: str) -> None:
    """A private project is ours only, whatever upstream has under its name, and is never asked for there."""
    if not scene.upstream.projects.get(PRIVATE):
        scene.upstream.add_file(PRIVATE, "own_thing-9.9-py3-none-any.whl")
        scene.host.fleet.want(PRIVATE)
        scene.publish()
    scene.upstream.requests.clear()
    assert got(client, Wish(PRIVATE, scene.index), client.project(name)) == {PRIVATE.replace("-", "_"): "1.0"}
    assert [path for path, _ in scene.upstream.requests if PRIVATE in path] == []


def requests(client: Client, scene: Scene, name: str) -> str:
    """As many requests of ours as of an upstream that has the same files itself. Returns both numbers."""
    _built(scene, "counted")
    scene.offer_wheel("twin-of-counted")
    scene.offer_sdist("twin-of-counted")
    place = client.project(name)
    before = len(scene.asked())
    got(client, Wish("counted", scene.index), place)
    ours = len(scene.asked()) - before
    scene.upstream.requests.clear()
    got(client, Wish("twin-of-counted", scene.upstream.url), client.project(f"{name}-upstream"))
    theirs = len(scene.upstream.requests)
    assert 0 < ours <= theirs, f"{ours} requests of ours, {theirs} of upstream's"
    return f"{ours} / {theirs}"


def _built(scene: Scene, project: str, *versions: str, text: str = "ours") -> None:
    """Upstream has sdists of it, and we built them; unless that is so already."""
    known = scene.upstream.projects.get(project, {"files": []})["files"]
    if not any(re.search(r"-1\.0\.tar\.gz$", file["filename"]) for file in known):
        for version in versions or ("1.0",):
            scene.offer_sdist(project, version)
        scene.publish(project, text=text)


CELLS: Mapping[str, Cell] = {
    "our index alone": alone,
    "ours as extra index": as_extra,
    "a lock, a rebuild, a new lock": locked_then_rebuilt,
    "yanked": yanked,
    "requires-python": requires_python,
    "upload-time cut-off": cutoff,
    "upstream adds a wheel later": upstream_wins,
    "private": private,
    "requests, ours / upstream's": requests,
}


def outcome(client: Client, scene: Scene, cell: str) -> tuple[bool, str]:
    """Whether a client does as it must, and what the table says."""
    begun = time.monotonic()
    try:
        told = CELLS[cell](client, scene, re.sub(r"\W+", "-", cell))
    except CannotBeAsked:
        return True, "no option"
    except (AssertionError, Refused) as error:
        print(f"{client.name}: {cell}: {error}: {traceback.extract_tb(error.__traceback__)[-1].line}", flush=True)
        return False, "**no**"
    print(f"{client.name}: {cell}: {told or 'yes'} ({time.monotonic() - begun:.1f} s)", flush=True)
    return True, told or "yes"

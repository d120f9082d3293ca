"""kill -9 of `piwheels-builder build`: nothing of it runs on, and the next one clears up what it left."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from piwheels_builder.builder.delivery import own_delivery
from piwheels_builder.builder.in_memory import memory_directory
from tests.faults.whole_way import areas, leftovers, processes_of, tiny_sdist
from tests.support.builders import eventually
from tests.support.simple_index import offer, serving
from tests.support.wheelmaking import make_wheel

WAITING = "import time\nopen('/build/began', 'w').close()\ntime.sleep(600)\n"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    shutil.rmtree(memory_directory(tmp_path / "state"), ignore_errors=True)


def command(sdist: Path, state: Path) -> list[str]:
    places = ["--wheel-dir", str(state.parent / "wheels"), "--state-dir", str(state)]
    return [str(Path(sys.executable).with_name("piwheels-builder")), "build", str(sdist), *places]


def deliveries(state: Path) -> list[Path]:
    return list(state.glob("delivery-*"))


def test_the_next_build_clears_up(tmp_path: Path, state: Path) -> None:
    waiting = tmp_path / "demo-1.0.tar.gz"
    waiting.write_bytes(tiny_sdist("demo", backend=WAITING))
    process = subprocess.Popen(command(waiting, state), stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: any((area / "opened/build/began").exists() for area in areas(state)))
    finally:
        process.kill()
        process.wait()
    assert len(deliveries(state)) == len(areas(state)) == 1
    (state / "environments/.new-one").mkdir()
    quick = tmp_path / "quick-1.0.tar.gz"
    quick.write_bytes(tiny_sdist("quick"))
    subprocess.run(command(quick, state), check=True, capture_output=True, timeout=60)
    assert deliveries(state) + areas(state) == []
    assert leftovers(state) == []


def test_compiling_what_a_build_requires_ends_with_it(tmp_path: Path, state: Path) -> None:
    """It runs outside of the sandbox, on all processors: half a minute here, were it left to itself."""
    modules = {f"large/part{number}.py": b"x = [i for i in range(9)]\n" * 20_000 for number in range(60)}
    offer(tmp_path / "index", make_wheel(tmp_path, "large", "1.0", content=modules))
    sdist = tmp_path / "demo-1.0.tar.gz"
    sdist.write_bytes(tiny_sdist("demo", '[build-system]\nrequires = ["large"]\nbuild-backend = "large"\n'))
    with serving(tmp_path / "index") as url:
        environment = {**os.environ, "PIP_INDEX_URL": url}
        process = subprocess.Popen(command(sdist, state), stderr=subprocess.DEVNULL, env=environment)
        try:
            # bwrap, and two of its children: in the moment in which it begins it is not tied to anybody yet.
            eventually(lambda: sum("compileall" in words for words in processes_of(state)) > 2)
        finally:
            process.kill()
            process.wait()
        eventually(lambda: processes_of(state) == [], 3)


def test_a_build_that_runs_is_left_alone(state: Path) -> None:
    """Also what stands half made, which may be its own; what another one left is gone all the same."""
    state.mkdir()
    killed, running = uuid4(), uuid4()
    plant(state, killed)
    with own_delivery(state, running) as first:
        plant(state, running)
        assert deliveries(state) == [first]
        (state / "environments/.new-one").mkdir(parents=True)
        plant(state, killed)
        with own_delivery(state, uuid4()) as second:
            assert sorted(deliveries(state)) == sorted([first, second])
        assert [area.name for area in areas(state)] == [f"{running}-0"]
        assert (state / "environments/.new-one").exists()
    assert deliveries(state) == []


def plant(state: Path, lease_id: UUID) -> None:
    """What a build that was killed leaves."""
    (state / f"delivery-{lease_id}").mkdir(exist_ok=True)
    (state / f"area/{lease_id}-0/opened").mkdir(parents=True)

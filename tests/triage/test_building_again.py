"""The long form, by `make triage-again`: every release of the table is built again, from the upstream index."""

import functools
import subprocess
from pathlib import Path

import pytest

from piwheels_builder.builder.trial import try_release
from tests.support.chaos import LONG
from tests.triage.table import Release, releases


@functools.cache
def python_of(abi: str) -> Path:
    """The interpreter of an ABI such as cp311 on this machine, itself and not what starts it."""
    name = f"python{abi[2]}.{abi[3:]}"
    places = [*(Path.home() / ".pyenv/versions").glob(f"{abi[2]}.{abi[3:]}.*/bin"), Path("/usr/local/bin"), Path("/usr/bin")]
    for path in (place / name for place in places):
        if path.is_file():
            subprocess.run([path, "-c", "import venv"], check=True)
            return path
    raise FileNotFoundError(f"the table's releases were tried with {name}, which this machine lacks")


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


def build_again(release: Release, state: Path, tmp_path: Path) -> None:
    asked = f"{release.project}=={release.version}"
    said = try_release(asked, tmp_path, python_of(release.python), state, progress=print).attempt
    assert said.outcome is (release.taken_for or release.outcome), said.error_line
    if not release.taken_for:
        assert said.missing == release.missing


if LONG:

    @pytest.mark.parametrize("release", releases(), ids=lambda release: f"{release.name}-{release.python}")
    def test_it_still_ends_so(release: Release, state: Path, tmp_path: Path) -> None:
        build_again(release, state, tmp_path)

"""Environments made by the real uv from an index of the test's own. Wheels that attack stand in tests/hostile."""

from pathlib import Path

import pytest

from tests.support.sdists import Yard, make_yard
from tests.support.simple_index import offer, serving
from tests.support.wheelmaking import make_wheel


def asking_for(requirement: str, backend: str = "evil") -> dict[str, str]:
    return {"demo-1.0/pyproject.toml": f'[build-system]\nrequires = ["{requirement}"]\nbuild-backend = "{backend}"\n'}


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return make_yard(tmp_path)


def test_a_requirement_whose_bytes_are_others(yard: Yard, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "evil", "1.0")
    offer(tmp_path / "index", wheel)
    make_wheel(tmp_path / "index/simple/evil", "evil", "1.0", content={"evil.py": b"other"})
    with serving(tmp_path / "index") as upstream:
        built = yard.build(asking_for("evil"), upstream=upstream)
    assert built.attempt.outcome.blame != "release", built.log


def test_what_a_requirement_runs_at_start_is_filtered_too(yard: Yard, tmp_path: Path) -> None:
    """A .pth file is run before a program's first line, unless the program sees to it."""
    look = b"import re; print('AT START', re.findall('Seccomp:.*', open('/proc/self/status').read()))\n"
    wheel = make_wheel(tmp_path, "evil", "1.0", content={"evil.py": b"build_wheel = None\n", "evil.pth": look})
    offer(tmp_path / "index", wheel)
    with serving(tmp_path / "index") as upstream:
        built = yard.build(asking_for("evil"), upstream=upstream)
    assert "AT START ['Seccomp:\\t2']" in built.log

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

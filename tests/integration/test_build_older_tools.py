"""Old releases that today's build tools refuse, tried with those of their day."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.older_tools import day_of_older_tools, telling
from piwheels_builder.states import Outcome
from piwheels_builder.targets import Target
from piwheels_builder.triage.pattern import OWN_DAY
from tests.support.sdists import Built, Yard, make_yard
from tests.support.simple_index import offer_timed, serving
from tests.support.wheelmaking import make_wheel

OLD = datetime(2021, 1, 20, tzinfo=UTC)
TARGET = Target("cp311", "armv7l", "bookworm")
#: A backend as it was, which makes a wheel that the test made, and as it is today.
WORKS = """
def build_wheel(directory, *_):
    open('/build/tried', 'x').close()
    with open(directory + '/demo-1.0-py3-none-any.whl', 'wb') as wheel:
        wheel.write(%r)
    return 'demo-1.0-py3-none-any.whl'
"""
REFUSES = b"def build_wheel(*_):\n    open('/build/tried', 'x').close()\n    raise AttributeError('cython_sources')\n"
SOURCE = {"demo-1.0/pyproject.toml": '[build-system]\nrequires = ["tool"]\nbuild-backend = "tool"\n'}


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return replace(make_yard(tmp_path), uploaded=OLD)


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[str]:
    """Has a tool that works, of the day of the release, and today's, which doesn't."""
    works = WORKS % make_wheel(tmp_path, "demo", "1.0").read_bytes()
    old = make_wheel(tmp_path, "tool", "1.0", content={"tool.py": works.encode()})
    new = make_wheel(tmp_path, "tool", "2.0", content={"tool.py": REFUSES})
    offer_timed(tmp_path / "index", {old: OLD, new: datetime(2026, 1, 1, tzinfo=UTC)})
    with serving(tmp_path / "index") as url:
        yield url


def ending(built: Built) -> tuple[Outcome, str | None]:
    return built.attempt.outcome, built.attempt.error_line


def test_it_is_built_with_the_tools_of_its_day_in_a_tree_of_its_own(yard: Yard, upstream: str) -> None:
    built = yard.build(SOURCE, upstream=upstream)
    assert "AttributeError: cython_sources" in built.log
    assert "again, with build tools from before 2023-02-01" in built.log
    assert built.attempt.outcome is Outcome.BUILT, built.log
    assert built.wheel.is_file()


def test_without_an_upload_time_there_is_one_try(yard: Yard, upstream: str) -> None:
    built = replace(yard, uploaded=None).build(SOURCE, upstream=upstream)
    assert ending(built) == (Outcome.PYTHON_API_GONE, "AttributeError: cython_sources")
    assert "again" not in built.log


def test_tools_that_were_not_there_then_leave_the_first_reason(yard: Yard, tmp_path: Path) -> None:
    new = make_wheel(tmp_path, "tool", "2.0", content={"tool.py": REFUSES})
    offer_timed(tmp_path / "index", {new: datetime(2026, 1, 1, tzinfo=UTC)})
    with serving(tmp_path / "index") as upstream:
        built = yard.build(SOURCE, upstream=upstream)
    assert "again, with build tools" in built.log
    assert ending(built) == (Outcome.PYTHON_API_GONE, "AttributeError: cython_sources")


def failed(tools_until: date | None) -> BuildEnded:
    return BuildEnded(Outcome.PYTHON_API_GONE, "x", tools_until=tools_until)


@pytest.mark.parametrize(
    ("tools_until", "uploaded", "python", "day"),
    [
        # A day after its upload, and after its Python came.
        (OWN_DAY, datetime(2015, 3, 1, tzinfo=UTC), "cp311", date(2023, 2, 1)),
        (OWN_DAY, datetime(2024, 3, 1, tzinfo=UTC), "cp311", date(2024, 6, 1)),
        # What it asks for was gone when its Python came.
        (date(2021, 8, 31), datetime(2012, 3, 1, tzinfo=UTC), "cp311", date(2021, 9, 1)),
        (date(2021, 8, 31), datetime(2022, 3, 1, tzinfo=UTC), "cp311", date(2022, 6, 1)),
        (None, datetime(2012, 3, 1, tzinfo=UTC), "cp311", None),
        (OWN_DAY, None, "cp311", None),
        (OWN_DAY, datetime.now(UTC), "cp311", None),
    ],
)
def test_the_day(tools_until: date | None, uploaded: datetime | None, python: str, day: date | None) -> None:
    assert day_of_older_tools(failed(tools_until), uploaded, replace(TARGET, python=python)) == day


def test_which_of_two_failures_is_told() -> None:
    today = failed(OWN_DAY)
    for outcome in (Outcome.MISSING_HEADER, Outcome.NETWORK_AWAY, Outcome.OUT_OF_MEMORY):
        then = BuildEnded(outcome, "then")
        assert telling(today, then) is then
    for outcome in (Outcome.REQUIREMENT_UNAVAILABLE, Outcome.IMPORT_ERROR):
        assert telling(today, BuildEnded(outcome, "then")) is today

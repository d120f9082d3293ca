"""Attacks by old releases, which are tried once more, with build tools of their day."""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from piwheels_builder.states import Outcome
from tests.hostile.attack import Attack, Make, files
from tests.support.simple_index import offer_timed
from tests.support.wheelmaking import make_wheel

_OLD = datetime(2021, 1, 20, tzinfo=UTC)
#: What is said of tools that are too new, whatever the tools: each version of the backend says so.
_BACKEND = """
import os, time
PLACES = ('/build', '/build/src', '/build/home', '/build/wheels', '/tmp', '/dev/shm')
def build_wheel(*_):
    for place in PLACES:
        if os.path.exists(place + '/dirt'):
            print('ATTACK', 'SUCCEEDED: found', place)
        open(place + '/dirt', 'w').close()
    time.sleep(SECONDS)
    raise AttributeError('cython_sources')
"""
_REQUIRING: Make = files({"pyproject.toml": '[build-system]\nrequires = ["eviltool"]\nbuild-backend = "eviltool"\n'})


def _again(name: str, tries: str, pause: float, *ends: Outcome, **rest: object) -> Attack:
    def offer(index: Path) -> None:
        backend = {"eviltool.py": _BACKEND.replace("SECONDS", str(pause)).encode()}
        with TemporaryDirectory() as place:
            made = [make_wheel(Path(place), "eviltool", version, content=backend) for version in ("1.0", "2.0")]
            offer_timed(index, dict(zip(made, (_OLD, datetime(2026, 1, 1, tzinfo=UTC)), strict=True)))

    says = "again, with build tools from before"
    return Attack(name, tries, _REQUIRING, ends, offer=offer, uploaded=_OLD, says=says, **rest)  # type: ignore[arg-type]


ATTACKS: tuple[Attack, ...] = (
    _again(
        "dirt_for_the_second_try",
        "leaves files in its first try for the second one",
        0,
        Outcome.PYTHON_API_GONE,
        seconds=10.0,
    ),
    _again(
        "time_by_a_second_try",
        "uses its time up in each try, to have it twice",
        2,
        Outcome.PYTHON_API_GONE,
        Outcome.TIMEOUT,
        build_seconds=3,
        seconds=12.0,
    ),
)

"""The list that the build benchmark builds, and how it judges what it measured."""

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bench.build_report import Measured, goals, told
from bench.offline import Pinned, read_list
from bench.sides import Round
from bench.watching import Footprint

PURE, COMPILED = Pinned("pure", "demo", "1.0", "0" * 64), Pinned("compiled", "cdemo", "2.0", "1" * 64)


def test_the_list_is_what_the_issue_asks_for() -> None:
    pins = read_list()
    releases = [pin for pin in pins if pin.is_release]
    assert len(releases) >= 40
    assert 0.7 <= sum(pin.kind == "pure" for pin in releases) / len(releases) <= 0.8
    assert {pin.kind for pin in pins} == {"pure", "compiled", "requires"}
    assert all(re.fullmatch("[0-9a-f]{64}", pin.sha256) for pin in pins)
    assert len({pin.sha256 for pin in pins}) == len(pins)


def _round(pure: float, compiled: float, outcome: str = "built") -> Round:
    return Round(pure + compiled, {PURE: pure, COMPILED: compiled}, {PURE: outcome, COMPILED: "built"})


def _rounds(pure: float, compiled: float) -> Sequence[Round]:
    # The middle one counts.
    return [_round(pure * 9, compiled * 9), _round(pure, compiled), _round(pure / 9, compiled / 9)]


GOOD = Measured(
    releases=[PURE, COMPILED],
    pip_version="1",
    cores=2,
    pip=_rounds(2.0, 5.0),
    cold=_round(1.0, 5.0),
    warm=_rounds(0.2, 4.9),
    command=_rounds(0.5, 5.3),
    parallel=_rounds(0.1, 1.25),
    fresh=Footprint(30, 30, 30, 1, 0.0),
    idle=Footprint(own=59 * 10**6, peak=70, all=70, processes=2, cpu=0.0),
    cpu=0.0001,
)


def test_a_good_run_reaches_every_goal() -> None:
    assert [goal.what for goal in goals(GOOD) if not goal.reached] == []
    assert "| demo 1.0 |  | 2.00 | 1.00 | 0.20 | 10.0x | 0.50 | 4.0x |" in told(GOOD)
    assert "missed" not in told(GOOD)


@pytest.mark.parametrize(
    ("worse", "missed"),
    [
        ({"warm": _rounds(0.21, 4.9)}, ["service, warm, pure: median >= 10x"]),
        ({"command": _rounds(0.51, 5.3)}, ["command, pure: median >= 4x"]),
        ({"parallel": _rounds(0.1, 1.4)}, ["whole list, 2 slots: >= 5x"]),
        ({"command": _rounds(0.5, 5.36)}, ["no release slower than pip (5 % and 0.1 s)"]),
        ({"warm": [*_rounds(0.2, 4.9), _round(0.2, 4.9, "build_error")]}, ["what pip builds, we build"]),
        ({"idle": replace(GOOD.idle, own=61 * 10**6)}, ["idle service <= 60 MB"]),
        ({"cpu": 0.001}, ["idle service: no measurable CPU"]),
    ],
)
def test_a_goal_is_missed_alone(worse: dict[str, object], missed: list[str]) -> None:
    measured = replace(GOOD, **worse)  # type: ignore[arg-type]
    assert [goal.what for goal in goals(measured) if not goal.reached] == missed
    assert told(measured).count("**missed**") == 1

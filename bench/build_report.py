"""What the build benchmark measured: the table, the figures, and which goals are reached."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.offline import Pinned
from bench.sides import Round
from bench.watching import Footprint

#: The goals: how many times faster, at the median, than pip; how much slower one release may be (a share, and seconds);
#: what an idle service may hold, in bytes, and take, as a share of one core: less than one tick of 10 ms in 20 s.
_SERVICE_TIMES, _COMMAND_TIMES, _PARALLEL_TIMES = 10, 4, 5
_SLACK = (1.05, 0.1)
_IDLE_BYTES, _IDLE_SHARE = 60 * 10**6, 0.0005


@dataclass(frozen=True)
class Measured:
    """Every round of every side. ``cpu`` is the share of one core that the idle service took, with everything below it."""

    releases: Sequence[Pinned]
    pip_version: str
    cores: int
    pip: Sequence[Round]
    cold: Round
    warm: Sequence[Round]
    command: Sequence[Round]
    parallel: Sequence[Round]
    fresh: Footprint
    idle: Footprint
    cpu: float

    def times(self, ours: Sequence[Round], kind: str | None = None) -> float:
        """How many times faster than pip: the median over the releases, of one kind or of all."""
        chosen = [release for release in self.releases if kind in (None, release.kind) and release in _built(self.pip)]
        return statistics.median(_seconds(self.pip, one) / _seconds(ours, one) for one in chosen) if chosen else 0.0


@dataclass(frozen=True)
class Goal:
    """What was to be reached, what was measured, and whether that will do."""

    what: str
    measured: str
    reached: bool


def goals(measured: Measured) -> list[Goal]:
    """The goals of the project for the speed of building, each with what was measured."""
    times = measured.times
    whole = _total(measured.pip) / _total(measured.parallel)
    slower = _slower(measured)
    lost = sorted(str(one) for ours in _OURS for one in _built(measured.pip) - _built(ours(measured)))
    idle, share = measured.idle.own, measured.cpu
    return [
        Goal(f"service, warm, pure: median >= {_SERVICE_TIMES}x", *_at_least(times(measured.warm, "pure"), _SERVICE_TIMES)),
        Goal(f"command, pure: median >= {_COMMAND_TIMES}x", *_at_least(times(measured.command, "pure"), _COMMAND_TIMES)),
        Goal(f"whole list, {measured.cores} slots: >= {_PARALLEL_TIMES}x", *_at_least(whole, _PARALLEL_TIMES)),
        Goal("no release slower than pip (5 % and 0.1 s)", ", ".join(slower) or "none", not slower),
        Goal("what pip builds, we build", ", ".join(lost) or "all", not lost),
        Goal("idle service <= 60 MB", f"{idle / 1e6:.0f} MB", idle <= _IDLE_BYTES),
        Goal("idle service: no measurable CPU", f"{share:.3%} of a core", share <= _IDLE_SHARE),
    ]


def told(measured: Measured) -> str:
    """Everything as Markdown, ready for docs/benchmarks.md."""
    parts = (_heading(measured), _table(measured), _figures(measured), _memory(measured), _outcomes(measured), _goals(measured))
    return "\n\n".join(filter(None, parts))


def as_json(measured: Measured) -> dict[str, Any]:
    """Every figure."""
    sides = {"pip": measured.pip, "service_cold": [measured.cold], "service": measured.warm, "command": measured.command}
    return {
        "pip_version": measured.pip_version,
        "cores": measured.cores,
        "releases": [
            {
                "release": str(release),
                "kind": release.kind,
                **{side: [one.seconds[release] for one in rounds] for side, rounds in sides.items()},
                **{f"{side}_outcome": rounds[-1].outcomes[release] for side, rounds in sides.items()},
            }
            for release in measured.releases
        ],
        "totals": {side: [one.total for one in rounds] for side, rounds in {**sides, "parallel": measured.parallel}.items()},
        "fresh": asdict(measured.fresh),
        "idle": asdict(measured.idle),
        "idle_cpu": measured.cpu,
        "goals": [asdict(goal) for goal in goals(measured)],
    }


_OURS: tuple[Callable[[Measured], Sequence[Round]], ...] = (
    lambda measured: measured.warm,
    lambda measured: measured.command,
    lambda measured: measured.parallel,
)


def _at_least(times: float, goal: float) -> tuple[str, bool]:
    return f"{times:.1f}x", times >= goal


def _slower(measured: Measured) -> list[str]:
    """Releases that one of our sides built later than pip did, one build at a time."""
    share, seconds = _SLACK
    return [
        f"{release} ({_seconds(ours, release):.2f} s, pip {_seconds(measured.pip, release):.2f} s)"
        for ours in (measured.warm, measured.command)
        for release in measured.releases
        if release in _built(measured.pip) and _seconds(ours, release) > _seconds(measured.pip, release) * share + seconds
    ]


def _heading(measured: Measured) -> str:
    kinds = [release.kind for release in measured.releases]
    rounds = f"median of {len(measured.pip)}" if len(measured.pip) > 1 else "one round only"
    return f"pip {measured.pip_version}; {kinds.count('pure')} pure and {kinds.count('compiled')} compiled releases; {rounds}."


def _table(measured: Measured) -> str:
    rows = ["| release | | pip | service, cold | service | | command | |", "|---|---|--:|--:|--:|--:|--:|--:|"]
    rows += [_row(measured, release) for release in measured.releases]
    return "\n".join(rows)


def _row(measured: Measured, release: Pinned) -> str:
    pip = _seconds(measured.pip, release)
    cells = [str(release), "" if release.kind == "pure" else release.kind, f"{pip:.2f}", f"{measured.cold.seconds[release]:.2f}"]
    for ours in (measured.warm, measured.command):
        own = _seconds(ours, release)
        cells += [f"{own:.2f}", f"{pip / own:.1f}x"]
    return f"| {' | '.join(cells)} |"


def _figures(measured: Measured) -> str:
    rows = [
        f"| | pip's loop | service, cold | service | command | service, {measured.cores} slots |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    sides = (measured.pip, [measured.cold], measured.warm, measured.command, measured.parallel)
    totals = [_total(rounds) for rounds in sides]
    rows.append(_line("whole list, seconds", [f"{total:.1f}" for total in totals]))
    rows.append(_line("times pip", [f"{totals[0] / total:.1f}x" for total in totals]))
    rows.append(_line("wheels an hour", [f"{3600 * len(_built(rounds)) / _total(rounds):.0f}" for rounds in sides]))
    for kind in ("pure", "compiled"):
        times = ["", *(f"{measured.times(ours, kind):.1f}x" for ours in sides[1:4]), ""]
        rows.append(_line(f"median of the {kind}", times))
    rows.append(_line("largest build, MB", [f"{max(one.peak for one in rounds) / 1e6:.0f}" for rounds in sides]))
    return "\n".join(rows)


def _memory(measured: Measured) -> str:
    fresh, idle = measured.fresh, measured.idle
    return (
        f"The service itself: {fresh.own / 1e6:.0f} MB when started, {idle.peak / 1e6:.0f} MB at most, {idle.own / 1e6:.0f} MB "
        f"when idle after all this; with the {idle.processes - 1} processes that it keeps, {idle.all / 1e6:.0f} MB. "
        f"Idle, all of them take {measured.cpu:.3%} of a core."
    )


def _line(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _outcomes(measured: Measured) -> str:
    sides = {"pip": measured.pip, "service": measured.warm, "command": measured.command, "in parallel": measured.parallel}
    lines = [
        f"- {release}: {', '.join(f'{side} {rounds[-1].outcomes[release]}' for side, rounds in sides.items())}"
        for release in measured.releases
        if any(release not in _built(rounds) for rounds in sides.values())
    ]
    return "Not built by every side:\n\n" + "\n".join(lines) if lines else "Every side built every release."


def _goals(measured: Measured) -> str:
    rows = [f"| {goal.what} | {goal.measured} | {'reached' if goal.reached else '**missed**'} |" for goal in goals(measured)]
    return "\n".join(["| goal | measured | |", "|---|---|---|", *rows])


def _seconds(rounds: Sequence[Round], release: Pinned) -> float:
    return statistics.median(one.seconds[release] for one in rounds)


def _total(rounds: Sequence[Round]) -> float:
    return statistics.median(one.total for one in rounds)


def _built(rounds: Sequence[Round]) -> set[Pinned]:
    """What every round built."""
    return set.intersection(*(one.built for one in rounds))

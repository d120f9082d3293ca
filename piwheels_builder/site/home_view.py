"""What the home page and the fleet's page say, and the JSON that their charts and tables are drawn from. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from piwheels_builder.site import words
from piwheels_builder.site.overview import Building, FleetBuilder, NewWheel, Outlook, Overview
from piwheels_builder.site.projects import Meaning

#: Not heard of for so long, in seconds, a builder is shown as silent: it speaks once a minute.
_SILENT = 300
_FAULTS = ("infrastructure",)


@dataclass(frozen=True)
class Failure:
    """Attempts that ended so."""

    outcome: str
    meaning: str
    number: int
    share: float


@dataclass(frozen=True)
class TargetRow:
    """A target: what is finished, and what is ahead; ``seconds`` of one slot."""

    target: str
    published: int
    failed: int
    queued: int
    seconds: float
    slots: int


@dataclass(frozen=True)
class Home:
    """All that the home page says; sizes in bytes, ``progress`` from 0 to 1."""

    now: datetime
    builds: int
    finished: int
    progress: float | None
    seconds_left: float | None
    published: int
    wheels: int
    pure: int
    compiled: int
    success: float | None
    failures: tuple[Failure, ...]
    faults: int
    targets: tuple[TargetRow, ...]
    disk: float
    disk_free: int
    disk_ahead: float
    seconds_spent: float
    seconds_a_wheel: float | None
    projects: int
    releases: int
    newest: tuple[NewWheel, ...]
    active: int
    silent: int
    building: int
    freshness: str | None
    hours: Mapping[str, Mapping[str, int]]
    days: Mapping[str, Mapping[str, int]]
    by_builder: Mapping[str, Mapping[str, int]]


def home_view(seen: Overview, ahead: Outlook, meanings: Mapping[str, Meaning], disk_free: int) -> Home:
    """From what was read."""
    states = seen.starting_with("build ")
    unfinished = sum(states.get(state, 0) for state in ("pending", "leased", "building"))
    builds = sum(states.values())
    attempts = seen.starting_with("attempt ")
    built = attempts.get("built", 0)
    failures = _failures(attempts, meanings)
    judged = built + sum(each.number for each in failures)
    silent = sum(1 for each in seen.builders if is_silent(each))
    return Home(
        now=seen.now,
        builds=builds,
        finished=builds - unfinished,
        progress=(builds - unfinished) / builds if builds else None,
        seconds_left=ahead.seconds_left,
        published=states.get("published", 0),
        wheels=seen.number("wheel pure") + seen.number("wheel compiled"),
        pure=seen.number("wheel pure"),
        compiled=seen.number("wheel compiled"),
        success=built / judged if judged else None,
        failures=failures,
        faults=sum(attempts.values()) - judged,
        targets=_targets(seen, ahead),
        disk=sum(seen.amount(what) for what in ("wheel pure", "wheel compiled", "wheel withdrawn")),
        disk_free=disk_free,
        disk_ahead=ahead.bytes_ahead,
        seconds_spent=seen.amount("attempt built"),
        seconds_a_wheel=seen.amount("attempt built") / built if built else None,
        projects=seen.number("project"),
        releases=seen.number("release"),
        newest=seen.newest,
        active=len(seen.builders) - silent,
        silent=silent,
        building=len(seen.building),
        freshness=str(seen.freshness) if seen.freshness else None,
        hours=dict(sorted(seen.history.hours.items())),
        days=seen.history.by_day(),
        by_builder=seen.history.by_builder(),
    )


def is_silent(builder: FleetBuilder) -> bool:
    """Whether it should have been heard of."""
    return builder.silent is None or builder.silent > _SILENT


def told_home(home: Home) -> dict[str, Any]:
    """As JSON has it: the numbers, and the series that the charts are drawn from."""
    return {
        "at": words.iso(home.now),
        "progress": {
            "builds": home.builds,
            "finished": home.finished,
            "share": home.progress,
            "seconds_left": home.seconds_left,
        },
        "wheels": {"all": home.wheels, "pure": home.pure, "compiled": home.compiled, "bytes": home.disk},
        "success_rate": home.success,
        "failures": [{"outcome": each.outcome, "meaning": each.meaning, "attempts": each.number} for each in home.failures],
        "hours": home.hours,
        "days": home.days,
        "builders": home.by_builder,
        "targets": [vars(each) for each in home.targets],
        "freshness": home.freshness,
    }


def told_fleet(seen: Overview) -> dict[str, Any]:
    """Each builder now, for the fleet's page (assets/fleet.js) and whoever asks."""
    return {"at": words.iso(seen.now), "builders": [_told_builder(each, seen) for each in seen.builders]}


def building_on(seen: Overview, builder: str) -> list[Building]:
    """What one builder builds."""
    return [each for each in seen.building if each.builder == builder]


def _told_builder(builder: FleetBuilder, seen: Overview) -> dict[str, Any]:
    return {
        "name": builder.name,
        "standing": builder.standing,
        "reason": builder.standing_reason,
        "silent": is_silent(builder),
        "last_seen": words.iso(builder.last_seen_at),
        "memory": MEMORY[builder.memory_class],
        "slots": builder.slots,
        "spool": {"builds": builder.spool_builds, "seconds": round(builder.spool_seconds)},
        "outbox": builder.wheels_waiting,
        "full": not builder.has_room,
        "targets": builder.targets,
        "condition": {**asdict(builder.condition), "trouble": builder.condition.trouble},
        "building": [
            {
                "project": each.project,
                "version": each.version,
                "target": each.target,
                "seconds": round(each.seconds),
                "estimate_seconds": round(each.estimate_seconds),
            }
            for each in building_on(seen, builder.name)
        ],
    }


#: What a memory class means (db/migrations/0002_builds.sql).
MEMORY = ("up to 1 GiB", "up to 4 GiB", "over 4 GiB")


def _failures(attempts: Mapping[str, int], meanings: Mapping[str, Meaning]) -> tuple[Failure, ...]:
    """By number; what was no fault of a release is none."""
    blamed = {name: number for name, number in attempts.items() if meanings[name].blame not in ("none", *_FAULTS)}
    total = sum(blamed.values())
    ordered = sorted(blamed.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Failure(name, meanings[name].text, number, number / total) for name, number in ordered)


def _targets(seen: Overview, ahead: Outlook) -> tuple[TargetRow, ...]:
    published, failed = seen.by_target("build published"), seen.by_target("build failed")
    names = sorted({*published, *failed, *ahead.work, *(target for builder in seen.builders for target in builder.targets)})
    slots: dict[str, int] = {}
    for builder in seen.builders:
        for target in builder.targets:
            slots[target] = slots.get(target, 0) + (builder.slots if builder.standing == "active" else 0)
    return tuple(
        TargetRow(name, published.get(name, 0), failed.get(name, 0), *ahead.work.get(name, (0, 0.0)), slots.get(name, 0))
        for name in names
    )

"""What a project's page says: each release for each target in one word with its reason. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from piwheels_builder.catalogue.facts import KnownBuild, KnownRelease, WantedTarget
from piwheels_builder.catalogue.needs import NotWanted
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.wanting import TargetNeed, needs_of
from piwheels_builder.index.layout import log_path, wheel_url
from piwheels_builder.site import words
from piwheels_builder.site.projects import Attempt, Meaning, PublishedWheel, SiteProject
from piwheels_builder.site.waiting import Place, QueueShape

#: What stands on the page itself; the JSON beside it has everything.
_RELEASES, _FILES, _ATTEMPTS = 40, 60, 40
#: An error line is a stranger's, and may be as long as a log.
_LONGEST = 400
#: The states of a build that need no look into the queue, in the words of the page.
_PLAIN = {"published": "published", "failed": "failed", "skipped": "skipped", "leased": "building", "building": "building"}


@dataclass(frozen=True)
class Cell:
    """One release for one target. ``state`` is published, served (by another wheel), failed, skipped, building, waiting, parked."""

    target: str
    state: str
    reason: str
    wheel: str | None = None
    outcome: str | None = None
    error_line: str | None = None
    log: int | None = None
    place: Place | None = None
    #: What project.js needs to work the place out again: priority, memory class, estimate.
    queued: tuple[int, int, float] | None = None


@dataclass(frozen=True)
class ReleaseRow:
    """A release with its cells, in the order of the page's targets."""

    version: str
    yanked: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ProjectView:
    """All that the page says; lists that are cut have their whole length in ``totals``."""

    name: str
    status: str
    status_reason: str | None
    opted_out: str | None
    targets: tuple[str, ...]
    releases: tuple[ReleaseRow, ...]
    wheels: tuple[PublishedWheel, ...]
    attempts: tuple[Attempt, ...]
    counts: Mapping[str, int]
    totals: Mapping[str, int]
    meanings: Mapping[str, Meaning]


@dataclass(frozen=True)
class Surroundings:
    """What all pages of one refresh share."""

    targets: tuple[WantedTarget, ...]
    policy: Policy
    shape: QueueShape
    meanings: Mapping[str, Meaning]


def project_view(project: SiteProject, around: Surroundings) -> ProjectView:
    """The whole of it; ``shown`` cuts it to what a page bears."""
    rows = tuple(_row(project, release, around) for release in project.facts.releases)
    return ProjectView(
        name=project.facts.name,
        status=project.facts.status,
        status_reason=project.facts.status_reason,
        opted_out=project.facts.opted_out,
        targets=tuple(str(each.target) for each in around.targets),
        releases=rows,
        wheels=project.wheels,
        attempts=project.attempts,
        counts=Counter(cell.state for row in rows for cell in row.cells),
        totals={"releases": len(rows), "wheels": len(project.wheels), "attempts": len(project.attempts)},
        meanings=around.meanings,
    )


def shown(view: ProjectView) -> dict[str, Any]:
    """The parts that the page itself shows."""
    return {"releases": view.releases[:_RELEASES], "wheels": view.wheels[:_FILES], "attempts": view.attempts[:_ATTEMPTS]}


def told(view: ProjectView) -> dict[str, Any]:
    """Everything, as the JSON beside the page has it."""
    return {
        "name": view.name,
        "status": view.status,
        "status_reason": view.status_reason,
        "opted_out": view.opted_out,
        "targets": view.targets,
        "releases": [
            {"version": row.version, "yanked": row.yanked, "targets": [_told_cell(view.name, cell) for cell in row.cells]}
            for row in view.releases
        ],
        "files": [_told_wheel(view.name, wheel) for wheel in view.wheels],
        "attempts": [_told_attempt(view.name, attempt) for attempt in view.attempts],
    }


def log_url(project: str, attempt_id: int) -> str:
    """Of a log as the index serves it."""
    return f"/{log_path(project, attempt_id).with_suffix('')}"


def _row(project: SiteProject, release: KnownRelease, around: Surroundings) -> ReleaseRow:
    needs = needs_of(project.facts, release, around.targets, around.policy)
    sdists = [file for file in release.files if file.kind == "sdist"]
    yanked = bool(sdists) and all(file.yanked for file in sdists)
    return ReleaseRow(release.spelling, yanked, tuple(_cell(project, each, around) for each in needs))


def _cell(project: SiteProject, each: TargetNeed, around: Surroundings) -> Cell:
    target, build = str(each.target.target), each.build
    if build is None:
        if isinstance(each.need, NotWanted):
            return Cell(target, _skipped(each.need.reason), each.need.reason)
        return Cell(target, "waiting", "wanted; the next round queues it")
    if build.state in _PLAIN:
        return _plain(target, build, around)
    if build.state == "built":
        return Cell(target, "waiting", "built; its wheel is to be checked and published", wheel=build.wheel)
    return _queued(project, target, build, around)


def _plain(target: str, build: KnownBuild, around: Surroundings) -> Cell:
    outcome = build.outcome if build.state == "failed" else None
    meaning = around.meanings.get(outcome or "")
    return Cell(
        target,
        _skipped(build.reason) if build.state == "skipped" else _PLAIN[build.state],
        meaning.text if meaning and outcome != "built" else build.reason,
        wheel=build.wheel if build.published else None,
        outcome=outcome,
        error_line=_short(build.error_line) if outcome else None,
        log=build.logged if build.state == "failed" else None,
    )


def _skipped(reason: str) -> str:
    """Not built, or since a wheel is there already, in the words of needs.py, wanting.py and publish.sql."""
    return "served" if reason.startswith("served by ") or reason.endswith(" serves it") else "skipped"


def _queued(project: SiteProject, target: str, build: KnownBuild, around: Surroundings) -> Cell:
    queued = project.queued.get(build.build_id)
    if queued is None:
        return Cell(target, "waiting", build.reason)
    if queued.held:
        return Cell(target, "parked", queued.held, outcome=build.outcome, error_line=_short(build.error_line), log=build.logged)
    if queued.leader:
        return Cell(target, "waiting", f"for the wheel of {queued.leader}, which may serve it too")
    if queued.not_before:
        return Cell(target, "waiting", f"tried again after {words.moment(queued.not_before)}", outcome=build.outcome)
    place = around.shape.place(target, queued)
    key = (queued.priority, queued.memory_class, queued.estimate_seconds)
    return Cell(target, "waiting", "in the queue", place=place, queued=key)


def _short(line: str | None) -> str | None:
    return line if line is None or len(line) <= _LONGEST else f"{line[:_LONGEST]} …"


def _told_cell(project: str, cell: Cell) -> dict[str, Any]:
    said: dict[str, Any] = {"target": cell.target, "state": cell.state, "reason": cell.reason}
    said |= {"wheel": cell.wheel, "outcome": cell.outcome, "error_line": cell.error_line}
    said["log"] = log_url(project, cell.log) if cell.log else None
    if cell.place:
        seconds = None if cell.place.seconds is None else round(cell.place.seconds)
        said["queue"] = {"before": cell.place.before, "of": cell.place.of, "seconds": seconds}
    return {key: value for key, value in said.items() if value is not None}


def _told_wheel(project: str, wheel: PublishedWheel) -> dict[str, Any]:
    return {
        "version": wheel.version,
        "target": wheel.target,
        "filename": wheel.filename,
        "url": wheel_url(project, wheel.filename),
        "sha256": wheel.sha256,
        "size": wheel.size,
        "requires_python": wheel.requires_python,
        "glibc_floor": wheel.glibc_floor,
        "published_at": words.iso(wheel.published_at),
        "withdrawn_at": words.iso(wheel.withdrawn_at),
        "withdrawn_reason": wheel.withdrawn_reason,
    }


def _told_attempt(project: str, attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt": attempt.attempt_id,
        "version": attempt.version,
        "target": attempt.target,
        "builder": attempt.builder,
        "outcome": attempt.outcome,
        "started_at": words.iso(attempt.started_at),
        "seconds": attempt.seconds,
        "estimate_seconds": attempt.estimate_seconds,
        "peak_memory": attempt.peak_memory,
        "error_line": attempt.error_line,
        "missing": attempt.missing,
        "stopped_by": attempt.mechanism,
        "toolchain": attempt.toolchain,
        "log": log_url(project, attempt.attempt_id) if attempt.logged else None,
    }


def sorted_states(counts: Mapping[str, int]) -> Sequence[tuple[str, int]]:
    """In the order of a summary."""
    order = ("published", "served", "failed", "building", "waiting", "parked", "skipped")
    return [(state, counts[state]) for state in order if counts.get(state)]

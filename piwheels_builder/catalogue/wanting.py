"""Bring the queue in line with the needs of one project: want what is missing, skip what is waiting and wanted no more."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import aiosql

from piwheels_builder.catalogue.facts import KnownBuild, KnownProject, KnownRelease, WantedTarget
from piwheels_builder.catalogue.needs import FORCED, Need, NotWanted, Wanted, chosen_sdist, hastened, need, serves_sibling
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.db.connect import Connection
from piwheels_builder.states import BuildState
from piwheels_builder.targets import Target

_queries = aiosql.from_path(Path(str(files(__package__))) / "wanting.sql", "psycopg2")
#: Siblings wait while their leader is in one of these; a built wheel may still turn out to serve them when it is published.
UNFINISHED = (BuildState.PENDING, BuildState.LEASED, BuildState.BUILDING, BuildState.BUILT)
#: want_build never revives what a sibling's wheel serves (its reason begins so).
_SERVED = "served by "

#: The first guess of a build's duration: unpacking and the hooks take seconds whatever the size, and compiling grows with the
#: source. Real attempts of the project replace it (cost_of_project).
LEAST_SECONDS = 10
SECONDS_PER_MB = 60
MOST_SECONDS = 2 * 3600
SECONDS_OF_UNKNOWN_SIZE = 60


@dataclass(frozen=True)
class QueueChange:
    """A build that was put into the queue (``reason`` is None) or taken out of it."""

    project: str
    version: str
    target: str
    reason: str | None = None

    def __str__(self) -> str:
        return f"{self.project}=={self.version} for {self.target}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class TargetNeed:
    """The need of one release for one target, and the build that exists of it."""

    target: WantedTarget
    need: Need
    build: KnownBuild | None


def guess_seconds(size: int | None) -> float:
    """How long an sdist of ``size`` bytes may take to build, for a project without history."""
    if size is None:
        return SECONDS_OF_UNKNOWN_SIZE
    return min(LEAST_SECONDS + SECONDS_PER_MB * size / 1e6, MOST_SECONDS)


def needs_of(
    project: KnownProject, release: KnownRelease, targets: tuple[WantedTarget, ...], policy: Policy
) -> tuple[TargetNeed, ...]:
    """The needs of a release for all targets, leader first; what one of our own wheels serves needs no new build."""
    builds = {build.target_id: build for build in project.builds if build.release_id == release.release_id}
    return tuple(
        TargetNeed(
            target,
            _served(target, builds) or need(project, release, target.target, policy),
            builds.get(target.target_id),
        )
        for target in targets
    )


def apply_needs(
    connection: Connection, project: KnownProject, targets: tuple[WantedTarget, ...], policy: Policy
) -> tuple[QueueChange, ...]:
    """Want and skip builds of a project, in the caller's transaction. Nothing is written where nothing is to change."""
    changes = [change for release in project.releases for change in _apply(connection, project, release, targets, policy)]
    return tuple(changes)


def _apply(
    connection: Connection, project: KnownProject, release: KnownRelease, targets: tuple[WantedTarget, ...], policy: Policy
) -> Iterator[QueueChange]:
    needs = needs_of(project, release, targets, policy)
    yield from _want(connection, project, release, needs)
    reasons = {each.target.target_id: each.need.reason for each in needs if isinstance(each.need, NotWanted)}
    still_wanted = {each.target.target_id for each in needs if isinstance(each.need, Wanted)}
    for build in project.builds:
        if build.release_id == release.release_id and build.state == BuildState.PENDING and build.target_id not in still_wanted:
            reason = reasons.get(build.target_id, "the fleet no longer builds for its target")
            if _queries.skip_build(connection, build_id=build.build_id, reason=reason):
                yield QueueChange(project.name, release.spelling, build.target, reason)


def _want(
    connection: Connection, project: KnownProject, release: KnownRelease, needs: tuple[TargetNeed, ...]
) -> Iterator[QueueChange]:
    """The first wanted and unfinished build leads: the others wait for its wheel, which may serve them too."""
    leader: int | None = None
    seconds = guess_seconds(sdist.size if (sdist := chosen_sdist(release)) else None)
    for each in needs:
        if not isinstance(each.need, Wanted):
            continue
        build_id = each.build.build_id if each.build else None
        if is_to_queue(each.build) or _is_to_hasten(each):
            queued = _queries.want_build(
                connection,
                release_id=release.release_id,
                target_id=each.target.target_id,
                priority=hastened(each.need.priority, release),
                guess_seconds=seconds,
                leader=leader,
            )
            build_id = queued or build_id
            if queued is not None:
                yield QueueChange(project.name, release.spelling, str(each.target.target))
        elif each.build and each.build.state not in UNFINISHED:
            continue
        leader = leader or build_id


def _is_to_hasten(each: TargetNeed) -> bool:
    return each.need == Wanted(FORCED) and each.build is not None and each.build.state == BuildState.PENDING


def is_to_queue(build: KnownBuild | None) -> bool:
    """Whether a wanted build is still to be made, or was skipped for a reason that no longer holds."""
    return build is None or (build.state == BuildState.SKIPPED and not build.reason.startswith(_SERVED))


def _served(target: WantedTarget, builds: Mapping[int, KnownBuild]) -> NotWanted | None:
    """Whether a sibling's published wheel already serves a target that was never built for, such as one added later."""
    if not is_to_queue(builds.get(target.target_id)):
        return None
    for sibling in builds.values():
        if sibling.published and sibling.wheel and serves_sibling(sibling.wheel, Target.parse(sibling.target), target.target):
            return NotWanted(f"our {sibling.wheel} serves it")
    return None

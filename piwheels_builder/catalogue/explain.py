"""Why a release is built for a target or not, and how far its build is: the answer of ``piwheels-builder explain``."""

from collections.abc import Mapping
from dataclasses import dataclass

from piwheels_builder.catalogue.facts import KnownProject, WantedTarget, known_project, wanted_targets
from piwheels_builder.catalogue.needs import FORCED, NEWEST, Wanted
from piwheels_builder.catalogue.policy import Choice, Policy
from piwheels_builder.catalogue.wanting import TargetNeed, needs_of
from piwheels_builder.db.connect import Connection
from piwheels_builder.errors import UnknownProject
from piwheels_builder.index.layout import log_path

_PRIORITIES = {FORCED: "forced by the operator", NEWEST: "newest release of its project"}


@dataclass(frozen=True)
class Explanation:
    """One release for one target. ``state`` and what follows are of its build, or None. The log is a path of the index."""

    project: str
    version: str
    target: str
    wanted: bool
    reason: str
    state: str | None
    state_reason: str | None
    outcome: str | None
    error_line: str | None
    wheel: str | None
    log: str | None
    import_result: str | None
    import_detail: str | None
    libraries: Mapping[str, str | None] | None


def explain(connection: Connection, choice: Choice, policy: Policy) -> list[Explanation]:
    """Explain a release, or the newest of a project, for every wanted target. Raises UnknownProject for what was never synced."""
    project = known_project(connection, choice.project)
    if project is None:
        raise UnknownProject(f"{choice.project} is not in the catalogue: run `piwheels-builder sync {choice.project}` first")
    targets = wanted_targets(connection)
    return [_explanation(project.name, version, each) for version, each in _needs(project, choice, targets, policy)]


def _needs(
    project: KnownProject, choice: Choice, targets: tuple[WantedTarget, ...], policy: Policy
) -> list[tuple[str, TargetNeed]]:
    releases = project.releases[:1]
    if choice.version is not None:
        releases = tuple(release for release in project.releases if release.version == choice.version)
    if not releases:
        known = ", ".join(release.spelling for release in project.releases[:5]) or "none"
        raise UnknownProject(f"the catalogue has no {choice}; the newest releases it has: {known} (project {project.status})")
    return [(release.spelling, each) for release in releases for each in needs_of(project, release, targets, policy)]


def _explanation(project: str, version: str, each: TargetNeed) -> Explanation:
    wanted = isinstance(each.need, Wanted)
    reason = _PRIORITIES.get(each.need.priority, "back catalogue") if isinstance(each.need, Wanted) else each.need.reason
    build = each.build
    return Explanation(
        project=project,
        version=version,
        target=str(each.target.target),
        wanted=wanted,
        reason=reason,
        state=build.state if build else None,
        state_reason=build.reason if build else None,
        outcome=build.outcome if build else None,
        error_line=build.error_line if build else None,
        wheel=build.wheel if build else None,
        log=f"/{log_path(project, build.logged).with_suffix('')}" if build and build.logged else None,
        import_result=build.import_result if build else None,
        import_detail=build.import_detail if build else None,
        libraries=build.libraries if build else None,
    )

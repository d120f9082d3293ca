"""Whether a release is to be built for a target, and if not, why. Pure: everything it looks at is in its arguments."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from piwheels_builder.catalogue.facts import KnownFile, KnownProject, KnownRelease
from piwheels_builder.catalogue.filenames import FileKind, is_pure, wheel_tags
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.serving import serving_wheel
from piwheels_builder.targets import Target

#: queue.priority
FORCED, NEWEST, BACK_CATALOGUE = 0, 1, 2
#: A newest release is fresh for so long after upstream got its sdist, and goes as early as what the operator forces.
FRESH = timedelta(days=1)
#: Upstream's clock may be ahead of ours.
_AHEAD = timedelta(hours=1)
#: A project of this status is not built (PEP 792, and our own: gone).
_UNSAFE_STATUS = ("quarantined", "gone")


@dataclass(frozen=True)
class Wanted:
    """Build it; ``priority`` is queue.priority."""

    priority: int


@dataclass(frozen=True)
class NotWanted:
    """Do not build it, because of ``reason``."""

    reason: str


Need = Wanted | NotWanted


def need(project: KnownProject, release: KnownRelease, target: Target, policy: Policy) -> Need:
    """Decide one release for one target. The first objection counts; force overrides what is policy, not what is impossible."""
    if project.opted_out is not None:
        return NotWanted(f"its maintainer opted out: {project.opted_out}")
    if release.instruction == "skip":
        return NotWanted(f"the operator skips it: {release.why}")
    forced = release.instruction == "force"
    objection = (
        (None if forced else _objection_of_policy(project, release, policy))
        or _objection_of_source(release, forced=forced)
        or _objection_of_python(release, target)
        or (None if forced or policy.build == "all" else _objection_of_upstream(release, target))
    )
    if objection is not None:
        return NotWanted(objection)
    return Wanted(FORCED if forced else NEWEST if release.newest_first == 1 else BACK_CATALOGUE)


def hastened(priority: int, release: KnownRelease, now: datetime | None = None) -> int:
    """The priority of a wanted build, by when its source came: a fresh newest release passes everything that has waited."""
    sdist = chosen_sdist(release)
    if priority != NEWEST or sdist is None or sdist.upload_time is None:
        return priority
    age = (now or datetime.now(UTC)) - sdist.upload_time
    return FORCED if -_AHEAD <= age < FRESH else priority


def impossible(release: KnownRelease, target: Target) -> str | None:
    """Why no policy and no operator could have this release built for a target; None where one could."""
    return _objection_of_source(release, forced=True) or _objection_of_python(release, target)


def chosen_sdist(release: KnownRelease) -> KnownFile | None:
    """The sdist that lease_batch hands out: files come in its order."""
    return next((file for file in release.files if file.kind is FileKind.SDIST), None)


def serves_sibling(wheel: str, made_for: Target, target: Target) -> bool:
    """Whether our wheel made for one target installs on another: a platform wheel links what its OS release or a newer one has."""
    tags = wheel_tags(wheel)
    old_enough = made_for.glibc <= target.glibc or is_pure(tags)
    return old_enough and target.is_served_by(tags)


def upstreams_wheel(release: KnownRelease, target: Target) -> KnownFile | None:
    """Upstream's wheel of a release that serves the target, so that none of ours is needed."""
    return serving_wheel((file for file in release.files if file.kind is FileKind.WHEEL and not file.yanked), target)


def _objection_of_policy(project: KnownProject, release: KnownRelease, policy: Policy) -> str | None:
    if project.status in _UNSAFE_STATUS:
        return f"its project is {project.status}" + (f": {project.status_reason}" if project.status_reason else "")
    if not policy.lists(project.name, release.version):
        return "not in fleet_projects"
    if policy.newest is not None and release.newest_first > policy.newest and not policy.names(project.name, release.version):
        return f"number {release.newest_first} of its project's releases, newest first; fleet_releases is {policy.newest}"
    return None


def _objection_of_source(release: KnownRelease, *, forced: bool) -> str | None:
    sdists = [file for file in release.files if file.kind is FileKind.SDIST]
    if not sdists:
        return _why_no_sdist(release)
    if not forced and all(file.yanked for file in sdists):
        return "yanked upstream"
    return None


def _why_no_sdist(release: KnownRelease) -> str:
    refused = next((file for file in release.files if file.kind is FileKind.REFUSED), None)
    if refused is not None:
        return f"no sdist: {refused.filename} is refused ({refused.refusal})"
    return "no sdist, only wheels" if release.files else "no files"


def _objection_of_python(release: KnownRelease, target: Target) -> str | None:
    sdist = chosen_sdist(release)
    requires_python = sdist.requires_python if sdist else None
    return None if target.is_admitted_by(requires_python) else f"requires Python {requires_python}"


def _objection_of_upstream(release: KnownRelease, target: Target) -> str | None:
    wheel = upstreams_wheel(release, target)
    return f"upstream's {wheel.filename} serves it" if wheel else None

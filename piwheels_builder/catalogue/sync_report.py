"""What a sync did: of each project, and of all together."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from piwheels_builder.catalogue.sweep import Swept
from piwheels_builder.catalogue.take_over import Change
from piwheels_builder.catalogue.wanting import QueueChange
from piwheels_builder.errors import FleetError, UnknownProject, UpstreamError


@dataclass(frozen=True)
class ProjectReport:
    """What became of one project: an error, or what changed."""

    project: str
    change: Change = field(default_factory=Change)
    queue: tuple[QueueChange, ...] = ()
    gone: bool = False
    error: FleetError | None = None

    def __bool__(self) -> bool:
        return bool(self.change or self.queue or self.gone or self.error)


@dataclass(frozen=True)
class Filled:
    """What a first fill made of many projects: how many, their releases and files, and builds put into the queue."""

    projects: int = 0
    releases: int = 0
    files: int = 0
    wanted: int = 0

    def __add__(self, other: "Filled") -> "Filled":
        return Filled(
            self.projects + other.projects,
            self.releases + other.releases,
            self.files + other.files,
            self.wanted + other.wanted,
        )


@dataclass(frozen=True)
class SyncReport:
    """What became of all projects visited. Truth value: whether anything changed in the database.

    ``projects`` are those of which there is something to tell; what was filled is counted. ``left`` were not visited for want of
    time. ``held_back`` would lose all their files, and are too many to be believed without a word of the operator's. ``swept`` was
    looked through for targets that are new.
    """

    projects: tuple[ProjectReport, ...] = ()
    visited: int = 0
    filled: Filled = field(default_factory=Filled)
    left: int = 0
    held_back: tuple[str, ...] = ()
    swept: Swept = field(default_factory=lambda: Swept(0, 0, 0))

    @property
    def changed(self) -> tuple[str, ...]:
        """Projects of which upstream says something new, without those that were filled."""
        return tuple(report.project for report in self.projects if report.change)

    @property
    def gone(self) -> tuple[str, ...]:
        return tuple(report.project for report in self.projects if report.gone)

    @property
    def releases(self) -> int:
        return self.filled.releases + sum(report.change.releases for report in self.projects)

    @property
    def files(self) -> int:
        return self.filled.files + sum(report.change.files + report.change.removed for report in self.projects)

    @property
    def wanted(self) -> tuple[QueueChange, ...]:
        return tuple(change for report in self.projects for change in report.queue if change.reason is None)

    @property
    def skipped(self) -> tuple[QueueChange, ...]:
        return tuple(change for report in self.projects for change in report.queue if change.reason is not None)

    @property
    def failures(self) -> Mapping[str, FleetError]:
        return {report.project: report.error for report in self.projects if report.error is not None}

    def __bool__(self) -> bool:
        return bool(self.filled.projects or self.swept.queued) or any(report.change or report.queue for report in self.projects)

    def raise_failures(self) -> None:
        """Raise one error that names what failed or is held back: UnknownProject where all of it is unknown, else UpstreamError."""
        complaints = [complaint for complaint in (self._failed(), self.held_back_told()) if complaint]
        if not complaints:
            return
        message, failures = "\n".join(complaints), self.failures.values()
        if not self.held_back and all(isinstance(error, UnknownProject) for error in failures):
            raise UnknownProject(message)
        raise UpstreamError(message, temporary=any(getattr(error, "temporary", False) for error in failures))

    def _failed(self) -> str | None:
        lines = "".join(f"\n  {project}: {error}" for project, error in self.failures.items())
        return lines and f"{len(self.failures)} of {self.visited} projects failed; all others are synced:{lines}"

    def held_back_told(self) -> str | None:
        """What stands still until the operator says a word; None where nothing does."""
        if not self.held_back:
            return None
        named = ", ".join(self.held_back[:5]) + (", ..." if len(self.held_back) > 5 else "")
        return (
            f"{len(self.held_back)} projects would lose all their files ({named}), which looks like a fault of upstream's: nothing "
            "of theirs was changed, all others are synced. If upstream really deleted them: "
            "`piwheels-builder sync --accept-deletions`, or `ansible-playbook build.yml -e catalogue_accept_deletions=true`"
        )

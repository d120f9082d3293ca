"""What a wheelhouse lacks goes into the queue of the fleet, before all else; and how far that is."""

from collections.abc import Sequence
from dataclasses import dataclass

from packaging.utils import canonicalize_version
from packaging.version import Version

from piwheels_builder.catalogue.commands import force, own_sdists
from piwheels_builder.catalogue.explain import explain
from piwheels_builder.catalogue.facts import KnownProject, known_project, wanted_targets
from piwheels_builder.catalogue.policy import Choice, Policy
from piwheels_builder.catalogue.sync import Ways, sync
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.db.connect import connected
from piwheels_builder.errors import BadInput
from piwheels_builder.queue.demand import note_demand
from piwheels_builder.settings import FleetSettings
from piwheels_builder.states import BuildState
from piwheels_builder.targets import Target
from piwheels_builder.wheelhouse.resolving import Pick

_REASON = "wanted for a wheelhouse"


@dataclass(frozen=True)
class Standing:
    """How far a pick's build for the target is. ``state`` is None where there is none; ``why`` is for a person."""

    pick: Pick
    state: BuildState | None
    why: str

    @property
    def is_over(self) -> bool:
        """Whether waiting changes nothing."""
        return self.state in (None, BuildState.PUBLISHED, BuildState.FAILED, BuildState.SKIPPED)

    def __str__(self) -> str:
        return f"{self.pick}: {self.state or 'not to be built'}" + (f": {self.why}" if self.why else "")


def check_target(settings: FleetSettings, target: Target) -> None:
    """Raises BadInput unless the fleet builds for a target."""
    with connected(settings.conninfo("reader")) as connection:
        targets = sorted(str(each.target) for each in wanted_targets(connection))
    if str(target) not in targets:
        raise BadInput(f"the fleet does not build for {target}; it builds for {', '.join(targets) or 'nothing'}: see `status`")


def want(settings: FleetSettings, picks: Sequence[Pick]) -> None:
    """Have all of them built first. Raises UnknownProject where the upstream index has no such project."""
    _sync_unknown(settings, picks)
    policy = Policy.of(settings)
    for pick in picks:
        with connected(settings.conninfo("dispatcher")) as connection:
            force(connection, _choice(pick), policy, _REASON)
            note_demand(connection, _choice(pick))


def standings(settings: FleetSettings, picks: Sequence[Pick], target: Target) -> list[Standing]:
    """How far each is."""
    with connected(settings.conninfo("reader")) as connection:
        told = [(pick, explain(connection, _choice(pick), Policy.of(settings))) for pick in picks]
    found = []
    for pick, explanations in told:
        explained = next(each for each in explanations if each.target == str(target))
        if explained.state is None:
            found.append(Standing(pick, None, explained.reason))
            continue
        why = explained.error_line or explained.outcome or explained.state_reason or ""
        state = BuildState(explained.state)
        found.append(Standing(pick, state, why if state in (BuildState.FAILED, BuildState.SKIPPED) else ""))
    return found


def _sync_unknown(settings: FleetSettings, picks: Sequence[Pick]) -> None:
    with connected(settings.conninfo("reader")) as connection:
        known = {pick.project: known_project(connection, pick.project) for pick in picks}
    unknown = [pick.project for pick in picks if not _has(known[pick.project], pick.version)]
    if unknown:
        with UpstreamIndex(settings.upstream, per_second=settings.upstream_requests_per_second or None) as upstream:
            report = sync(settings.conninfo("dispatcher"), upstream, Policy.of(settings), unknown, Ways(own=own_sdists(settings)))
        report.raise_failures()


def _has(project: KnownProject | None, version: Version) -> bool:
    return project is not None and any(Version(release.version) == version for release in project.releases)


def _choice(pick: Pick) -> Choice:
    return Choice(pick.project, canonicalize_version(str(pick.version)))

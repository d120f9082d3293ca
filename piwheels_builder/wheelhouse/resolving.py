"""Which releases fulfil what is required, with all that they require themselves, on the target.

resolvelib searches, as it does for pip. uv resolves for its own list of platforms, and 32-bit ARM is not on it; and neither can say
what is to be built before it can be installed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version
from resolvelib import AbstractProvider, BaseReporter, ResolutionImpossible, ResolutionTooDeep, Resolver

from piwheels_builder.errors import FleetError
from piwheels_builder.wheelhouse.offers import Offered, Offers
from piwheels_builder.wheelhouse.python import TargetPython
from piwheels_builder.wheelhouse.required import Required

_MOST_ROUNDS = 5000
#: A project, with the extras that are asked of it.
Key = tuple[NormalizedName, frozenset[str]]


class Unsolvable(FleetError):
    """No set of releases fulfils what is required."""

    exit_code = 65


@dataclass(frozen=True)
class Pick:
    """A release that was chosen. ``offered`` is None where the target has it already."""

    project: NormalizedName
    version: Version
    offered: Offered | None
    extras: frozenset[str] = frozenset()

    @property
    def key(self) -> Key:
        return self.project, self.extras

    def __str__(self) -> str:
        return f"{self.project}=={self.version}"


@dataclass(frozen=True)
class Search:
    """How to choose. ``present``: what the target has already, which is taken where it will do.

    ``newest``: the newest release, whether or not it is built yet, unless it is one of ``unbuildable``. Else a release that has a
    wheel, and one without only where there is no other.
    """

    required: Required
    python: TargetPython
    present: Mapping[NormalizedName, Version] = field(default_factory=dict)
    newest: bool = False
    unbuildable: frozenset[tuple[NormalizedName, Version]] = frozenset()

    def can_be_built(self, offered: Offered) -> bool:
        """Whether there is something to build a wheel from, as far as anyone knows."""
        return offered.sdist is not None and (offered.project, offered.version) not in self.unbuildable


def resolve(search: Search, offers: Offers) -> tuple[Pick, ...]:
    """What to install, by name. Picks without a wheel are to be built first. Raises Unsolvable, UpstreamError."""
    resolver: Resolver[Requirement, Pick, Key] = Resolver(_Provider(search, offers), BaseReporter())
    try:
        found = resolver.resolve(search.required.requirements, max_rounds=_MOST_ROUNDS)
    except ResolutionImpossible as impossible:
        raise Unsolvable(_told(impossible.causes, search, offers)) from impossible
    except ResolutionTooDeep as error:
        raise Unsolvable(f"no solution was found in {_MOST_ROUNDS} rounds: narrow it down with a constraints file (-c)") from error
    picks = (pick for (_, extras), pick in found.mapping.items() if not extras)
    return tuple(sorted(picks, key=lambda pick: pick.project))


class _Provider(AbstractProvider[Requirement, Pick, Key]):
    def __init__(self, search: Search, offers: Offers) -> None:
        self._search, self._offers = search, offers

    def identify(self, requirement_or_candidate: Requirement | Pick) -> Key:
        if isinstance(requirement_or_candidate, Pick):
            return requirement_or_candidate.key
        extras = frozenset(map(str, map(canonicalize_name, requirement_or_candidate.extras)))
        return canonicalize_name(requirement_or_candidate.name), extras

    def get_preference(
        self,
        identifier: Key,
        resolutions: Any,  # noqa: ARG002
        candidates: Any,  # noqa: ARG002
        information: Any,
        backtrack_causes: Any,
    ) -> Any:
        is_cause = any(self.identify(cause.requirement) == identifier for cause in backtrack_causes)
        pinned = any("==" in str(each.requirement.specifier) for each in information[identifier])
        return not is_cause, not pinned, identifier[0], sorted(identifier[1])

    def find_matches(
        self, identifier: Key, requirements: Mapping[Key, Iterator[Requirement]], incompatibilities: Mapping[Key, Iterator[Pick]]
    ) -> list[Pick]:
        project, extras = identifier
        wanted = [requirement.specifier for requirement in requirements[identifier]]
        wanted.append(self._search.required.constraints.get(project, SpecifierSet()))
        refused = {pick.version for pick in incompatibilities[identifier]}
        return [replace(pick, extras=extras) for pick in self._fitting(project, _all_of(wanted)) if pick.version not in refused]

    def is_satisfied_by(self, requirement: Requirement, candidate: Pick) -> bool:
        return requirement.specifier.contains(candidate.version, prereleases=True)

    def get_dependencies(self, candidate: Pick) -> Iterable[Requirement]:
        offered = candidate.offered
        if candidate.extras:
            yield Requirement(str(candidate))
            offered = next((each for each in self._offers.releases(candidate.project) if each.version == candidate.version), None)
        if offered is None:
            # Whatever put it on the target put there what it requires.
            return
        for requirement in self._offers.requirements(offered):
            if _is_asked(requirement, candidate.extras, self._search.python):
                if requirement.url:
                    raise Unsolvable(
                        f"{candidate} requires {requirement.name} by a URL, which no index can provide: exclude it (-c)"
                    )
                yield requirement

    def _fitting(self, project: NormalizedName, specifier: SpecifierSet) -> Iterator[Pick]:
        present = self._search.present.get(project)
        if present is not None and specifier.contains(present, prereleases=True):
            yield Pick(project, present, None)
        releases = [each for each in self._offers.releases(project) if self._may_be_taken(each, specifier)]
        admitted = set(specifier.filter(each.version for each in releases))
        fitting = [each for each in releases if each.version in admitted]
        if not self._search.newest:
            # Sorting is stable: the newest of each kind first.
            fitting.sort(key=lambda each: each.wheel is None)
        yield from (Pick(project, each.version, each) for each in fitting)

    def _may_be_taken(self, offered: Offered, specifier: SpecifierSet) -> bool:
        allowed = self._search.required.hashes.get(offered.project)
        if offered.yanked and not any(each.operator in ("==", "===") and "*" not in each.version for each in specifier):
            return False
        if allowed is not None and not allowed & offered.hashes:
            return False
        return offered.wheel is not None or self._search.can_be_built(offered)


def _all_of(specifiers: Iterable[SpecifierSet]) -> SpecifierSet:
    whole = SpecifierSet()
    for specifier in specifiers:
        whole &= specifier
    return whole


def _is_asked(requirement: Requirement, extras: frozenset[str], python: TargetPython) -> bool:
    if requirement.marker is None:
        return not extras
    if not extras:
        return python.holds(requirement.marker)
    # What holds without the extra is asked by the release itself.
    return not python.holds(requirement.marker) and any(python.holds(requirement.marker, extra) for extra in extras)


def _told(causes: Iterable[Any], search: Search, offers: Offers) -> str:
    lines = ["no set of releases fulfils this:"]
    for cause in causes:
        who = f"{cause.parent} requires" if cause.parent else "required:"
        lines.append(f"  {who} {cause.requirement}{_what_there_is(canonicalize_name(cause.requirement.name), search, offers)}")
    return "\n".join(dict.fromkeys(lines))


def _what_there_is(project: NormalizedName, search: Search, offers: Offers) -> str:
    """What the index has of a project, for whoever wonders."""
    releases = offers.releases(project)
    if not releases:
        return f": the index has no {project}"
    usable = [str(each.version) for each in releases if each.wheel or each.sdist]
    told = f"for {search.python.target} the index has {', '.join(usable[:5]) or 'none of its releases'}"
    failed = [str(version) for name, version in search.unbuildable if name == project]
    return f" ({told}{'; not to be built: ' + ', '.join(failed) if failed else ''})"

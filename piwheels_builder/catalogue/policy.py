"""What the operator wants built: fleet.yml's projects, releases and build_policy, understood."""

from collections.abc import Iterable
from dataclasses import dataclass

from packaging.utils import InvalidName, NormalizedName, canonicalize_name, canonicalize_version

from piwheels_builder.catalogue.filenames import is_version
from piwheels_builder.errors import BadInput
from piwheels_builder.settings import FleetSettings

POLICIES = ("missing", "all")


@dataclass(frozen=True)
class Choice:
    """A project, or one version of it (canonical, PEP 440)."""

    project: NormalizedName
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Choice":
        """Read ``name`` or ``name==version``. Raises BadInput."""
        name, equals, version = (part.strip() for part in text.partition("=="))
        try:
            project = canonicalize_name(name, validate=True)
        except InvalidName as error:
            raise BadInput(f"{text!r} is not a project: write it like docopt or docopt==0.6.2") from error
        if equals and not is_version(version):
            raise BadInput(f"{text!r} names no version (PEP 440): write it like docopt==0.6.2")
        return cls(project, canonicalize_version(version) if equals else None)

    def __str__(self) -> str:
        return self.project if self.version is None else f"{self.project}=={self.version}"


@dataclass(frozen=True)
class Policy:
    """``build``: missing or all. ``choices``: None means every project. ``newest``: how many releases of each; None means all."""

    build: str = "missing"
    choices: frozenset[Choice] | None = frozenset()
    newest: int | None = 1

    @classmethod
    def of(cls, settings: FleetSettings) -> "Policy":
        """Understand fleet.yml. Raises BadInput, naming the setting."""
        own = settings.private_projects if settings.own_sdists else ()
        return cls.read(settings.build_policy, settings.projects, settings.releases, own)

    @classmethod
    def read(cls, build_policy: str, projects: Iterable[str] | str, releases: int | str, own: Iterable[str] = ()) -> "Policy":
        """Understand the three settings; ``own`` projects are wanted besides. Raises BadInput, naming the one that is wrong."""
        if build_policy not in POLICIES:
            raise BadInput(f"build_policy is {build_policy!r}: it must be missing or all")
        choices = _choices(projects)
        return cls(build_policy, None if choices is None else choices | {*map(Choice.parse, own)}, _newest(releases))

    def projects(self) -> list[NormalizedName]:
        """The projects named, each once, in alphabetical order."""
        return sorted({choice.project for choice in self.choices or ()})

    def versions(self, project: str) -> list[str]:
        """The versions of a project that the list names."""
        return sorted(choice.version for choice in self.choices or () if choice.project == project and choice.version is not None)

    def lists(self, project: str, version: str) -> bool:
        """Whether the release is of a project in the list, or listed itself."""
        return self.choices is None or not self.choices.isdisjoint({Choice(NormalizedName(project)), self._named(project, version)})

    def names(self, project: str, version: str) -> bool:
        """Whether the list names this very version."""
        return self.choices is not None and self._named(project, version) in self.choices

    @staticmethod
    def _named(project: str, version: str) -> Choice:
        return Choice(NormalizedName(project), version)


def _choices(projects: Iterable[str] | str) -> frozenset[Choice] | None:
    if projects == "all":
        return None
    if not isinstance(projects, list | tuple):
        raise BadInput(f"projects is {projects!r}: it must be a list of names, or all")
    return frozenset(Choice.parse(str(project)) for project in projects)


def _newest(releases: int | str) -> int | None:
    if releases == "all":
        return None
    if releases == "latest":
        return 1
    try:
        newest = int(str(releases))
    except ValueError:
        newest = 0
    if newest < 1:
        raise BadInput(f"releases is {releases!r}: it must be latest, all, or how many of the newest are wanted")
    return newest

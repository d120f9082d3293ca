"""What an index offers for one target: of each project its releases, of each release the wheel that the target's pip would take."""

from collections.abc import Iterable
from dataclasses import dataclass
from email.parser import BytesParser

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag
from packaging.utils import NormalizedName, parse_wheel_filename
from packaging.version import Version

from piwheels_builder.catalogue.filenames import FileKind, classify, is_pure, wheel_tags
from piwheels_builder.catalogue.offered import OfferedFile, Page
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.errors import UnknownProject, UpstreamError
from piwheels_builder.wheelhouse.files import Files
from piwheels_builder.wheelhouse.python import TargetPython


@dataclass(frozen=True)
class Offered:
    """A release for the target. ``wheel``: the best that installs there, None where there is none.

    ``slow``: it is pure, and other platforms have compiled ones. ``described_by``: a wheel that tells what the release requires;
    what only its sdist could tell, by running it, nobody knows before it is built.
    """

    project: NormalizedName
    version: Version
    wheel: OfferedFile | None
    slow: bool
    sdist: OfferedFile | None
    described_by: OfferedFile | None
    yanked: bool
    #: Of all its files, for whoever locked one of them.
    hashes: frozenset[str]


class Offers:
    """Reads each project's page once. ``on_page`` is called with each name that is asked for."""

    def __init__(self, index: UpstreamIndex, files: Files, python: TargetPython) -> None:
        self._index, self._files, self._python = index, files, python
        self._releases: dict[NormalizedName, tuple[Offered, ...]] = {}
        self._requirements: dict[tuple[NormalizedName, Version], tuple[Requirement, ...]] = {}
        self._rank = {tag: rank for rank, tag in enumerate(python.target.ranked_tags)}

    def releases(self, project: NormalizedName) -> tuple[Offered, ...]:
        """Newest first; none where the index has no such project. Raises UpstreamError."""
        if project not in self._releases:
            try:
                page = self._index.page(project)
            except UnknownProject:
                page = None
            self._releases[project] = self._sorted(page) if page else ()
        return self._releases[project]

    def requirements(self, offered: Offered) -> tuple[Requirement, ...]:
        """What a release requires on any machine; nothing where nobody can know yet. Raises UpstreamError."""
        key = offered.project, offered.version
        if key not in self._requirements:
            self._requirements[key] = _requires(self._files.metadata(offered.described_by)) if offered.described_by else ()
        return self._requirements[key]

    def _sorted(self, page: Page) -> tuple[Offered, ...]:
        files: dict[Version, list[tuple[OfferedFile, FileKind]]] = {}
        for file in page.files:
            name = classify(page.project, file.filename)
            if name.version is not None and name.kind is not FileKind.REFUSED and file.sha256:
                files.setdefault(name.version, []).append((file, name.kind))
        return tuple(self._offered(page.project, version, files[version]) for version in sorted(files, reverse=True))

    def _offered(self, project: NormalizedName, version: Version, files: list[tuple[OfferedFile, FileKind]]) -> Offered:
        admitted = [(file, kind) for file, kind in files if self._python.is_admitted_by(file.requires_python)]
        kept = [(file, kind) for file, kind in admitted if not file.yanked] or admitted
        wheels = [file for file, kind in kept if kind is FileKind.WHEEL]
        wheel = max(filter(self._installs, wheels), key=self._preference, default=None)
        # Of a wheel that installs elsewhere the metadata hold here, too; where it has none beside it, our own is read whole.
        described = [file for file in ([wheel] if wheel else []) + wheels if file.metadata_sha256]
        return Offered(
            project=project,
            version=version,
            wheel=wheel,
            slow=wheel is not None and is_pure(wheel_tags(wheel.filename)) and not all(map(_is_pure, wheels)),
            sdist=next((file for file, kind in kept if kind is FileKind.SDIST), None),
            described_by=described[0] if described else wheel,
            yanked=all(file.yanked for file, _ in files),
            hashes=frozenset(file.sha256 for file, _ in files if file.sha256),
        )

    def _installs(self, wheel: OfferedFile) -> bool:
        return any(tag in self._rank for tag in wheel_tags(wheel.filename))

    def _preference(self, wheel: OfferedFile) -> tuple[int, tuple[int, str]]:
        build = parse_wheel_filename(wheel.filename)[2]
        return -_best(wheel_tags(wheel.filename), self._rank), build if build else (-1, "")


def _best(tags: Iterable[Tag], rank: dict[Tag, int]) -> int:
    return min(rank[tag] for tag in tags if tag in rank)


def _is_pure(wheel: OfferedFile) -> bool:
    return is_pure(wheel_tags(wheel.filename))


def _requires(metadata: bytes) -> tuple[Requirement, ...]:
    message = BytesParser().parsebytes(metadata, headersonly=True)
    try:
        return tuple(Requirement(str(line)) for line in message.get_all("Requires-Dist", []))
    except InvalidRequirement as error:
        name, version = message.get("Name"), message.get("Version")
        raise UpstreamError(
            f"{name} {version} requires what is no requirement: {error}: leave it out with a constraint", temporary=False
        ) from error

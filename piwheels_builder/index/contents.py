"""What stands on a project's pages: upstream's files, and those of our wheels that belong there."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import aiosql
from packaging.tags import Tag

from piwheels_builder.catalogue.filenames import is_pure, read_version, wheel_tags
from piwheels_builder.catalogue.serving import serving_wheel
from piwheels_builder.db.connect import Connection
from piwheels_builder.index.layout import SimpleRoot, wheel_url
from piwheels_builder.index.pages import QUARANTINED, PageFile, ProjectPage
from piwheels_builder.index.words import NO_WORDS, Word, Words
from piwheels_builder.targets import GLIBC, Target

queries = aiosql.from_path(Path(__file__).with_name("contents.sql"), "psycopg2")
Item = TypeVar("Item")


@dataclass(frozen=True)
class PageRules:
    """What the operator decides about pages.

    ``upstream_wins``: a wheel of ours leaves the pages where upstream has one for the same release and targets. Whatever it says,
    a filename that upstream has is upstream's. ``private_projects``: normalized names; their pages never show upstream's files.
    """

    private_projects: frozenset[str] = frozenset()
    upstream_wins: bool = True


class UpstreamFile(NamedTuple):
    """Its release is None where its name tells none. A tuple, as PageFile is."""

    release_id: int | None
    spelling: str | None
    kind: str
    file: PageFile

    @property
    def is_offered_wheel(self) -> bool:
        return self.kind == "wheel" and not self.file.yanked


@dataclass(frozen=True)
class OwnWheel:
    """A published wheel of ours; ``glibc_floor`` is the oldest C library it runs with, None if it needs none."""

    filename: str
    release_id: int
    spelling: str
    sha256: str
    size: int
    requires_python: str | None
    metadata_sha256: str | None
    glibc_floor: str | None
    published_at: datetime
    built_on: str
    is_twin: bool
    #: states.ImportResult; None from a builder of an older version.
    import_result: str | None = None
    #: Shared libraries with the package of ``built_on`` that brings each, where one is known.
    libraries: Mapping[str, str | None] | None = None

    def serves(self, target: Target) -> bool:
        """Whether it installs and runs there: its tags say so, and it was built there or its C library is old enough."""
        return serves(target, self.tags, self.glibc_floor, self.built_on)

    def served(self, wanted: Iterable[Target]) -> list[Target]:
        """What of that is wanted it serves; a twin, those armv6l machines whose armv7l siblings are wanted."""
        if self.is_twin:
            wanted = (replace(target, architecture="armv6l") for target in wanted if target.architecture in ("armv6l", "armv7l"))
        return [target for target in wanted if self.serves(target)]

    @cached_property
    def tags(self) -> frozenset[Tag]:
        """Asked of each wheel by every root and target."""
        return wheel_tags(self.filename)


@dataclass(frozen=True)
class ProjectContents:
    """One project as the database has it at one moment. ``changes`` is what pages_written wants to hear, None if none is due."""

    project_id: int
    name: str
    status: str
    status_reason: str | None
    changes: int | None
    upstream: tuple[UpstreamFile, ...]
    own: tuple[OwnWheel, ...]
    words: Words = NO_WORDS

    @cached_property
    def by_release(self) -> Mapping[int | None, Sequence[UpstreamFile]]:
        """Upstream's files."""
        found: defaultdict[int | None, list[UpstreamFile]] = defaultdict(list)
        for file in self.upstream:
            found[file.release_id].append(file)
        return dict(found)


def read_contents(connection: Connection, project_ids: Sequence[int]) -> list[ProjectContents]:
    """Read projects in a transaction of its own. Their locks must be held, so that no older page follows a newer one."""
    connection.rollback()
    queries.see_one_moment(connection)
    ids = list(project_ids)
    projects: list[tuple[int, str, str, str | None, int | None]] = list(queries.projects_on_pages(connection, project_ids=ids))
    # All rows at once: one by one they pass through a generator of aiosql's each.
    with queries.upstream_files_on_pages_cursor(connection, project_ids=ids) as cursor:
        upstream = _by_project(cursor.fetchall(), _upstream_file)
    with queries.own_wheels_on_pages_cursor(connection, project_ids=ids) as cursor:
        own = _by_project(cursor.fetchall(), _own_wheel)
    words = _by_project(queries.words_on_pages(connection, project_ids=ids), Word)
    connection.rollback()
    return [
        ProjectContents(*said, tuple(upstream[said[0]]), tuple(own[said[0]]), Words(tuple(words[said[0]]))) for said in projects
    ]


def _by_project(rows: Iterable[tuple[Any, ...]], made: Callable[..., Item]) -> Mapping[int, list[Item]]:
    found: defaultdict[int, list[Item]] = defaultdict(list)
    for project_id, *fields in rows:
        found[project_id].append(made(*fields))
    return found


def read_targets(connection: Connection) -> dict[int, Target]:
    """Every target of the fleet by its id, wanted or not."""
    return {target_id: Target(*names) for target_id, *names, _ in queries.targets(connection)}


def read_wanted_targets(connection: Connection) -> tuple[Target, ...]:
    return tuple(Target(*names) for _, *names, wanted in queries.targets(connection) if wanted)


def simple_roots(wanted: Iterable[Target]) -> tuple[SimpleRoot, ...]:
    """The root of what holds everywhere, and one for each OS release that is wanted."""
    return (SimpleRoot(), *(SimpleRoot(name) for name in sorted({target.os_release for target in wanted})))


def project_pages(
    contents: ProjectContents, roots: Iterable[SimpleRoot], wanted: Sequence[Target], rules: PageRules
) -> dict[SimpleRoot, ProjectPage | None]:
    """The page of a project in each of the roots: None in that of all where we have nothing to add to upstream's, which is then
    the page, and in that of an OS release where the page of all stands in for it.
    """
    own = list(_own_wheels(contents, wanted, rules))
    everywhere = [wheel for wheel in own if _belongs(wheel, SimpleRoot(), wanted)]
    pages: dict[SimpleRoot, ProjectPage | None] = {}
    for root in roots:
        here = everywhere if root.os_release is None else [wheel for wheel in own if _belongs(wheel, root, wanted)]
        # What holds everywhere holds here, so that as many are the same.
        same = root.os_release is not None and len(here) == len(everywhere)
        pages[root] = None if same else _page(contents, here, rules)
    return pages


def _page(contents: ProjectContents, here: Sequence[OwnWheel], rules: PageRules) -> ProjectPage | None:
    private, words = contents.name in rules.private_projects, contents.words
    withdrawn = {
        wheel.filename: why for wheel in here if (why := words.withdrawal(wheel.release_id, wheel.published_at)) is not None
    }
    own = [wheel for wheel in here if wheel.filename not in withdrawn]
    status, status_reason = _status(contents)
    quarantined = status == QUARANTINED
    # The page of a quarantined project stays, empty, even where upstream forgets to empty its own.
    if not own and not private and not words and not (quarantined and contents.own):
        return None
    upstream = () if private else contents.upstream
    files = [*(_upstreams_page_file(file, words) for file in upstream), *(_page_file(wheel, contents, rules) for wheel in own)]
    spellings = {*(file.spelling for file in upstream), *(wheel.spelling for wheel in own)} - {None}
    return ProjectPage(
        name=contents.name,
        files=() if quarantined else tuple(sorted(files, key=lambda file: file.filename)),
        versions=() if quarantined else tuple(sorted((str(spelling) for spelling in spellings), key=read_version)),
        status=status,
        status_reason=status_reason,
        withdrawn=tuple(sorted(withdrawn.items())),
    )


def _status(contents: ProjectContents) -> tuple[str, str | None]:
    """Upstream's, unless the operator says more."""
    why = contents.words.quarantine()
    return (contents.status, contents.status_reason) if why is None else (QUARANTINED, why)


def _upstreams_page_file(file: UpstreamFile, words: Words) -> PageFile:
    why = words.yank(file.release_id)
    return file.file if why is None else file.file._replace(yanked=True, yanked_reason=why)


def serves(target: Target, tags: Iterable[Tag], glibc_floor: str | None, built_on: str) -> bool:
    """Whether a wheel of ours installs and runs on a target."""
    tags = frozenset(tags)
    return target.is_served_by(tags) and _runs_on(target.os_release, tags, glibc_floor, built_on)


def _own_wheels(contents: ProjectContents, wanted: Sequence[Target], rules: PageRules) -> Iterable[OwnWheel]:
    """Ours without those that upstream has by name, has deleted the release of, or serves itself."""
    if contents.name in rules.private_projects:
        return contents.own
    names = {file.file.filename for file in contents.upstream}
    kept = [wheel for wheel in contents.own if wheel.filename not in names and wheel.release_id in contents.by_release]
    if not rules.upstream_wins:
        return kept
    return [wheel for wheel in kept if not _upstream_serves(contents, wheel, wanted)]


def _upstream_serves(contents: ProjectContents, wheel: OwnWheel, wanted: Sequence[Target]) -> bool:
    """Whether upstream has a wheel of the release for every target that this one serves."""
    offered = [file.file for file in contents.by_release[wheel.release_id] if file.is_offered_wheel]
    targets = wheel.served(wanted) if offered else []
    return bool(targets) and all(serving_wheel(offered, target) for target in targets)


def _belongs(wheel: OwnWheel, root: SimpleRoot, wanted: Collection[Target]) -> bool:
    """The root of all lists what runs on every OS release that is wanted; that of one, besides, what serves a target there."""
    if is_pure(wheel.tags):
        return True
    if root.os_release is not None and (
        wheel.built_on == root.os_release or any(t.os_release == root.os_release for t in wheel.served(wanted))
    ):
        return True
    return all(_runs_on(os_release, wheel.tags, wheel.glibc_floor, wheel.built_on) for os_release in {t.os_release for t in wanted})


def _runs_on(os_release: str, tags: Collection[Tag], glibc_floor: str | None, built_on: str) -> bool:
    """Whether the libraries a wheel needs are there: its C library, and for a plain linux_* wheel whatever else it was linked with,
    which an older OS release than the one it was built on may lack.
    """
    if os_release == built_on or is_pure(tags):
        return True
    here = GLIBC[os_release]
    portable = any(tag.platform.startswith("manylinux") for tag in tags)
    return (portable or GLIBC[built_on] <= here) and (glibc_floor is None or _version(glibc_floor) <= here)


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _page_file(wheel: OwnWheel, contents: ProjectContents, rules: PageRules) -> PageFile:
    yank = contents.words.yank(wheel.release_id)
    if yank is None and contents.name not in rules.private_projects:
        yank = _yank_of_release(contents, wheel.release_id)
    return PageFile(
        filename=wheel.filename,
        url=wheel_url(contents.name, wheel.filename),
        sha256=wheel.sha256,
        size=wheel.size,
        requires_python=wheel.requires_python,
        yanked=yank is not None,
        yanked_reason=yank or None,
        upload_time=wheel.published_at,
        metadata_sha256=wheel.metadata_sha256,
        import_result=wheel.import_result,
        libraries=tuple(sorted((wheel.libraries or {}).items())),
    )


def _yank_of_release(contents: ProjectContents, release_id: int) -> str | None:
    """Why upstream yanked the whole release ("" without a reason); None while it offers any of its files."""
    files = [file.file for file in contents.by_release.get(release_id, ())]
    if not files or not all(file.yanked for file in files):
        return None
    return next((file.yanked_reason for file in files if file.yanked_reason), "")


def _upstream_file(filename: str, release_id: int | None, spelling: str | None, kind: str, *said: Any) -> UpstreamFile:
    return UpstreamFile(release_id, spelling, kind, PageFile(filename, *said))


def _own_wheel(*fields: Any) -> OwnWheel:
    return OwnWheel(*fields)

"""The first fill: many projects that the catalogue has nothing of, written a hundred at a time by COPY.

What needs a second look (a page that fails, a project that is known by now, one the operator spoke of) is left to the visits, which
take one project at a time.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain
from pathlib import Path

import aiosql
from packaging.utils import InvalidName, NormalizedName, canonicalize_name

from piwheels_builder.catalogue.facts import KnownFile, KnownProject, KnownRelease, WantedTarget
from piwheels_builder.catalogue.needs import Wanted, chosen_sdist, need
from piwheels_builder.catalogue.offered import Page
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.sync_report import Filled
from piwheels_builder.catalogue.take_over import ClassifiedFile, classified, ranked
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.catalogue.wanting import guess_seconds
from piwheels_builder.db.connect import Connection, translated_errors
from piwheels_builder.errors import DatabaseRefused, FleetError, UnknownProject

queries = aiosql.from_path(Path(str(files(__package__))) / "fill.sql", "psycopg2")
#: Characters that COPY's text format escapes.
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@dataclass(frozen=True)
class _NewRelease:
    """A release of a page: as release has it, with the files that belong to it."""

    version: str
    spelling: str
    newest_first: int
    files: tuple[ClassifiedFile, ...]


@dataclass(frozen=True)
class _NewProject:
    """A page, sorted by releases; ``apart`` are refused files that belong to none."""

    page: Page
    releases: tuple[_NewRelease, ...]
    apart: tuple[ClassifiedFile, ...]


@dataclass(frozen=True)
class _Wish:
    """A build to want."""

    release_id: int
    target_id: int
    priority: int
    seconds: float


def fill(
    connection: Connection,
    upstream: UpstreamIndex,
    pool: ThreadPoolExecutor,
    names: Sequence[str],
    wanted: tuple[tuple[WantedTarget, ...], Policy],
) -> tuple[Filled, list[str]]:
    """Fetch and write new projects, all of them in one transaction. What was filled, and the names that were not.

    Raises DatabaseAway.
    """
    spoken_of = {name for (name,) in queries.spoken_of(connection, names=list(names))}
    connection.rollback()
    pages = pool.map(lambda name: _page(upstream, name), (name for name in names if name not in spoken_of))
    projects = [_sorted(page) for page in pages if page is not None]
    try:
        with translated_errors():
            filled, done = _write(connection, projects, wanted)
            connection.commit()
    except DatabaseRefused:
        # One of them is the cause: each is written apart then.
        connection.rollback()
        return Filled(), list(names)
    return filled, [name for name in names if name not in done]


def _page(upstream: UpstreamIndex, name: str) -> Page | None:
    try:
        return upstream.page(canonicalize_name(name, validate=True))
    except (InvalidName, UnknownProject, FleetError):
        # The visit that follows asks again, and says what is wrong.
        return None


def _sorted(page: Page) -> _NewProject:
    names = [(file, classified(page.project, file)) for file in page.files]
    by_version: dict[str | None, list[ClassifiedFile]] = {}
    for file, name in names:
        by_version.setdefault(name.canonical_version, []).append((file, name))
    releases = tuple(
        _NewRelease(row["version"], row["spelling"], row["newest_first"], tuple(by_version.pop(row["version"], ())))
        for row in ranked(page, names, {})
    )
    # What is left are refused files of no version, or of one that no usable file has.
    return _NewProject(page, releases, tuple(chain.from_iterable(by_version.values())))


def _write(
    connection: Connection, projects: Sequence[_NewProject], wanted: tuple[tuple[WantedTarget, ...], Policy]
) -> tuple[Filled, set[str]]:
    ids = _add_projects(connection, [project.page for project in projects])
    new = [(ids[project.page.project], project) for project in projects if project.page.project in ids]
    _copy(connection, queries.copy_releases.sql, chain.from_iterable(_release_rows(*each) for each in new))
    release_ids = {
        (project_id, version): release_id
        for project_id, version, release_id in queries.release_ids(connection, projects=list(ids.values()))
    }
    _copy(connection, queries.copy_files.sql, chain.from_iterable(_file_rows(*each, release_ids) for each in new))
    builds = _want(connection, chain.from_iterable(_wishes(*each, release_ids, *wanted) for each in new))
    filled = Filled(len(new), len(release_ids), sum(len(project.page.files) for _, project in new), builds)
    return filled, set(ids)


def _add_projects(connection: Connection, pages: Sequence[Page]) -> dict[NormalizedName, int]:
    # In order, so that two fills at once wait for each other and do not lock each other out.
    pages = sorted(pages, key=lambda page: page.project)
    rows = queries.add_projects(
        connection,
        names=[page.project for page in pages],
        serials=[page.serial for page in pages],
        etags=[page.etag for page in pages],
        statuses=[page.status for page in pages],
        reasons=[page.status_reason for page in pages],
    )
    return dict(rows)


def _release_rows(project_id: int, project: _NewProject) -> Iterator[tuple[object, ...]]:
    for release in project.releases:
        yield project_id, release.version, release.spelling, release.newest_first


def _file_rows(project_id: int, project: _NewProject, release_ids: Mapping[tuple[int, str], int]) -> Iterator[tuple[object, ...]]:
    for release in project.releases:
        release_id = release_ids[project_id, release.version]
        for file, name in release.files:
            yield project_id, release_id, name.kind, name.refusal, *file
    for file, name in project.apart:
        yield project_id, None, name.kind, name.refusal, *file


def _copy(connection: Connection, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
    with connection.cursor() as cursor:
        cursor.copy_expert(statement, io.StringIO("".join([_line(row) for row in rows])))


def _line(row: tuple[object, ...]) -> str:
    texts = ["\\N" if value is None else str(value) for value in row]
    line = "\t".join(texts)
    # Nearly no row has anything to escape, and looking at it whole takes a sixth of the time.
    if line.count("\t") >= len(row) or line.count("\\") > row.count(None) or "\n" in line or "\r" in line:
        line = "\t".join(["\\N" if value is None else str(value).translate(_ESCAPES) for value in row])
    return line + "\n"


def _wishes(
    project_id: int,
    project: _NewProject,
    release_ids: Mapping[tuple[int, str], int],
    targets: tuple[WantedTarget, ...],
    policy: Policy,
) -> Iterator[list[_Wish]]:
    """For each release the builds wanted of it, leader first."""
    page = project.page
    known = KnownProject(page.project, page.status, page.status_reason)
    for release in project.releases:
        if policy.newest is not None and release.newest_first > policy.newest:
            continue
        release_id = release_ids[project_id, release.version]
        whole = KnownRelease(
            release_id, page.project, release.version, release.spelling, release.newest_first, _known_files(release.files)
        )
        sdist = chosen_sdist(whole)
        seconds = guess_seconds(sdist.size if sdist else None)
        needs = [(target.target_id, need(known, whole, target.target, policy)) for target in targets] if sdist else []
        yield [_Wish(release_id, target, each.priority, seconds) for target, each in needs if isinstance(each, Wanted)]


def _known_files(offered: Sequence[ClassifiedFile]) -> tuple[KnownFile, ...]:
    """In the order of needs.sql, file_facts: that in which lease_batch chooses among sdists."""
    known = [
        KnownFile(file.filename, name.kind, name.refusal, file.requires_python, file.yanked, file.size) for file, name in offered
    ]
    return tuple(sorted(known, key=lambda file: (file.yanked, not file.filename.endswith(".tar.gz"), file.filename)))


def _want(connection: Connection, wishes: Iterable[list[_Wish]]) -> int:
    """Put builds into the queue: of each release the first one leads, and the others wait for its wheel. Returns how many."""
    asked = [(wish, leader) for of_release in wishes for wish, leader in zip(of_release, _leaders(of_release), strict=True)]
    return int(
        queries.want_first_builds(
            connection,
            releases=[wish.release_id for wish, _ in asked],
            targets=[wish.target_id for wish, _ in asked],
            priorities=[wish.priority for wish, _ in asked],
            guesses=[wish.seconds for wish, _ in asked],
            leaders=[leader for _, leader in asked],
        )
    )


def _leaders(of_release: Sequence[_Wish]) -> Iterator[int | None]:
    for place in range(len(of_release)):
        yield of_release[0].target_id if place else None

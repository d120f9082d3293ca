"""What the database knows of some projects, read together: a thousand of them in a handful of statements."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import aiosql

from piwheels_builder.catalogue.facts import KnownBuild, KnownFile, KnownProject, KnownRelease, WantedTarget
from piwheels_builder.catalogue.filenames import FileKind
from piwheels_builder.db.connect import Connection
from piwheels_builder.index.contents import queries as index_queries
from piwheels_builder.targets import Target

queries = aiosql.from_path(Path(__file__).with_name("projects.sql"), "psycopg2")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Queued:
    """A row of queue. ``leader`` is the target whose wheel it waits for; ``not_before`` None where no pause holds it."""

    memory_class: int
    priority: int
    estimate_seconds: float
    held: str | None
    leader: str | None
    not_before: datetime | None


@dataclass(frozen=True)
class PublishedWheel:
    """A wheel of ours that is or was served; ``size`` in bytes."""

    version: str
    target: str
    filename: str
    sha256: str
    size: int
    requires_python: str | None
    glibc_floor: str | None
    published_at: datetime
    withdrawn_at: datetime | None
    withdrawn_reason: str | None


@dataclass(frozen=True)
class Attempt:
    """One try. ``seconds`` it took and was expected to take, ``peak_memory`` in bytes; ``logged``: the index serves its log."""

    attempt_id: int
    version: str
    target: str
    builder: str
    outcome: str
    started_at: datetime
    seconds: float
    estimate_seconds: float | None
    peak_memory: int | None
    error_line: str | None
    missing: str | None
    mechanism: str | None
    toolchain: str | None
    logged: bool


@dataclass(frozen=True)
class SiteProject:
    """Everything a project's page tells; ``queued`` by the build's number."""

    facts: KnownProject
    queued: Mapping[int, Queued]
    wheels: tuple[PublishedWheel, ...]
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True)
class Meaning:
    """What an outcome says: ``blame`` is none, release, memory or infrastructure."""

    blame: str
    text: str


def read_projects(connection: Connection, project_ids: Sequence[int]) -> list[SiteProject]:
    """These projects at one moment, in a transaction of its own."""
    ids = list(project_ids)
    connection.rollback()
    index_queries.see_one_moment(connection)
    said = list(queries.project_facts(connection, project_ids=ids))
    files = _grouped(queries.file_facts(connection, project_ids=ids), _file)
    releases = list(queries.release_facts(connection, project_ids=ids))
    builds = _grouped(queries.build_facts(connection, project_ids=ids), _build)
    wheels = _grouped(queries.wheel_facts(connection, project_ids=ids), PublishedWheel)
    attempts = _grouped(queries.attempt_facts(connection, project_ids=ids), Attempt)
    connection.rollback()
    names = {project_id: name for project_id, name, *_ in said}
    by_project: defaultdict[int, list[KnownRelease]] = defaultdict(list)
    for project_id, release_id, version, spelling, newest_first, *word in releases:
        known = (release_id, names[project_id], version, spelling, newest_first, tuple(files[release_id]))
        by_project[project_id].append(KnownRelease(*known, *word))
    return [
        SiteProject(
            KnownProject(
                name, status, why, opted_out, tuple(by_project[project_id]), tuple(each for each, _ in builds[project_id])
            ),
            {build.build_id: queued for build, queued in builds[project_id] if queued},
            tuple(wheels[project_id]),
            tuple(attempts[project_id]),
        )
        for project_id, name, status, why, opted_out in said
    ]


def read_targets(connection: Connection) -> tuple[WantedTarget, ...]:
    """What the fleet builds for."""
    return tuple(WantedTarget(target_id, Target(*names)) for target_id, *names in queries.wanted_targets(connection))


def read_meanings(connection: Connection) -> dict[str, Meaning]:
    """Of every outcome."""
    return {outcome: Meaning(*said) for outcome, *said in queries.meanings(connection)}


def attempted_since(connection: Connection, mark: int) -> tuple[set[int], int]:
    """Projects tried since the attempt of this number, and the mark for the next time."""
    rows = list(queries.attempted_since(connection, mark=mark))
    return {project_id for project_id, _ in rows}, max((mark, *(newest for _, newest in rows)))


def portions(connection: Connection, most: int) -> Iterator[list[int]]:
    """All projects of the catalogue, so many at a time."""
    last = 0
    while ids := [project_id for (project_id,) in queries.projects_after(connection, project_id=last, most=most)]:
        yield ids
        last = ids[-1]


def _grouped(rows: Iterable[tuple[Any, ...]], made: Callable[..., Item]) -> Mapping[int, list[Item]]:
    found: defaultdict[int, list[Item]] = defaultdict(list)
    for key, *fields in rows:
        found[key].append(made(*fields))
    return found


def _file(filename: str, kind: str, *others: Any) -> KnownFile:
    return KnownFile(filename, FileKind(kind), *others)


def _build(*row: Any) -> tuple[KnownBuild, Queued | None]:
    build, queued = row[:11], row[11:]
    return KnownBuild(*build), Queued(*queued) if queued[1] is not None else None

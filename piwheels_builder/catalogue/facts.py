"""What the database knows of a project, as values: the needs are decided from these alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path

import aiosql
from packaging.utils import NormalizedName

from piwheels_builder.catalogue.filenames import FileKind
from piwheels_builder.db.connect import Connection
from piwheels_builder.targets import Target

_queries = aiosql.from_path(Path(str(files(__package__))) / "needs.sql", "psycopg2")


@dataclass(frozen=True)
class KnownFile:
    """A row of upstream_file. size in bytes; upload_time None where upstream tells none."""

    filename: str
    kind: FileKind
    refusal: str | None = None
    requires_python: str | None = None
    yanked: bool = False
    size: int | None = None
    upload_time: datetime | None = None


@dataclass(frozen=True)
class KnownRelease:
    """A row of release with its files, and the operator's word on it: skip, force or None, and why."""

    release_id: int
    project: str
    version: str
    spelling: str
    newest_first: int
    files: tuple[KnownFile, ...] = ()
    instruction: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class KnownBuild:
    """A row of build with its last attempt's outcome and error line, and its wheel. State as in states.BuildState.

    ``logged`` is the last attempt's number where the index keeps its log.
    """

    build_id: int
    release_id: int
    target_id: int
    target: str
    state: str
    reason: str
    outcome: str | None = None
    error_line: str | None = None
    wheel: str | None = None
    published: bool = False
    logged: int | None = None
    #: Of the wheel: what came of importing it, why it failed or was not tried, and its libraries with their packages.
    import_result: str | None = None
    import_detail: str | None = None
    libraries: Mapping[str, str | None] | None = None


@dataclass(frozen=True)
class KnownProject:
    """A project with everything its needs depend on; ``releases`` newest first."""

    name: str
    status: str = "active"
    status_reason: str | None = None
    opted_out: str | None = None
    releases: tuple[KnownRelease, ...] = ()
    builds: tuple[KnownBuild, ...] = ()


@dataclass(frozen=True)
class WantedTarget:
    """A row of target."""

    target_id: int
    target: Target


def known_project(connection: Connection, name: NormalizedName) -> KnownProject | None:
    """Everything known of a project; None for one that was never synced."""
    project = _queries.project_facts(connection, name=name)
    if project is None:
        return None
    project_id, _, status, status_reason, opted_out = project
    by_release: dict[int, list[KnownFile]] = {}
    for release_id, filename, kind, *others in _queries.file_facts(connection, project_id=project_id):
        by_release.setdefault(release_id, []).append(KnownFile(filename, FileKind(kind), *others))
    releases = tuple(
        KnownRelease(release_id, name, version, spelling, newest_first, tuple(by_release.get(release_id, ())), instruction, why)
        for release_id, version, spelling, newest_first, instruction, why in _queries.release_facts(
            connection, project_id=project_id
        )
    )
    builds = tuple(KnownBuild(*row) for row in _queries.build_facts(connection, project_id=project_id))
    return KnownProject(name, status, status_reason, opted_out, releases, builds)


def wanted_targets(connection: Connection) -> tuple[WantedTarget, ...]:
    """What the fleet builds for, in the order in which a release's builds lead each other."""
    return tuple(WantedTarget(target_id, Target(*names)) for target_id, *names in _queries.wanted_targets(connection))

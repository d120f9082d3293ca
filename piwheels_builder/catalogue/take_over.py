"""Take over an upstream project page into the database: what is new, changed or gone, and not a row more."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiosql
from packaging.utils import NormalizedName
from packaging.version import Version
from psycopg2.extras import Json

from piwheels_builder.catalogue.filenames import ClassifiedName, FileKind, canonical, classify, is_version, read_version
from piwheels_builder.catalogue.offered import OfferedFile, Page
from piwheels_builder.db.connect import Connection

ClassifiedFile = tuple[OfferedFile, ClassifiedName]
queries = aiosql.from_path(Path(str(files(__package__))) / "sync.sql", "psycopg2")


@dataclass(frozen=True)
class Change:
    """What a sync wrote for one project: rows of release, and of upstream_file written and removed."""

    releases: int = 0
    files: int = 0
    removed: int = 0
    status: int = 0

    def __bool__(self) -> bool:
        return any((self.releases, self.files, self.removed, self.status))


def take_over(connection: Connection, page: Page) -> Change:
    """Make the catalogue say what the page says, in the caller's transaction, holding the project's row until its end."""
    queries.add_project(connection, name=page.project)
    project_id = queries.lock_project(connection, name=page.project)
    names = [(file, classified(page.project, file)) for file in page.files]
    releases = ranked(page, names, dict(queries.known_releases(connection, project_id=project_id)))
    change = Change(
        releases=queries.write_releases(connection, project_id=project_id, releases=Json(releases)),
        files=queries.write_files(connection, project_id=project_id, files=Json([_row(file, name) for file, name in names])),
        removed=queries.remove_files(connection, project_id=project_id, kept=[file.filename for file in page.files]),
        status=queries.write_status(connection, project_id=project_id, status=page.status, status_reason=page.status_reason),
    )
    queries.note_page(connection, project_id=project_id, serial=page.serial, etag=page.etag, written=bool(change))
    if change:
        queries.note_changed_page(connection, project_id=project_id)
    return change


def mark_gone(connection: Connection, project: NormalizedName) -> Change:
    """Upstream no longer has the project: note it, delete nothing, and forget which page we had, in case it comes back."""
    project_id = queries.lock_project(connection, name=project)
    change = Change(
        status=queries.write_status(connection, project_id=project_id, status="gone", status_reason="upstream no longer has it")
    )
    if change:
        queries.note_page(connection, project_id=project_id, serial=None, etag=None, written=True)
        queries.note_changed_page(connection, project_id=project_id)
    return change


def classified(project: NormalizedName, file: OfferedFile) -> ClassifiedName:
    """What a file of a page is; one that no builder could fetch is refused."""
    name = classify(project, file.filename)
    if name.kind is not FileKind.REFUSED and not _is_fetched(file.url):
        return ClassifiedName(FileKind.REFUSED, name.version, "its URL is neither http nor https")
    return name


def _is_fetched(url: str) -> bool:
    return url.startswith(("https://", "http://")) or urlsplit(url).scheme in ("http", "https")


def ranked(page: Page, names: Collection[ClassifiedFile], known: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of release, newest first as pip would choose: what has usable files, then final before pre-releases, then by version.

    ``known`` has the spelling of each release in the database; those that upstream has dropped keep it, behind all others.
    """
    usable = [(file, name.version) for file, name in names if name.kind is not FileKind.REFUSED and name.version]
    spelled = {canonical(version): str(version) for _, version in usable}
    spelled |= {canonical(read_version(spelling)): spelling for spelling in page.versions if is_version(spelling)}
    installable = {canonical(version) for file, version in usable if not file.yanked}

    def rank(spelling: str) -> tuple[bool, bool, bool, Version]:
        version = read_version(spelling)
        return spelling in installable, spelling in spelled, not version.is_prerelease, version

    everything = {**known, **spelled}
    ordered = sorted(everything, key=rank, reverse=True)
    return [
        {"version": version, "spelling": everything[version], "newest_first": place} for place, version in enumerate(ordered, 1)
    ]


def _row(file: OfferedFile, name: ClassifiedName) -> dict[str, Any]:
    said = {**file._asdict(), "kind": name.kind, "version": name.canonical_version, "refusal": name.refusal}
    return {**said, "upload_time": file.upload_time and file.upload_time.isoformat()}

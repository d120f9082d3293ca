"""Sdists of one's own: a directory on the index host, read as the one index that the private projects have.

Who calls: a sync, in place of the upstream index, for every private project, so that nobody who takes such a name upstream is built
for it. nginx serves the same directory to builders, at ``/sdists/``; they check the sha256 that is read here.
"""

import hashlib
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from urllib.parse import quote

from packaging.metadata import RawMetadata, parse_email
from packaging.utils import InvalidSdistFilename, NormalizedName, canonicalize_name, parse_sdist_filename
from packaging.version import InvalidVersion, Version

from piwheels_builder.catalogue.offered import OfferedFile, Page
from piwheels_builder.errors import BadInput

#: The largest PKG-INFO that is read, in bytes.
MOST_METADATA = 4 * 2**20
#: What a filename may be made of, so that it is one path component and one URL segment: what nginx serves at /sdists/.
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+!-]*\.(?:tar\.gz|zip)")
_PKG_INFO = re.compile(r"[^/]+/PKG-INFO")
_BROKEN = (OSError, EOFError, ValueError, RuntimeError, NotImplementedError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class OwnSdists:
    """``directory`` holds the sdists, ``url`` (with a slash at the end) is where builders find them, ``projects`` are those that
    come from here and from nowhere else. Without a directory there are none.
    """

    directory: Path | None = None
    url: str = ""
    projects: frozenset[str] = frozenset()

    @classmethod
    def read(cls, directory: str | None, index: str | None, private_projects: Iterable[str]) -> "OwnSdists":
        """Understand the settings. Raises BadInput, naming the one that is wrong."""
        if not directory:
            return cls()
        if not Path(directory).is_dir():
            raise BadInput(f"fleet_own_sdists is {directory}, which is no directory on this host: make it, or mend the setting")
        if not index:
            raise BadInput("fleet_own_sdists needs an index that serves them to builders: set fleet_index_url")
        return cls(Path(directory), f"{index.rstrip('/')}/sdists/", frozenset(map(canonicalize_name, private_projects)))

    def page(self, project: NormalizedName) -> Page:
        """The sdists of a project, as an index would list them. Raises BadInput for one that is not what it is named."""
        return Page(project, tuple(self._offered(path, project) for path in self._files() if _is_of(path, project)))

    def complaints(self) -> Iterator[tuple[str, BadInput]]:
        """Files that are taken for no project's, each with what to do."""
        for path in self._files():
            try:
                project, _ = _named(path)
            except BadInput as error:
                yield path.name, error
                continue
            if project not in self.projects:
                mend = f"add {project} to fleet_private_projects, so that it never mixes with upstream's of that name"
                yield path.name, BadInput(f"{path.name} is of no private project: {mend}")

    def _files(self) -> list[Path]:
        """Names that begin with a dot are files that are still being copied."""
        if self.directory is None:
            return []
        try:
            return sorted(path for path in self.directory.iterdir() if not path.name.startswith(".") and path.is_file())
        except OSError as error:
            raise BadInput(
                f"fleet_own_sdists, {self.directory}, cannot be read ({error.strerror}): mend its permissions"
            ) from error

    def _offered(self, path: Path, project: NormalizedName) -> OfferedFile:
        said = _metadata(path)
        _, version = _named(path)
        if canonicalize_name(said.get("name", "")) != project or _version(said.get("version", "")) != version:
            told = f"{said.get('name')} {said.get('version')}"
            raise BadInput(f"{path.name} says in its PKG-INFO that it is {told}: name it so, or make it anew")
        sha256, facts = _digest(path)
        return OfferedFile(
            filename=path.name,
            url=self.url + quote(path.name),
            sha256=sha256,
            size=facts.st_size,
            requires_python=said.get("requires_python"),
            yanked=False,
            yanked_reason=None,
            upload_time=datetime.fromtimestamp(int(facts.st_mtime), UTC),
            metadata_sha256=None,
            provenance=None,
        )


def refuse_changed(page: Page, known: dict[str, str | None]) -> None:
    """Raises BadInput where a file has another sha256 than the catalogue has of that name."""
    for file in page.files:
        if known.get(file.filename, file.sha256) != file.sha256:
            raise BadInput(
                f"{file.filename} is another file than the one that the fleet knows by this name, and a release never changes: put "
                "the former file back, or give the new one a version of its own"
            )


def _named(path: Path) -> tuple[NormalizedName, Version]:
    """What the filename says. Raises BadInput."""
    try:
        if not _FILENAME.fullmatch(path.name):
            raise InvalidSdistFilename("NAME-VERSION.tar.gz or .zip was expected")
        return parse_sdist_filename(path.name)
    except (InvalidSdistFilename, InvalidVersion) as error:
        raise BadInput(
            f"{path.name!a} among the own sdists is not the name of one ({error}): rename it, or take it away"
        ) from error


def _is_of(path: Path, project: NormalizedName) -> bool:
    try:
        return _named(path)[0] == project
    except BadInput:
        return False


def _digest(path: Path) -> tuple[str, os.stat_result]:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno())
    except OSError as error:
        raise BadInput(f"{path.name} among the own sdists cannot be read ({error.strerror}): mend its permissions") from error


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _metadata(path: Path) -> RawMetadata:
    """Of an sdist's PKG-INFO (PEP 643). Raises BadInput where none can be read."""
    try:
        text = _zipped(path) if path.suffix == ".zip" else _tarred(path)
    except _BROKEN as error:
        raise BadInput(f"{path.name} cannot be read as an sdist ({type(error).__name__}): copy it anew") from error
    if text is None or len(text) > MOST_METADATA:
        raise BadInput(
            f"{path.name} is no sdist: it has no PKG-INFO of at most {MOST_METADATA} bytes; make it with `python -m build`"
        )
    return parse_email(text)[0]


def _tarred(path: Path) -> bytes | None:
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if member.isfile() and _PKG_INFO.fullmatch(member.name):
                return _bounded(archive.extractfile(member))
    return None


def _zipped(path: Path) -> bytes | None:
    with zipfile.ZipFile(path) as archive:
        for name in filter(_PKG_INFO.fullmatch, archive.namelist()):
            with archive.open(name) as file:
                return _bounded(file)
    return None


def _bounded(file: IO[bytes] | None) -> bytes | None:
    return file.read(MOST_METADATA + 1) if file else None

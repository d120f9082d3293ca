"""Fetches what an index lists, checked by its hash."""

import hashlib
import re
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import urllib3.exceptions
from urllib3 import BaseHTTPResponse

from piwheels_builder.catalogue.listed_files import ListedFiles
from piwheels_builder.catalogue.offered import OfferedFile
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.errors import UpstreamError, WheelRejected
from piwheels_builder.wheels import LARGEST
from piwheels_builder.zips import BadZip, open_zip

_LARGEST_METADATA = 8 * 2**20
_CONNECTIONS = 4
_CHUNK = 256 * 1024
_TRIES = 3
_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")


class Files:
    """The files of one index, kept in a directory. Several threads may use it."""

    def __init__(self, index: UpstreamIndex, directory: Path, backoff_seconds: float = 0.5) -> None:
        self.directory = directory
        self._listed = ListedFiles(index, _CONNECTIONS, backoff_seconds)
        self._backoff_seconds = backoff_seconds

    def metadata(self, file: OfferedFile) -> bytes:
        """A wheel's METADATA: from beside it (PEP 658), else from within. Raises UpstreamError, WheelRejected, OSError."""
        if file.metadata_sha256 is None:
            return _from_within(self.fetch(file))
        url = f"{file.url}.metadata"
        content = b"".join(self._pieces(url, _LARGEST_METADATA))
        if hashlib.sha256(content).hexdigest() != file.metadata_sha256:
            raise UpstreamError(f"{url} is not what the index lists: its sha256 is another one", temporary=False)
        return content

    def fetch(self, file: OfferedFile) -> Path:
        """A listed file in the directory, unless it is there whole already. Raises UpstreamError, OSError."""
        path = self.directory / file.filename
        with suppress(FileNotFoundError):
            if _sha256(path) == file.sha256:
                return path
        for tries_left in reversed(range(_TRIES)):
            try:
                self._write(file, path)
                break
            except UpstreamError as error:
                if not (error.temporary and tries_left):
                    raise
                time.sleep(self._backoff_seconds)
        return path

    def _write(self, file: OfferedFile, path: Path) -> None:
        digest, temporary = hashlib.sha256(), path.with_name(f".{path.name}.part")
        try:
            with temporary.open("wb") as out:
                for piece in self._pieces(file.url, file.size if file.size is not None else LARGEST):
                    digest.update(piece)
                    out.write(piece)
            if digest.hexdigest() != file.sha256:
                # Also what was cut off looks like this.
                raise UpstreamError(
                    f"{file.url} is not what the index lists: its sha256 is {digest.hexdigest()}, not {file.sha256}"
                )
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _pieces(self, url: str, most: int) -> Iterator[bytes]:
        return _bounded(self._get(url), url, most)

    def _get(self, url: str) -> BaseHTTPResponse:
        answer = self._listed.ask(url)
        if answer.status != 200:
            answer.drain_conn()
            raise UpstreamError(f"{url} answers {answer.status}", temporary=False)
        return answer


def _bounded(answer: BaseHTTPResponse, url: str, most: int) -> Iterator[bytes]:
    """The body in pieces. Raises UpstreamError when it breaks off, or has more than it may."""
    left = most
    try:
        for piece in answer.stream(_CHUNK):
            left -= len(piece)
            if left < 0:
                raise UpstreamError(f"{url} has more bytes than the index lists", temporary=False)
            yield piece
    except urllib3.exceptions.HTTPError as error:
        raise UpstreamError(f"{url} breaks off: {error}") from error


def _from_within(wheel: Path) -> bytes:
    try:
        with open_zip(wheel) as archive:
            name = next(name for name in archive.namelist() if _METADATA.fullmatch(name))
            if archive.getinfo(name).file_size > _LARGEST_METADATA:
                raise BadZip("its METADATA is too long")
            return archive.read(name)
    except (BadZip, zipfile.BadZipFile, zlib.error, StopIteration, NotImplementedError) as error:
        raise WheelRejected(f"{wheel.name} is no wheel that tells what it requires: {error}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

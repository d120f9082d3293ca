"""What an upstream page offers, as values that the database can keep."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from packaging.utils import NormalizedName


class OfferedFile(NamedTuple):
    """A file as its page lists it. sha256 in lower-case hex, size in bytes; None where upstream does not say.

    A tuple, since a first fill makes twenty million of them.
    """

    filename: str
    url: str
    sha256: str | None
    size: int | None
    requires_python: str | None
    yanked: bool
    yanked_reason: str | None
    upload_time: datetime | None
    metadata_sha256: str | None
    provenance: str | None


@dataclass(frozen=True)
class Page:
    """A project page. ``versions`` is PEP 700's list in upstream's spelling; ``serial`` and ``etag`` tell whether it changed."""

    project: NormalizedName
    files: tuple[OfferedFile, ...]
    versions: tuple[str, ...] = ()
    serial: int | None = None
    etag: str | None = None
    status: str = "active"
    status_reason: str | None = None

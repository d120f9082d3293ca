"""A project page of the upstream index, decoded: JSON (PEP 691, 700, 740, 792), or HTML (PEP 503) in degraded mode.

pypi-simple parses; here its page becomes values that the database can keep, and what its parser is stricter or laxer about
than the PEPs is evened out. Degraded mode: HTML tells neither sizes nor upload times nor releases without files, and has no
serial, so that every sync compares whole pages.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from packaging.utils import NormalizedName, canonicalize_name
from pypi_simple import DistributionPackage, ProjectPage, ProjectStatus, UnsupportedRepoVersionError

from piwheels_builder.db.text import storable
from piwheels_builder.errors import UpstreamError

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
HTML_TYPES = ("application/vnd.pypi.simple.v1+html", "text/html")
_LARGEST_SIZE = 2**63 - 1


@dataclass(frozen=True)
class OfferedFile:
    """A file as its page lists it. sha256 in lower-case hex, size in bytes; None where upstream does not say."""

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


def decode_page(project: NormalizedName, body: bytes, content_type: str, url: str, known_serial: int | None = None) -> Page | None:
    """Decode the body of the page at ``url``; None where its serial is ``known_serial``.

    Raises UpstreamError, not temporary, for anything that is no page of ``project``.
    """
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == JSON_TYPE:
            page = _json_page(body, url, known_serial)
        elif kind in HTML_TYPES:
            page = _html_page(project, body, url)
        else:
            raise UpstreamError(f"{url} answers with {kind or 'no content type'}, not with a project page", temporary=False)
    except UnsupportedRepoVersionError as error:
        raise UpstreamError(f"{url} speaks simple API {error.declared_version}; this fleet knows 1", temporary=False) from error
    except (ValueError, RecursionError, AssertionError) as error:
        raise UpstreamError(f"{url} is not a project page: {_first_lines(error)}", temporary=False) from error
    if page is not None and page.project != project:
        raise UpstreamError(f"{url} is the page of {page.project!a}, not of {project}", temporary=False)
    return page


def decode_names(body: bytes, url: str) -> list[str]:
    """The names on the JSON page of all projects (PEP 691). Raises UpstreamError, not temporary."""
    try:
        return [str(item["name"]) for item in json.loads(body)["projects"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UpstreamError(f"{url} is not the list of all projects: {_first_lines(error)}", temporary=False) from error


def without_credentials(url: str) -> str:
    """The URL without user name and password, which belong in no page, log or database."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _json_page(body: bytes, url: str, known_serial: int | None) -> Page | None:
    data = _tolerable(json.loads(body))
    serial = _serial(data["meta"].get("_last-serial"))
    if serial is not None and serial == known_serial:
        # Before the costly part: this is what nearly every project of a sync comes to.
        return None
    page = ProjectPage.from_json_data(data, url)
    files = tuple(_file(package, html=False) for package in page.packages)
    return replace(_page(page, files), versions=tuple(map(storable, page.versions or ())), serial=serial)


def _serial(said: object) -> int | None:
    # A number everywhere we know of; anything else can't tell us that nothing changed.
    return int(str(said)) if re.fullmatch(r"[0-9]{1,18}", str(said)) else None


def _html_page(project: NormalizedName, body: bytes, url: str) -> Page:
    page = ProjectPage.from_html(project, body, url)
    return _page(page, tuple(_file(package, html=True) for package in page.packages))


def _tolerable(data: Any) -> dict[str, Any]:
    """The page with what pypi-simple would stumble over, and a client must not, made plain. Raises ValueError for no JSON page."""
    if not isinstance(data, dict) or not isinstance(data.get("meta"), dict):
        raise ValueError("an object with `meta`, `name` and `files` was expected")
    declared = str(data["meta"].get("api-version"))
    if not re.match(r"1\.[0-9]+$", declared):
        raise UnsupportedRepoVersionError(ascii(declared), "1")
    # Minor versions only add (PEP 629); for newer ones the parser would warn, by a switch of the whole process.
    plain = {**data, "meta": {**data["meta"], "api-version": "1.4"}}
    status = data.get("project-status")
    if isinstance(status, dict) and status.get("status") not in [known.value for known in ProjectStatus]:
        # A status of the future means nothing to us yet (PEP 792).
        plain["project-status"] = {}
    return plain


def _page(page: ProjectPage, files: tuple[OfferedFile, ...]) -> Page:
    return Page(
        project=canonicalize_name(storable(page.project)),
        # Of a name listed twice the last one counts, as it does for pip.
        files=tuple({file.filename: file for file in files}.values()),
        status=page.status.value if page.status else "active",
        status_reason=storable(page.status_reason),
    )


def _file(package: DistributionPackage, *, html: bool) -> OfferedFile:
    # An empty `yanked` is false in JSON (PEP 691) and true in HTML (PEP 592).
    yanked = package.is_yanked and (html or package.yanked_reason != "")
    return OfferedFile(
        filename=storable(package.filename),
        url=storable(without_credentials(package.url)),
        sha256=_sha256(package.digests, package.filename),
        size=_size(package),
        requires_python=storable(package.requires_python),
        yanked=yanked,
        yanked_reason=storable(package.yanked_reason or None) if yanked else None,
        upload_time=_aware(package.upload_time),
        metadata_sha256=_sha256(package.metadata_digests or {}, package.filename),
        provenance=storable(package.provenance_url),
    )


def _sha256(digests: Mapping[str, str], filename: str) -> str | None:
    digest = digests.get("sha256", "").lower()
    if digest and not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError(f"the sha256 of {filename!a} is not one")
    return digest or None


def _size(package: DistributionPackage) -> int | None:
    if package.size is not None and not 0 <= package.size <= _LARGEST_SIZE:
        raise ValueError(f"{package.filename!a} cannot have {package.size} bytes")
    return package.size


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _first_lines(error: BaseException) -> str:
    # pydantic's message is the field on its second line and what is wrong with it on the third.
    return " ".join(str(error).split("\n")[:3]).strip() or type(error).__name__

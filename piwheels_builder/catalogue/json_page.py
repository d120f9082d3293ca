"""A project page in JSON (PEP 691, 700, 740, 792), decoded by hand: a first fill reads 736,344 of them.

What a page says of a file is held to its type, field by field; what is of another type fails the page, since nothing on it can be
believed then. Fields that nobody here asks for are not looked at.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

from packaging.utils import canonicalize_name

from piwheels_builder.catalogue.offered import OfferedFile, Page
from piwheels_builder.db.text import storable

_LARGEST_SIZE = 2**63 - 1
_STATUSES = ("active", "archived", "quarantined", "deprecated")
_SHA256 = re.compile("[0-9a-f]{64}")
#: A URL that needs nothing done to it: whole, without credentials, without a step up.
_PLAIN_URL = re.compile(r"https?://[A-Za-z0-9.:-]+/[A-Za-z0-9][A-Za-z0-9/_+!%~-]*(?:\.[A-Za-z0-9/_+!%~-]+)*")


class UnknownVersion(ValueError):
    """The page declares a version of the simple API that nobody here knows."""


def decode_json_page(body: bytes, url: str, known_serial: int | None) -> Page | None:
    """The page; None where its serial is ``known_serial``. Raises UnknownVersion, other ValueErrors, RecursionError."""
    data = json.loads(body)
    if not isinstance(data, dict) or not isinstance(data.get("meta"), dict):
        raise ValueError("an object with `meta`, `name` and `files` was expected")
    check_version(data["meta"])
    serial = said_serial(data["meta"].get("_last-serial"))
    if serial is not None and serial == known_serial:
        # Before the costly part: this is what nearly every project of a sync comes to.
        return None
    status, status_reason = _status(data.get("project-status"))
    # Of a name listed twice the last one counts, as it does for pip.
    files = {file.filename: file for file in (_file(said, url) for said in _list(data, "files", dict))}
    return Page(
        project=canonicalize_name(storable(_text(data, "name"))),
        files=tuple(files.values()),
        versions=tuple(map(storable, _list(data, "versions", str) if data.get("versions") is not None else ())),
        serial=serial,
        status=status,
        status_reason=status_reason,
    )


def check_version(meta: Mapping[str, Any]) -> None:
    """Minor versions only add (PEP 629). Raises UnknownVersion for another major one."""
    declared = str(meta.get("api-version"))
    if not re.match(r"1\.[0-9]+$", declared):
        raise UnknownVersion(ascii(declared))


def said_serial(said: object) -> int | None:
    """A serial as pages have it. Anything but a number can't tell us that nothing changed. Raises ValueError for an object."""
    if isinstance(said, list | dict):
        raise ValueError("_last-serial is no number")
    return int(str(said)) if re.fullmatch(r"[0-9]{1,18}", str(said)) else None


def without_credentials(url: str) -> str:
    """The URL without user name and password, which belong in no page, log or database."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def aware(moment: datetime | None) -> datetime | None:
    """A time without a zone is UTC (PEP 700)."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def checked_sha256(digests: Mapping[str, str], filename: str) -> str | None:
    """The sha256 among the hashes of a file, None where there is none. Raises ValueError for what cannot be one."""
    digest = digests.get("sha256", "").lower()
    if digest and not _SHA256.fullmatch(digest):
        raise ValueError(f"the sha256 of {filename!a} is not one")
    return digest or None


def checked_size(size: int | None, filename: str) -> int | None:
    """A size in bytes. Raises ValueError for what no file can have."""
    if size is not None and not 0 <= size <= _LARGEST_SIZE:
        raise ValueError(f"{filename!a} cannot have {size} bytes")
    return size


def _file(said: Mapping[str, Any], base: str) -> OfferedFile:
    filename = storable(_text(said, "filename"))
    yanked = said.get("yanked", False)
    if not isinstance(yanked, bool | str):
        raise ValueError(f"`yanked` of {filename!a} is neither true, false nor a reason")
    return OfferedFile(
        filename=filename,
        url=_url(_text(said, "url"), base),
        sha256=checked_sha256(_hashes(said.get("hashes"), filename), filename),
        size=checked_size(_optional(said, "size", int), filename),
        requires_python=storable(_optional(said, "requires-python", str)),
        # An empty `yanked` is false in JSON (PEP 691).
        yanked=bool(yanked),
        yanked_reason=storable(yanked) if isinstance(yanked, str) and yanked else None,
        upload_time=_moment(_optional(said, "upload-time", str)),
        metadata_sha256=_metadata_sha256(said.get("core-metadata"), filename),
        provenance=storable(_optional(said, "provenance", str)),
    )


def _url(url: str, base: str) -> str:
    return url if _PLAIN_URL.fullmatch(url) else storable(without_credentials(urljoin(base, url)))


def _metadata_sha256(said: Any, filename: str) -> str | None:
    if said is None or isinstance(said, bool):
        return None
    return checked_sha256(_hashes(said, filename), filename)


def _hashes(said: Any, filename: str) -> Mapping[str, str]:
    if not isinstance(said, dict) or not all(isinstance(digest, str) for digest in said.values()):
        raise ValueError(f"the hashes of {filename!a} are none")
    return said


def _moment(said: str | None) -> datetime | None:
    return aware(datetime.fromisoformat(said)) if said is not None else None


def _status(said: Any) -> tuple[str, str | None]:
    if said is None:
        return "active", None
    if not isinstance(said, dict):
        raise ValueError("`project-status` is no object")
    if said.get("status", "active") not in _STATUSES:
        # A status of the future means nothing to us yet (PEP 792).
        return "active", None
    return said.get("status", "active"), storable(_optional(said, "reason", str))


def _list(said: Mapping[str, Any], name: str, kind: type) -> list[Any]:
    values = said.get(name)
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        raise ValueError(f"`{name}` is not the list it must be")
    return values


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str):
        raise ValueError(f"`{name}` is missing, or no text")
    return value


def _optional(said: Mapping[str, Any], name: str, kind: type) -> Any:
    value = said.get(name)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise ValueError(f"`{name}` is not what it must be: {ascii(value)[:100]}")
    return value

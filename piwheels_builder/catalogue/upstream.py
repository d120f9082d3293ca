"""The client of the upstream simple index: one page at a time, politely, and never more than it can hold.

What is worth another try is tried again here; what remains has a name: UnknownProject, or UpstreamError with ``temporary``
saying whether another try later makes sense. Several threads may use one client.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3.exceptions
from packaging.utils import NormalizedName
from urllib3 import BaseHTTPResponse
from urllib3.util import Timeout

from piwheels_builder.catalogue.json_page import without_credentials
from piwheels_builder.catalogue.listing import Listed, listed_projects
from piwheels_builder.catalogue.offered import Page
from piwheels_builder.catalogue.pages import HTML_TYPES, JSON_TYPE, decode_page
from piwheels_builder.catalogue.pip_index import configured_index
from piwheels_builder.catalogue.quick_http import Answer
from piwheels_builder.catalogue.transport import TRIES, TRY_AGAIN, Pace, authorization, client, quick_client, retries
from piwheels_builder.errors import BadInput, UnknownProject, UpstreamError

#: Largest body accepted, decompressed; the largest page of the public index today has about a tenth of it.
MOST_BYTES = 256 * 2**20
#: Connecting, then each silence in the answer, in seconds; and the whole answer.
TIMEOUTS = (10, 30)
WHOLE_ANSWER_SECONDS = 300
#: Pages fetched at once. More gains little: decoding and writing them keeps a core busy.
CONNECTIONS = 8
#: JSON, else HTML (PEP 691).
_ACCEPT = ", ".join((JSON_TYPE, f"{HTML_TYPES[0]};q=0.5", f"{HTML_TYPES[1]};q=0.01"))
_OK, _NOT_MODIFIED = 200, 304
_GONE = (404, 410)
_FAULTY = (500, 502, 504)
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Listing:
    """The page of all names: its projects as they arrive, and the ETag by which it is known again."""

    projects: Iterator[Listed]
    etag: str | None = None


class UpstreamIndex:
    """``url`` is the index (the part before a project's name), None the one pip is configured with here. Raises BadInput.

    ``backoff_seconds`` is the first of the growing pauses between tries, ``per_second`` the most requests made (None: any number).
    ``in_bulk`` tries the quick way to a page first: for who reads hundreds of thousands.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        backoff_seconds: float = 0.5,
        per_second: float | None = None,
        in_bulk: bool = False,
    ) -> None:
        parts = _http_url(url or configured_index())
        self.url = without_credentials(parts.geturl()).rstrip("/") + "/"
        #: With a password, where it was given with one: to be told to no one but another client.
        self.secret_url = parts.geturl()
        self.per_second = per_second
        self._headers = {
            "User-Agent": f"piwheels-builder/{version('piwheels-builder')}",
            "Accept": _ACCEPT,
            "Accept-Encoding": "gzip, deflate",
            **authorization(parts, self.url),
        }
        self._client = client(self.url, CONNECTIONS, retries(backoff_seconds))
        self._quick = quick_client(self.url, TIMEOUTS[1], WHOLE_ANSWER_SECONDS) if in_bulk else None
        self._patiently = self._quick is None
        self._pace = Pace(per_second)

    def __enter__(self) -> "UpstreamIndex":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.clear()
        if self._quick:
            self._quick.close()

    def page(self, project: NormalizedName, *, etag: str | None = None, serial: int | None = None) -> Page | None:
        """A project's page; None where it still has this ETag or serial. Raises UnknownProject, UpstreamError."""
        answer = self._read(f"{self.url}{project}/", {"If-None-Match": etag} if etag else {})
        if answer.status == _NOT_MODIFIED:
            return None
        # Relative links are relative to where redirects led.
        page = decode_page(project, answer.body, answer.content_type, answer.url, serial)
        return page and replace(page, etag=answer.etag)

    @contextmanager
    def listing(self, etag: str | None = None) -> Iterator[Listing | None]:
        """The page of all names, for the length of a block; None where it still has this ETag. Raises UpstreamError, also after the
        first names; UnknownProject where the index has no such page.
        """
        answer = self._get(self.url, {"If-None-Match": etag} if etag else {})
        try:
            if answer.status == _NOT_MODIFIED:
                yield None
            else:
                yield Listing(_listed(answer, self.url), answer.headers.get("ETag"))
        finally:
            answer.close()

    def _read(self, url: str, headers: dict[str, str]) -> Answer:
        return self._read_quickly(url, headers) or self._read_patiently(url, headers)

    def _read_quickly(self, url: str, headers: dict[str, str]) -> Answer | None:
        """None where the answer needs what urllib3 knows."""
        if self._quick is None or self._patiently:
            return None
        self._pace.wait()
        answer = self._quick.get(url, {**self._headers, **headers})
        if answer is None or answer.status in (_OK, _NOT_MODIFIED):
            return answer
        if answer.status in _GONE:
            raise _refusal(url, answer.status)
        # Redirects come for each page, and whoever is told to ask less must not ask twice. A faulty server is faulty now.
        self._patiently = answer.status not in _FAULTY
        return None

    def _read_patiently(self, url: str, headers: dict[str, str]) -> Answer:
        """An answer and its whole body. urllib3 tries again only until the headers are here; after that we do."""
        for tries_left in reversed(range(TRIES)):
            answer = self._get(url, headers)
            try:
                body = b"".join(_bounded(answer, url))
            except UpstreamError as error:
                answer.close()
                if not tries_left or not isinstance(error, _BrokenOff):
                    raise
            else:
                answer.release_conn()
                told = answer.headers
                return Answer(answer.status, told.get("Content-Type", ""), told.get("ETag"), _whence(answer, url), body)
        raise AssertionError("the last try returns or raises")

    def _get(self, url: str, headers: dict[str, str]) -> BaseHTTPResponse:
        self._pace.wait()
        try:
            within = Timeout(connect=TIMEOUTS[0], read=TIMEOUTS[1])
            answer = self._client.request("GET", url, headers={**self._headers, **headers}, timeout=within, preload_content=False)
        except urllib3.exceptions.HTTPError as error:
            if _leads_nowhere(error):
                raise UpstreamError(f"{url} redirects to where no index can be: {error}", temporary=False) from error
            raise UpstreamError(f"{url} cannot be fetched after {TRIES} tries: {error}") from error
        if answer.status not in (_OK, _NOT_MODIFIED):
            answer.drain_conn()
            answer.release_conn()
            raise _refusal(url, answer.status)
        return answer


def _leads_nowhere(error: urllib3.exceptions.HTTPError) -> bool:
    reason = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
    return isinstance(reason, urllib3.exceptions.LocationValueError) or "redirects" in str(reason)


def _whence(answer: BaseHTTPResponse, url: str) -> str:
    # After redirects urllib3 knows the last one's place, which may be relative to ours.
    return urljoin(url, answer.geturl() or url)


class _BrokenOff(UpstreamError):
    """The connection broke in the middle of a body."""


def _http_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        usable = None
    if not usable:
        raise BadInput(f"{url!r} cannot be the upstream index: name one by its http or https URL as `upstream`")
    return parts


def _bounded(answer: BaseHTTPResponse, url: str) -> Iterator[bytes]:
    """The body in pieces. Raises UpstreamError when it is too large, too slow or breaks off."""
    size, deadline = 0, time.monotonic() + WHOLE_ANSWER_SECONDS
    try:
        for piece in answer.stream(_CHUNK):
            size += len(piece)
            if size > MOST_BYTES:
                raise UpstreamError(f"{url} answers with more than {MOST_BYTES} bytes", temporary=False)
            if time.monotonic() > deadline:
                raise UpstreamError(f"{url} took more than {WHOLE_ANSWER_SECONDS} seconds to answer")
            yield piece
    except urllib3.exceptions.HTTPError as error:
        raise _BrokenOff(f"{url} breaks off: {error}") from error


def _listed(answer: BaseHTTPResponse, url: str) -> Iterator[Listed]:
    try:
        if answer.headers.get("Content-Type", "").partition(";")[0].strip() == JSON_TYPE:
            yield from listed_projects(_bounded(answer, url))
        else:
            # As with a project's page: few need what it imports.
            from piwheels_builder.catalogue.html_page import html_names  # noqa: PLC0415

            yield from map(Listed, html_names(_bounded(answer, url)))
    except (ValueError, RecursionError) as error:
        raise UpstreamError(f"{url} is not the list of all projects: {error}", temporary=False) from error


def _refusal(url: str, status: int) -> UpstreamError | UnknownProject:
    if status in _GONE:
        return UnknownProject(f"the upstream index has no such project: {url} answers {status}")
    if status in TRY_AGAIN:
        return UpstreamError(f"{url} answers {status} after {TRIES} tries: try again later")
    return UpstreamError(f"{url} answers {status}: is `upstream` a simple index, and may this host read it?", temporary=False)

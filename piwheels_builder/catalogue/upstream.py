"""The client of the upstream simple index: one page at a time, politely, and never more than it can hold.

What is worth another try is tried again here; what remains has a name: UnknownProject, or UpstreamError with ``temporary``
saying whether another try later makes sense. Several threads may use one client.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import version
from urllib.parse import SplitResult, unquote, urlsplit

import requests
from packaging.utils import NormalizedName
from pypi_simple import ACCEPT_HTML_PREFERRED, ACCEPT_JSON_PREFERRED, UnsupportedRepoVersionError, parse_links_stream
from requests.adapters import HTTPAdapter
from urllib3 import BaseHTTPResponse
from urllib3.util.retry import Retry

from piwheels_builder.catalogue.pages import JSON_TYPE, Page, decode_names, decode_page, without_credentials
from piwheels_builder.catalogue.pip_index import configured_index
from piwheels_builder.certificates import trusted_bundle
from piwheels_builder.errors import BadInput, UnknownProject, UpstreamError

#: Largest body accepted, decompressed; the largest page of the public index today has about a tenth of it.
MOST_BYTES = 256 * 2**20
#: Connecting, then each silence in the answer, in seconds; and the whole answer.
TIMEOUTS = (10, 30)
WHOLE_ANSWER_SECONDS = 300
TRIES = 5
#: Pages fetched at once. More gains little: decoding and writing them keeps a core busy.
CONNECTIONS = 8
#: However long an upstream asks us to wait (Retry-After), it gets no more than this between two tries.
LONGEST_WAIT_SECONDS = 60
_TRY_AGAIN = (429, 500, 502, 503, 504)
_GONE = (404, 410)
_CHUNK = 64 * 1024


class UpstreamIndex:
    """``url`` is the index (the part before a project's name), None the one pip is configured with here. Raises BadInput.

    ``backoff_seconds`` is the first of the growing pauses between tries.
    """

    def __init__(self, url: str | None = None, *, backoff_seconds: float = 0.5) -> None:
        parts = _http_url(url or configured_index())
        self.url = without_credentials(parts.geturl()).rstrip("/") + "/"
        self._session = requests.Session()
        self._session.verify = trusted_bundle() or True
        self._session.headers["User-Agent"] = f"piwheels-builder/{version('piwheels-builder')}"
        if parts.username:
            self._session.auth = (unquote(parts.username), unquote(parts.password or ""))
        # Threads share the session, which is safe as long as nothing in it changes.
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = HTTPAdapter(pool_maxsize=CONNECTIONS, max_retries=_retries(backoff_seconds))
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def __enter__(self) -> "UpstreamIndex":
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def page(self, project: NormalizedName, *, etag: str | None = None, serial: int | None = None) -> Page | None:
        """A project's page; None where it still has this ETag or serial. Raises UnknownProject, UpstreamError."""
        url = f"{self.url}{project}/"
        headers = {"Accept": ACCEPT_JSON_PREFERRED, **({"If-None-Match": etag} if etag else {})}
        answer, body = self._read(url, headers)
        if answer.status_code == requests.codes.not_modified:
            return None
        # Relative links are relative to where redirects led.
        page = decode_page(project, body, answer.headers.get("Content-Type", ""), answer.url, serial)
        return page and replace(page, etag=answer.headers.get("ETag"))

    def project_names(self) -> Iterator[str]:
        """The names of all projects as upstream spells them. Raises UpstreamError, also after the first names.

        HTML is parsed as it arrives, in a few MB. Where upstream speaks only JSON the whole list is held: 312 MB for 736,344 names.
        """
        with self._get(self.url, {"Accept": ACCEPT_HTML_PREFERRED}) as answer:
            if answer.headers.get("Content-Type", "").partition(";")[0] == JSON_TYPE:
                yield from decode_names(b"".join(_bounded(answer)), self.url)
            else:
                yield from _linked_names(answer)

    def _read(self, url: str, headers: dict[str, str]) -> tuple[requests.Response, bytes]:
        """An answer and its whole body. urllib3 tries again only until the headers are here; after that we do."""
        for tries_left in reversed(range(TRIES)):
            with self._get(url, headers) as answer:
                try:
                    return answer, b"".join(_bounded(answer))
                except _BrokenOff:
                    if not tries_left:
                        raise
        raise AssertionError("the last try returns or raises")

    def _get(self, url: str, headers: dict[str, str]) -> requests.Response:
        try:
            answer = self._session.get(url, headers=headers, timeout=TIMEOUTS, stream=True)
        except (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL, requests.TooManyRedirects) as error:
            raise UpstreamError(f"{url} redirects to where no index can be: {error}", temporary=False) from error
        except requests.RequestException as error:
            raise UpstreamError(f"{url} cannot be fetched after {TRIES} tries: {error}") from error
        if answer.status_code not in (requests.codes.ok, requests.codes.not_modified):
            answer.close()
            raise _refusal(url, answer.status_code)
        return answer


class _BrokenOff(UpstreamError):
    """The connection broke in the middle of a body."""


class _BoundedRetry(Retry):
    """Waits as long as upstream asks, but not longer than LONGEST_WAIT_SECONDS."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, LONGEST_WAIT_SECONDS)


def _retries(backoff_seconds: float) -> Retry:
    return _BoundedRetry(total=TRIES - 1, status_forcelist=_TRY_AGAIN, backoff_factor=backoff_seconds, raise_on_status=False)


def _http_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        usable = None
    if not usable:
        raise BadInput(f"{url!r} cannot be the upstream index: name one by its http or https URL as `upstream`")
    return parts


def _bounded(answer: requests.Response) -> Iterator[bytes]:
    """The body in pieces. Raises UpstreamError when it is too large, too slow or breaks off."""
    size, deadline = 0, time.monotonic() + WHOLE_ANSWER_SECONDS
    try:
        for piece in answer.iter_content(_CHUNK):
            size += len(piece)
            if size > MOST_BYTES:
                raise UpstreamError(f"{answer.url} answers with more than {MOST_BYTES} bytes", temporary=False)
            if time.monotonic() > deadline:
                raise UpstreamError(f"{answer.url} took more than {WHOLE_ANSWER_SECONDS} seconds to answer")
            yield piece
    except requests.RequestException as error:
        raise _BrokenOff(f"{answer.url} breaks off: {error}") from error


def _linked_names(answer: requests.Response) -> Iterator[str]:
    try:
        for link in parse_links_stream(_bounded(answer), http_charset="utf-8"):
            yield link.text
    except (ValueError, UnsupportedRepoVersionError) as error:
        raise UpstreamError(f"{answer.url} is not the list of all projects: {error}", temporary=False) from error


def _refusal(url: str, status: int) -> UpstreamError | UnknownProject:
    if status in _GONE:
        return UnknownProject(f"the upstream index has no such project: {url} answers {status}")
    if status in _TRY_AGAIN:
        return UpstreamError(f"{url} answers {status} after {TRIES} tries: try again later")
    return UpstreamError(f"{url} answers {status}: is `upstream` a simple index, and may this host read it?", temporary=False)

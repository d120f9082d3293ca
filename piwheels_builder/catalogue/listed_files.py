"""HTTP to the files that an index lists. A password of the index goes to that index's own host alone."""

from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

import urllib3.exceptions
from urllib3 import BaseHTTPResponse
from urllib3.util import Timeout

from piwheels_builder.catalogue.transport import authorization, client, retries
from piwheels_builder.catalogue.upstream import TIMEOUTS, UpstreamIndex
from piwheels_builder.errors import BadInput, UpstreamError


class ListedFiles:
    """The files of one index. Several threads may use it, over ``connections`` kept ones."""

    def __init__(self, index: UpstreamIndex, connections: int, backoff_seconds: float = 0.5) -> None:
        self._index = urlsplit(index.secret_url)
        self._login = authorization(self._index, index.url)
        self._client = client(index.url, connections, retries(backoff_seconds))

    def ask(self, url: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> BaseHTTPResponse:
        """The answer, of any status, its body yet to be read. Raises UpstreamError, BadInput for what is no web address."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise BadInput(f"{url} is neither http nor https")
        login = self._login if _origin(parts) == _origin(self._index) else {}
        sent = {"Accept-Encoding": "identity", **(headers or {}), **login}
        within = Timeout(connect=TIMEOUTS[0], read=TIMEOUTS[1])
        try:
            return self._client.request(method, url, headers=sent, timeout=within, preload_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise UpstreamError(f"{url} cannot be fetched: {error}") from error


def _origin(parts: SplitResult) -> tuple[str, str | None, int | None]:
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)

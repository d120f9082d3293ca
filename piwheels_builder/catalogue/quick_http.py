"""The quick way to a page: GET over one kept connection for each thread, by the standard library's http.client.

urllib3 takes three times as long over a page, and a first fill makes 736,344 of them. Only whole answers come this way, and
nothing is tried again; for broken connections, pages too large and the like it says so, and the caller asks again by urllib3, which
knows what to do.
"""

import ssl
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

#: Longest body that comes this way, in bytes as sent and unpacked; nearly every page has less than a hundredth.
MOST_SENT, MOST_UNPACKED = 4 * 2**20, 32 * 2**20
#: zlib's window for gzip: its own 15 bits, plus 16 (zlib.decompress).
_GZIP = 16 + zlib.MAX_WBITS
_PIECE = 256 * 1024


@dataclass(frozen=True)
class Answer:
    """A whole answer, of any status; ``url`` is where it came from."""

    status: int
    content_type: str
    etag: str | None
    url: str
    body: bytes


class QuickHttp:
    """Connections to the server of ``url``; ``trusted`` is the file of authorities that it trusts. Several threads may use one.

    ``timeout`` is the longest silence, ``whole`` the longest an answer may take, in seconds.
    """

    def __init__(self, url: str, trusted: str, timeout: float, whole: float) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._context = ssl.create_default_context(cafile=trusted) if parts.scheme == "https" else None
        self._timeout, self._whole = timeout, whole
        self._own = threading.local()
        self._connections: list[HTTPConnection] = []

    def close(self) -> None:
        """To be called when no thread uses it any more."""
        for connection in self._connections:
            connection.close()

    def get(self, url: str, headers: Mapping[str, str]) -> Answer | None:
        """What ``url`` of this server answers; None where that is nothing whole, too large or too slow."""
        connection = self._connection()
        try:
            connection.request("GET", urlsplit(url).path, headers=dict(headers))
            answer = self._answer(connection.getresponse(), url)
        except (OSError, HTTPException, ValueError, zlib.error):
            answer = None
        if answer is None:
            # What it would say next is the rest of this. It connects again by itself.
            connection.close()
        return answer

    def _connection(self) -> HTTPConnection:
        """Of this thread alone."""
        if not hasattr(self._own, "connection"):
            self._own.connection = self._new_connection()
            self._connections.append(self._own.connection)
        connection: HTTPConnection = self._own.connection
        return connection

    def _new_connection(self) -> HTTPConnection:
        if self._context:
            return HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._context)
        return HTTPConnection(self._host, self._port, timeout=self._timeout)

    def _answer(self, response: HTTPResponse, url: str) -> Answer | None:
        if response.length is None and not response.chunked:
            # It ends with the connection: whether it is whole, nobody knows.
            return None
        body = _unpacked(self._body(response), response.headers.get("Content-Encoding", "identity"))
        if body is None:
            return None
        return Answer(response.status, response.headers.get("Content-Type", ""), response.headers.get("ETag"), url, body)

    def _body(self, response: HTTPResponse) -> bytes:
        """Raises TimeoutError, HTTPException, OSError, and ValueError for one that is too large."""
        pieces, size, deadline = [], 0, time.monotonic() + self._whole
        while piece := response.read1(_PIECE):
            pieces.append(piece)
            size += len(piece)
            if size > MOST_SENT:
                raise ValueError
            if time.monotonic() > deadline:
                raise TimeoutError
        if response.length:
            raise HTTPException("it breaks off")
        # Its end alone frees the connection for another.
        response.read()
        return b"".join(pieces)


def _unpacked(body: bytes, encoding: str) -> bytes | None:
    """None where it is packed in a way of its own, broken off, or larger than MOST_UNPACKED."""
    if encoding == "identity" or not body:
        return body
    if encoding != "gzip":
        return None
    unpacking = zlib.decompressobj(_GZIP)
    unpacked = unpacking.decompress(body, MOST_UNPACKED)
    return unpacked if unpacking.eof and not unpacking.unused_data else None

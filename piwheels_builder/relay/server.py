"""The relay's server: HTTPS, for whoever has a builder's certificate.

    GET /simple/PROJECT/            upstream's page, with links to the next (PEP 691)
    GET /files/PROJECT/FILENAME     a file that stands on it, or FILENAME.metadata

What cannot be had by no fault of the release's is 502 or 503, which builders take for a network that is away: a login that
upstream refuses, a database that is away, a builder that nobody believes.
"""

import logging
import os
import re
import shutil
import socket
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3.exceptions
from packaging.utils import NormalizedName, canonicalize_name

from piwheels_builder.catalogue.listed_files import ListedFiles
from piwheels_builder.catalogue.pages import JSON_TYPE
from piwheels_builder.errors import BadInput, DatabaseAway, DatabaseRefused, FleetError, UnknownProject, UpstreamError
from piwheels_builder.relay.doorkeeper import Doorkeeper
from piwheels_builder.relay.offers import Offers

log = logging.getLogger(__name__)

#: Connections served at once, and of these from one address: uv opens some fifty, and no single host must keep the others out.
MOST_CONNECTIONS, MOST_OF_ONE = 1000, 100
#: Seconds for a handshake, and between two requests or pieces of one.
_HANDSHAKE_SECONDS, _SILENCE_SECONDS = 15, 60
_CHUNK = 256 * 1024
_PATH = re.compile(r"/(?P<kind>simple|files)/(?P<project>[A-Za-z0-9._-]+)/(?P<filename>[^/]*)")
#: Of a file's answer: what builders are told of it.
_PASSED_ON = ("Content-Type", "Content-Length", "Content-Range", "Content-Encoding", "Accept-Ranges", "ETag", "Last-Modified")
#: Of upstream's answers those that are about the file, and not about us or upstream's state.
_ABOUT_THE_FILE = (200, 206, 304, 404, 410, 416)
_NO_HEAD = (405, 501)
_ASKED_AGAIN = "60"


class Relay(ThreadingHTTPServer):
    """Listens at ``listen``, a host and a port (0: a free one). ``tls`` asks for certificates, and checks who signed them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, listen: tuple[str, int], tls: ssl.SSLContext, doorkeeper: Doorkeeper, offers: Offers, files: ListedFiles
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in listen[0] else socket.AF_INET
        self.tls, self.doorkeeper, self.offers, self.files = tls, doorkeeper, offers, files
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        super().__init__(listen, _Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            # For IPv4 too, whatever the system's own default is.
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def get_request(self) -> tuple[ssl.SSLSocket, Any]:
        connection, address = self.socket.accept()
        # The handshake is for the connection's own thread: nobody waits for who says nothing.
        return self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            is_let_in = self._open.total() < MOST_CONNECTIONS and self._open[client_address[0]] < MOST_OF_ONE
            self._open[client_address[0]] += is_let_in
        if is_let_in:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open[client_address[0]] -= 1
                # Forgets whoever has none.
                self._open += Counter()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the names are socketserver's
        """A connection that broke, or came without a certificate of ours, is no news; anything else is a fault of this program."""
        if not isinstance(sys.exception(), OSError):
            log.exception("the answer to %s", client_address)


def tls_context(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Of a server whose clients have certificates by the fleet's authority. Raises BadInput."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(authority)
    except OSError as error:
        files = f"{certificate}, {key} or {authority}"
        raise BadInput(f"{files} cannot be used ({error}): run `ansible-playbook provision.yml`") from error
    return context


class _Handler(BaseHTTPRequestHandler):
    """One connection of one builder."""

    server: Relay
    protocol_version = "HTTP/1.1"
    server_version = "relay"
    sys_version = ""
    # Headers and a small body in one segment.
    wbufsize = -1

    def setup(self) -> None:
        self.request.settimeout(_HANDSHAKE_SECONDS)
        self.request.do_handshake()
        self.request.settimeout(_SILENCE_SECONDS)
        super().setup()

    def do_GET(self) -> None:
        place = _PATH.fullmatch(unquote(urlsplit(self.path).path))
        if place is None:
            return self._say(HTTPStatus.NOT_FOUND, "no such page")
        with self._refusals():
            self._check_caller()
            project = canonicalize_name(place["project"])
            if place["kind"] == "files":
                self._send_file(project, place["filename"])
            elif place["filename"]:
                self._say(HTTPStatus.NOT_FOUND, "no such page")
            else:
                self._send(HTTPStatus.OK, {"Content-Type": JSON_TYPE}, self.server.offers.page(project))
        return None

    def do_HEAD(self) -> None:
        self.do_GET()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """What each error is to a builder, as long as nothing was sent."""
        try:
            yield
        except UnknownProject as error:
            self._say(HTTPStatus.NOT_FOUND, str(error))
        except (DatabaseAway, DatabaseRefused, _Stranger) as error:
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except FleetError as error:
            log.warning("%a: %s", self.path, error)
            self._say(HTTPStatus.BAD_GATEWAY, str(error))

    def _check_caller(self) -> None:
        # Of a certificate by our authority, so a number.
        serial = int(self.request.getpeercert()["serialNumber"], 16)
        if self.server.doorkeeper.admitted(serial) is None:
            raise _Stranger("no builder that the fleet believes has this certificate: run `ansible-playbook provision.yml`")

    def _send_file(self, project: NormalizedName, filename: str) -> None:
        offer = self.server.offers.file(project, filename)
        if offer.path:
            return self._send_own(offer.path)
        asked = {"Range": self.headers["Range"]} if "Range" in self.headers else {}
        answer = self.server.files.ask(offer.url, asked, self.command)
        try:
            if self.command == "HEAD" and answer.status in _NO_HEAD:
                # In the one form that uv knows: it asks otherwise then.
                return self._say(HTTPStatus.METHOD_NOT_ALLOWED, "upstream knows no HEAD")
            if answer.status not in _ABOUT_THE_FILE:
                raise UpstreamError(f"upstream answers {answer.status} for {filename}: may the index host read it?")
            told = {name: answer.headers[name] for name in _PASSED_ON if name in answer.headers}
            self._begin(answer.status, told)
            if self.command != "HEAD":
                self._pass_on(answer)
        finally:
            answer.close()
        return None

    def _pass_on(self, answer: urllib3.BaseHTTPResponse) -> None:
        try:
            for piece in answer.stream(_CHUNK, decode_content=False):
                self.wfile.write(piece)
        except urllib3.exceptions.HTTPError as error:
            # Its status is sent: whoever reads sees an end before the end.
            self.close_connection = True
            log.warning("%a: upstream breaks off: %s", self.path, error)

    def _send_own(self, path: Path) -> None:
        try:
            file = path.open("rb")
        except OSError as error:
            raise BadInput(f"{path} cannot be read ({error.strerror}): mend its permissions") from error
        with file:
            size = os.fstat(file.fileno()).st_size
            self._begin(HTTPStatus.OK, {"Content-Type": "application/octet-stream", "Content-Length": str(size)})
            if self.command != "HEAD":
                shutil.copyfileobj(file, self.wfile)

    def _say(self, status: HTTPStatus, words: str) -> None:
        again = {"Retry-After": _ASKED_AGAIN} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
        self._send(status, {"Content-Type": "text/plain; charset=utf-8", **again}, f"{words}\n".encode())

    def _send(self, status: HTTPStatus, headers: dict[str, str], body: bytes) -> None:
        self._begin(status, {**headers, "Content-Length": str(len(body))})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _begin(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        if "Content-Length" not in headers:
            headers = {**headers, "Connection": "close"}
            self.close_connection = True
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing of what went well."""


class _Stranger(Exception):
    """Somebody with a certificate by our authority whom the fleet does not believe."""

"""An upstream whose certificate an authority of one's own signed is believed once the operating system believes that authority."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from piwheels_builder import certificates
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.errors import FleetError

PAGE = b'{"meta": {"api-version": "1.1"}, "name": "demo", "versions": [], "files": []}'


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A certificate that signs itself, for the server at 127.0.0.1; its key beside it."""
    subject = ["-subj", "/CN=demo", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", *subject]
    subprocess.run([*made, "-keyout", tmp_path / "key.pem", "-out", tmp_path / "ca.pem"], check=True, capture_output=True)
    return tmp_path / "ca.pem"


@pytest.fixture
def upstream(authority: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, authority.with_name("key.pem"))
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}/simple/"
        finally:
            server.shutdown()
            thread.join()


def fetch(url: str) -> object:
    with UpstreamIndex(url, backoff_seconds=0) as index:
        return index.page(canonicalize_name("demo"))


def test_what_the_system_trusts_is_trusted(upstream: str, authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(FleetError, match="certificate"):
        fetch(upstream)
    monkeypatch.setattr(certificates, "_SYSTEM", authority)
    assert fetch(upstream)


def test_a_system_without_a_bundle_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "_SYSTEM", tmp_path / "missing")
    assert certificates.trusted_bundle() is None

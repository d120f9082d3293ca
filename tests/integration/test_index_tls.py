"""The index over TLS with a certificate of the fleet's authority, the headers of every answer, and the logs of failures."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from piwheels_builder.authority import Authority, Server, make
from tests.support.published import free_port, nginx_serving, public_directory

UPSTREAM = "https://upstream.invalid/simple"
LOG = b"error: command 'gcc' failed\n" * 50


@dataclass(frozen=True)
class Index:
    """Its URLs without and with TLS, the certificate to check it by, and where that comes from."""

    url: str
    tls_url: str
    certificate: str
    tls: str

    def get(self, path: str, *, plain: bool = False, accepted: str = "*") -> requests.Response:
        url = (self.url if plain else self.tls_url) + path
        return requests.get(url, headers={"Accept-Encoding": accepted}, verify=self.certificate, allow_redirects=False, timeout=10)


@pytest.fixture(scope="module", params=["self_signed", "own", "acme"])
def index(request: pytest.FixtureRequest) -> Iterator[Index]:
    with public_directory() as place:
        write_tree(place)
        authority, server = Authority(place / "authority"), Server(place / "tls", ["127.0.0.1"])
        make(authority, server)
        port = free_port()
        nginx = nginx_serving(
            place / "published",
            place,
            UPSTREAM,
            index_tls=request.param,
            index_listen_tls=[f"127.0.0.1:{port}"],
            index_certificate=server.certificate_path,
            index_certificate_key=server.key_path,
            index_acme_dir=place / "acme",
        )
        with nginx as url:
            yield Index(url, f"https://127.0.0.1:{port}", str(authority.certificate_path), request.param)


def write_tree(place: Path) -> None:
    files = {
        "acme/.well-known/acme-challenge/token": b"proof",
        "published/logs/sp/spidev/7.log.gz": gzip.compress(LOG),
        "published/logs/sp/spidev/notes.txt": b"no log",
        "published/simple/sp/spidev.html.gz": gzip.compress(b"<!DOCTYPE html><title>spidev</title>"),
    }
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)


def test_who_comes_without_tls_is_sent_there_only_where_clients_can_check_the_certificate(index: Index) -> None:
    answer = index.get("/simple/spidev/?a=b", plain=True)
    if index.tls == "self_signed":
        assert "spidev" in answer.text
    else:
        assert answer.status_code == 301
        assert answer.headers["Location"] == f"{index.tls_url}/simple/spidev/?a=b"


def test_an_acme_authority_finds_its_proof_without_tls(index: Index) -> None:
    answer = index.get("/.well-known/acme-challenge/token", plain=True)
    assert (answer.text == "proof") == (index.tls == "acme")


@pytest.mark.parametrize(
    "path", ["/simple/spidev/", "/simple/other/", "/logs/sp/spidev/7.log", "/nowhere", "/wheels/no", "/simple/A.b"]
)
def test_every_answer_has_the_headers_that_keep_browsers_from_harm(index: Index, path: str) -> None:
    headers = index.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
    assert headers["Server"] == "nginx"
    # A browser that was told so once could not come back to a fleet's own certificate.
    assert ("Strict-Transport-Security" in headers) == (index.tls != "self_signed")


@pytest.mark.parametrize("name", ["7.log", "7.log.gz"])
@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_logs_are_text_for_every_client(index: Index, name: str, accepted: str) -> None:
    answer = index.get(f"/logs/sp/spidev/{name}", accepted=accepted)
    assert answer.content == LOG
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert (answer.headers.get("Content-Encoding") == "gzip") == (accepted == "gzip")


@pytest.mark.parametrize("path", ["/logs/", "/logs/sp/spidev/notes.txt", "/logs/sp/spidev/8.log", "/logs/sp/SPIDEV/7.log"])
def test_nothing_else_is_served_as_a_log(index: Index, path: str) -> None:
    assert index.get(path).status_code == 404


def test_a_body_is_not_read(index: Index) -> None:
    answer = requests.post(f"{index.tls_url}/simple/spidev/", data=b"x" * 10_000, verify=index.certificate, timeout=10)
    assert answer.status_code == 413

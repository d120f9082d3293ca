"""The client of the upstream index against a real HTTP server that misbehaves."""

import gzip
import logging
import time
from collections.abc import Iterator

import pytest
from packaging.utils import canonicalize_name

from piwheels_builder.catalogue import transport
from piwheels_builder.catalogue import upstream as client
from piwheels_builder.catalogue.transport import TRIES
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.errors import BadInput, UnknownProject, UpstreamError
from tests.support.upstream import HTML, JSON, Upstream, serve_upstream

DEMO = canonicalize_name("demo")
PAGE = "/simple/demo/"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serve_upstream() as server:
        server.add_sdist("demo", "1.0")
        yield server


@pytest.fixture
def index(upstream: Upstream) -> Iterator[UpstreamIndex]:
    with UpstreamIndex(upstream.url.rstrip("/"), backoff_seconds=0.01) as index:
        yield index


def filenames(index: UpstreamIndex) -> list[str]:
    page = index.page(DEMO)
    assert page is not None
    return [file.filename for file in page.files]


def test_a_page(upstream: Upstream, index: UpstreamIndex) -> None:
    page = index.page(DEMO)
    assert page is not None
    (file,) = page.files
    assert file.url == upstream.url.replace("/simple/", "/files/demo/demo-1.0.tar.gz")
    assert (page.serial, page.etag, file.size) == (1, None, file.size)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500, "times": 3},
        {"status": 503},
        {"status": 429, "headers": {"Retry-After": "0"}, "times": 2},
        {"reset": True},
        {"truncated": True, "times": 2},
    ],
)
def test_what_passes_is_tried_again(upstream: Upstream, index: UpstreamIndex, fault: dict[str, object]) -> None:
    upstream.fail(PAGE, **fault)
    assert filenames(index) == ["demo-1.0.tar.gz"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 500}, "answers 500 after 5 tries"),
        ({"status": 429, "headers": {"Retry-After": "0"}}, "answers 429 after 5 tries"),
        ({"reset": True}, "cannot be fetched"),
        ({"truncated": True}, "breaks off"),
    ],
)
def test_what_stays_is_a_temporary_error(upstream: Upstream, index: UpstreamIndex, fault: dict[str, object], words: str) -> None:
    upstream.fail(PAGE, times=1000, **fault)
    with pytest.raises(UpstreamError, match=words) as raised:
        index.page(DEMO)
    assert raised.value.temporary
    assert len(upstream.requests) == TRIES


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"body": b"{garbage"}, "not a project page"),
        ({"body": b"%PDF", "content_type": "application/pdf"}, "application/pdf"),
        ({"body": b'{"meta": {"api-version": "2.0"}}'}, "simple API"),
        ({"status": 403}, "answers 403"),
        ({"status": 406}, "answers 406"),
        ({"status": 302, "headers": {"Location": "ftp://elsewhere.invalid/"}}, "redirects"),
        ({"status": 302, "headers": {"Location": "file:///etc/passwd"}}, "redirects"),
        ({"status": 301, "headers": {"Location": PAGE}}, "redirects"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(
    upstream: Upstream, index: UpstreamIndex, fault: dict[str, object], words: str
) -> None:
    upstream.fail(PAGE, times=1000, **fault)
    with pytest.raises(UpstreamError, match=words) as raised:
        index.page(DEMO)
    assert not raised.value.temporary


@pytest.mark.parametrize("status", [404, 410])
def test_an_unknown_project(upstream: Upstream, index: UpstreamIndex, status: int) -> None:
    upstream.fail(PAGE, status=status)
    with pytest.raises(UnknownProject, match=str(status)):
        index.page(DEMO)


def test_a_redirect_is_followed_and_links_are_relative_to_where_it_led(upstream: Upstream, index: UpstreamIndex) -> None:
    upstream.change_file("demo", "demo-1.0.tar.gz", url="../relative.tar.gz")
    upstream.fail("/simple/moved/", status=302, headers={"Location": PAGE})
    upstream.add_project("moved")
    with pytest.raises(UpstreamError, match="page of 'demo'"):
        index.page(canonicalize_name("moved"))
    page = index.page(DEMO)
    assert page is not None
    assert page.files[0].url == upstream.url + "relative.tar.gz"


def test_no_wait_is_longer_than_the_limit(upstream: Upstream, index: UpstreamIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LONGEST_WAIT_SECONDS", 0.2)
    upstream.fail(PAGE, status=429, headers={"Retry-After": "3600"})
    began = time.monotonic()
    assert filenames(index) == ["demo-1.0.tar.gz"]
    assert 0.2 <= time.monotonic() - began < 10


def test_an_upstream_that_says_nothing_is_given_up(
    upstream: Upstream, index: UpstreamIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUTS", (5, 0.1))
    upstream.fail(PAGE, delay=0.5, times=1000)
    with pytest.raises(UpstreamError, match="cannot be fetched") as raised:
        index.page(DEMO)
    assert raised.value.temporary


def test_a_body_is_held_to_its_limit_however_small_it_travels(
    upstream: Upstream, index: UpstreamIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MOST_BYTES", 1_000_000)
    bomb = gzip.compress(b"0" * 10_000_000)
    assert len(bomb) < client.MOST_BYTES
    upstream.fail(PAGE, body=bomb, headers={"Content-Encoding": "gzip"})
    with pytest.raises(UpstreamError, match="more than 1000000 bytes") as raised:
        index.page(DEMO)
    assert not raised.value.temporary


def test_an_answer_that_never_ends_is_given_up(upstream: Upstream, index: UpstreamIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WHOLE_ANSWER_SECONDS", -1)
    with pytest.raises(UpstreamError, match="seconds to answer"):
        index.page(DEMO)
    assert len(upstream.requests) == 1


def test_no_server_at_all() -> None:
    with serve_upstream() as gone:
        url = gone.url
    with UpstreamIndex(url, backoff_seconds=0.01) as index, pytest.raises(UpstreamError, match="cannot be fetched") as raised:
        index.page(DEMO)
    assert raised.value.temporary


def test_etags(upstream: Upstream, index: UpstreamIndex) -> None:
    upstream.etags = True
    page = index.page(DEMO)
    assert page is not None
    assert index.page(DEMO, etag=page.etag) is None
    upstream.add_sdist("demo", "2.0")
    assert index.page(DEMO, etag=page.etag) is not None


def test_an_html_index(upstream: Upstream, index: UpstreamIndex) -> None:
    upstream.html = True
    page = index.page(DEMO)
    assert page is not None
    assert page.files[0].sha256 is not None
    assert (page.files[0].size, page.serial) == (None, None)


def names(index: UpstreamIndex) -> list[str]:
    with index.listing() as listing:
        assert listing is not None
        return [project.name for project in listing.projects]


def test_the_list_of_all_projects_is_asked_for_once(upstream: Upstream, index: UpstreamIndex) -> None:
    upstream.etags = True
    with index.listing() as listing:
        assert listing is not None
        assert list(listing.projects) == [("demo", 1)]
        etag = listing.etag
    with index.listing(etag) as unchanged:
        assert unchanged is None
    upstream.add_sdist("demo", "2.0")
    with index.listing(etag) as changed:
        assert changed is not None
        assert list(changed.projects) == [("demo", 2)]


def test_no_faster_than_asked_to(upstream: Upstream) -> None:
    began = time.monotonic()
    with UpstreamIndex(upstream.url, per_second=20) as index:
        for _ in range(5):
            index.page(DEMO)
    assert time.monotonic() - began >= 4 / 20


@pytest.mark.parametrize("html", [False, True])
def test_the_names_of_all_projects(upstream: Upstream, index: UpstreamIndex, html: bool) -> None:
    upstream.add_project("another")
    upstream.html = html
    assert names(index) == ["another", "demo"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON, b"garbage"),
        (JSON, b"{}"),
        (JSON, b'{"projects": [1]}'),
        (JSON, b'{"projects": [{"name": "a"}, {"name": "b"'),
        (JSON, b'{"projects": [{"name": "a"}]'),
        (JSON, b'{"meta": {"api-version": "2.0"}, "projects": []}'),
        (JSON, b'{"projects": ' + b"[" * 100_000),
        (HTML, b"\x80<a href=1>x"),
    ],
)
def test_a_list_of_projects_that_is_none(upstream: Upstream, index: UpstreamIndex, content_type: str, body: bytes) -> None:
    upstream.fail("/simple/", body=body, content_type=content_type)
    if content_type == HTML:
        assert names(index) == ["x"]
    else:
        with pytest.raises(UpstreamError, match="list of all projects"):
            names(index)


def test_credentials_are_sent_and_never_shown(upstream: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = upstream.url.replace("http://", "http://me:pa%20ss@")
    with UpstreamIndex(url, backoff_seconds=0.01) as index:
        page = index.page(DEMO)
        upstream.fail(PAGE, status=500, times=1000)
        with pytest.raises(UpstreamError) as raised:
            index.page(DEMO)
    assert page is not None
    assert upstream.requests[0][1]["Authorization"] == "Basic bWU6cGEgc3M="
    for told in (str(raised.value), index.url, page.files[0].url, caplog.text):
        assert "pa%20ss" not in told


@pytest.mark.parametrize("url", ["file:///srv/simple", "simple", "http://", "http://[broken", "ftp://host/simple"])
def test_what_cannot_be_an_index(url: str) -> None:
    with pytest.raises(BadInput, match="upstream index"):
        UpstreamIndex(url)

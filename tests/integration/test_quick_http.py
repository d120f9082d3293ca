"""The quick way to a page: what comes by it, and what it leaves to the other."""

import gzip
import time
from collections.abc import Iterator

import certifi
import pytest
from packaging.utils import canonicalize_name

from piwheels_builder.catalogue import quick_http, transport
from piwheels_builder.catalogue.quick_http import QuickHttp
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.errors import UnknownProject
from tests.support.upstream import Upstream, serve_upstream

DEMO = canonicalize_name("demo")
PAGE = "/simple/demo/"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serve_upstream() as server:
        server.add_sdist("demo", "1.0")
        yield server


@pytest.fixture
def quick(upstream: Upstream) -> Iterator[QuickHttp]:
    quick = QuickHttp(upstream.url, certifi.where(), 1, 10)
    yield quick
    quick.close()


def test_a_page_comes_with_what_the_caller_asks_about(upstream: Upstream, quick: QuickHttp) -> None:
    upstream.etags = True
    url = f"{upstream.url}demo/"
    answer = quick.get(url, {"Accept": "application/vnd.pypi.simple.v1+json"})
    assert answer is not None
    assert (answer.status, answer.url, b"demo-1.0.tar.gz" in answer.body) == (200, url, True)
    for _ in range(2):
        again = quick.get(url, {"If-None-Match": answer.etag or ""})
        assert again is not None
        assert (again.status, again.body) == (304, b"")


def test_a_packed_page_is_unpacked(upstream: Upstream, quick: QuickHttp) -> None:
    upstream.fail(PAGE, body=gzip.compress(b"a page"), headers={"Content-Encoding": "gzip"})
    answer = quick.get(f"{upstream.url}demo/", {})
    assert answer is not None
    assert answer.body == b"a page"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param({"reset": True}, id="reset"),
        pytest.param({"truncated": True}, id="truncated"),
        pytest.param({"delay": 1.5}, id="late"),
        pytest.param({"body": b"x" * 2000}, id="too long"),
        pytest.param({"body": gzip.compress(b"0" * 100_000), "headers": {"Content-Encoding": "gzip"}}, id="too long unpacked"),
        pytest.param({"body": gzip.compress(b"half a page")[:-4], "headers": {"Content-Encoding": "gzip"}}, id="half of a gzip"),
        pytest.param({"body": b"no gzip", "headers": {"Content-Encoding": "gzip"}}, id="no gzip"),
        pytest.param({"body": b"what?", "headers": {"Content-Encoding": "br"}}, id="brotli"),
    ],
)
def test_what_is_not_whole_is_left_and_the_next_page_comes(
    upstream: Upstream, quick: QuickHttp, fault: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick_http, "MOST_SENT", 1500)
    monkeypatch.setattr(quick_http, "MOST_UNPACKED", 50_000)
    upstream.fail(PAGE, **fault)
    assert quick.get(f"{upstream.url}demo/", {}) is None
    assert quick.get(f"{upstream.url}demo/", {}) is not None


def test_an_answer_that_takes_too_long_is_left(upstream: Upstream) -> None:
    hasty = QuickHttp(upstream.url, certifi.where(), 1, -1)
    assert hasty.get(f"{upstream.url}demo/", {}) is None
    hasty.close()


@pytest.mark.parametrize("fault", [{"status": 502}, {"reset": True}, {"truncated": True}], ids=str)
def test_who_reads_in_bulk_gets_what_is_left_the_other_way(upstream: Upstream, fault: dict[str, object]) -> None:
    upstream.fail(PAGE, **fault)
    with UpstreamIndex(upstream.url, backoff_seconds=0.01, in_bulk=True) as index:
        page = index.page(DEMO)
        assert page is not None
        assert [file.filename for file in page.files] == ["demo-1.0.tar.gz"]
        upstream.fail(PAGE, status=404)
        with pytest.raises(UnknownProject):
            index.page(DEMO)
    assert len(upstream.requests) == 3


def test_whoever_is_told_to_wait_waits_from_then_on(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LONGEST_WAIT_SECONDS", 0.2)
    with UpstreamIndex(upstream.url, backoff_seconds=0.01, in_bulk=True) as index:
        upstream.fail(PAGE, status=429)
        index.page(DEMO)
        upstream.fail(PAGE, status=429, headers={"Retry-After": "3600"})
        began = time.monotonic()
        index.page(DEMO)
    assert time.monotonic() - began >= 0.2
    assert len(upstream.requests) == 4


def test_redirects_are_met_twice_once(upstream: Upstream) -> None:
    upstream.fail(PAGE, status=302, headers={"Location": "/simple/demo/?"}, times=2)
    with UpstreamIndex(upstream.url, in_bulk=True) as index:
        assert index.page(DEMO) is not None
        assert len(upstream.requests) == 3
        upstream.fail(PAGE, status=302, headers={"Location": "/simple/demo/?"})
        assert index.page(DEMO) is not None
    assert len(upstream.requests) == 5


def test_credentials_are_sent(upstream: Upstream) -> None:
    with UpstreamIndex(upstream.url.replace("http://", "http://me:pass@"), in_bulk=True) as index:
        index.page(DEMO)
    assert upstream.requests[0][1]["Authorization"] == "Basic bWU6cGFzcw=="


def test_no_server_at_all() -> None:
    with serve_upstream() as gone:
        quick = QuickHttp(gone.url, certifi.where(), 1, 10)
    assert quick.get(f"{gone.url}demo/", {}) is None

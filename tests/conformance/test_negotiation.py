"""Which form of a page a client gets, and whether it gets it again."""

import gzip
import json
from urllib.parse import urlsplit

import pytest

from tests.conformance.index import HTML, HTML_V1, JSON, PIP, Index

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"
FORMS = (JSON, HTML_V1, HTML)
PAGES = ("listing", "project")


@pytest.fixture(params=PAGES)
def path(request: pytest.FixtureRequest, index: Index) -> str:
    return index.path(index.projects[0]) if request.param == "project" else urlsplit(index.url).path


@pytest.mark.must
def test_pep503_html_is_sent_to_who_asks_for_html(index: Index, path: str) -> None:
    reply = index.ask(path, Accept=HTML)
    assert (reply.status, reply.media_type) == (200, HTML)


@pytest.mark.must
def test_pep503_html_is_sent_to_who_asks_for_nothing(index: Index, path: str) -> None:
    reply = index.ask(path)
    assert (reply.status, reply.media_type) == (200, HTML)


@pytest.mark.should
def test_pep691_json_is_sent_to_who_asks_for_it(index: Index, path: str) -> None:
    reply = index.ask(path, Accept=JSON)
    assert (reply.status, reply.media_type) == (200, JSON)
    assert json.loads(reply.body)["meta"]["api-version"].startswith("1.")


@pytest.mark.should
def test_pep691_html_of_v1_is_sent_to_who_asks_for_it(index: Index, path: str) -> None:
    reply = index.ask(path, Accept=HTML_V1)
    assert (reply.status, reply.media_type) == (200, HTML_V1)


@pytest.mark.must
def test_pep691_a_browser_gets_a_form_it_named_or_accepts(index: Index, path: str) -> None:
    reply = index.ask(path, Accept=BROWSER)
    assert (reply.status, reply.media_type) == (200, HTML)


@pytest.mark.house
@pytest.mark.parametrize("form", ["json", "html"])
def test_pep691_latest_is_the_newest_version(index: Index, path: str, form: str) -> None:
    reply = index.ask(path, Accept=f"application/vnd.pypi.simple.latest+{form}")
    assert (reply.status, reply.media_type) == (200, f"application/vnd.pypi.simple.v1+{form}")


@pytest.mark.should
@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (PIP, JSON),
        (f"{JSON};q=0.1, {HTML};q=0.9", HTML),
        (f"{HTML};q=0.1, {JSON};q=0.9", JSON),
        (f"{JSON};q=0.09, {HTML};q=0.1", HTML),
        (f"{JSON};q=0, {HTML};q=0.001", HTML),
        (f"{HTML_V1};q=0.3,{JSON};q=0.2,{HTML};q=0.1", HTML_V1),
        (f"{HTML};q=0, */*", JSON),
        (f"{JSON};q=0, */*", HTML),
        (JSON.upper(), JSON),
    ],
)
def test_rfc9110_12_4_2_quality_values_decide(index: Index, path: str, accept: str, expected: str) -> None:
    reply = index.ask(path, Accept=accept)
    assert (reply.status, reply.media_type) == (200, expected)


@pytest.mark.should
@pytest.mark.parametrize("accept", ["image/png", "application/vnd.pypi.simple.v9+json", "*/*;q=0"])
def test_pep691_no_acceptable_form_is_said_to_be_so(index: Index, path: str, accept: str) -> None:
    assert index.ask(path, Accept=accept).status in (300, 406)


@pytest.mark.should
@pytest.mark.parametrize("accept", [JSON, HTML])
def test_rfc9110_12_5_5_vary_names_accept_where_it_decides(index: Index, path: str, accept: str) -> None:
    if index.ask(path, Accept=JSON).media_type != JSON:
        pytest.skip("there is one form only")
    assert {"accept", "*"} & index.ask(path, Accept=accept).vary


@pytest.mark.must
@pytest.mark.parametrize("accept", FORMS)
def test_rfc9110_9_3_2_head_is_get_without_its_body(index: Index, path: str, accept: str) -> None:
    whole, head = index.ask(path, Accept=accept), index.ask(path, "HEAD", Accept=accept)
    assert (head.status, head.headers.get("content-type")) == (whole.status, whole.headers.get("content-type"))
    assert head.body == b""


@pytest.mark.should
@pytest.mark.parametrize("accept", FORMS)
def test_rfc9110_13_1_2_a_page_that_did_not_change_is_not_sent_again(index: Index, path: str, accept: str) -> None:
    first = index.ask(path, Accept=accept, Accept_Encoding="gzip")
    assert first.headers.get("etag"), "there is no ETag"
    again = index.ask(path, Accept=accept, Accept_Encoding="gzip", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")


@pytest.mark.should
def test_rfc9110_8_8_3_forms_have_etags_of_their_own(index: Index, path: str) -> None:
    found = {form: index.ask(path, Accept=form) for form in (JSON, HTML)}
    if found[JSON].media_type != JSON:
        pytest.skip("there is one form only")
    assert found[JSON].headers.get("etag")
    assert found[JSON].headers["etag"] != found[HTML].headers.get("etag")


@pytest.mark.house
@pytest.mark.parametrize("accept", FORMS)
def test_rfc9110_12_5_3_a_page_comes_compressed_to_who_takes_it(index: Index, path: str, accept: str) -> None:
    packed = index.ask(path, Accept=accept, Accept_Encoding="gzip")
    plain = index.ask(path, Accept=accept, Accept_Encoding="identity")
    assert packed.headers.get("content-encoding") == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert "accept-encoding" in packed.vary


@pytest.mark.must
@pytest.mark.parametrize("accept", FORMS)
def test_rfc9110_12_5_3_a_page_comes_plain_to_who_wants_it_so(index: Index, path: str, accept: str) -> None:
    plain = index.ask(path, Accept=accept, Accept_Encoding="identity")
    assert plain.headers.get("content-encoding", "identity") == "identity"

"""Which URLs there are, and where other spellings and other projects lead."""

import json
import re
from urllib.parse import urljoin, urlsplit

import pytest

from tests.conformance.index import HTML, HTML_V1, JSON, PIP, REDIRECTS, Index

ABSENT = "nobody-has-a-project-of-this-name"


def followed(index: Index, path: str) -> tuple[int, str]:
    """Status and path at the end of the redirects within this server."""
    for _ in range(10):
        reply = index.ask(path, Accept=PIP)
        if reply.status not in REDIRECTS:
            return reply.status, path
        target = urlsplit(urljoin(urljoin(index.url, path), reply.headers["location"]))
        assert target.netloc in ("", urlsplit(index.url).netloc), f"{path} leads elsewhere: {reply.headers['location']}"
        path = target.path
    raise AssertionError("redirects without an end")


@pytest.mark.must
def test_pep503_the_listing_has_an_anchor_for_every_project(index: Index) -> None:
    listing = index.listing()
    for project in index.projects:
        (anchor,) = [anchor for anchor in listing.anchors if index.normalized(anchor["text"]) == project]
        assert urljoin(index.url, anchor["href"]) == urljoin(index.url, f"{project}/")


@pytest.mark.must
def test_pep503_pages_are_html5(index: Index) -> None:
    for page in (index.listing(), index.html(index.projects[0])):
        assert page.text.lstrip().lower().startswith("<!doctype html>")


@pytest.mark.should
def test_pep691_the_listing_in_json_names_every_project(index: Index) -> None:
    reply = index.ask(urlsplit(index.url).path, Accept=JSON)
    assert reply.media_type == JSON
    assert set(index.projects) <= {index.normalized(project["name"]) for project in json.loads(reply.body)["projects"]}


@pytest.mark.should
@pytest.mark.parametrize("of", ["listing", "project"])
def test_pep503_a_url_without_its_slash_is_redirected(index: Index, of: str) -> None:
    path = index.path(index.projects[0]) if of == "project" else urlsplit(index.url).path
    if path == "/":
        pytest.skip("it is the root")
    assert index.ask(path[:-1], Accept=PIP).status in REDIRECTS
    assert followed(index, path[:-1]) == (200, path)


@pytest.mark.house
@pytest.mark.parametrize("change", ["upper", "underscore", "dots", "all"])
def test_pep503_other_spellings_of_a_name_lead_to_the_normalized_one(index: Index, change: str) -> None:
    project = next((name for name in index.projects if "-" in name), index.projects[0])
    spelled = {
        "upper": project.upper(),
        "underscore": project.replace("-", "_"),
        "dots": project.replace("-", ".-."),
        "all": project.title().replace("-", "._"),
    }[change]
    assert followed(index, index.path(spelled)) == (200, index.path(project))


@pytest.mark.must
def test_pep503_an_absent_project_is_absent_or_elsewhere(index: Index) -> None:
    reply = index.ask(index.path(ABSENT), Accept=PIP)
    if reply.status in REDIRECTS:
        assert urlsplit(reply.headers["location"]).path.rstrip("/").endswith(ABSENT)
        assert urlsplit(reply.headers["location"]).netloc != urlsplit(index.url).netloc
    else:
        assert reply.status == 404


@pytest.mark.house
@pytest.mark.parametrize(("accept", "expected"), [(PIP, JSON), (HTML_V1, HTML_V1), (HTML, HTML)])
def test_rfc9110_15_5_5_an_absence_is_told_in_the_form_asked_for(index: Index, accept: str, expected: str) -> None:
    reply = index.ask(index.path("-" if index.is_ours else ABSENT), Accept=accept)
    if reply.status in REDIRECTS:
        pytest.skip("absent projects are elsewhere")
    assert (reply.status, reply.media_type) == (404, expected)


@pytest.mark.house
def test_rfc9110_10_2_4_the_server_does_not_tell_its_version(index: Index) -> None:
    assert not re.search(r"\d", index.ask(urlsplit(index.url).path).headers.get("server", ""))

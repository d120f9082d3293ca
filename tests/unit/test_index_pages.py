"""Project pages as HTML and JSON, read back by an independent reader (pypi-simple) and by eye."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from jinja2 import Environment, PackageLoader
from pypi_simple import ProjectPage as ReadPage

from piwheels_builder.index.pages import PageFile, ProjectPage, listing_html, listing_json, page_html, page_json

URL = "http://index.invalid/simple/demo/"
FULL = PageFile(
    filename="demo-1.0-py3-none-any.whl",
    url="/wheels/de/demo/demo-1.0-py3-none-any.whl",
    sha256="a" * 64,
    size=1000,
    requires_python=">=3.8,<4",
    yanked=True,
    yanked_reason='it "breaks" <everything> & more',
    upload_time=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    metadata_sha256="b" * 64,
    provenance="http://upstream.invalid/p?a=1&b=2",
)
BARE = PageFile("demo-1.0.tar.gz", "http://upstream.invalid/demo-1.0.tar.gz?a=1&b=2", size=5)


def a_page(*files: PageFile, **fields: Any) -> ProjectPage:
    return ProjectPage("demo", files, ("1.0",), **fields)


def as_json(page: ProjectPage) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(page_json(page))
    return content


def test_json_has_every_key_of_its_version() -> None:
    content = as_json(a_page(FULL, BARE, status="deprecated", status_reason="use other"))
    assert content["meta"] == {"api-version": "1.4"}
    assert (content["name"], content["versions"]) == ("demo", ["1.0"])
    # At the top level, not inside meta: the specification's text, against its example.
    assert content["project-status"] == {"status": "deprecated", "reason": "use other"}
    full, bare = content["files"]
    assert full == {
        "filename": "demo-1.0-py3-none-any.whl",
        "url": "/wheels/de/demo/demo-1.0-py3-none-any.whl",
        "hashes": {"sha256": "a" * 64},
        "size": 1000,
        "requires-python": ">=3.8,<4",
        "yanked": 'it "breaks" <everything> & more',
        "upload-time": "2026-01-02T03:04:05.678901Z",
        "core-metadata": {"sha256": "b" * 64},
        "data-dist-info-metadata": {"sha256": "b" * 64},
        "provenance": "http://upstream.invalid/p?a=1&b=2",
    }
    assert bare == {"filename": BARE.filename, "url": BARE.url, "hashes": {}, "size": 5, "yanked": False, "core-metadata": False}


@pytest.mark.parametrize("said", ["", '"quoted" \\ and', "\0\x1f\x7f\r\n\t", "</script>\u2028", "\u00e9\U0001f600", "\ud800"])
@pytest.mark.parametrize("result", [None, "missing_library"])
def test_json_says_whatever_strangers_wrote(said: str, result: str | None) -> None:
    file = FULL._replace(requires_python=said, yanked_reason=said, provenance=said, import_result=result)
    (told,) = as_json(a_page(file._replace(libraries=(('lib"a.so', "liba"), ("libb.so", None)))))["files"]
    assert (told["requires-python"], told["yanked"], told["provenance"]) == (said, said or True, said)
    assert told.get("_import") == result
    assert (told["_libraries"], told["_apt"]) == ({'lib"a.so': "liba", "libb.so": None}, "sudo apt install liba")


def test_html_escapes_what_strangers_wrote() -> None:
    html = page_html(a_page(FULL, BARE)).decode()
    assert 'data-requires-python="&gt;=3.8,&lt;4"' in html
    assert "<everything>" not in html
    assert 'data-core-metadata="sha256=' + "b" * 64 in html
    # Its older name: pips that know only that one, Debian 12's for example, refuse demo.a where the metadata say demo-a.
    assert "data-dist-info-metadata" not in html
    assert 'data-provenance="http://upstream.invalid/p?a=1&amp;b=2"' in html
    assert '<meta name="pypi:repository-version" content="1.4">' in html
    assert html.count("data-yanked") == 1


@pytest.mark.parametrize("kind", ["html", "json"])
def test_both_say_the_same_to_a_reader(kind: str) -> None:
    page = a_page(FULL, BARE)
    if kind == "html":
        read = ReadPage.from_html("demo", page_html(page), URL)
    else:
        read = ReadPage.from_json_data(json.loads(page_json(page)), URL)
    full, bare = read.packages
    assert full.url == "http://index.invalid/wheels/de/demo/demo-1.0-py3-none-any.whl"
    assert full.digests == {"sha256": "a" * 64}
    assert full.requires_python == ">=3.8,<4"
    assert (full.is_yanked, full.yanked_reason) == (True, 'it "breaks" <everything> & more')
    assert (full.has_metadata, full.metadata_digests) == (True, {"sha256": "b" * 64})
    assert (bare.url, bare.digests, bare.is_yanked) == (BARE.url, {}, False)
    assert not bare.has_metadata


@pytest.mark.parametrize(("reason", "in_json", "in_html"), [(None, True, 'data-yanked=""'), ("no", "no", 'data-yanked="no"')])
def test_a_yank_with_and_without_a_reason(reason: str | None, in_json: object, in_html: str) -> None:
    page = a_page(PageFile("demo-1.0.tar.gz", "x", size=1, yanked=True, yanked_reason=reason))
    assert as_json(page)["files"][0]["yanked"] == in_json
    assert in_html in page_html(page).decode()


def test_times_are_told_in_utc() -> None:
    there = timezone(timedelta(hours=5))
    page = a_page(PageFile("demo-1.0.tar.gz", "x", size=1, upload_time=datetime(2026, 1, 2, 3, tzinfo=there)))
    assert as_json(page)["files"][0]["upload-time"] == "2026-01-01T22:00:00.000000Z"


def test_without_every_size_the_json_is_of_the_first_version() -> None:
    content = as_json(a_page(FULL, PageFile("demo-1.0.tar.gz", "x")))
    assert content["meta"] == {"api-version": "1.0"}
    assert as_json(a_page())["meta"] == {"api-version": "1.4"}


def test_status_in_html_and_a_status_of_our_own_nowhere() -> None:
    html = page_html(a_page(status="archived", status_reason="done & over")).decode()
    assert '<meta name="pypi:project-status" content="archived">' in html
    assert '<meta name="pypi:project-status-reason" content="done &amp; over">' in html
    gone = a_page(status="gone")
    assert "project-status" not in page_html(gone).decode()
    assert "project-status" not in as_json(gone)


def test_a_quarantined_project_cannot_offer_files() -> None:
    with pytest.raises(ValueError, match="quarantined"):
        a_page(FULL, status="quarantined")


def test_listings() -> None:
    assert json.loads(listing_json(["a", "demo"])) == {
        "meta": {"api-version": "1.4"},
        "projects": [{"name": "a"}, {"name": "demo"}],
    }
    assert '<a href="demo/">demo</a><br>\n' in listing_html(["a", "demo"]).decode()


def test_the_same_page_is_the_same_bytes() -> None:
    assert page_html(a_page(FULL, BARE)) == page_html(a_page(FULL, BARE))
    assert page_json(a_page(FULL, BARE)) == page_json(a_page(FULL, BARE))


def test_a_file_is_one_line_of_html() -> None:
    full = FULL._replace(libraries=(("libblas.so.3", "libblas3&"), ("libodd.so", None)))
    lines = page_html(a_page(full, BARE, withdrawn=(("demo-0.9-py3-none-any.whl", "a <leak>"),))).decode().split("\n")
    assert lines[9:] == [
        (
            f'<a href="{FULL.url}#sha256={FULL.sha256}" data-requires-python="&gt;=3.8,&lt;4"'
            ' data-yanked="it &quot;breaks&quot; &lt;everything&gt; &amp; more"'
            f' data-core-metadata="sha256={FULL.metadata_sha256}" data-provenance="http://upstream.invalid/p?a=1&amp;b=2">'
            f"{FULL.filename}</a> <code>sudo apt install libblas3&amp;</code><br>"
        ),
        '<a href="http://upstream.invalid/demo-1.0.tar.gz?a=1&amp;b=2">demo-1.0.tar.gz</a><br>',
        "<p>Withdrawn: demo-0.9-py3-none-any.whl: a &lt;leak&gt;</p>",
        "</body>",
        "</html>",
    ]


@pytest.mark.parametrize("status", [(None, None), ("archived", None), ("archived", "done & <over>"), ("deprecated", None)])
def test_a_page_is_what_the_template_says_of_it(status: tuple[str | None, str | None]) -> None:
    for name in ("demo", "other"):
        page = ProjectPage(name, (FULL, BARE), ("1.0",), *status)
        links = "".join(line for line in page_html(page).decode().splitlines(keepends=True) if line.startswith("<a "))
        template = Environment(
            loader=PackageLoader("piwheels_builder.index", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True
        )
        whole = template.get_template("page.html.j2").render(page=page, links=links, api_version="1.4")
        assert links.count("<br>") == 2
        assert page_html(page).decode() == whole


def test_a_hash_that_is_none_is_escaped_all_the_same() -> None:
    text = page_html(a_page(FULL._replace(sha256='"><b>', metadata_sha256="<i>"))).decode()
    assert "<b>" not in text
    assert "<i>" not in text

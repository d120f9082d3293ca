"""nginx and the trial server give the same answers: one table of requests for both."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from piwheels_builder.index.layout import SimpleRoot, wheel_path, wheel_url
from piwheels_builder.index.pages import PageFile, ProjectPage, listing_html, listing_json, page_html, page_json
from piwheels_builder.index.tree import open_tree
from tests.support.http_client import Client
from tests.support.published import nginx_serving, public_directory, trial_serving

UPSTREAM = "http://upstream.invalid/simple"
JSON = "application/vnd.pypi.simple.v1+json"
HTML_V1 = "application/vnd.pypi.simple.v1+html"
HTML = "text/html"
PIP = f"{JSON}, {HTML_V1}; q=0.1, text/html; q=0.01"
UV = f"{JSON}, {HTML_V1};q=0.2, text/html;q=0.01"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
CHROME = f"{BROWSER.removesuffix('*/*;q=0.8')}image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
WHEEL = "demo-1.0+local.1-py3-none-any.whl"
BODY = bytes(range(256)) * 40


@pytest.fixture(scope="module", params=["nginx", "trial"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    with public_directory() as place:
        tree = place / "published"
        page = ProjectPage("demo", (PageFile(WHEEL, wheel_url("demo", WHEEL), "a" * 64, len(BODY)),), ("1.0+local.1",))
        with open_tree(tree) as writer:
            # demo has one page for all; what else stands on bookworm's page of x is told apart by its status.
            for project, root in (("demo", SimpleRoot()), ("x", SimpleRoot()), ("x", SimpleRoot("bookworm"))):
                shown = replace(page, status="archived") if root.os_release else page
                writer.write({root.page(project, "json"): page_json(shown), root.page(project, "html"): page_html(shown)})
            for root in (SimpleRoot(), SimpleRoot("bookworm")):
                names = ["demo", "x"]
                writer.write({root.listing("json"): listing_json(names), root.listing("html"): listing_html(names)})
            (writer.workshop / "wheel").write_bytes(BODY)
            for settings in (tree, tree / "bookworm"):
                (settings / "pip.conf").write_text("[global]\n")
            (writer.workshop / "METADATA").write_bytes(b"Name: demo\n")
            wheel = wheel_path("demo", WHEEL)
            writer.put([(writer.workshop / "METADATA", wheel.with_name(f"{WHEEL}.metadata")), (writer.workshop / "wheel", wheel)])
        private = ("Our.Own", "Twice__Own")
        serving = (
            nginx_serving(tree, place, UPSTREAM, private) if request.param == "nginx" else trial_serving(tree, UPSTREAM, private)
        )
        with serving as url:
            yield Client(url)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, HTML),
        ("", HTML),
        ("*/*", HTML),
        ("text/*", HTML),
        ("application/*", JSON),
        (PIP, JSON),
        (UV, JSON),
        (BROWSER, HTML),
        (JSON, JSON),
        (JSON.upper(), JSON),
        ("application/vnd.pypi.simple.latest+json", JSON),
        ("application/vnd.pypi.simple.latest+html", HTML_V1),
        (HTML_V1, HTML_V1),
        (f"{HTML_V1}, text/html", HTML_V1),
        (CHROME, HTML),
        ("text/html,application/xhtml+xml,image/of-tomorrow,*/*", HTML),
        (f"text/html,application/xhtml+xml,{JSON.upper()}", JSON),
        (f"text/html,application/xhtml+xml,{HTML_V1};q=0.9", HTML),
        ("text/html,*/*;q=0.1;v=y", HTML),
        (f"text/html, {JSON}", JSON),
        (f"{JSON}, */*", JSON),
        (f"{JSON}, */*;q=0.1", JSON),
        (f"{JSON};q=0.5, {HTML_V1};q=0.51", HTML_V1),
        (f"{JSON};q=0.5, text/html;q=0.501", HTML),
        (f"{JSON};q=0.5, text/html;q=0.5", JSON),
        (f"{JSON};q=0.09, text/html;q=0.1", HTML),
        (f"{JSON};q=0, */*", HTML),
        (f"{JSON};q=0.0, text/html;q=0.001", HTML),
        (f"{JSON};q=1.000;v=1,text/html;level=1;q=0.999", JSON),
        (f"text/html;q=0.2,{JSON};profile=x;q=0.1", HTML),
        (f"{HTML_V1};q=0.3,{JSON};q=0.2,text/html;q=0.1", HTML_V1),
        ("text/html;q=0, */*", JSON),
        ("application/json", None),
        ("application/vnd.pypi.simple.v2+json", None),
        ("image/png, text/plain;q=0.3", None),
        ("*/*;q=0", None),
        (f"{JSON};q=0", None),
        (f"{JSON};q=much", None),
        (f"x{JSON}", None),
    ],
)
@pytest.mark.parametrize("path", ["/simple/demo/", "/bookworm/simple/x/", "/simple/"])
def test_negotiation(client: Client, path: str, accept: str | None, expected: str | None) -> None:
    reply = client.get(path, **({} if accept is None else {"Accept": accept}))
    assert "Accept" in reply.headers["vary"].replace(" ", "").split(",")
    if expected is None:
        assert reply.status == 406
    else:
        assert (reply.status, reply.media_type) == (200, expected)
        assert reply.body.startswith(b"{" if expected == JSON else b"<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/", 302, "/simple/"),
        ("/simple", 301, "/simple/"),
        ("/bookworm/simple", 301, "/bookworm/simple/"),
        ("/simple/demo", 301, "/simple/demo/"),
        ("/bookworm/simple/demo", 301, "/bookworm/simple/demo/"),
        ("/simple/ruamel.yaml/", 301, "/simple/ruamel-yaml/"),
        ("/simple/ruamel-_.yaml", 301, "/simple/ruamel-yaml/"),
        ("/simple/unknown/", 302, f"{UPSTREAM}/unknown/"),
        ("/simple/q/", 302, f"{UPSTREAM}/q/"),
        ("/trixie/simple/demo/", 302, f"{UPSTREAM}/demo/"),
        ("/simple/Our.Own/", 301, None),
        ("/simple/DEMO", 301, "/simple/demo/"),
        ("/bookworm/simple/X/", 301, "/bookworm/simple/x/"),
        ("/simple/our-own/", 404, None),
        ("/simple/twice-own/", 404, None),
        ("/simple/-demo/", 404, None),
        ("/simple/de%20mo/", 404, None),
        ("/simple/de/demo.json", 404, None),
        ("/simple/de/demo/", 404, None),
        ("/simple/de/demo.html.gz", 404, None),
        ("/simple/../wheels/", 404, None),
        ("/buster/simple/demo/", 404, None),
        ("/.as/json/simple/de/demo", 404, None),
        ("/.publishing/", 404, None),
        ("/wheels/", 404, None),
        ("/wheels/de/demo/", 404, None),
        ("/wheels/de/demo/other-1.0-py3-none-any.whl", 404, None),
        ("/wheels/../.publishing/x", 404, None),
    ],
)
def test_places_and_other_spellings(client: Client, path: str, status: int, location: str | None) -> None:
    reply = client.get(path, Accept=PIP)
    assert reply.status == status
    if location is not None:
        assert reply.headers["location"] == location


@pytest.mark.parametrize("accept", [PIP, HTML_V1, BROWSER, "image/png"])
@pytest.mark.parametrize(
    ("path", "location"), [("/simple/Demo", "/simple/demo/"), ("/bookworm/simple/d_emo/", "/bookworm/simple/d-emo/")]
)
def test_other_spellings_are_known_whatever_form_is_asked_for(client: Client, path: str, location: str, accept: str) -> None:
    reply = client.get(path, Accept=accept)
    assert (reply.status, reply.headers["location"]) == (301, location)


@pytest.mark.parametrize("root", ["", "/bookworm"])
def test_settings_are_text_to_copy(client: Client, root: str) -> None:
    told = client.get(f"{root}/pip.conf")
    assert (told.status, told.headers["content-type"], told.body) == (200, "text/plain; charset=utf-8", b"[global]\n")
    assert [client.get(f"{root}/{name}").status for name in ("uv.toml", "pip.conf/", "pipxconf")] == [404, 404, 404]


def test_no_spelling_of_a_private_project_goes_upstream(client: Client) -> None:
    for spelling in ("Our.Own", "our__own", "OUR-OWN", "our-own", "Our--Own", "our.own/"):
        path = f"/simple/{spelling}"
        for _ in range(4):
            reply = client.get(path, Accept=PIP)
            if reply.status == 404:
                break
            path = reply.headers["location"]
            assert path.startswith("/simple/"), spelling
        assert (path, reply.status) == ("/simple/our-own/", 404)


def test_a_page_comes_compressed_to_those_who_take_it(client: Client) -> None:
    packed = client.get("/simple/demo/", Accept=JSON, Accept_Encoding="gzip, deflate")
    plain = client.get("/simple/demo/", Accept=JSON)
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(packed.body) == plain.body
    assert {"Accept", "Accept-Encoding"} <= set(packed.headers["vary"].replace(" ", "").split(","))
    assert json.loads(plain.body)["files"][0]["url"] == "/wheels/de/demo/demo-1.0%2Blocal.1-py3-none-any.whl"


def test_an_os_release_has_a_page_of_its_own_only_where_it_differs(client: Client) -> None:
    pages = {path: json.loads(client.get(path, Accept=JSON).body) for path in ("/bookworm/simple/demo/", "/bookworm/simple/x/")}
    assert pages["/bookworm/simple/demo/"] == json.loads(client.get("/simple/demo/", Accept=JSON).body)
    assert pages["/bookworm/simple/x/"]["project-status"] == {"status": "archived"}
    # What the fleet does not build for has no pages, since what runs elsewhere may not run there.
    assert client.get("/trixie/simple/x/", Accept=JSON).status == 302


def test_a_page_is_not_sent_again_unless_it_changed(client: Client) -> None:
    first = client.get("/simple/demo/", Accept=JSON)
    again = client.get("/simple/demo/", Accept=JSON, If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert first.headers["cache-control"] == "public, max-age=60"


@pytest.mark.parametrize("name", [WHEEL, WHEEL.replace("+", "%2B")])
def test_wheels_come_whole_and_in_ranges_and_never_compressed(client: Client, name: str) -> None:
    path = f"/wheels/de/demo/{name}"
    whole = client.get(path, Accept_Encoding="gzip")
    assert (whole.status, whole.body, whole.headers["content-type"]) == (200, BODY, "application/octet-stream")
    assert "content-encoding" not in whole.headers
    assert whole.headers["accept-ranges"] == "bytes"
    assert "immutable" in whole.headers["cache-control"]
    for wanted, part in (("bytes=5-9", BODY[5:10]), ("bytes=-7", BODY[-7:]), (f"bytes={len(BODY) - 3}-", BODY[-3:])):
        ranged = client.get(path, Range=wanted, Accept_Encoding="identity")
        assert (ranged.status, ranged.body) == (206, part)
        assert ranged.headers["content-range"].endswith(f"/{len(BODY)}")
    assert client.get(path, Range=f"bytes={len(BODY)}-").status == 416


def test_metadata_lies_beside_the_wheel(client: Client) -> None:
    assert client.get(f"/wheels/de/demo/{WHEEL}.metadata").body == b"Name: demo\n"


def test_head_sends_no_body(client: Client) -> None:
    for path in ("/simple/demo/", f"/wheels/de/demo/{WHEEL}"):
        reply = client.get(path, method="HEAD", Accept_Encoding="gzip")
        assert (reply.status, reply.body) == (200, b"")
        assert int(reply.headers["content-length"]) > 0


@pytest.mark.parametrize("path", ["/simple/our-own/", "/simple/-demo/", "/elsewhere/"])
@pytest.mark.parametrize(("accept", "expected"), [(PIP, JSON), (f"{HTML_V1}", HTML_V1), (BROWSER, HTML), ("image/png", HTML)])
def test_what_is_missing_is_missing_in_the_form_asked_for(client: Client, path: str, accept: str, expected: str) -> None:
    reply = client.get(path, Accept=accept)
    if path == "/simple/our-own/" and accept == "image/png":
        assert reply.status == 406
        return
    assert (reply.status, reply.media_type) == (404, expected)
    assert "accept" in reply.vary
    assert reply.body.startswith(b"{" if expected == JSON else b"<!DOCTYPE html>")


def test_servers_do_not_tell_their_version(client: Client) -> None:
    assert client.get("/simple/demo/").headers["server"].strip() in ("nginx", "trial")

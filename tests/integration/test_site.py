"""The site in the published tree: what its pages say of real builds, what touches which page, what a stranger's words can't do."""

import gzip
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import requests

from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.cli import parser
from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.index.tree import open_tree
from piwheels_builder.site.commands import run_site
from piwheels_builder.site.publishing import SiteInPublication, site_rules
from piwheels_builder.site.refresh import SiteRules, refresh_projects
from piwheels_builder.site.search import search_files
from piwheels_builder.states import Outcome
from tests.support.database import fresh_database
from tests.support.fleet import BOOKWORM, TRIXIE, Fleet
from tests.support.published import IndexHost, nginx_serving, public_directory, trial_serving
from tests.support.site import EVERYTHING, HOSTILE, fail, furnish, refresh_site

NOTHING = SiteRules(Policy.read("missing", ["docopt"], "latest"))


@pytest.fixture
def host(fleet: Fleet) -> Iterator[IndexHost]:
    """With one project that was published and one that failed."""
    with public_directory() as place:
        (place / "outbox").mkdir()
        made = IndexHost(fleet, place)
        fleet.add_builder("pi1", BOOKWORM, TRIXIE)
        made.build("spidev")
        made.publish()
        fail(made, "lxml", Outcome.MISSING_HEADER, "fatal error")
        refresh_site(made)
        yield made


@pytest.fixture(scope="module")
def shown(database_server: EmbeddedDatabase) -> Iterator[IndexHost]:
    """With something of everything. Tests only look at it."""
    with fresh_database(database_server) as database, public_directory() as place:
        made = IndexHost(Fleet(database), place)
        furnish(made)
        refresh_site(made)
        yield made


def lying(host: IndexHost, place: str) -> str | None:
    path = host.tree / f"site/{place}.gz"
    return gzip.decompress(path.read_bytes()).decode() if path.exists() else None


def told(host: IndexHost, place: str) -> Any:
    content = lying(host, place)
    return None if content is None else json.loads(content)


def project(host: IndexHost, name: str) -> Any:
    return told(host, f"project/{name[:2]}/{name}.json")


def cells(host: IndexHost, name: str) -> dict[str, Any]:
    return {cell["target"]: cell for cell in project(host, name)["releases"][0]["targets"]}


class Elements(HTMLParser):
    """The tags of a page, and what is not allowed under the policy that it is served with."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.inline: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        names = dict(attributes)
        self.inline += [name for name in names if name.startswith("on") or name == "style"]
        self.inline += ["script"] if tag == "script" and "src" not in names else []


def test_every_state_of_a_build_is_told_with_its_reason(shown: IndexHost) -> None:
    armv7l = str(BOOKWORM)
    assert cells(shown, "spidev")[armv7l]["wheel"] == "spidev-1.0-py3-none-any.whl"
    assert cells(shown, "spidev")[str(TRIXIE)]["state"] == "served"
    failed = cells(shown, "lxml")[armv7l]
    assert (failed["state"], failed["outcome"]) == ("failed", "missing_header")
    assert failed["error_line"].startswith("fatal error: libxml/xmlversion.h")
    assert failed["log"] == f"/logs/lx/lxml/{project(shown, 'lxml')['attempts'][0]['attempt']}.log"
    assert cells(shown, "numpy")[armv7l]["state"] == "building"
    assert cells(shown, "killer")["cp311-aarch64-bookworm"]["reason"] == "three builders died of it"
    assert cells(shown, "pandas")[str(TRIXIE)]["reason"] == "the operator skips it: too large"
    assert cells(shown, "scipy")[str(TRIXIE)]["reason"] == f"for the wheel of {BOOKWORM}, which may serve it too"
    # The longest of a priority goes first: of twelve that wait, and one of a higher priority.
    assert cells(shown, "scipy")[armv7l]["queue"] == {"before": 0, "of": 13, "seconds": 0}
    last = cells(shown, "waiting-0")[armv7l]["queue"]
    assert 11 <= last["before"] <= 13
    assert last["seconds"] > 9000 / 5


def test_files_and_attempts_are_told_whole(shown: IndexHost) -> None:
    (file,) = project(shown, "spidev")["files"]
    ((sha256,),) = shown.fleet.ask("SELECT sha256 FROM wheel WHERE filename = 'spidev-1.0-py3-none-any.whl'")
    assert (file["sha256"], file["url"]) == (sha256, "/wheels/sp/spidev/spidev-1.0-py3-none-any.whl")
    (attempt,) = project(shown, "lxml")["attempts"]
    assert (attempt["seconds"], attempt["builder"], attempt["peak_memory"]) == (161, "pi1", 240000000)
    page = lying(shown, "project/sp/spidev.html")
    assert page is not None
    assert sha256 in page


def test_the_overview_adds_up(shown: IndexHost) -> None:
    home, fleet = told(shown, "live/home.json"), told(shown, "live/fleet.json")
    assert home["wheels"]["all"] == 7
    assert home["success_rate"] == pytest.approx(7 / 11)
    assert (home["failures"][0]["outcome"], home["failures"][0]["attempts"]) == ("compile_error", 2)
    assert [sum(day.values()) for day in home["days"].values()] in ([11], [7, 4], [4, 7])
    assert home["builders"] == {"pi1": {"built": 7, "failed": 4}}
    assert [(each["name"], each["silent"], len(each["building"])) for each in fleet["builders"]] == [
        ("pi1", False, 1),
        ("pi2", False, 0),
        ("pi3", True, 0),
    ]


def test_how_builders_fare_is_told(shown: IndexHost) -> None:
    hot, _, silent = (each["condition"] for each in told(shown, "live/fleet.json")["builders"])
    assert hot == {
        "temperature": 83.2,
        "memory_free": 1_230_000_000,
        "memory_total": 3_977_601_024,
        "throttled": True,
        "under_voltage": False,
        "disk_free": 12_000_000_000,
        "trouble": ["too hot", "throttled"],
    }
    assert silent == {**dict.fromkeys(hot), "trouble": []}
    page = lying(shown, "fleet.html")
    assert page is not None
    cards = page.split("<article")[1:]
    assert '<p class="trouble">too hot, throttled</p>' in cards[0]
    for fact in ("<dd>83 °C</dd>", "<dd>1.23 GB of 3.98 GB</dd>", "<dd>12 GB</dd>"):
        assert fact in cards[0]
    # Of what is unknown nothing is said.
    for card in cards[1:]:
        assert not any(word in card for word in ("trouble", "°C", "GB", "free"))


def test_counting_again_counts_nothing_twice(host: IndexHost) -> None:
    host.build("late")
    refresh_site(host)
    assert sum(sum(hour.values()) for hour in told(host, "live/home.json")["hours"].values()) == 3


def test_no_word_of_a_stranger_becomes_a_part_of_a_page(host: IndexHost) -> None:
    fail(host, "hostile", Outcome.BUILD_ERROR, HOSTILE)
    host.fleet.ask("UPDATE build SET reason = %s", HOSTILE.replace("\x1b", ""))
    host.fleet.ask("UPDATE project SET status = 'archived', status_reason = %s", HOSTILE)
    host.fleet.ask("UPDATE builder SET standing = 'paused', standing_reason = %s", HOSTILE)
    refresh_site(host)
    pages = [lying(host, f"project/{name[:2]}/{name}.html") for name in ("hostile", "spidev", "lxml")]
    for page in [*pages, lying(host, "fleet.html"), lying(host, "index.html")]:
        assert page is not None
        assert "alert(" not in page or "&lt;script&gt;alert(1)" in page
        elements = Elements(page)
        assert elements.inline == []
        assert "img" not in elements.tags
    assert "49" not in (pages[0] or "")


def test_a_publication_writes_what_it_touches_and_nothing_else(host: IndexHost) -> None:
    before = {path: path.stat().st_mtime_ns for path in (host.tree / "site/project").rglob("*.gz")}
    host.build("fresh-one")
    fail(host, "fresh-two", Outcome.BUILD_ERROR, "broken")
    with connected(host.conninfo) as connection:
        host.publish(before_pages=SiteInPublication(connection, EVERYTHING).before_pages)
    after = {path: path.stat().st_mtime_ns for path in (host.tree / "site/project").rglob("*.gz")}
    assert {path.name for path in set(after) - set(before)} == {
        f"fresh-{which}.{kind}.gz" for which in ("one", "two") for kind in ("html", "json")
    }
    assert cells(host, "fresh-one")[str(BOOKWORM)]["state"] == "published"
    assert [path.name for path in before if before[path] != after[path]] == []


def test_the_first_attempt_of_a_fleet_is_told(fleet: Fleet) -> None:
    with public_directory() as place:
        host = IndexHost(fleet, place)
        host.tree.mkdir()
        refresh_site(host)
        fail(host, "lxml", Outcome.MISSING_HEADER, "fatal error")
        with connected(host.conninfo) as connection, open_tree(host.tree) as tree:
            refresh_projects(connection, tree, EVERYTHING, [])
        assert cells(host, "lxml")[str(BOOKWORM)]["state"] == "failed"


def test_a_kill_before_the_pages_are_booked_is_mended_by_the_next_publication(host: IndexHost) -> None:
    host.build("fresh-one")

    def killed(_: object) -> None:
        raise KeyboardInterrupt

    with connected(host.conninfo) as connection, pytest.raises(KeyboardInterrupt):
        host.publish(before_pages=killed)
    with connected(host.conninfo) as connection:
        host.publish(before_pages=SiteInPublication(connection, EVERYTHING).before_pages)
    assert cells(host, "fresh-one")[str(BOOKWORM)]["state"] == "published"


def test_other_rules_write_every_page_anew_and_say_so(host: IndexHost) -> None:
    assert cells(host, "lxml")[str(TRIXIE)]["state"] == "waiting"
    with connected(host.conninfo) as connection:
        host.publish(before_pages=SiteInPublication(connection, NOTHING).before_pages)
    assert cells(host, "lxml")[str(TRIXIE)] == {"target": str(TRIXIE), "state": "skipped", "reason": "not in fleet_projects"}


def test_a_project_without_builds_has_a_page_only_where_the_operator_names_it(host: IndexHost) -> None:
    host.fleet.ask("INSERT INTO project (name) VALUES ('unbuilt'), ('named')")
    refresh_site(host, SiteRules(Policy.read("missing", ["named"], "latest")))
    assert project(host, "unbuilt") is None
    assert project(host, "named")["releases"] == []


def test_private_projects_are_in_no_list(host: IndexHost) -> None:
    refresh_site(host, site_rules({"build_policy": "missing", "projects": "all", "releases": "all"}, ["spidev"]))
    assert "spidev" not in (lying(host, "index.html") or "")
    assert "spidev" not in told(host, "search/-.json")["names"]
    assert project(host, "spidev") is not None


def test_the_command_brings_named_projects_up_to_date(
    host: IndexHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"database": {"publisher": host.conninfo}, "projects": "all", "releases": "all", "published_dir": str(host.tree)}
    (tmp_path / "fleet.yml").write_text(json.dumps(settings))
    monkeypatch.setenv("PIWHEELS_BUILDER_ETC", str(tmp_path))
    assert run_site(parser().parse_args(["site", "--all", "--json"])) == 0
    assert json.loads(capsys.readouterr().out)["pages_written"] == 0
    assert run_site(parser().parse_args(["site", "spidev", "--json"])) == 0
    assert json.loads(capsys.readouterr().out)["pages_written"] == 0


def test_a_name_is_found_by_each_of_its_words_within_two_small_files() -> None:
    names = [
        f"{first}-{second}{number}" for first in ("alpha", "beta", "gamma") for second in ("one", "two") for number in range(3000)
    ]
    names += ["alpha", "solo"]
    files = {place.name: json.loads(content) for place, content in search_files(names, {"alpha-one7"}).items()}
    prefixes = set(files["shards.json"]["leaves"].split(" ")) | set(files["shards.json"]["divided"].split(" "))

    def found(query: str) -> list[str]:
        prefix = max((query[:length] for length in range(len(query) + 1) if query[:length] in prefixes), key=len)
        listed = files[f"-{prefix}.json"]["names"].split(" ")
        return [name for name in listed if name.startswith(query) or f"-{query}" in name]

    assert found("alpha")[:2] == ["alpha", "alpha-one7+"]
    assert found("two2999") == ["alpha-two2999", "beta-two2999", "gamma-two2999"]
    assert found("solo") == ["solo"]
    assert found("beta-one123") == ["beta-one123", *(f"beta-one123{digit}" for digit in range(10))]
    assert max(len(json.dumps(content)) for content in files.values()) < 50_000


def test_a_fault_of_the_site_keeps_no_wheel_from_its_page_and_mends_itself(host: IndexHost) -> None:
    (host.tree / ".site.json.gz").write_bytes(gzip.compress(b'{"history": 5}'))
    for name in ("lxml", "spidev"):
        (host.tree / f"site/project/{name[:2]}/{name}.json.gz").unlink()
    host.build("fresh-one")
    with connected(host.conninfo) as connection:
        site = SiteInPublication(connection, EVERYTHING)
        host.publish(before_pages=site.before_pages)
    assert site.fault is not None
    assert (host.tree / "simple/fr/fresh-one.json.gz").exists()
    assert host.fleet.ask("SELECT * FROM page_due") == []
    with connected(host.conninfo) as connection:
        host.publish(before_pages=SiteInPublication(connection, EVERYTHING).before_pages)
    assert [cells(host, name)[str(BOOKWORM)]["state"] for name in ("fresh-one", "lxml", "spidev")] == [
        "published",
        "failed",
        "published",
    ]


def test_nginx_and_the_trial_server_answer_alike(shown: IndexHost) -> None:
    upstream = "http://upstream.invalid/simple"
    paths = {
        "/": (200, "text/html; charset=utf-8"),
        "/fleet/": (200, "text/html; charset=utf-8"),
        "/project/spidev/": (200, "text/html; charset=utf-8"),
        "/project/spidev/json": (200, "application/json"),
        "/project/spidev/log/1/": (200, "text/html; charset=utf-8"),
        "/live/fleet.json": (200, "application/json"),
        "/search/-.json": (200, "application/json"),
        "/assets/site.js": (200, "text/javascript"),
        "/assets/zilla-slab-600.woff2": (200, "font/woff2"),
        "/project/nothing-of-it/": (404, None),
        "/project/nothing-of-it/json": (404, None),
        "/live/other.json": (404, None),
        "/site/index.html": (404, None),
        "/.site.json": (404, None),
        "/assets/../.site.json.gz": (404, None),
    }
    with nginx_serving(shown.tree, shown.place, upstream) as nginx, trial_serving(shown.tree, upstream) as trial:
        for path, (status, media_type) in paths.items():
            for url in (nginx, trial):
                reply = requests.get(url + path, timeout=10)
                assert (path, reply.status_code) == (path, status)
                assert media_type is None or reply.headers["Content-Type"].removesuffix(
                    "; charset=utf-8"
                ) == media_type.removesuffix("; charset=utf-8")
                if url == nginx and status == 200:
                    assert "default-src 'none'; script-src 'self';" in reply.headers["Content-Security-Policy"]


def test_before_the_first_refresh_there_is_the_index() -> None:
    with public_directory() as place:
        (place / "published").mkdir()
        with nginx_serving(place / "published", place, "http://upstream.invalid/simple") as url:
            reply = requests.get(f"{url}/", timeout=10, allow_redirects=False)
    assert (reply.status_code, reply.headers["Location"]) == (302, "/simple/")

"""The site in Debian's Chromium, served by nginx as roles/index configures it: what a person sees and reaches by keyboard.

With SCREENSHOTS=DIRECTORY in the environment a picture of each page is left there.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from piwheels_builder.db.embedded import EmbeddedDatabase
from tests.support.browser import Page, chromium
from tests.support.database import fresh_database
from tests.support.fleet import Fleet
from tests.support.published import IndexHost, nginx_serving, public_directory
from tests.support.site import HOSTILE, furnish, refresh_site

AXE = (Path(__file__).parents[1] / "support/vendor/axe.min.js").read_text()
DESKTOP, PHONE = 1280, 390
PAGES = {
    "home": "/",
    "fleet": "/fleet/",
    "failed": "/project/lxml/",
    "published": "/project/spidev/",
    "waiting": "/project/scipy/",
    "hostile": "/project/hostile/",
    "search": "/search/?q=rpi",
    "log": "/project/hostile/log/{hostile}/",
    "unknown": "/project/nothing-of-it/",
}


@dataclass
class Seen:
    """A browser before a furnished site; ``attempts`` are numbers of failed ones by project."""

    page: Page
    host: IndexHost
    url: str
    attempts: dict[str, int]

    def open(self, path: str, width: int = DESKTOP, *, dark: bool = False) -> Page:
        self.page.size(width, dark=dark)
        self.page.complaints.clear()
        self.page.requested.clear()
        self.page.received = 0
        self.page.open(self.url + path.format_map(self.attempts))
        return self.page


@pytest.fixture(scope="module")
def seen(database_server: EmbeddedDatabase) -> Iterator[Seen]:
    with fresh_database(database_server) as database, public_directory() as place, chromium() as page:
        host = IndexHost(Fleet(database), place)
        furnish(host)
        refresh_site(host)
        failed = host.fleet.ask("SELECT name, attempt_id FROM attempt JOIN project USING (project_id) WHERE outcome <> 'built'")
        with nginx_serving(host.tree, place, "http://upstream.invalid/simple") as url:
            yield Seen(page, host, url, dict(failed))


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_whole_and_open_to_everybody(seen: Seen, name: str) -> None:
    for width, dark in ((DESKTOP, False), (PHONE, True)):
        page = seen.open(PAGES[name], width, dark=dark)
        page.until("!document.querySelector('[aria-busy=true]')")
        # That there is no such project is the answer.
        complaints = [said for said in page.complaints if name != "unknown" or "404" not in said]
        assert complaints == []
        assert [url for url in page.requested if not url.startswith(seen.url)] == []
        assert page.run("document.documentElement.scrollWidth") <= width
        picture(page, f"{name}-{width}")
        page.run(AXE)
        assert page.run("axe.run().then(({violations}) => violations.map((each) => [each.id, each.nodes[0].html]))") == []


def picture(page: Page, name: str) -> None:
    if place := os.environ.get("SCREENSHOTS"):
        page.shot(Path(place) / f"{name}.png")


@pytest.mark.parametrize("path", ["/", "/project/lxml/"])
def test_a_first_visit_is_light(seen: Seen, path: str) -> None:
    page = seen.open("/fleet/")
    page.send("Network.clearBrowserCache")
    page = seen.open(path)
    page.until("performance.getEntriesByType('resource').every((each) => each.responseEnd)")
    drawing = page.run("performance.getEntriesByType('resource').filter(({name}) => name.includes('uplot')).length")
    assert drawing == (2 if path == "/" else 0)
    assert 10_000 < page.received < 150_000


def test_a_project_is_found_while_typing_by_keyboard_alone(seen: Seen) -> None:
    page = seen.open("/")
    page.press("/")
    page.type("lgpi")
    page.until("document.querySelectorAll('#found [role=option]').length === 1")
    assert page.run("document.getElementById('found').innerText.split('\\n')") == ["rpi-lgpio", "on this site"]
    page.run("document.getElementById('q').value = ''")
    page.type("RPi")
    page.until("document.querySelectorAll('#found [role=option]').length === 2")
    page.press("ArrowDown")
    assert page.run("document.querySelector('[aria-selected=true]').dataset.name") == "rpi-lgpio"
    page.press("Enter")
    page.until("location.pathname === '/project/rpi-lgpio/' && document.querySelector('h1')?.textContent === 'rpi-lgpio'")


def test_the_fleet_is_drawn_anew_while_somebody_watches(seen: Seen) -> None:
    page = seen.open("/fleet/")
    card = "document.querySelector('.pi .state').textContent"
    page.until(f"{card} === 'building'")
    seen.host.fleet.ask("UPDATE builder SET standing = 'paused', standing_reason = %s WHERE name = 'pi1'", HOSTILE)
    refresh_site(seen.host)
    page.run("document.dispatchEvent(new Event('visibilitychange'))")
    page.until(f"{card} === 'paused'")
    assert page.run("document.querySelector('.pi .reason').textContent") == HOSTILE
    assert page.run("document.querySelectorAll('main img, main script').length") == 0


#: What stands on the first builder's card, but for when it was last seen.
FACTS = "((page) => [...page.querySelectorAll('.pi:first-child dl > div')].slice(0, -1).map((each) => each.textContent))"
#: The page as it was written, before any script.
WRITTEN = """((asked) => {
    asked.open("GET", "/fleet/", false);
    asked.send();
    return new DOMParser().parseFromString(asked.responseText, "text/html");
})(new XMLHttpRequest())"""


def test_how_a_builder_fares_is_drawn_as_it_was_written(seen: Seen) -> None:
    page = seen.open("/fleet/")
    seen.host.fleet.ask("UPDATE builder SET under_voltage = true WHERE name = 'pi1'")
    refresh_site(seen.host)
    page.run("document.dispatchEvent(new Event('visibilitychange'))")
    page.until("document.querySelector('.pi .trouble')?.textContent === 'too hot, throttled, under voltage'")
    drawn = page.run(f"{FACTS}(document)")
    assert drawn == page.run(f"{FACTS}({WRITTEN})")
    assert drawn[-3:] == ["processor83 °C", "free memory1.23 GB of 3.98 GB", "free disk12 GB"]
    assert page.run("document.querySelectorAll('.pi .trouble').length") == 1


def test_a_log_opens_at_its_error_and_is_searched(seen: Seen) -> None:
    page = seen.open("/project/lxml/log/{lxml}/")
    page.until("document.querySelector('.log .at')")
    assert page.run("document.querySelector('#error code').textContent").startswith("fatal error: libxml/xmlversion.h")
    assert page.run("document.querySelector('.log .at a').hash") == page.run("document.querySelector('#error a').hash") == "#L301"
    page.run("document.getElementById('needle').focus()")
    page.type("part29")
    page.until("document.getElementById('matches').textContent === '1 of 11'")
    page.press("Enter")
    assert page.run("document.querySelector('.log .at a').hash") == "#L291"
    page.open(f"{seen.url}/project/lxml/log/{seen.attempts['lxml']}/#L7")
    page.until("document.querySelector('.log .at a')?.hash === '#L7'")


def test_what_a_build_wrote_stays_text(seen: Seen) -> None:
    page = seen.open("/project/hostile/log/{hostile}/")
    page.until("!document.querySelector('[aria-busy=true]')")
    assert "<img src=x onerror=alert(2)>" in page.run("document.getElementById('log').textContent")
    assert page.run("document.querySelectorAll('main img, main script').length") == 0


def test_a_command_is_copied_with_this_hosts_address(seen: Seen) -> None:
    page = seen.open("/project/spidev/")
    page.send("Browser.grantPermissions", origin=seen.url, permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.run("document.querySelector('[data-copy=c-pip]').click()")
    page.until("document.querySelector('[data-copy=c-pip]').textContent === 'Copied'")
    assert page.run("navigator.clipboard.readText()") == f"pip install --index-url {seen.url}/simple/ spidev"


def test_the_chart_is_drawn_and_its_table_says_the_same(seen: Seen) -> None:
    page = seen.open("/")
    page.until("document.querySelector('#chart canvas')?.width > 300")
    drawn = "[...document.querySelector('#chart canvas').getContext('2d').getImageData(0, 0, 2000, 400).data].some((byte) => byte)"
    assert page.run(drawn)
    cells = page.run("[...document.querySelectorAll('.behind tbody tr')].map((row) => row.children[1].textContent)")
    assert sum(map(int, cells[: len(cells) // 2])) in (7, 14)
    page.run("document.querySelector('[data-series=days]').click()")
    assert page.run("document.querySelector('[data-series=days]').getAttribute('aria-pressed')") == "true"
    assert page.complaints == []

"""What an upstream can do to a download: each ends as the network's or upstream's fault, or well, in bounded time."""

import gzip
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from piwheels_builder.builder import download
from piwheels_builder.builder.build import build
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.fetch import SdistCache, fetch
from piwheels_builder.builder.unpack import unpack
from piwheels_builder.queue.batch import LeasedBuild, Sdist
from piwheels_builder.states import Blame, Outcome
from tests.faults.faulty_server import Answer, FaultyServer, faulty_server
from tests.faults.whole_way import here, leftovers, tiny_sdist
from tests.support.chaos import LONG
from tests.support.sdists import make_yard
from tests.support.wheelmaking import make_wheel

CONTENT = tiny_sdist("demo")
WHOLE = Answer(CONTENT)
PATH = "/demo-1.0.tar.gz"
PAGE = b"<!DOCTYPE html><title>Sign in</title><p>Welcome to this airport's network"
AWAY, GONE, WELL = Outcome.NETWORK_AWAY, Outcome.SDIST_UNAVAILABLE, Outcome.BUILT
#: Without a sha256 to compare with, these bytes could be what the release's author uploaded.
UNTOLD = Outcome.BAD_SDIST


@dataclass(frozen=True)
class Case:
    """``listed`` and ``unlisted``: how it ends where upstream's page says sha256 and size, and where it says neither."""

    answers: tuple[Answer, ...]
    listed: Outcome
    unlisted: Outcome


def case(*answers: Answer, listed: Outcome, unlisted: Outcome | None = None) -> Case:
    return Case(answers, listed, unlisted or listed)


def status(line: str, **headers: str) -> Answer:
    return Answer(b"<html>", line, {name.replace("_", "-"): value for name, value in headers.items()})


CASES = {
    "well": case(WHOLE, listed=WELL),
    "reset before a byte": case(Answer(b"", reset=True, length="1000"), listed=AWAY),
    "reset in the middle": case(Answer(CONTENT[:200], length=str(len(CONTENT)), reset=True), listed=AWAY),
    "reset, then well": case(Answer(CONTENT[:200], length=str(len(CONTENT)), reset=True), WHOLE, listed=WELL),
    "shorter than it says": case(Answer(CONTENT[:-1], length=str(len(CONTENT))), listed=AWAY),
    "shorter and not said": case(Answer(CONTENT[:-20], length=""), listed=AWAY),
    "shorter and said": case(Answer(CONTENT[:-20]), listed=AWAY),
    "empty": case(Answer(b""), listed=AWAY),
    "longer than listed": case(Answer(CONTENT + b"more"), listed=GONE, unlisted=WELL),
    "longer than it says": case(Answer(CONTENT + b"more", length=str(len(CONTENT))), listed=WELL),
    "a length that is none": case(Answer(CONTENT, length="many"), listed=WELL),
    "two lengths": case(Answer(CONTENT, headers={"content-length": "7"}), listed=GONE),
    "no length": case(Answer(CONTENT, length=""), listed=WELL),
    "other bytes": case(Answer(bytes(len(CONTENT))), listed=GONE, unlisted=UNTOLD),
    "a page of text": case(Answer(PAGE, headers={"Content-Type": "text/html"}), listed=AWAY, unlisted=GONE),
    "a long page of text": case(Answer(PAGE * 1000), listed=GONE, unlisted=GONE),
    "another content type": case(Answer(CONTENT, headers={"Content-Type": "text/html"}), listed=WELL),
    "its own compression named": case(Answer(CONTENT, headers={"Content-Encoding": "gzip"}), listed=WELL),
    "compressed on the way": case(
        Answer(gzip.compress(CONTENT), headers={"Content-Encoding": "gzip"}), listed=GONE, unlisted=UNTOLD
    ),
    "chunks that end early": case(Answer(b"5\r\nhello\r\n", headers={"Transfer-Encoding": "chunked"}, length=""), listed=AWAY),
    "chunks that are none": case(Answer(b"hello", headers={"Transfer-Encoding": "chunked"}, length=""), listed=AWAY),
    "not found": case(status("404 Not Found"), listed=GONE),
    "gone": case(status("410 Gone"), listed=GONE),
    "forbidden": case(status("403 Forbidden"), listed=GONE),
    "too many, then well": case(status("429 Too Many", Retry_After="1"), WHOLE, listed=WELL),
    "too many for ever": case(status("429 Too Many", Retry_After="86400"), listed=AWAY),
    "a date to come back at": case(status("503 Busy", Retry_After="Wed, 21 Oct 2099 07:28:00 GMT"), WHOLE, listed=WELL),
    "broken": case(status("500 Oops"), listed=AWAY),
    "unavailable": case(status("503 Unavailable"), listed=AWAY),
    "a status nobody knows": case(status("299 Odd"), listed=GONE),
    "not HTTP": case(Answer(b"", "garbage \0\0 garbage"), listed=AWAY),
    "redirected in circles": case(status("302 Found", Location=PATH), listed=GONE),
    "redirected nowhere": case(status("302 Found", Location="http://127.0.0.1:1/x"), listed=AWAY),
    "redirected to a file": case(status("302 Found", Location="file:///etc/passwd"), listed=GONE),
    "redirected to nonsense": case(status("302 Found", Location="http://[::bad/"), listed=GONE),
}


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with faulty_server() as server:
        yield server


def listed(server: FaultyServer, *, known: bool = True) -> Sdist:
    digest, size = hashlib.sha256(CONTENT).hexdigest(), len(CONTENT)
    return Sdist("demo-1.0.tar.gz", server.url(PATH), digest if known else None, size if known else None)


def outcome_of(sdist: Sdist, place: Path) -> Outcome:
    """What the download, and unpacking what was downloaded, end as."""
    cache, waits, into = SdistCache(place / "cache"), list[float](), place / "unpacked"
    into.mkdir()
    try:
        unpack(fetch(sdist, cache, pause=waits.append), into)
    except BuildEnded as ended:
        assert sum(waits) <= 60 * (download.TRIES - 1)
        assert ended.outcome is UNTOLD or list(cache.directory.iterdir()) == []
        return ended.outcome
    return Outcome.BUILT


@pytest.mark.parametrize("name", CASES)
def test_a_download(server: FaultyServer, tmp_path: Path, name: str) -> None:
    server.answers[PATH] = list(CASES[name].answers)
    began = time.monotonic()
    assert outcome_of(listed(server), tmp_path) is CASES[name].listed
    assert CASES[name].listed.blame in {Blame.NONE, Blame.INFRASTRUCTURE}
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("name", CASES)
def test_a_download_of_what_upstream_lists_no_sha256_of(server: FaultyServer, tmp_path: Path, name: str) -> None:
    server.answers[PATH] = list(CASES[name].answers)
    assert outcome_of(listed(server, known=False), tmp_path) is CASES[name].unlisted


@pytest.mark.parametrize("known", [True, False] if LONG else [True])
@pytest.mark.parametrize("length", [None, ""])
def test_a_byte_at_a_time(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool, length: str | None
) -> None:
    """Every single wait is short: only the whole of it is too long. In the headers as in the body, whatever is listed."""
    monkeypatch.setattr(download, "DEADLINE", 1.0)
    server.answers[PATH] = [Answer(CONTENT, length=length, delay=0.01), Answer(CONTENT, delay=0.2)]
    for number in range(2):
        began = time.monotonic()
        (tmp_path / str(number)).mkdir()
        assert outcome_of(listed(server, known=known), tmp_path / str(number)) is AWAY
        assert 0.9 < time.monotonic() - began < 4


def test_nobody_listens(tmp_path: Path) -> None:
    nobody = FaultyServer(1, {})
    assert outcome_of(listed(nobody), tmp_path) is AWAY


@pytest.mark.parametrize("name", ["reset in the middle", "a long page of text", "compressed on the way", "redirected in circles"])
def test_a_build_whose_sdist_does_not_come(
    server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(download, "_pauses", lambda: iter([0.0, None]))
    server.answers[PATH] = list(CASES[name].answers)
    yard = make_yard(tmp_path)
    (tmp_path / "delivery").mkdir()
    leased = LeasedBuild(7, "demo", "1", here(), listed(server), 1.0)
    attempt = build(leased, uuid4(), yard.workshop, tmp_path / "delivery")
    assert attempt.outcome is CASES[name].listed
    assert leftovers(yard.workshop.state_dir) == []


# What uv fetches: the pages and wheels of build requirements.

WHEEL = "/files/backend-1.0-py3-none-any.whl"
INDEX = "/simple/backend/"
#: By what goes wrong: with which of the two, what the server does, and how the build must end; None: not by the release's fault.
OF_REQUIREMENTS: dict[str, tuple[str, Answer]] = {
    "page: broken": (INDEX, status("500 Oops")),
    "page: unavailable": (INDEX, status("503 Unavailable")),
    "page: too many": (INDEX, status("429 Too Many", Retry_After="1")),
    "page: forbidden": (INDEX, status("403 Forbidden")),
    "page: reset": (INDEX, Answer(b"<!DOC", length="500", reset=True)),
    "page: redirected in circles": (INDEX, status("302 Found", Location=INDEX)),
    "wheel: not found": (WHEEL, status("404 Not Found")),
    "wheel: gone": (WHEEL, status("410 Gone")),
    "wheel: broken": (WHEEL, status("500 Oops")),
    "wheel: reset": (WHEEL, Answer(b"PK\3\4", length="5000", reset=True)),
    "wheel: short": (WHEEL, Answer(b"PK\3\4", length="5000")),
    "wheel: other bytes": (WHEEL, Answer(bytes(3000))),
    "wheel: a page of text": (WHEEL, Answer(PAGE, headers={"Content-Type": "text/html"})),
}
#: uv asks again after most of these, and waits longer each time: `make test` has time for one of them.
PATIENT = {f"page: {name}" for name in ("broken", "too many", "reset")} | {
    f"wheel: {name}" for name in ("broken", "reset", "short")
}


@pytest.mark.parametrize("name", [name for name in OF_REQUIREMENTS if LONG or name not in PATIENT])
def test_a_build_whose_requirements_do_not_come(server: FaultyServer, tmp_path: Path, name: str) -> None:
    wheel = make_wheel(tmp_path, "backend", "1.0", content={"backend.py": b"raise SystemExit('never')"}).read_bytes()
    page = f'<!DOCTYPE html><a href="{WHEEL}#sha256={hashlib.sha256(wheel).hexdigest()}">{Path(WHEEL).name}</a>'
    server.answers |= {INDEX: [Answer(page.encode(), headers={"Content-Type": "text/html"})], WHEEL: [Answer(wheel)]}
    path, answer = OF_REQUIREMENTS[name]
    server.answers[path] = [answer]
    yard = make_yard(tmp_path)
    files = {"demo-1.0/pyproject.toml": '[build-system]\nrequires = ["backend"]\nbuild-backend = "backend"\n'}
    began = time.monotonic()
    built = yard.build(files, upstream=server.url("/simple/"))
    assert built.attempt.outcome.blame is Blame.INFRASTRUCTURE, built.log
    assert time.monotonic() - began < 60
    assert leftovers(yard.workshop.state_dir) == []

"""Fetching against a server that misbehaves in every way servers do."""

import errno
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from piwheels_builder.builder.download import TRIES
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.fetch import SdistCache, fetch
from piwheels_builder.queue.batch import Sdist
from piwheels_builder.states import Outcome

CONTENT = b"an sdist" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
#: What a server may do instead of answering well.
RESET, TRUNCATE = "reset", "truncate"


@contextmanager
def serving(*answers: int | str | bytes, headers: dict[str, str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """A server that answers one request after the other with these, the last one for ever. Yields URL and log."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = answers[min(len(seen), len(answers) - 1)]
            seen.append(self.path)
            if answer == RESET:
                self.connection.close()
                return
            body = answer if isinstance(answer, bytes) else CONTENT
            self.send_response(answer if isinstance(answer, int) else 200)
            self.send_header("Content-Length", str(len(body)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[:100] if answer == TRUNCATE else body)

        def log_message(self, *_: object) -> None:
            pass

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except (OSError, ValueError):
                self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/demo-1.0.tar.gz", seen
        finally:
            server.shutdown()
            thread.join()


def sdist(url: str, sha256: str | None = SHA256, size: int | None = len(CONTENT)) -> Sdist:
    return Sdist("demo-1.0.tar.gz", url, sha256, size)


def ends(outcome: Outcome, wanted: Sdist, cache: SdistCache) -> str:
    """Fetch, which must end so, and leave nothing in the cache. Returns the reason."""
    with pytest.raises(BuildEnded) as ended:
        fetch(wanted, cache, pause=lambda _: None)
    assert ended.value.outcome is outcome, ended.value
    assert list(cache.directory.iterdir()) == []
    return ended.value.reason


@pytest.fixture
def cache(tmp_path: Path) -> SdistCache:
    cache = SdistCache(tmp_path / "sdists")
    cache.new()
    return cache


def test_a_fetched_sdist_is_fetched_once(cache: SdistCache) -> None:
    with serving(200) as (url, seen):
        assert fetch(sdist(url), cache).read_bytes() == CONTENT
        assert fetch(sdist(url), cache).read_bytes() == CONTENT
    assert len(seen) == 1


@pytest.mark.parametrize("trouble", [429, 500, 502, 503, 504, RESET, TRUNCATE])
def test_trouble_that_passes(cache: SdistCache, trouble: int | str) -> None:
    with serving(trouble, trouble, 200) as (url, seen):
        pauses: list[float] = []
        assert fetch(sdist(url), cache, pause=pauses.append).read_bytes() == CONTENT
    assert (len(seen), pauses) == (3, [1.0, 2.0])


@pytest.mark.parametrize("trouble", [429, 503, RESET, TRUNCATE])
def test_trouble_that_does_not_pass(cache: SdistCache, trouble: int | str) -> None:
    with serving(trouble) as (url, seen):
        assert f"{TRIES} times" in ends(Outcome.NETWORK_AWAY, sdist(url), cache)
    assert len(seen) == TRIES


def test_a_server_says_how_long_to_wait(cache: SdistCache) -> None:
    with serving(429, 200, headers={"Retry-After": "7"}) as (url, _):
        pauses: list[float] = []
        fetch(sdist(url), cache, pause=pauses.append)
    assert pauses == [7.0]


@pytest.mark.parametrize("status", [403, 404, 410, 204])
def test_an_sdist_that_is_gone(cache: SdistCache, status: int) -> None:
    with serving(status) as (url, seen):
        assert str(status) in ends(Outcome.SDIST_UNAVAILABLE, sdist(url), cache)
    assert len(seen) == 1


def test_other_bytes_than_listed(cache: SdistCache) -> None:
    with serving(b"x" * len(CONTENT)) as (url, _):
        assert "listed is" in ends(Outcome.SDIST_UNAVAILABLE, sdist(url), cache)
    with serving(CONTENT + b"x") as (url, _):
        assert "more than" in ends(Outcome.SDIST_UNAVAILABLE, sdist(url), cache)
    with serving(CONTENT[:-1]) as (url, seen):
        assert "truncated" in ends(Outcome.NETWORK_AWAY, sdist(url), cache)
    assert len(seen) == TRIES


def test_an_upstream_that_lists_neither_hash_nor_size(cache: SdistCache) -> None:
    with serving(200) as (url, _):
        assert fetch(sdist(url, None, None), cache).name == SHA256


def test_a_server_that_calls_the_sdists_compression_its_own(cache: SdistCache) -> None:
    with serving(200, headers={"Content-Encoding": "gzip"}) as (url, _):
        assert fetch(sdist(url), cache).read_bytes() == CONTENT


def test_nobody_listens(cache: SdistCache) -> None:
    reason = ends(Outcome.NETWORK_AWAY, sdist("http://user:password@127.0.0.1:9/x.tar.gz?token=1"), cache)
    assert "password" not in reason
    assert "token" not in reason


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/etc/passwd", "http://"])
def test_no_url_to_fetch(cache: SdistCache, url: str) -> None:
    ends(Outcome.SDIST_UNAVAILABLE, sdist(url), cache)


def test_a_redirect_to_a_file(cache: SdistCache) -> None:
    with serving(302, headers={"Location": "file:///etc/passwd"}) as (url, _):
        ends(Outcome.SDIST_UNAVAILABLE, sdist(url), cache)


def test_a_damaged_cache_is_fetched_again(cache: SdistCache) -> None:
    with serving(200) as (url, seen):
        fetch(sdist(url), cache).write_bytes(CONTENT[:-1])
        assert fetch(sdist(url), cache).read_bytes() == CONTENT
    assert len(seen) == 2


def test_a_full_disk_is_not_the_networks_fault(cache: SdistCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SdistCache, "new", lambda _: Path("/dev/full"))
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    with serving(200) as (url, _), pytest.raises(OSError, match="No space") as full:
        fetch(sdist(url), cache)
    assert full.value.errno == errno.ENOSPC


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = SdistCache(tmp_path / "sdists")
    old = time.time() - 86400
    for age, name in enumerate("abcd"):
        (tmp_path / name).write_bytes(name.encode() * 100)
        kept = cache.directory / cache.add(tmp_path / name)
        os.utime(kept, (old - age, old - age))
    (tmp_path / "e").write_bytes(b"e")
    SdistCache(cache.directory, limit=250).add(tmp_path / "e")
    assert sorted(path.read_bytes()[:1] for path in cache.directory.iterdir()) == [b"a", b"b", b"e"]


def test_what_was_used_just_now_stays(tmp_path: Path) -> None:
    cache = SdistCache(tmp_path / "sdists", limit=10)
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode() * 100)
        cache.add(tmp_path / name)
    assert len(list(cache.directory.iterdir())) == 2

"""The sdist of a release: its bytes, checked, from the upstream index or from the cache."""

import errno
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import requests
import urllib3

from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.queue.batch import Sdist
from piwheels_builder.states import Outcome

#: The most an sdist may have where upstream lists no size, in bytes.
UNLISTED_SIZE = 1024 * 2**20
#: What the cache keeps, in bytes. Nothing used within CACHE_REST seconds is dropped: another slot may be reading it.
CACHE_BYTES = 2 * 2**30
CACHE_REST = 600
TRIES = 5
#: Seconds to connect and between two pieces; seconds for one whole try; the longest pause a server may ask for.
_TIMEOUT = (15, 60)
_DEADLINE = 1800
_LONGEST_PAUSE = 60
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}
_CHUNK = 256 * 1024


@dataclass(frozen=True)
class SdistCache:
    """Sdists by their sha256, the least recently used ones dropped when they are more than ``limit`` bytes."""

    directory: Path
    limit: int = CACHE_BYTES

    def find(self, sha256: str) -> Path | None:
        """The cached file, its bytes checked again: a power cut can damage what was written."""
        path = self.directory / sha256
        with suppress(FileNotFoundError):
            if _sha256(path) == sha256:
                os.utime(path)
                return path
            path.unlink()
        return None

    def new(self) -> Path:
        """A temporary name in the cache's directory."""
        self.directory.mkdir(parents=True, exist_ok=True)
        return self.directory / f".{uuid4().hex}"

    def keep(self, temporary: Path, sha256: str) -> Path:
        """Take a checked file in, and make room for it."""
        self._make_room()
        return temporary.rename(self.directory / sha256)

    def add(self, path: Path) -> str:
        """Take a copy of a file of one's own in, unless it is there. Returns its sha256."""
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if not self.find(sha256):
            temporary = self.new()
            temporary.write_bytes(content)
            self.keep(temporary, sha256)
        return sha256

    def _make_room(self) -> None:
        used = sorted(_files(self.directory), key=lambda file: file[1].st_mtime, reverse=True)
        total = 0
        for path, facts in used:
            total += facts.st_size
            if total > self.limit and time.time() - facts.st_mtime > CACHE_REST:
                path.unlink(missing_ok=True)


def fetch(sdist: Sdist, cache: SdistCache, pause: Callable[[float], None] = time.sleep) -> Path:
    """The sdist's file in the cache. Raises BuildEnded (sdist_unavailable, network_away) and OSError (disk)."""
    cached = cache.find(sdist.sha256) if sdist.sha256 else None
    if cached:
        return cached
    if urlsplit(sdist.url).scheme not in {"http", "https"}:
        raise BuildEnded(Outcome.SDIST_UNAVAILABLE, f"{_shown(sdist.url)} is neither http nor https")
    with requests.Session() as session:
        for wait in _pauses():
            try:
                return _download(session, sdist, cache)
            except _Again as again:
                last = again
                if wait is not None:
                    pause(min(again.seconds or wait, _LONGEST_PAUSE))
    raise BuildEnded(Outcome.NETWORK_AWAY, f"{_shown(sdist.url)}: {last}, {TRIES} times")


class _Again(Exception):
    """One try failed in a way that may pass, after ``seconds`` if the server said so."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


def _pauses() -> Iterator[float | None]:
    """Seconds to wait after each failed try; None after the last."""
    yield from (2.0**power for power in range(TRIES - 1))
    yield None


def _download(session: requests.Session, sdist: Sdist, cache: SdistCache) -> Path:
    temporary = cache.new()
    try:
        sha256 = _stream(session, sdist, temporary)
        return cache.keep(temporary, sha256)
    except (requests.exceptions.InvalidSchema, requests.exceptions.InvalidURL, requests.exceptions.TooManyRedirects) as error:
        raise BuildEnded(Outcome.SDIST_UNAVAILABLE, f"{_shown(sdist.url)}: {type(error).__name__}") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _network_fault(error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _network_fault(error: Exception) -> Exception:
    # requests' errors are OSErrors too: what the disk says inside one must stay what it is.
    if isinstance(error.__cause__, OSError) and error.__cause__.errno in {errno.ENOSPC, errno.EDQUOT}:
        return error.__cause__
    return _Again(type(error).__name__)


def _stream(session: requests.Session, sdist: Sdist, into: Path) -> str:
    """Write the response to a file. Returns its sha256, which is the listed one if there is one."""
    # identity: a server that compresses on the way would have requests undo the sdist's own compression.
    with session.get(sdist.url, stream=True, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"}) as response:
        _check_status(response, sdist)
        size, sha256 = _write(response, into, sdist.size or UNLISTED_SIZE, sdist)
    if sdist.size is not None and size < sdist.size:
        raise _Again(f"truncated after {size} of {sdist.size} bytes")
    if sdist.sha256 is not None and sha256 != sdist.sha256:
        raise BuildEnded(Outcome.SDIST_UNAVAILABLE, f"{sdist.filename} has sha256 {sha256}, listed is {sdist.sha256}")
    return sha256


def _check_status(response: requests.Response, sdist: Sdist) -> None:
    if response.status_code in _TEMPORARY:
        wait = response.headers.get("Retry-After", "")
        raise _Again(f"the server answers {response.status_code}", float(wait) if wait.isdecimal() else None)
    if response.status_code != requests.codes.ok:
        raise BuildEnded(Outcome.SDIST_UNAVAILABLE, f"{_shown(sdist.url)}: the server answers {response.status_code}")


def _write(response: requests.Response, into: Path, most: int, sdist: Sdist) -> tuple[int, str]:
    digest, size, deadline = hashlib.sha256(), 0, time.monotonic() + _DEADLINE
    with into.open("wb") as file:
        for chunk in response.raw.stream(_CHUNK, decode_content=False):
            size += len(chunk)
            if size > most:
                raise BuildEnded(Outcome.SDIST_UNAVAILABLE, f"{sdist.filename} has more than the listed {most} bytes")
            if time.monotonic() > deadline:
                raise _Again(f"not done after {_DEADLINE} s")
            digest.update(chunk)
            file.write(chunk)
    return size, digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(directory: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for entry in os.scandir(directory):
        with suppress(FileNotFoundError):
            yield Path(entry.path), entry.stat()


def _shown(url: str) -> str:
    """The URL as it may stand in a log: without credentials, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"

"""Downloads an sdist over HTTP, patiently, and checks that it is the listed one."""

import errno
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from piwheels_builder.builder.cuttable import CuttableSession
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.relay import Relay
from piwheels_builder.builder.unpack import ends_early
from piwheels_builder.queue.batch import Sdist
from piwheels_builder.states import Outcome

#: The most an sdist may have where upstream lists no size, in bytes.
UNLISTED_SIZE = 1024 * 2**20
TRIES = 5
#: Seconds that all tries may take together, pauses between them apart.
DEADLINE = 1800
#: Seconds to connect and between two pieces; the longest pause a server may ask for.
_TIMEOUT = (15, 60)
_LONGEST_PAUSE = 60
_TEMPORARY = {408, 425, 429, 500, 502, 503, 504}
_CHUNK = 256 * 1024


def download(sdist: Sdist, into: Path, pause: Callable[[float], None] = time.sleep, relay: Relay | None = None) -> str:
    """Write an sdist to a file, trying several times; ``relay`` is whom its URL leads to, if it does. Returns its sha256.

    Raises BuildEnded (sdist_unavailable, network_away) and OSError (disk).
    """
    if urlsplit(sdist.url).scheme not in {"http", "https"}:
        raise BuildEnded(Outcome.SDIST_UNAVAILABLE, f"{_shown(sdist.url)} is neither http nor https")
    with CuttableSession() as session, _cut_after(DEADLINE, session) as is_cut:
        if relay:
            relay.introduce(session)
        for wait in _pauses():
            try:
                sha256 = _download(session, sdist, into)
                if not is_cut():
                    return sha256
                last = _Again("its end was not reached")
            except _Again as again:
                last = again
            if wait is not None and not is_cut():
                pause(min(last.seconds or wait, _LONGEST_PAUSE))
            if is_cut():
                raise BuildEnded(Outcome.NETWORK_AWAY, f"{_shown(sdist.url)}: {last}, not done after {DEADLINE} s")
    raise BuildEnded(Outcome.NETWORK_AWAY, f"{_shown(sdist.url)}: {last}, {TRIES} times")


@contextmanager
def _cut_after(seconds: float, session: CuttableSession) -> Iterator[Callable[[], bool]]:
    """Cut what is still open after so many seconds. Yields whether that has happened."""
    deadline = time.monotonic() + seconds
    timer = threading.Timer(seconds, session.cut)
    timer.daemon = True
    timer.start()
    try:
        yield lambda: time.monotonic() >= deadline
    finally:
        timer.cancel()


class _Again(Exception):
    """One try failed in a way that may pass, after ``seconds`` if the server said so."""

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


def _pauses() -> Iterator[float | None]:
    """Seconds to wait after each failed try; None after the last."""
    yield from (2.0**power for power in range(TRIES - 1))
    yield None


def _download(session: requests.Session, sdist: Sdist, into: Path) -> str:
    try:
        return _stream(session, sdist, into)
    except (ValueError, requests.exceptions.TooManyRedirects) as error:
        # requests' own errors about a URL are ValueErrors, and a URL may be so odd that Python's is what comes.
        raise BuildEnded(Outcome.SDIST_UNAVAILABLE, f"{_shown(sdist.url)}: {type(error).__name__}") from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _network_fault(error) from error


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
    if sdist.sha256 is None:
        _check_whole(sdist, into)
    return sha256


def _check_whole(sdist: Sdist, file: Path) -> None:
    """Where no sha256 is listed, tell what the network did to an archive from what its maker did. Raises BuildEnded, _Again."""
    with file.open("rb") as content:
        start = content.read(64).lstrip()
        if start.startswith(b"<"):
            raise BuildEnded(Outcome.SDIST_UNAVAILABLE, f"{_shown(sdist.url)} is a page of text and no archive")
        content.seek(0)
        if not start or ends_early(content):
            raise _Again(f"the archive ends before its end, after {file.stat().st_size} bytes")


def _check_status(response: requests.Response, sdist: Sdist) -> None:
    if response.status_code in _TEMPORARY:
        wait = response.headers.get("Retry-After", "")
        raise _Again(f"the server answers {response.status_code}", float(wait) if wait.isdecimal() else None)
    if response.status_code != requests.codes.ok:
        raise BuildEnded(Outcome.SDIST_UNAVAILABLE, f"{_shown(sdist.url)}: the server answers {response.status_code}")


def _write(response: requests.Response, into: Path, most: int, sdist: Sdist) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with into.open("wb") as file:
        for chunk in response.raw.stream(_CHUNK, decode_content=False):
            size += len(chunk)
            if size > most:
                raise BuildEnded(Outcome.SDIST_UNAVAILABLE, f"{sdist.filename} has more than the listed {most} bytes")
            digest.update(chunk)
            file.write(chunk)
    return size, digest.hexdigest()


def _shown(url: str) -> str:
    """The URL as it may stand in a log: without credentials, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"

"""HTTP to the upstream index: one client for all threads, with what pip would take from the environment.

urllib3 by itself: on a first fill its parent, requests, takes five times as long over a request, which is more than everything else
that a project costs here.
"""

import os
import threading
import time
from urllib.parse import SplitResult, unquote

import certifi
import urllib3
from requests.utils import get_environ_proxies, get_netrc_auth, select_proxy
from urllib3 import BaseHTTPResponse
from urllib3.util import Retry, make_headers

from piwheels_builder.catalogue.quick_http import QuickHttp
from piwheels_builder.certificates import trusted_bundle

TRIES = 5
REDIRECTS = 10
TRY_AGAIN = (429, 500, 502, 503, 504)
#: However long an upstream asks us to wait (Retry-After), it gets no more than this between two tries.
LONGEST_WAIT_SECONDS = 60


class Pace:
    """At most so many requests a second, from all threads together; None: as many as come."""

    def __init__(self, per_second: float | None) -> None:
        self._seconds = 1 / per_second if per_second else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the next request may go."""
        if not self._seconds:
            return
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._seconds
        time.sleep(max(0.0, turn - time.monotonic()))


class BoundedRetry(Retry):
    """Waits as long as upstream asks, but not longer than LONGEST_WAIT_SECONDS."""

    def get_retry_after(self, response: BaseHTTPResponse) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, LONGEST_WAIT_SECONDS)


def retries(backoff_seconds: float) -> Retry:
    """TRIES in all, with growing pauses; redirects are counted apart."""
    again = TRIES - 1
    return BoundedRetry(
        total=None,
        connect=again,
        read=again,
        status=again,
        other=0,
        redirect=REDIRECTS,
        status_forcelist=TRY_AGAIN,
        backoff_factor=backoff_seconds,
        raise_on_status=False,
    )


def client(url: str, connections: int, again: Retry) -> urllib3.PoolManager:
    """A client for the index at ``url``: through the proxy that the environment names, and trusting what this host trusts."""
    if proxy := _proxy(url):
        return urllib3.ProxyManager(proxy, maxsize=connections, retries=again, ca_certs=_trusted())
    return urllib3.PoolManager(maxsize=connections, retries=again, ca_certs=_trusted())


def quick_client(url: str, silence_seconds: float, whole_seconds: float) -> QuickHttp | None:
    """The quick way to the same index; None where there is a proxy between."""
    return None if _proxy(url) else QuickHttp(url, _trusted(), silence_seconds, whole_seconds)


def _trusted() -> str:
    return os.environ.get("REQUESTS_CA_BUNDLE") or trusted_bundle() or certifi.where()


def _proxy(url: str) -> str | None:
    proxy: str | None = select_proxy(url, get_environ_proxies(url))
    return proxy


def authorization(parts: SplitResult, url: str) -> dict[str, str]:
    """The header for the user that the URL names, else for the one that ~/.netrc has for its host."""
    user = (unquote(parts.username), unquote(parts.password or "")) if parts.username else get_netrc_auth(url)
    return {"Authorization": make_headers(basic_auth=":".join(user))["authorization"]} if user else {}

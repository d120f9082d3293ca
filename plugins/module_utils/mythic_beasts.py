"""Client of Mythic Beasts' hosted Pi API (https://www.mythic-beasts.com/support/api/raspberry-pi), on Ansible's own urls.

What an answer says is checked before it is believed: every request has an end, every answer a greatest size, every field a type.
A text of an error holds neither the key's secret nor a token, whatever the API repeats in its answers.
"""

from __future__ import annotations

import base64
import json
import queue
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from http.client import HTTPException
from ipaddress import ip_address
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urljoin, urlsplit

from ansible.module_utils import urls

from .mythic_beasts_answers import (
    ApiError,
    Model,
    NotAuthorised,
    NotFound,
    NotReady,
    OutOfStock,
    ProvisioningFailed,
    Refused,
    Server,
    Specification,
    Summary,
    Unreachable,
    joined,
    labels,
    mapping,
    nonsense,
    normal,
    number,
    records,
    server,
    ssh_keys,
    summaries,
    text,
)

__all__ = [
    "API_URL", "AUTH_URL", "NAME", "Account", "ApiError", "Client", "Model", "NotAuthorised", "NotFound", "NotReady", "OutOfStock",
    "ProvisioningFailed", "Refused", "Server", "Specification", "Summary", "Unreachable", "normal",
]  # fmt: skip

AUTH_URL = "https://auth.mythic-beasts.com/login"
API_URL = "https://api.mythic-beasts.com/beta/pi/"
#: What a name may be here: the API takes capitals too, but a host name has none.
NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,18}[a-z0-9]")

_PRINTABLE = re.compile(r"[!-~]{1,4096}")
_MOST_TEXT = 200
_Told = TypeVar("_Told")


@dataclass(frozen=True)
class Account:
    """An API key, and where it is good. Raises ApiError for what cannot be one."""

    key_id: str
    secret: str = field(repr=False)
    auth_url: str = AUTH_URL
    api_url: str = API_URL

    def __post_init__(self) -> None:
        if not (_PRINTABLE.fullmatch(self.key_id) and _PRINTABLE.fullmatch(self.secret)) or ":" in self.key_id:
            raise NotAuthorised(
                "there is no API key: set HOSTEDPI_ID and HOSTEDPI_SECRET to those of a key made in the control panel"
            )
        for url in (self.auth_url, self.api_url):
            if urlsplit(url).scheme not in ("https", "http") or not urlsplit(url).hostname:
                raise Refused(f"{url} is no address of an API: look at HOSTEDPI_AUTH_URL and HOSTEDPI_API_URL")
            if urlsplit(url).scheme == "http" and not _is_loopback(urlsplit(url).hostname or ""):
                raise Refused(f"{url} would be sent the key unencrypted: only https is asked beyond this machine")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    content: bytes


class Client:
    """One account's Pis. Every method raises ApiError; names must match ``NAME`` or be listed."""

    def __init__(
        self, account: Account, *, timeout: float = 30.0, largest: int = 2**20, interval: float = 10.0, patience: float = 60.0
    ) -> None:
        """:param timeout: seconds for a whole request, name resolution and all
        :param largest: bytes of an answer
        :param interval: seconds before a request is repeated
        :param patience: seconds for which requests that may be repeated are, while the API is unreachable
        """
        self._account = account
        self._api = account.api_url.rstrip("/") + "/"
        self._timeout, self._largest, self._interval, self._patience = timeout, largest, interval, patience
        self._token, self._lifetime, self._used = "", 0.0, 0.0
        # A token follows no redirect, and what ~/.netrc says of the API's host must not take its place.
        self._urls = urls.Request(
            http_agent="piwheels-builder", follow_redirects="none", use_netrc=False, decompress=False, context=_context()
        )

    def servers(self) -> dict[str, Summary]:
        """All Pis of the account, by name, in one request."""
        return self._get("servers", lambda content: summaries(mapping(content, "servers")))

    def models(self) -> list[Model]:
        """What can be ordered, whether or not it is in stock."""
        return self._get("models", lambda content: records(Model, mapping(content).get("models")))

    def images(self, model: int) -> dict[str, str]:
        """Labels of a model's operating systems, by id."""
        return self._get(f"images/{model}", lambda content: labels(mapping(content)))

    def find(self, name: str) -> Server | None:
        """A Pi, with its name only while it is provisioned; None where there is none.

        403 alone is no proof, since a Pi that we may not look at gets it too and is listed.
        """
        try:
            return self._get(_path(name), lambda content: server(name, mapping(content)))
        except NotReady:
            return Server(name)
        except NotFound:
            return Server(name) if name in self.servers() else None

    def order(self, name: str, specification: Specification, keys: Sequence[str] = ()) -> str | None:
        """Order a Pi; it costs money from here on. Gives the address of its place in the queue, None where the API told none.

        Never repeated here: when it raises Unreachable the Pi may have been ordered, so `find` it first.
        """
        wanted = {key.name: getattr(specification, key.name) for key in fields(specification)}
        body = {key: value for key, value in wanted.items() if value is not None}
        answer = self._ask("POST", _path(name), {**body, "ssh_key": joined(keys)} if keys else body)
        return self._own_address(answer.headers.get("location", ""))

    def progress(self, address: str) -> str | None:
        """How far a Pi in the queue is, in the API's words; None: provisioned. Raises ProvisioningFailed, NotFound (not queued)."""

        def told(answer: _Answer) -> str | None:
            return None if answer.status == 303 else text(mapping(answer.content).get("status"), "status") or "Provisioning"

        return self._patiently(lambda: told(self._ask("GET", address)))

    def keys(self, name: str) -> tuple[str, ...]:
        """The SSH keys that the Pi lets root in by."""
        return self._get(_path(name, "ssh-key"), lambda content: ssh_keys(mapping(content)))

    def replace_keys(self, name: str, keys: Sequence[str]) -> None:
        self._repeated("PUT", _path(name, "ssh-key"), {"ssh_key": joined(keys)})

    def power(self, name: str, on: bool) -> None:
        self._repeated("PUT", _path(name, "power"), {"power": on})

    def reboot(self, name: str) -> None:
        """Raises NotReady where it is already rebooting."""
        self._ask("POST", _path(name, "reboot"))

    def cancel(self, name: str) -> None:
        """Raises NotReady while it is provisioned, NotFound where there is none (any more)."""
        self._repeated("DELETE", _path(name))

    def _get(self, path: str, read: Callable[[bytes], _Told]) -> _Told:
        return self._patiently(lambda: read(self._ask("GET", path).content))

    def _repeated(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> None:
        self._patiently(lambda: self._ask(method, path, body))

    def _patiently(self, ask: Callable[[], _Told]) -> _Told:
        """Ask until something is told that can be believed, or patience ends. Only for what may be asked twice."""
        until = time.monotonic() + self._patience
        while True:
            try:
                return ask()
            except Unreachable as error:
                pause = max(self._interval, error.pause)
                if time.monotonic() + pause > until:
                    raise
            time.sleep(pause)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> _Answer:
        """Ask once; a token that the API no longer knows is renewed, since then it did nothing."""
        answer = self._authorised(method, path, body)
        if answer.status == 401:
            self._token = ""
            answer = self._authorised(method, path, body)
        if 200 <= answer.status < 300 or (answer.status == 303 and method == "GET"):
            return answer
        raise self._error(method, path, answer)

    def _authorised(self, method: str, path: str, body: Mapping[str, Any] | None) -> _Answer:
        # A quarter of its life early: 403 is what a stale token may get, and would be taken for a Pi that is gone.
        if not self._token or time.monotonic() > self._used + self._lifetime * 0.75:
            self._log_in()
        self._used = time.monotonic()
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        content = None if body is None else json.dumps(body).encode()
        return self._send(method, urljoin(self._api, path), headers=headers, data=content)

    def _log_in(self) -> None:
        self._token = ""
        form = urlencode({"grant_type": "client_credentials"}).encode()
        basic = {"url_username": self._account.key_id, "url_password": self._account.secret, "force_basic_auth": True}
        answer = self._send("POST", self._account.auth_url, headers={"Accept": "application/json"}, data=form, **basic)
        if answer.status >= 500 or answer.status == 429:
            raise self._error("POST", "login", answer)
        if answer.status != 200:
            told = self._told(answer)
            raise NotAuthorised(
                f"the login was refused ({told}): are HOSTEDPI_ID and HOSTEDPI_SECRET those of a key that is in force?"
            )
        granted = mapping(answer.content)
        token, lifetime = granted.get("access_token"), number(granted, "expires_in")
        if not isinstance(token, str) or not _PRINTABLE.fullmatch(token) or not lifetime:
            nonsense("access_token")
        self._token, self._lifetime = token, lifetime

    def _send(self, method: str, url: str, **arguments: Any) -> _Answer:
        try:
            answer = _within(self._timeout, lambda: self._exchange(method, url, **arguments))
            return _Answer(answer.status, answer.headers, self._without_secrets(answer.content))
        except (OSError, HTTPException, ValueError, urls.ConnectionError) as error:
            # No chain: what a library says of a request is not ours to vouch for.
            raise Unreachable(f"{_host(url)} cannot be reached: {self._clean(str(error))}") from None

    def _exchange(self, method: str, url: str, **arguments: Any) -> _Answer:
        try:
            response = self._urls.open(method, url, timeout=self._timeout, **arguments)
        except HTTPError as error:
            response = error
        with response:
            content = response.read(self._largest + 1)
            if len(content) > self._largest:
                raise ValueError(f"its answer is larger than {self._largest} bytes")
            headers = {key.lower(): value for key, value in response.headers.items()}
            return _Answer(int(response.code), headers, content)

    def _error(self, method: str, path: str, answer: _Answer) -> ApiError:
        what = f"{method} {self._clean(urlsplit(path).path)} was answered with {self._told(answer)}"
        order = method == "POST" and path.count("/") == 1
        if answer.status == 401:
            return NotAuthorised(f"{what}, with a token just got: a token holds for one address, so is this host's changing?")
        if answer.status in (403, 404) and not order and path.count("/"):
            return NotFound(what)
        if answer.status == 403:
            return NotAuthorised(f"{what}: may this key see, order and cancel Pis? Look at its permissions in the control panel")
        if answer.status == 503 and order and _is_error(answer):
            return OutOfStock(what)
        if answer.status == 500 and "://" in path:
            return ProvisioningFailed(what)
        return _by_status(what, answer)

    def _told(self, answer: _Answer) -> str:
        """What the API says of an error: its status, and its words if it has any."""
        try:
            words = [answer.content and mapping(answer.content).get(key) for key in ("error", "error_description")]
        except Unreachable:
            words = []
        return ": ".join([str(answer.status), *(self._clean(word) for word in words if isinstance(word, str) and word)])

    def _clean(self, words: str) -> str:
        """A text of others, fit to be shown: in one short line, and without our secrets."""
        shown = self._without_secrets(words.encode(errors="replace")).decode(errors="replace")
        return "".join(char if char.isprintable() else " " for char in shown)[:_MOST_TEXT]

    def _without_secrets(self, content: bytes) -> bytes:
        """An answer that repeats what it was asked with would carry it into results and logs."""
        basic = base64.b64encode(f"{self._account.key_id}:{self._account.secret}".encode()).decode()
        for secret in filter(None, (self._account.secret, self._token, basic)):
            content = content.replace(secret.encode(), b"***")
        return content

    def _own_address(self, location: str) -> str | None:
        """An address that the token may be sent to: of the API itself."""
        address = urljoin(self._api, location)
        return address if location and urlsplit(address)[:2] == urlsplit(self._api)[:2] else None


@cache
def _context() -> Any:
    """For TLS. Kept, since reading the certificates of all authorities takes longer than a request."""
    return urls.make_context()


def _within(seconds: float, ask: Callable[[], _Answer]) -> _Answer:
    """What ``ask`` returns or raises, or TimeoutError after ``seconds``.

    In a thread that may be left behind: sockets' time-outs bound neither name resolution nor an answer that trickles in.
    """
    done: queue.SimpleQueue[_Answer | BaseException] = queue.SimpleQueue()

    def run() -> None:
        try:
            done.put(ask())
        except BaseException as error:  # It is the caller's, whatever it is.
            done.put(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        told = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no whole answer within {seconds:g} s") from None
    if isinstance(told, BaseException):
        raise told
    return told


def _path(name: str, *further: str) -> str:
    return "/".join(("servers", quote(name, safe=""), *further))


def _host(url: str) -> str:
    return urlsplit(url).hostname or url


def _pause(answer: _Answer) -> float:
    """Seconds of Retry-After, of which at most a minute is believed."""
    asked = answer.headers.get("retry-after", "")
    return min(60.0, float(asked)) if re.fullmatch(r"[0-9]{1,5}", asked) else 0.0


def _by_status(what: str, answer: _Answer) -> ApiError:
    """What a status means whoever was asked for whatever."""
    if answer.status == 429 or answer.status >= 500:
        return Unreachable(what, _pause(answer))
    return NotReady(what) if answer.status == 409 else Refused(what)


def _is_error(answer: _Answer) -> bool:
    """Whether the API itself says so, and not a proxy before it."""
    try:
        return "error" in mapping(answer.content)
    except Unreachable:
        return False

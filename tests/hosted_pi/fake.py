"""A fake of Mythic Beasts' hosted Pi API: real HTTP, its tokens, its queue, its errors, and faults on demand.

with FakeApi(seconds=1) as api:
    os.environ.update(api.environment)
    api.faults.hangs.add("wheels-03")
    ...
    api.pis["wheels-01"].power

Others run it by hand: python -m tests.hosted_pi.fake --seconds 20 --hang wheels-03
"""

import argparse
import base64
import json
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs

from tests.hosted_pi.account import Answer, FakeAccount, FakePi, Faults, Provision, error

__all__ = ["FakeApi", "FakePi", "Faults"]

BASE = "/beta/pi/"
_MOST_BODY = 2**16
_ENDLESS = object()


class FakeApi:
    """The API of one account, from ``with`` to its end."""

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        seconds: float = 0.05,
        provision: Provision | None = None,
        cancel: Callable[[str], None] | None = None,
    ) -> None:
        """:param seconds: from a Pi's order until it is live
        :param provision: called in a thread of its own when a Pi is to boot
        :param cancel: called when it was cancelled
        """
        self.faults = faults or Faults()
        self.account = FakeAccount(self.faults, seconds, provision, cancel)
        self.key_id, self.secret = "a-key", f"the-secret-{secrets.token_hex(8)}"
        #: Seconds for which a token is good after it was used last.
        self.token_seconds = 300
        self.logins = 0
        #: Method and path of everything asked.
        self.requests: list[tuple[str, str]] = []
        self._tokens: dict[str, tuple[str, float]] = {}
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        kind = type("Server", (ThreadingHTTPServer,), {"address_family": family, "daemon_threads": True, "request_queue_size": 64})
        self._server = kind((address, port), type("Handler", (_Handler,), {"api": self}))
        self.url = f"http://{f'[{address}]' if ':' in address else address}:{self._server.server_address[1]}"

    @property
    def pis(self) -> dict[str, FakePi]:
        """By name; hold ``lock`` while going through them."""
        return self.account.pis

    @property
    def lock(self) -> threading.RLock:
        return self.account.lock

    @property
    def environment(self) -> dict[str, str]:
        """By which clients find it."""
        return {
            "HOSTEDPI_ID": self.key_id,
            "HOSTEDPI_SECRET": self.secret,
            "HOSTEDPI_AUTH_URL": f"{self.url}/login",
            "HOSTEDPI_API_URL": f"{self.url}{BASE}",
        }

    def asked(self, method: str, path: str = "") -> int:
        """How many requests of a method there were, of a path that begins so below the API's address."""
        return sum(1 for seen, where in self.requests if seen == method and where.startswith(BASE + path))

    def expire_tokens(self) -> None:
        self._tokens.clear()

    def log_in(self, authorization: str, form: str, caller: str) -> Answer:
        self.logins += 1
        if parse_qs(form).get("grant_type") != ["client_credentials"]:
            return Answer(400, {"error": "unsupported_grant_type", "error_description": "Use client_credentials"})
        if authorization != "Basic " + base64.b64encode(f"{self.key_id}:{self.secret}".encode()).decode():
            return Answer(401, {"error": "invalid_client", "error_description": "Invalid client credentials"})
        token = secrets.token_urlsafe(24)
        self._tokens[token] = (caller, time.monotonic() + self.token_seconds)
        return Answer(200, {"access_token": token, "expires_in": self.token_seconds, "token_type": "bearer"})

    def admits(self, authorization: str, caller: str) -> bool:
        """Whether that is a token of this caller, which it makes last longer."""
        token = authorization.removeprefix("Bearer ")
        bound, until = self._tokens.get(token, ("", 0.0))
        if bound != caller or time.monotonic() > until:
            return False
        self._tokens[token] = (caller, time.monotonic() + self.token_seconds)
        return True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None) -> None:
        self.account.closed.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection. Its class says which API it serves."""

    api: FakeApi
    protocol_version = "HTTP/1.1"
    timeout = 30
    # Headers and body are two writes, and the second would wait for the first's acknowledgement.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def _handle(self) -> None:
        content = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), _MOST_BODY))
        self.api.requests.append((self.command, self.path))
        faults = self.api.faults
        time.sleep(faults.slow)
        if faults.drop_every and len(self.api.requests) % faults.drop_every == 0:
            self.close_connection = True
            return
        answer = self._misbehaved() or self._answer(content)
        if self.command == "POST" and answer.status == 202 and faults.lost_orders:
            faults.lost_orders -= 1
            self.close_connection = True
            return
        self._send(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - the library's names

    def _misbehaved(self) -> Answer | None:
        faults = self.api.faults
        answers: dict[str, Answer] = {
            "busy": Answer(429, {"error": "Too many requests"}, {"Retry-After": str(faults.retry_after)}),
            "garbage": Answer(200, b"<html>\xff\x00 It works!"),
            "huge": Answer(200, _ENDLESS),
            "unavailable": Answer(503, b"<html>Service Unavailable"),
            "echo": Answer(400, {"error": f"I do not like {self.headers.get('Authorization')}"}),
        }
        for name, answer in answers.items():
            left = getattr(faults, name)
            if left:
                setattr(faults, name, left - 1)
                return answer
        return next((Answer(200, told) for end, told in faults.answers.items() if self.path.endswith(end)), None)

    def _answer(self, content: bytes) -> Answer:
        caller, authorization = self.client_address[0], self.headers.get("Authorization") or ""
        if (self.command, self.path) == ("POST", "/login"):
            return self.api.log_in(authorization, content.decode(errors="replace"), caller)
        if not self.api.admits(authorization, caller):
            return error(401, "Not authenticated")
        if not self.path.startswith(BASE):
            return error(404, "Not found")
        try:
            body = json.loads(content or b"{}")
        except ValueError:
            body = None
        return (
            self.api.account.answer(self.command, self.path[len(BASE) :], body)
            if isinstance(body, dict)
            else error(400, "Bad JSON")
        )

    def _send(self, answer: Answer) -> None:
        if answer.body is _ENDLESS:
            self._send_endlessly()
        content = (
            answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode() if answer.body is not None else b""
        )
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, self.api.url + value if value.startswith("/") else value)
        if answer.status != 204:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        for start in range(0, len(content), 1 if self.api.faults.trickle else len(content) or 1):
            self.wfile.write(content[start : start + 1] if self.api.faults.trickle else content)
            time.sleep(self.api.faults.trickle)

    def _send_endlessly(self) -> None:
        """Until the client has enough, which ends the connection."""
        self.send_response(200)
        self.send_header("Content-Length", str(2**40))
        self.end_headers()
        while True:
            self.wfile.write(b" " * 2**14)


def main(arguments: list[str]) -> None:
    """Serve until interrupted; say what a client's environment must hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosted_pi.fake", description="A fake of the hosted Pi API.")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5, help="from a Pi's order until it is live")
    parser.add_argument("--out-of-stock", type=int, action="append", default=[], metavar="MODEL")
    parser.add_argument("--hang", action="append", default=[], metavar="NAME", help="until it is power-cycled")
    parser.add_argument("--fail", action="append", default=[], metavar="NAME")
    asked: Any = parser.parse_args(arguments)
    faults = Faults(out_of_stock=set(asked.out_of_stock), hangs=set(asked.hang), fails=set(asked.fail))
    with FakeApi(faults, address=asked.address, port=asked.port, seconds=asked.seconds) as api:
        for name, value in api.environment.items():
            print(f"export {name}={value}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(0)

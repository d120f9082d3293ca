"""An HTTP server that answers each request with what a test gives it, byte by byte as it is given."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """``head`` and ``body`` go out as they are, ``delay`` seconds between two bytes; then the connection ends, or is reset."""

    body: bytes = b""
    status: str = "200 OK"
    headers: Mapping[str, str] | None = None
    #: None: the right one; "": none at all; else this.
    length: str | None = None
    delay: float = 0.0
    reset: bool = False

    @property
    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status}", "Connection: close"]
        if self.length != "":
            lines.append(f"Content-Length: {self.length if self.length is not None else len(self.body)}")
        lines += [f"{name}: {value}" for name, value in (self.headers or {}).items()]
        return "\r\n".join([*lines, "", ""]).encode()


@dataclass
class FaultyServer:
    """``answers`` by path: one after the other, the last one for ever."""

    port: int
    answers: dict[str, list[Answer]]
    asked: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def faulty_server() -> Iterator[FaultyServer]:
    """A server on a free port for the length of a block."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = FaultyServer(listening.getsockname()[1], {})
        over = threading.Event()
        accepting = threading.Thread(target=_accept, args=(listening, server, over), daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            over.set()
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _accept(listening: socket.socket, server: FaultyServer, over: threading.Event) -> None:
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(client, server, over), daemon=True).start()


def _answer(client: socket.socket, server: FaultyServer, over: threading.Event) -> None:
    with client, suppress(OSError):
        request = b""
        while b"\r\n\r\n" not in request:
            piece = client.recv(65536)
            if not piece:
                return
            request += piece
        path = request.split()[1].decode().partition("?")[0]
        waiting = server.answers.get(path) or [Answer(status="404 Not Found")]
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        server.asked += 1
        _send(client, answer, over)
        if answer.reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def _send(client: socket.socket, answer: Answer, over: threading.Event) -> None:
    content = answer.head + answer.body
    if not answer.delay:
        client.sendall(content)
        return
    for byte in content:
        if over.is_set():
            return
        client.sendall(bytes([byte]))
        time.sleep(answer.delay)

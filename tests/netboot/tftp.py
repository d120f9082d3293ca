"""TFTP as boot ROMs speak it (RFC 1350, 2347 to 2349): they ask for a size, break off, and ask again."""

import socket
import time
from dataclasses import dataclass

READ, DATA, ACKNOWLEDGE, ERROR, OPTIONS = 1, 3, 4, 5, 6
#: Bytes of one file, seconds of silence, and packets sent again before it is given up.
MOST, PATIENCE, TRIES = 2**28, 1.0, 5


class Absent(Exception):
    """The server says that it has no such file."""


class Broken(Exception):
    """The server fell silent, or sent what is no TFTP."""


@dataclass(frozen=True)
class Client:
    """Asks one server. ``block`` 0: no options, so blocks of 512 bytes. ``pause``: seconds before each acknowledgement."""

    server: str
    block: int = 0
    pause: float = 0.0

    def size(self, name: str) -> int:
        """Ask for a file's size and break off, as bootloaders do. Raises Absent, Broken."""
        with _Conversation(self.server) as talk:
            kind, rest = talk.ask(_request(name, {"tsize": "0", "blksize": str(self.block)}))
            options = _parsed(kind, rest)
            talk.send(_packet(ERROR, 0) + b"Early terminate\0")
            return int(options["tsize"])

    def fetch(self, name: str) -> bytes:
        """The whole file. Raises Absent, Broken."""
        with _Conversation(self.server) as talk:
            first = talk.ask(_request(name, {"blksize": str(self.block)} if self.block else {}))
            if self.block:
                block = int(_parsed(*first).get("blksize", "512"))
                first = talk.ask(_packet(ACKNOWLEDGE, 0))
            else:
                block = 512
            return self._receive(talk, first, block)

    def _receive(self, talk: "_Conversation", packet: tuple[int, bytes], block: int) -> bytes:
        found, number = bytearray(), 1
        while True:
            kind, rest = packet
            if kind != DATA:
                raise _refusal(kind, rest)
            if int.from_bytes(rest[:2], "big") == number & 0xFFFF:
                found += rest[2:]
                number += 1
                if len(rest) - 2 < block:
                    talk.send(_packet(ACKNOWLEDGE, (number - 1) & 0xFFFF))
                    return bytes(found)
            if len(found) > MOST:
                msg = f"more than {MOST} bytes came"
                raise Broken(msg)
            time.sleep(self.pause)
            packet = talk.ask(_packet(ACKNOWLEDGE, (number - 1) & 0xFFFF))


class _Conversation:
    """Packets to and from the port that the server takes for one file."""

    def __init__(self, server: str) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(PATIENCE)
        self._server = server
        self._port = 69

    def __enter__(self) -> "_Conversation":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, packet: bytes) -> None:
        self._socket.sendto(packet, (self._server, self._port))

    def ask(self, packet: bytes) -> tuple[int, bytes]:
        """Send, and again while nothing comes; the answer's kind and the rest of it. Raises Broken."""
        for _ in range(TRIES):
            self.send(packet)
            try:
                data, sender = self._socket.recvfrom(65536)
            except TimeoutError:
                continue
            if sender[0] == self._server and len(data) >= 4 and self._port in (69, sender[1]):
                self._port = sender[1]
                return int.from_bytes(data[:2], "big"), data[2:]
        msg = f"{self._server} was silent for {TRIES * PATIENCE:.0f} s"
        raise Broken(msg)


def _packet(kind: int, number: int) -> bytes:
    return kind.to_bytes(2, "big") + number.to_bytes(2, "big")


def _request(name: str, options: dict[str, str]) -> bytes:
    words = [name, "octet", *(word for pair in options.items() for word in pair)]
    return READ.to_bytes(2, "big") + b"".join(word.encode() + b"\0" for word in words)


def _parsed(kind: int, rest: bytes) -> dict[str, str]:
    if kind != OPTIONS:
        raise _refusal(kind, rest)
    words = rest.rstrip(b"\0").decode(errors="replace").split("\0")
    return dict(zip(words[::2], words[1::2], strict=False))


def _refusal(kind: int, rest: bytes) -> Exception:
    if kind == ERROR and rest[:2] == b"\0\1":
        return Absent(rest[2:].rstrip(b"\0").decode(errors="replace"))
    return Broken(f"packet of kind {kind}: {rest[2:80]!r}")

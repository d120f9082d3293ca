"""A door in front of a PostgreSQL socket that shuts in the middle of a conversation: at the Nth message, or within it."""

import socket
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

SOCKET = ".s.PGSQL.5432"
#: How much of the message that is cut comes through, in bytes.
NOTHING, A_PIECE = 0, 3


@dataclass
class Door:
    """Lets every message through until told otherwise. ``passed`` counts those from the server, or those to it."""

    directory: Path
    to_server: bool = False
    passed: int = 0
    cuts: int = 0
    _shut_at: int | None = None
    _piece: int = NOTHING
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def shut_at(self, number: int | None, *, to_server: bool, piece: int = NOTHING) -> None:
        """Break the connection once, instead of passing the message ``number``, counted from 1 and from now on."""
        with self._lock:
            self.passed, self.cuts, self._shut_at, self.to_server, self._piece = 0, 0, number, to_server, piece

    def let_through(self, message: bytes, *, to_server: bool) -> tuple[bytes, bool]:
        """What comes through of a message, and whether the connection stands."""
        with self._lock:
            if to_server != self.to_server:
                return message, True
            self.passed += 1
            if self.passed != self._shut_at:
                return message, True
            self.cuts += 1
            return message[: self._piece], False


@contextmanager
def door_to(server: Path) -> Iterator[Door]:
    """A socket directory to name as ``host``, in front of the one of a server."""
    with tempfile.TemporaryDirectory(prefix="door-") as short, socket.socket(socket.AF_UNIX) as listening:
        door = Door(Path(short))
        listening.bind(f"{short}/{SOCKET}")
        listening.listen()
        accepting = threading.Thread(target=_accept, args=(listening, server / SOCKET, door), daemon=True)
        accepting.start()
        try:
            yield door
        finally:
            # Wakes accept, which closing alone would not.
            listening.shutdown(socket.SHUT_RDWR)
            accepting.join()


def _accept(listening: socket.socket, server: Path, door: Door) -> None:
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        behind = socket.socket(socket.AF_UNIX)
        try:
            behind.connect(str(server))
        except OSError:
            client.close()
            behind.close()
            continue
        threading.Thread(target=_converse, args=(client, behind, door), daemon=True).start()


def _converse(client: socket.socket, behind: socket.socket, door: Door) -> None:
    backwards = threading.Thread(target=_pass, args=(behind, client, door), kwargs={"to_server": False}, daemon=True)
    backwards.start()
    _pass(client, behind, door, to_server=True)
    backwards.join()
    client.close()
    behind.close()


def _pass(source: socket.socket, sink: socket.socket, door: Door, *, to_server: bool) -> None:
    """Pass whole messages on until one side goes, or the door shuts."""
    with suppress(OSError):
        # Only the very first message to a server has no letter for its kind.
        letter = 0 if to_server else 1
        while message := _message(source, letter):
            letter = 1
            passed, stands = door.let_through(message, to_server=to_server)
            sink.sendall(passed)
            if not stands:
                break
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _message(source: socket.socket, letter: int) -> bytes:
    """One message of PostgreSQL's protocol; nothing at the end."""
    head = _exactly(source, letter + 4)
    if not head:
        return b""
    (length,) = struct.unpack("!I", head[letter:])
    return head + _exactly(source, length - 4)


def _exactly(source: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        piece = source.recv(size - len(received))
        if not piece:
            return b""
        received += piece
    return received

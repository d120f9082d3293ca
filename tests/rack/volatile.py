"""A disk that forgets, as disks do: what was written and not flushed is lost in part when the power is cut.

A SIGKILL of an emulator alone loses nothing that its guest wrote, since this machine's page cache outlives the process, whatever
``cache=`` says. So the emulator's disk is served by a process of its own, over NBD (the specification is doc/proto.md of the
NetworkBlockDevice project), that holds writes in memory until the guest flushes, and is killed together with the emulator. As a
real disk writes in whatever order it likes, each block of a write goes to the file at once or waits for the flush, by chance. So of
all that was not flushed any part may be there after a cut, in any order.

    python3 -m tests.rack.volatile IMAGE SOCKET
"""

import os
import random
import socket
import struct
import sys
from pathlib import Path

BLOCK = 4096
#: Blocks that wait for a flush; one more, and the oldest goes to the file, as from a disk's own cache.
MOST_WAITING = 16384

_READ, _WRITE, _LEAVE, _FLUSH = range(4)
_MUST_BE_KEPT = 1
#: In newstyle negotiation: what an option asks for, and how it is answered.
_GO = 7
_DONE, _INFO, _UNKNOWN = 1, 3, 2**31 + 1
_OFFERS_FLUSH = 1 | 4 | 8
_EINVAL, _EIO = 22, 5


class VolatileDisk:
    """The disk's contents over a file: ``read``, ``write`` and ``flush`` raise OSError where the file does."""

    def __init__(self, image: Path, chance: random.Random) -> None:
        self._file = os.open(image, os.O_RDWR)
        self._chance = chance
        self._waiting: dict[int, bytes] = {}
        #: Bytes.
        self.size = os.fstat(self._file).st_size

    def read(self, offset: int, length: int) -> bytes:
        found = bytearray(os.pread(self._file, length, offset))
        for number in range(offset // BLOCK, (offset + length - 1) // BLOCK + 1):
            if number in self._waiting:
                begins, ends = max(offset, number * BLOCK), min(offset + length, (number + 1) * BLOCK)
                found[begins - offset : ends - offset] = self._waiting[number][begins - number * BLOCK : ends - number * BLOCK]
        return bytes(found)

    def write(self, offset: int, data: bytes) -> None:
        before = offset % BLOCK
        after = -(offset + len(data)) % BLOCK
        if before or after:
            ends = offset + len(data)
            data = self.read(offset - before, before) + data + self.read(ends, after)
        for place in range(0, len(data), BLOCK):
            self._write_block((offset - before + place) // BLOCK, data[place : place + BLOCK])

    def _write_block(self, number: int, data: bytes) -> None:
        # What waited is older: it must not come after this one, and it goes to the end of the queue.
        self._waiting.pop(number, None)
        if self._chance.random() < 0.5:
            os.pwrite(self._file, data, number * BLOCK)
            return
        self._waiting[number] = data
        if len(self._waiting) > MOST_WAITING:
            oldest = next(iter(self._waiting))
            os.pwrite(self._file, self._waiting.pop(oldest), oldest * BLOCK)

    def flush(self) -> None:
        # The file is in this machine's page cache then, which our own end does not touch: that is what "kept" means here.
        for number, data in self._waiting.items():
            os.pwrite(self._file, data, number * BLOCK)
        self._waiting.clear()


def serve(disk: VolatileDisk, connection: socket.socket) -> None:
    """Serve one client until it leaves; what it did not flush is forgotten. Raises OSError, EOFError."""
    _agree(disk, connection)
    while True:
        magic, flags, kind, handle, offset, length = struct.unpack(">IHHQQI", _receive(connection, 28))
        if magic != 0x25609513 or kind == _LEAVE:
            return
        data = _receive(connection, length) if kind == _WRITE else b""
        error, body = _do(disk, kind, (offset, length), data)
        if flags & _MUST_BE_KEPT and not error:
            disk.flush()
        connection.sendall(struct.pack(">IIQ", 0x67446698, error, handle) + body)


def _do(disk: VolatileDisk, kind: int, place: tuple[int, int], data: bytes) -> tuple[int, bytes]:
    """An error number, 0 for none, and what was read."""
    offset, length = place
    if kind not in (_READ, _WRITE, _FLUSH) or offset + length > disk.size:
        return _EINVAL, b""
    try:
        if kind == _READ:
            return 0, disk.read(offset, length)
        if kind == _WRITE:
            disk.write(offset, data)
        else:
            disk.flush()
    except OSError as error:
        return error.errno or _EIO, b""
    return 0, b""


def _agree(disk: VolatileDisk, connection: socket.socket) -> None:
    """Newstyle negotiation: every option but "go" is unknown here, which a client takes for its answer."""
    connection.sendall(b"NBDMAGICIHAVEOPT" + struct.pack(">H", 3))
    _receive(connection, 4)
    while True:
        magic, option, length = struct.unpack(">8sII", _receive(connection, 16))
        _receive(connection, length)
        if magic != b"IHAVEOPT":
            raise EOFError("this client does not speak newstyle NBD")
        if option == _GO:
            _answer(connection, option, _INFO, struct.pack(">HQH", 0, disk.size, _OFFERS_FLUSH))
            _answer(connection, option, _DONE)
            return
        _answer(connection, option, _UNKNOWN)


def _answer(connection: socket.socket, option: int, kind: int, body: bytes = b"") -> None:
    connection.sendall(struct.pack(">QIII", 0x3E889045565A9, option, kind, len(body)) + body)


def _receive(connection: socket.socket, length: int) -> bytes:
    received = bytearray()
    while len(received) < length:
        more = connection.recv(min(length - len(received), 2**20))
        if not more:
            raise EOFError("the client is gone")
        received += more
    return bytes(received)


def main(image: str, place: str) -> None:
    """Serve one client at a Unix socket, and end with it."""
    Path(place).unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(place)
        listening.listen(1)
        connection, _ = listening.accept()
        with connection:
            try:
                serve(VolatileDisk(Path(image), random.Random()), connection)
            except (EOFError, ConnectionError):
                return


if __name__ == "__main__":
    main(*sys.argv[1:])

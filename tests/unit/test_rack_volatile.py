"""The rack's disk that forgets: what was flushed is kept, what was not is lost in part, and a client reads what it wrote."""

import random
import socket
import struct
import threading
from pathlib import Path

import pytest

from tests.rack.volatile import BLOCK, MOST_WAITING, VolatileDisk, serve

SIZE = 64 * BLOCK


@pytest.fixture
def image(tmp_path: Path) -> Path:
    image = tmp_path / "disk"
    image.write_bytes(bytes(SIZE))
    return image


@pytest.mark.parametrize("seed", range(4))
def test_reads_are_what_was_written_wherever_it_begins_and_ends(image: Path, seed: int) -> None:
    chance = random.Random(seed)
    disk, model = VolatileDisk(image, random.Random(seed)), bytearray(SIZE)
    for _ in range(500):
        offset = chance.randrange(SIZE - 1)
        length = min(chance.choice([1, 512, BLOCK, 9000]), SIZE - offset)
        assert disk.read(offset, length) == model[offset : offset + length]
        model[offset : offset + length] = data = chance.randbytes(length)
        disk.write(offset, data)
    disk.flush()
    assert image.read_bytes() == model


def test_a_cut_loses_some_of_what_was_not_flushed_and_nothing_else(image: Path) -> None:
    disk = VolatileDisk(image, random.Random(1))
    disk.write(0, b"a" * SIZE)
    disk.flush()
    disk.write(0, b"b" * SIZE)
    after_the_cut = image.read_bytes()
    assert disk.read(0, SIZE) == b"b" * SIZE
    assert {after_the_cut[place : place + BLOCK] for place in range(0, SIZE, BLOCK)} == {b"a" * BLOCK, b"b" * BLOCK}


def test_an_older_write_never_comes_after_a_newer_one(image: Path) -> None:
    for seed in range(50):
        disk = VolatileDisk(image, random.Random(seed))
        for data in (b"1", b"2", b"3"):
            disk.write(0, data * BLOCK)
        disk.flush()
        assert image.read_bytes()[:BLOCK] == b"3" * BLOCK


def test_a_cache_that_is_full_gives_its_oldest_to_the_file(tmp_path: Path) -> None:
    image = tmp_path / "large"
    with image.open("wb") as large:
        large.truncate(3 * MOST_WAITING * BLOCK)
    disk = VolatileDisk(image, random.Random(1))
    for number in range(3 * MOST_WAITING):
        disk.write(number * BLOCK, b"x" * BLOCK)
    waiting = image.read_bytes().count(bytes(BLOCK))
    assert 0 < waiting <= MOST_WAITING


def test_a_client_that_leaves_without_a_flush_has_lost_some_of_it(image: Path) -> None:
    ours, theirs = socket.socketpair()
    server = threading.Thread(target=lambda: serve(VolatileDisk(image, random.Random(1)), theirs))
    server.start()
    with ours, theirs:
        _shake_hands(ours)
        assert _ask(ours, 1, 0, b"c" * SIZE) == 0
        assert _ask(ours, 3, 0) == 0
        assert _ask(ours, 1, 0, b"d" * SIZE) == 0
        assert _ask(ours, 1, SIZE, b"beyond") != 0
        ours.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 2, 1, 0, 0))
        server.join(10)
    assert set(image.read_bytes()) == set(b"cd")


def _shake_hands(client: socket.socket) -> None:
    assert _received(client, 18)[:16] == b"NBDMAGICIHAVEOPT"
    client.sendall(struct.pack(">I8sII", 3, b"IHAVEOPT", 8, 0) + struct.pack(">8sII", b"IHAVEOPT", 7, 0))
    kinds = []
    for _ in range(3):
        _, _, kind, length = struct.unpack(">QIII", _received(client, 20))
        kinds.append(kind)
        _received(client, length)
    # An option that it doesn't know; the export, with its size; the end of negotiation.
    assert kinds == [2**31 + 1, 3, 1]


def _ask(client: socket.socket, kind: int, offset: int, data: bytes = b"") -> int:
    """The error that a command is answered with, 0 for none."""
    client.sendall(struct.pack(">IHHQQI", 0x25609513, 0, kind, 7, offset, len(data)) + data)
    magic, error, handle = struct.unpack(">IIQ", _received(client, 16))
    assert (magic, handle) == (0x67446698, 7)
    return int(error)


def _received(client: socket.socket, length: int) -> bytes:
    received = b""
    while len(received) < length:
        more = client.recv(length - len(received))
        assert more
        received += more
    return received

"""The benchmark of a network root: its cable is as slow as it says, and carries every byte."""

import os
import socket
import threading
import time

from bench.netboot_root import placements, table
from bench.throttle import throttled
from piwheels_builder.settings import BuilderSettings


def echo(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        while piece := connection.recv(65536):
            connection.sendall(piece)


def test_the_cable_carries_all_bytes_at_its_rate_and_delays_them() -> None:
    sent = os.urandom(300_000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=echo, args=(server,), daemon=True).start()
        with throttled(server.getsockname()[1], megabits=8, delay=0.05) as port:
            began = time.monotonic()
            with socket.create_connection(("127.0.0.1", port), 30) as connection:
                threading.Thread(target=connection.sendall, args=(sent,), daemon=True).start()
                received = b""
                while len(received) < len(sent):
                    received += connection.recv(65536)
            seconds = time.monotonic() - began
    assert received == sent
    # At 1 MB/s, and both ways late; each way carries while the other does.
    assert seconds > 0.3 + 2 * 0.05


def test_what_is_measured_is_what_a_builder_can_be_set_to() -> None:
    names = set(BuilderSettings.__dataclass_fields__)
    assert [set(placement["settings"]) <= names for placement in placements()] == [True] * 3


def test_a_line_for_each_placement() -> None:
    counted = {"calls": 1000, "sent": 2_000_000, "received": 3_000_000, "milliseconds": 4000}
    first = {"name": "here", "seconds": {"demo 1": 9.0}, **counted}
    lines = list(table([first, {**first, "seconds": {"demo 1": 5.0}}]))
    assert lines[0] == "| placement | demo 1, first | demo 1 | NFS calls | MB | ms a call |"
    assert lines[2] == "| here | 9.0 | 5.0 | 1000 + 1000 | 5 + 5 | 4.0 |"

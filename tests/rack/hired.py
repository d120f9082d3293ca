"""Pis that a fleet of the rack hires: the fake API's orders, each booted as a host that has an ssh key and nothing else.

They are of this machine's architecture, with IPv6 only, in places that no other host has, and there while an order holds.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.hosted_pi.fake import FakeApi
from tests.rack import images, nat64, places
from tests.rack.addresses import Address, Kind, addresses
from tests.rack.commands import RackError, works
from tests.rack.hosts import Host
from tests.rack.playbooks import ROOT, Run, environment
from tests.rack.upstream import Upstream

INVENTORY = "tests/rack/hired"
#: What the inventory's hosted_pi.yml says.
PREFIX = "hired-"
PLACES = (10, 11)
#: From an order until the Pi is live, besides what its host takes to be switched on.
SECONDS_TO_PROVISION = 3.0


@dataclass(frozen=True)
class HiredPi(Host):
    """A hired Pi. ``keys`` are the lines that it was ordered with: who may log in as root."""

    keys: str = ""

    def _make(self) -> None:
        super()._make()
        # The rack's own key stays out, unless it was ordered.
        (self.disks.root / "root/.ssh/authorized_keys").write_text(self.keys)


def hired_pi(number: int, name: str, place: int = PLACES[0], keys: str = "") -> HiredPi:
    """A hired Pi of a rack, whether it was made yet or not."""
    return HiredPi(Address(number, Kind(name, place, "bookworm", "native", ipv6_only=True)), keys)


def left_behind(number: int) -> list[HiredPi]:
    """Hired Pis that are there, also those of a provider that was killed."""
    return [hired_pi(number, directory.name) for directory in places.state(number).glob(f"{PREFIX}[0-9]*")]


class Provider:
    """Has a host booted for each order, and removed for each cancellation. ``pis`` are those of now, by name."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pis: dict[str, HiredPi] = {}
        self._lock = threading.Lock()
        self.api = FakeApi(seconds=SECONDS_TO_PROVISION, provision=self._provision, cancel=self._cancel)

    def _provision(self, name: str, ordered: Mapping[str, Any]) -> dict[str, str]:
        with self._lock:
            taken = {pi.address.kind.place for pi in self.pis.values()}
            pi = hired_pi(self.number, name, next(place for place in PLACES if place not in taken), ordered["ssh_key"])
            self.pis[name] = pi
        images.base_image(pi.address.kind)
        # Who ordered it waits for it.
        pi.start()
        return {"ip": pi.address.ipv6}

    def _cancel(self, name: str) -> None:
        self.pis[name].remove()
        with self._lock:
            del self.pis[name]

    def wait_until_gone(self, name: str, seconds: float = 60) -> None:
        """Until a cancelled Pi is switched off and removed. Raises RackError."""
        until = time.monotonic() + seconds
        while name in self.pis:
            if time.monotonic() > until:
                raise RackError(f"{name} was cancelled {seconds:.0f} s ago and is still there")
            time.sleep(0.1)

    def play(self, playbook: str, **variables: object) -> Run:
        """Run a playbook to its end, as the operator who hires. Gives it up after half an hour."""
        key = (places.state(self.number) / "ssh/id.pub").read_text().strip()
        extra = json.dumps({"hosted_pi_ssh_keys": [key], **variables})
        program = str(Path(sys.executable).with_name("ansible-playbook"))
        began = time.monotonic()
        done = subprocess.run(
            [program, "-i", INVENTORY, playbook, "-e", extra],
            cwd=ROOT,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1800,
            check=False,
        )
        return Run(done.returncode, done.stdout, time.monotonic() - began)

    def _environment(self) -> dict[str, str]:
        cache = str(places.state(self.number) / "hired-cache")
        past_proxies = ",".join(filter(None, (os.environ.get("no_proxy"), "127.0.0.1")))
        return {**environment(), **self.api.environment, "ANSIBLE_INVENTORY_CACHE_CONNECTION": cache, "no_proxy": past_proxies}


@contextmanager
def hiring(number: int) -> Iterator[Provider]:
    """A provider for the length of a block, in a rack that is up. No Pi outlives it, nor one of a block that was killed."""
    _remove(number)
    _translate(number)
    provider = Provider(number)
    try:
        with provider.api:
            yield provider
    finally:
        _remove(number)


def _remove(number: int) -> None:
    for connection in (places.state(number) / "connections").glob("*"):
        works("ssh", "-O", "exit", "-o", f"ControlPath={connection}", "rack")
    with ThreadPoolExecutor() as pool:
        list(pool.map(HiredPi.remove, left_behind(number)))


def _translate(number: int) -> None:
    """Have the rack's NAT64 serve the places of hired Pis, too, before anybody is there."""
    nat64.stop(number)
    hired = [hired_pi(number, f"{PREFIX}{place}", place).address for place in PLACES]
    nat64.start(number, [*(each for each in addresses(number).values() if each.kind.ipv6_only), *hired])


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_GET(self) -> None:
        kind, body = self.server.upstream.answer(self.path) or ("text/plain", b"")
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True

    def __init__(self, address: str) -> None:
        super().__init__((address, 0), _Handler)
        self.upstream = Upstream(f"http://[{address}]:{self.server_port}")


@contextmanager
def serving(address: str) -> Iterator[Upstream]:
    """An upstream for those who have IPv6 only, on one of the rack's gateways, for the length of a block."""
    with _Server(address) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        try:
            yield server.upstream
        finally:
            server.shutdown()

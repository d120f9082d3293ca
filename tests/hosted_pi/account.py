"""An account of the fake API: its Pis, what each call does to them, and how a Pi comes to be.

Every call gives the answer that the API's documentation promises, as status, body and headers.
"""

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MODELS = (
    {"model": 3, "memory": 1024, "nic_speed": 100, "cpu_speed": 1200},
    {"model": 4, "memory": 4096, "nic_speed": 1000, "cpu_speed": 1500},
    {"model": 4, "memory": 8192, "nic_speed": 1000, "cpu_speed": 1500},
    {"model": 4, "memory": 8192, "nic_speed": 1000, "cpu_speed": 2000},
)
IMAGES = {
    3: {"rpi-bookworm-armhf": "Raspberry Pi OS Bookworm (32 bit)", "rpi-bookworm-arm64": "Raspberry Pi OS Bookworm (64 bit)"},
    4: {"rpi-bookworm-armhf": "Raspberry Pi OS Bookworm (32 bit)", "rpi-bookworm-arm64": "Raspberry Pi OS Bookworm (64 bit)"},
}
STAGES = ("Provisioning", "Installing operating system", "Booting Raspberry Pi")
_NAME = re.compile(r"[A-Za-z0-9-]{3,20}")
#: Given a name and what was ordered, boots it; what it returns (``ip``, ``ssh_port``) the API shows, what it raises fails it.
Provision = Callable[[str, dict[str, Any]], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Answer:
    status: int
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)


def error(status: int, text: str) -> Answer:
    return Answer(status, {"error": text})


NOT_AUTHORISED = error(403, "Not authorised")


@dataclass
class Faults:
    """What the API does wrong; may be changed at any time. Counts are of the requests that are still to suffer."""

    #: Models that orders are answered with 503 for.
    out_of_stock: set[int] = field(default_factory=set)
    #: Names of Pis that stay in "Booting Raspberry Pi" until they are power-cycled, and of those that the queue answers 500 for.
    hangs: set[str] = field(default_factory=set)
    fails: set[str] = field(default_factory=set)
    #: Names that other accounts have.
    taken: set[str] = field(default_factory=set)
    #: Orders that are carried out, but whose answer is lost.
    lost_orders: int = 0
    #: Orders that are answered with an address elsewhere, and where.
    elsewhere: str = ""
    #: Seconds before each answer, and between two bytes of one.
    slow: float = 0
    trickle: float = 0
    #: Every so manieth request is not answered: its connection is closed.
    drop_every: int = 0
    #: Requests answered with 429, with what is no JSON, with no end, with a proxy's 503, with their own Authorization.
    busy: int = 0
    #: Seconds, for those that 429 is told.
    retry_after: int = 0
    garbage: int = 0
    huge: int = 0
    unavailable: int = 0
    echo: int = 0
    #: Instead of the answer to a GET of a path that ends so.
    answers: dict[str, Any] = field(default_factory=dict)
    #: What a successful DELETE is answered with, and seconds for which the Pi is listed all the same.
    delete_status: int = 204
    lingers: float = 0
    #: The key may not do anything.
    forbidden: bool = False


@dataclass
class FakePi:
    """A Pi of the account; ``stage`` is None once it is provisioned."""

    name: str
    number: int
    specification: dict[str, Any]
    disk: int
    keys: str
    os_image: str
    stage: str | None = STAGES[0]
    failed: bool = False
    power: bool = True
    boots_until: float = 0.0
    gone_at: float | None = None
    told: dict[str, Any] = field(default_factory=dict)
    #: How often it was switched on or rebooted since it was ordered.
    boots: int = 0

    @property
    def is_booting(self) -> bool:
        return self.power and (self.stage == STAGES[2] or time.monotonic() < self.boots_until)

    def shown(self) -> dict[str, Any]:
        return {
            "ip": f"2a00:1098:8:{self.number:x}::1",
            "ip_routed": f"2a00:1098:8:{self.number % 256 << 8:x}::/56",
            # Either kind is seen, says who has asked the real one.
            "ssh_port": str(5000 + self.number) if self.number % 2 else 5000 + self.number,
            "disk_size": f"{self.disk}.00",
            "initialised_keys": bool(self.keys),
            "location": "MER",
            "power": self.power,
            "model_full": f"{self.specification['model']}B",
            "is_booting": self.is_booting,
            "boot_progress": "Waiting for initial DHCP" if self.is_booting else None,
            "status": "installing" if self.stage else "live",
            **self.specification,
            **self.told,
        }


class FakeAccount:
    """The Pis of one account. ``seconds`` is what a Pi takes from its order until it is live."""

    def __init__(self, faults: Faults, seconds: float, provision: Provision | None, cancel: Callable[[str], None] | None) -> None:
        self.faults, self.seconds = faults, seconds
        self._provision, self._cancel = provision, cancel
        self.lock = threading.RLock()
        self.closed = threading.Event()
        self.pis: dict[str, FakePi] = {}
        self._queue: list[FakePi] = []

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        """What ``METHOD path`` below the API's address is answered with."""
        with self.lock:
            self._forget()
            if self.faults.forbidden:
                return NOT_AUTHORISED
            match method, *path.split("/"):
                case "GET", "models":
                    return Answer(200, {"models": MODELS})
                case "GET", "images", model:
                    images = IMAGES.get(int(model)) if model.isdigit() else None
                    return Answer(200, images) if images else error(400, "Invalid model")
                case "GET", "queue", "pi", number:
                    return self._progress(int(number))
                case _, "servers", *what:
                    return self._of_servers(method, what, body)
            return error(404, "Not found")

    def _of_servers(self, method: str, path: list[str], body: dict[str, Any]) -> Answer:
        match method, *path:
            case ("GET",):
                return Answer(200, {"servers": {name: _summary(pi) for name, pi in self.pis.items()}})
            case ("POST",):
                return self._order(f"pi{len(self._queue) + 1:03}", body)
            case "POST", name:
                return self._order(name, body)
            case _, name, *what:
                return self._of_pi(method, self.pis.get(name), "/".join(what), body)
        return error(404, "Not found")

    def forget_queue(self) -> None:
        """As for orders of long ago; what was ordered goes on."""
        with self.lock:
            self._queue.clear()

    def _forget(self) -> None:
        now = time.monotonic()
        for name in [name for name, pi in self.pis.items() if pi.gone_at is not None and now >= pi.gone_at]:
            del self.pis[name]

    def _order(self, name: str, body: dict[str, Any]) -> Answer:
        wanted = {key: body[key] for key in ("model", "memory", "cpu_speed") if key in body}
        wanted.setdefault("model", 3)
        fitting = [model for model in MODELS if wanted.items() <= model.items()]
        disk = body.get("disk", 10)
        refused = self._refused(name, fitting, disk, body.get("os_image"))
        if refused:
            return refused
        if fitting[0]["model"] in self.faults.out_of_stock:
            return error(503, "Out of stock")
        pi = FakePi(name, len(self._queue) + 1, dict(fitting[0]), disk, body.get("ssh_key", ""), body.get("os_image", ""))
        self.pis[name] = pi
        self._queue.append(pi)
        threading.Thread(target=self._come_to_be, args=(pi,), daemon=True).start()
        return Answer(202, None, {"Location": f"{self.faults.elsewhere}/beta/pi/queue/pi/{pi.number}"})

    def _refused(self, name: str, fitting: list[dict[str, int]], disk: object, image: object) -> Answer | None:
        if not _NAME.fullmatch(name):
            return error(400, "Invalid identifier")
        if name in self.pis or name in self.faults.taken:
            return error(409, "Server already exists")
        if not fitting or not isinstance(disk, int) or disk < 10 or disk % 10:
            return error(400, "Invalid specification")
        if image is not None and image not in IMAGES[fitting[0]["model"]]:
            return error(400, "Invalid image")
        return None

    def _come_to_be(self, pi: FakePi) -> None:
        for stage in STAGES[:2]:
            pi.stage = stage
            self.closed.wait(self.seconds / 3)
        pi.stage = STAGES[2]
        try:
            pi.told = dict((self._provision and self._provision(pi.name, {**pi.specification, **_ordered(pi)})) or {})
        except Exception:
            pi.failed = True
        self.closed.wait(self.seconds / 3)
        while pi.name in self.faults.hangs and not self.closed.wait(0.005):
            pass
        pi.failed = pi.failed or pi.name in self.faults.fails
        pi.stage = STAGES[2] if pi.failed else None

    def _progress(self, number: int) -> Answer:
        pi = self._queue[number - 1] if 0 < number <= len(self._queue) else None
        if pi is None:
            return NOT_AUTHORISED
        if pi.failed:
            return error(500, "Provisioning failed")
        return Answer(200, {"status": pi.stage}) if pi.stage else Answer(303, None, {"Location": f"/beta/pi/servers/{pi.name}"})

    def _of_pi(self, method: str, pi: FakePi | None, what: str, body: dict[str, Any]) -> Answer:
        if pi is None:
            return NOT_AUTHORISED
        # While it boots for the first time it can be looked at and switched, and nothing else.
        if pi.stage and not pi.failed and (pi.stage != STAGES[2] or (method, what) not in (("GET", ""), ("PUT", "power"))):
            return error(409, "Server is not fully provisioned")
        if method == "GET":
            return Answer(200, {"ssh_key": pi.keys} if what == "ssh-key" else pi.shown())
        return self._done_to(pi, method, what, body)

    def _done_to(self, pi: FakePi, method: str, what: str, body: dict[str, Any]) -> Answer:
        match method, what:
            case "DELETE", "":
                return self._gone(pi)
            case "PUT", "ssh-key":
                pi.keys = str(body.get("ssh_key", ""))
                return Answer(200, {"ssh_key": pi.keys})
            case "PUT", "power" if isinstance(body.get("power"), bool):
                return self._switched(pi, body["power"])
            case "POST", "reboot":
                return error(409, "Server is already rebooting") if pi.is_booting else self._booting(pi)
        return error(400, "Bad request")

    def _gone(self, pi: FakePi) -> Answer:
        pi.gone_at = time.monotonic() + self.faults.lingers
        if self._cancel:
            threading.Thread(target=self._cancel, args=(pi.name,), daemon=True).start()
        return Answer(self.faults.delete_status)

    def _switched(self, pi: FakePi, on: bool) -> Answer:
        if on and not pi.power:
            self.faults.hangs.discard(pi.name)
            self._booting(pi)
        pi.power = on
        return Answer(200, {"power": on})

    def _booting(self, pi: FakePi) -> Answer:
        pi.boots += 1
        pi.boots_until = time.monotonic() + self.seconds / 3
        return Answer(200, {"message": "Server rebooted"})


def _summary(pi: FakePi) -> dict[str, int]:
    return {key: pi.specification[key] for key in ("model", "memory", "cpu_speed")}


def _ordered(pi: FakePi) -> dict[str, Any]:
    return {"disk": pi.disk, "ssh_key": pi.keys, "os_image": pi.os_image}

"""What Mythic Beasts' hosted Pi API answers: its errors, its records, and the checks that they pass before they are believed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Interface
from typing import Any, NoReturn, TypeVar

_LISTED_NAME = re.compile(r"[A-Za-z0-9-]{1,63}")
_MOST_TEXT = 200
_MOST_NUMBER = 10**9
_Record = TypeVar("_Record")


class ApiError(Exception):
    """The API did not do what it was asked. ``reason`` is for programs, the text for people."""

    reason = "refused"


class Refused(ApiError):
    """400, or what the documentation does not know."""


class NotAuthorised(ApiError):
    """The login, or 401, or 403 where no Pi is named."""

    reason = "not_authorised"


class NotFound(ApiError):
    """403 or 404 of a Pi: it does not exist, or is another account's. The API does not tell which."""

    reason = "not_found"


class NotReady(ApiError):
    """409: the Pi is being provisioned, or already rebooting; of an order: the name exists."""

    reason = "not_ready"


class OutOfStock(ApiError):
    """503 of an order: no such Pi is free."""

    reason = "out_of_stock"


class ProvisioningFailed(ApiError):
    """500 of the queue: the order was accepted, and came to nothing."""

    reason = "provisioning_failed"


class Unreachable(ApiError):
    """The API is away, slow, overloaded, or talks nonsense; later it may not be. What was asked may have been done all the same."""

    reason = "unreachable"

    def __init__(self, text: str, pause: float = 0) -> None:
        super().__init__(text)
        #: Seconds that the API asks to be left alone (Retry-After).
        self.pause = pause


@dataclass(frozen=True)
class Summary:
    """What the list of an account's Pis says of one; memory in MB, cpu_speed in MHz."""

    model: int
    memory: int
    cpu_speed: int


@dataclass(frozen=True)
class Model:
    """What can be ordered; memory in MB, cpu_speed in MHz, nic_speed in Mbit/s."""

    model: int
    memory: int
    cpu_speed: int
    nic_speed: int


@dataclass(frozen=True)
class Specification:
    """What is asked for, in MB, MHz and GB; None leaves it to the API, which takes the lowest that matches."""

    model: int | None = None
    memory: int | None = None
    cpu_speed: int | None = None
    disk: int | None = None
    os_image: str | None = None

    def __str__(self) -> str:
        return described(self.model, self.memory, self.cpu_speed, self.disk)

    def admits(self, pi: Summary | Model | Server) -> bool:
        """Whether that Pi is what is asked for, as far as its model goes."""
        return all(getattr(self, key) in (None, getattr(pi, key)) for key in ("model", "memory", "cpu_speed"))


@dataclass(frozen=True)
class Server:
    """A Pi as the API shows it, in MB, MHz, Mbit/s and GB; only its name while it is provisioned."""

    name: str
    status: str = "provisioning"
    model: int | None = None
    model_full: str | None = None
    memory: int | None = None
    cpu_speed: int | None = None
    nic_speed: int | None = None
    disk: int | None = None
    ip: str | None = None
    ip_routed: str | None = None
    ssh_port: int | None = None
    location: str | None = None
    power: bool | None = None
    is_booting: bool = False
    boot_progress: str | None = None
    initialised_keys: bool | None = None

    def __str__(self) -> str:
        return described(self.model, self.memory, self.cpu_speed, self.disk)

    @property
    def host(self) -> str:
        """Its name in the DNS, which has an IPv6 address only."""
        return f"{self.name}.hostedpi.com"

    @property
    def ipv4_host(self) -> str:
        """Where a caller without IPv6 reaches its sshd, on ``ssh_port``."""
        return f"ssh.{self.host}"

    @property
    def ready(self) -> bool:
        """It was provisioned, is on, and has booted."""
        return self.status == "live" and self.power is not False and not self.is_booting


def described(model: int | None, memory: int | None, cpu_speed: int | None, disk: int | None) -> str:
    """A Pi for people: ``model 4, 8192 MB, 2000 MHz, 20 GB disk``."""
    parts = (model and f"model {model}", memory and f"{memory} MB", cpu_speed and f"{cpu_speed} MHz", disk and f"{disk} GB disk")
    return ", ".join(part for part in parts if part) or "any Pi"


def mapping(content: bytes, within: str | None = None) -> dict[str, Any]:
    """A JSON object, or the one ``within`` it. Raises Unreachable."""
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        nonsense("JSON")
    told = told.get(within) if within and isinstance(told, dict) else told
    return told if isinstance(told, dict) else nonsense(within or "object")


def records(kind: type[_Record], listed: object) -> list[_Record]:
    """A list of what has the fields of ``kind``, all of them whole numbers."""
    return [record(kind, about) for about in (listed if isinstance(listed, list) else nonsense("list"))]


def record(kind: type[_Record], about: object) -> _Record:
    """What has the fields of ``kind``, all of them whole numbers. Raises Unreachable where one is missing."""
    told = about if isinstance(about, dict) else nonsense("object")
    return kind(**{key: number(told, key) for key in kind.__annotations__})


def server(name: str, told: dict[str, Any]) -> Server:
    """A Pi of the API's answer, of which a part may be missing. A Pi whose status is untold was answered for, so it lives."""
    numbers: dict[str, Any] = {
        key: optional_number(told.get(key), key) for key in ("model", "memory", "cpu_speed", "nic_speed", "ssh_port")
    }
    texts: dict[str, Any] = {key: text(told.get(key), key) for key in ("model_full", "location", "boot_progress")}
    return Server(
        name,
        text(told.get("status"), "status") or "live",
        disk=optional_number(told.get("disk_size"), "disk_size"),
        ip=_address(told.get("ip"), "ip"),
        ip_routed=_address(told.get("ip_routed"), "ip_routed"),
        power=_flag(told.get("power"), "power"),
        is_booting=_flag(told.get("is_booting"), "is_booting") or False,
        # Its older spelling.
        initialised_keys=_flag(told.get("initialised_keys", told.get("initialized_keys")), "initialised_keys"),
        **numbers,
        **texts,
    )


def number(told: dict[str, Any], key: str) -> int:
    """A whole number that must be there."""
    value = optional_number(told.get(key), key)
    return nonsense(key) if value is None else value


def optional_number(value: object, key: str) -> int | None:
    """A whole number, which the API also writes as ``"22"`` or ``"10.00"``. Raises Unreachable."""
    if value is None:
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        told = float(value)
        whole = int(told)
    except (ValueError, OverflowError):
        nonsense(key)
    return whole if whole == told and 0 <= whole <= _MOST_NUMBER else nonsense(key)


def text(value: object, key: str) -> str | None:
    """A short text in one line. Raises Unreachable."""
    if value is None or (isinstance(value, str) and len(value) <= _MOST_TEXT and value.isprintable()):
        return value
    return nonsense(key)


def summaries(listed: dict[str, Any]) -> dict[str, Summary]:
    """The list of an account's Pis. Raises Unreachable, too, for a name that could be something else to whoever uses it."""
    if not all(_LISTED_NAME.fullmatch(name) for name in listed):
        nonsense("server's name")
    return {name: record(Summary, about) for name, about in listed.items()}


def labels(told: dict[str, Any]) -> dict[str, str]:
    """Operating systems by id. Raises Unreachable."""
    return {text(key, "id") or "": text(label, "label") or "" for key, label in told.items()}


def ssh_keys(told: dict[str, Any]) -> tuple[str, ...]:
    """Keys in the API's one text. Raises Unreachable."""
    lines = told.get("ssh_key") or ""
    return tuple(normal(line) for line in (lines if isinstance(lines, str) else nonsense("ssh_key")).splitlines() if line.strip())


def _flag(value: object, key: str) -> bool | None:
    return value if value is None or isinstance(value, bool) else nonsense(key)


def _address(value: object, key: str) -> str | None:
    if value is None:
        return None
    try:
        IPv6Interface(value if isinstance(value, str) else nonsense(key))
    except ValueError:
        nonsense(key)
    return str(value)


def normal(key: str) -> str:
    """An SSH key as it is compared: its words, one space between them."""
    return " ".join(key.split())


def joined(keys: Sequence[str]) -> str:
    """SSH keys as the API takes them."""
    return "\r\n".join(keys)


def nonsense(what: str) -> NoReturn:
    """Raises Unreachable. What was answered is not repeated: it may be anything."""
    raise Unreachable(f"the answer has no {what} that is one: is this the API, or a proxy that speaks for it?")

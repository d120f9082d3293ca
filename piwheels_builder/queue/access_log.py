"""What an index's access log says that users could not get: the projects whose pages it redirected to upstream.

nginx's combined format, or JSON lines as role index has them written (of the address only the network). Anybody can write names
into such a log by asking for them, so an address counts once a project, only names that a project can have are taken, and what is
kept in memory is bounded.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

from packaging.utils import InvalidName, NormalizedName, canonicalize_name

from piwheels_builder.errors import BadInput
from piwheels_builder.index.layout import checked_wheel_filename

#: 302 is what role index answers for a project that it holds nothing of; other spellings of one that it has get 301.
_REDIRECTED = re.compile(
    r'(?P<address>\S+) \S+ \S+ \[[^\]]*\] "(?:GET|HEAD) /(?:[a-z]+/)?simple/(?P<project>[A-Za-z0-9._-]{1,200})/?(?:\?\S*)? '
    r'HTTP/[\d.]+" 302 '
)
_PAGE = re.compile(r"/(?:[a-z]+/)?simple/(?P<project>[A-Za-z0-9._-]{1,200})/?(?:\?.*)?")
_WHEEL = re.compile(r"/wheels/[a-z0-9-]{1,2}/[a-z0-9-]+/(?P<filename>[^/?]{1,255}\.whl)(?:\?.*)?")
#: Clients that are nobody's installation: they say so, or fetch everything.
_BOT = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|bandersnatch|devpi|artifactory|nexus|mirror|preview|monitor|\+https?://", re.IGNORECASE
)
#: Pairs of an address and a project that are remembered; some 100 MB.
MOST_PAIRS = 500_000


@dataclass(frozen=True)
class Asked:
    """A project that was asked for in vain, and from how many addresses."""

    project: NormalizedName
    addresses: int


@dataclass(frozen=True)
class Request:
    """A wheel that somebody got to its last byte (``filename``), or a page that was redirected to upstream (``project``).

    ``client`` tells clients apart: a hash of network and user agent, the same for neighbours with the same one.
    """

    day: date
    client: str
    bot: bool
    filename: str | None = None
    project: str | None = None


def request(line: str) -> Request | None:
    """What a line of JSON says for statistics and demand; None for all others, whatever strangers made them hold."""
    said = _fields(line)
    if said is None:
        return None
    filename, project = _downloaded(said), _redirected(said)
    if filename is None and project is None:
        return None
    client = sha256(f"{said['network']} {said['agent']}".encode("utf-8", "replace")).hexdigest()
    try:
        day = date.fromisoformat(said["time"][:10])
    except ValueError:
        return None
    return Request(day, client, _BOT.search(said["agent"]) is not None, filename, project)


def _fields(line: str) -> dict[str, str] | None:
    """The line's fields, all of them text; None for what role index's nginx did not write."""
    try:
        said: Any = json.loads(line) if line.startswith("{") else None
    except (ValueError, RecursionError):
        return None
    names = ("time", "network", "method", "uri", "status", "whole", "range", "agent")
    return said if isinstance(said, dict) and all(isinstance(said.get(name), str) for name in names) else None


def _downloaded(said: dict[str, str]) -> str | None:
    """Whoever gets the last byte has downloaded the wheel: one that broke off and went on by a range counts once."""
    to_its_end = said["status"] == "200" or (said["status"] == "206" and re.fullmatch(r"bytes=\d+-", said["range"]))
    found = _WHEEL.fullmatch(said["uri"])
    if said["method"] != "GET" or said["whole"] != "OK" or not to_its_end or found is None:
        return None
    try:
        return checked_wheel_filename(unquote(found["filename"]))
    except BadInput:
        return None


def _redirected(said: dict[str, str]) -> NormalizedName | None:
    found = _PAGE.fullmatch(said["uri"])
    if said["status"] != "302" or said["method"] not in ("GET", "HEAD") or found is None:
        return None
    return _name(found["project"])


def asked_in_vain(lines: Iterable[str], most: int) -> list[Asked]:
    """The projects asked for from the most addresses, at most ``most`` of them; lines of any other kind say nothing.

    A log with more different askings than MOST_PAIRS is read as far as that.
    """
    seen: set[tuple[str, NormalizedName]] = set()
    for line in lines:
        asking = _asking(line)
        if asking is None:
            continue
        if len(seen) >= MOST_PAIRS:
            break
        seen.add(asking)
    counted = Counter(project for _, project in seen)
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return [Asked(project, addresses) for project, addresses in ranked[:most]]


def _asking(line: str) -> tuple[str, NormalizedName] | None:
    """Who asked for which project in vain, if the line says so."""
    found = _REDIRECTED.match(line)
    if found is not None:
        address, project = found["address"], _name(found["project"])
    elif (said := _fields(line)) is not None:
        address, project = said["network"], _redirected(said)
    else:
        return None
    return None if project is None else (address, project)


def _name(text: str) -> NormalizedName | None:
    try:
        return canonicalize_name(text, validate=True)
    except InvalidName:
        return None

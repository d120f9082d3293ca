"""What an index's access log says that users could not get: the projects whose pages it redirected to upstream.

nginx's combined format. Anybody can write names into such a log by asking for them, so an address counts once a project, only names
that a project can have are taken, and what is kept in memory is bounded.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.utils import InvalidName, NormalizedName, canonicalize_name

#: 302 is what role index answers for a project that it holds nothing of; other spellings of one that it has get 301.
_REDIRECTED = re.compile(
    r'(?P<address>\S+) \S+ \S+ \[[^\]]*\] "(?:GET|HEAD) /(?:[a-z]+/)?simple/(?P<project>[A-Za-z0-9._-]{1,200})/?(?:\?\S*)? '
    r'HTTP/[\d.]+" 302 '
)
#: Pairs of an address and a project that are remembered; some 100 MB.
MOST_PAIRS = 500_000


@dataclass(frozen=True)
class Asked:
    """A project that was asked for in vain, and from how many addresses."""

    project: NormalizedName
    addresses: int


def asked_in_vain(lines: Iterable[str], most: int) -> list[Asked]:
    """The projects asked for from the most addresses, at most ``most`` of them; lines of any other kind say nothing.

    A log with more different askings than MOST_PAIRS is read as far as that.
    """
    seen: set[tuple[str, NormalizedName]] = set()
    for line in lines:
        found = _REDIRECTED.match(line)
        if found is None or (project := _name(found["project"])) is None:
            continue
        if len(seen) >= MOST_PAIRS:
            break
        seen.add((found["address"], project))
    counted = Counter(project for _, project in seen)
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return [Asked(project, addresses) for project, addresses in ranked[:most]]


def _name(text: str) -> NormalizedName | None:
    try:
        return canonicalize_name(text, validate=True)
    except InvalidName:
        return None

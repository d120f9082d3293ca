"""Which representation of a page a client wants, by its Accept header (PEP 691, RFC 9110 12.5.1).

The rule of roles/index/templates/nginx.conf.j2, for the trial server; tests hold both to one table.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Representation:
    """``kind`` is which of a page's files has it (layout.KINDS)."""

    content_type: str
    kind: str


JSON = Representation("application/vnd.pypi.simple.v1+json", "json")
HTML_V1 = Representation("application/vnd.pypi.simple.v1+html", "html")
HTML = Representation("text/html; charset=utf-8", "html")

#: Media ranges that cover a representation, most specific first, with what decides between equal q: what is asked for by name
#: comes first, JSON before HTML; where all is welcome, text/html.
_RANGES = {
    JSON: ((r"application/vnd[.]pypi[.]simple[.](?:v1|latest)[+]json", 6), (r"application/[*]", 1), (r"[*]/[*]", 1)),
    HTML_V1: ((r"application/vnd[.]pypi[.]simple[.](?:v1|latest)[+]html", 5), (r"application/[*]", 0), (r"[*]/[*]", 0)),
    HTML: ((r"text/html", 4), (r"text/[*]", 3), (r"[*]/[*]", 2)),
}
_PARAMETERS = r"\s*(?:;(?!\s*q\s*=)[^,;]*)*(?:;\s*q\s*=\s*(?P<q>[01](?:\.[0-9]{0,3})?)\s*)?(?:;(?!\s*q\s*=)[^,]*)?(?:,|$)"


def preferred(accept: str) -> Representation | None:
    """The representation to send for this Accept header ("" if there is none); None when nothing matches: answer 406."""
    ranks = {representation: _rank(accept or "*/*", ranges) for representation, ranges in _RANGES.items()}
    best = max(ranks, key=lambda representation: ranks[representation])
    return best if ranks[best][0] > 0 else None


def _rank(accept: str, ranges: tuple[tuple[str, int], ...]) -> tuple[float, int]:
    for media, tie in ranges:
        found = re.search(rf"(?:^|,)\s*{media}{_PARAMETERS}", accept, re.IGNORECASE)
        if found:
            return min(float(found["q"] or 1), 1), tie
    return 0, 0

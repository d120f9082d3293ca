"""The page of all names (PEP 691), read as it arrives: 736,344 names in a few MB of memory.

The standard library's decoder takes what is whole from a window of text. ijson has no wheels for 32-bit ARM, where its own Python
would take minutes over what takes a second here.
"""

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from piwheels_builder.catalogue.json_page import check_version, said_serial

#: No project on the page has more to say than this, in characters.
LONGEST_VALUE = 1_000_000
_SPACE = re.compile(r"[ \t\r\n]*")
_decode = json.JSONDecoder().raw_decode


class Listed(NamedTuple):
    """A project as the page of all names has it: its name in upstream's spelling, and the serial of its page where there is one."""

    name: str
    serial: int | None = None


def listed_projects(pieces: Iterable[bytes]) -> Iterator[Listed]:
    """The projects on a page that arrives in pieces. Raises ValueError or RecursionError for no such page, also after the first.

    A page that ends before it is over is no such page: what it lacks is not missing upstream.
    """
    text = _Arriving(pieces)
    text.expect("{")
    found = False
    while text.peek() != "}":
        key = text.value()
        text.expect(":")
        if key == "projects":
            found = True
            yield from map(_listed, _items(text))
        elif key == "meta":
            check_version(text.value())
        else:
            text.value()
        if text.peek() != "}":
            text.expect(",")
    if not found:
        raise ValueError("`projects` is missing")


def _items(text: "_Arriving") -> Iterator[Any]:
    text.expect("[")
    while text.peek() != "]":
        yield from text.values() or [text.value()]
        if text.peek() != "]":
            text.expect(",")
    text.expect("]")


def _listed(said: Any) -> Listed:
    name = said["name"] if isinstance(said, dict) else None
    if not isinstance(name, str):
        raise ValueError("`projects` holds something without a name")
    serial = said.get("_last-serial")
    return Listed(name, serial if type(serial) is int and 0 <= serial < 10**18 else said_serial(serial))


class _Arriving:
    """A window on text that arrives in pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0

    def peek(self) -> str:
        """The next character that is no space."""
        while True:
            space = _SPACE.match(self._text, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                raise ValueError("it breaks off")

    def expect(self, character: str) -> None:
        """Pass over this character."""
        if self.peek() != character:
            raise ValueError(f"{self.peek()!a} stands where {character} was expected")
        self._at += 1

    def value(self) -> Any:
        """The next value. It is over for sure only where something follows."""
        self.peek()
        while True:
            try:
                value, end = _decode(self._text, self._at)
            except ValueError:
                value, end = None, len(self._text)
            if end < len(self._text):
                self._at = end
                return value
            if len(self._text) - self._at > LONGEST_VALUE or not self._more():
                raise ValueError(f"it breaks off, or holds no JSON: {self._text[self._at : self._at + 50]!a}")

    def values(self) -> list[Any]:
        """All values of a list that are here whole, as far as a guess at where the last one ends is right; else none."""
        end = self._text.rfind("}", self._at) + 1
        try:
            values: list[Any] = json.loads(f"[{self._text[self._at : end]}]")
        except ValueError:
            return []
        self._at = max(self._at, end)
        return values

    def _more(self) -> bool:
        for piece in self._pieces:
            self._text, self._at = self._text[self._at :] + self._decoder.decode(piece), 0
            return True
        return False

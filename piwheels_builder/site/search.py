"""The search index: names of projects in small files, so that a browser finds one of hundreds of thousands by one or two of them.

A trie of prefixes. A leaf (``-num.json``: whatever is found by beginning with "num") holds all names below it; a prefix with too
many has a file of the best of them, and its children. A name is found by each of its words: rpi-gpio by "rpi" and by "gpio".
"""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from pathlib import PurePosixPath

from piwheels_builder.site.layout import SEARCH

#: Bytes of names in a leaf, and how many names stand for a prefix that is divided.
_LEAF = 40_000
_BEST = 40


def search_files(names: Iterable[str], held: Collection[str]) -> dict[PurePosixPath, bytes]:
    """All files of the index. ``held`` are names with pages of ours, which come first and are marked."""
    entries = sorted({(key, name) for name in names for key in _keys(name)})
    trie = _Trie([key for key, _ in entries], [name for _, name in entries], held)
    trie.divide("", 0, len(entries))
    divided = sorted({*trie.files} - {*trie.leaves})
    shards = _compact({"leaves": " ".join(trie.leaves), "divided": " ".join(divided)})
    return {_place(prefix): _packed(found, held) for prefix, found in trie.files.items()} | {SEARCH / "shards.json": shards}


def _keys(name: str) -> Iterator[str]:
    """The name, and what of it begins at each later word."""
    yield name
    for position, letter in enumerate(name):
        if letter == "-" and position + 1 < len(name):
            yield name[position + 1 :]


@dataclass
class _Trie:
    """Keys in their order, each with the name that it finds. They are cut by bisection and the best come up from below: each of
    millions is looked at once.
    """

    keys: Sequence[str]
    names: Sequence[str]
    held: Collection[str]
    files: dict[str, list[str]] = field(default_factory=dict)
    leaves: list[str] = field(default_factory=list)

    def divide(self, prefix: str, start: int, end: int) -> list[str]:
        """Make the files of what begins so, from one place in the keys to another. Returns the best names of it."""
        few = self._few(start, end)
        if few is not None:
            self.files[prefix] = sorted(few)
            self.leaves.append(prefix)
            return self._best(few)
        position = bisect_right(self.keys, prefix, start, end)
        here = set(self.names[start:position])
        found = set(self._best(here))
        while position < end:
            following = prefix + self.keys[position][len(prefix)]
            until = bisect_left(self.keys, _after(following), position, end)
            found.update(self.divide(following, position, until))
            position = until
        best = self._best(found)
        self.files[prefix] = list(dict.fromkeys([prefix, *best] if prefix in here else best))
        return best

    def _few(self, start: int, end: int) -> set[str] | None:
        """The names, if a leaf can hold them."""
        if end - start > _LEAF:
            return None
        names = set(self.names[start:end])
        return names if sum(map(len, names)) + 2 * len(names) <= _LEAF else None

    def _best(self, names: Iterable[str]) -> list[str]:
        return nsmallest(_BEST, names, key=lambda name: (name not in self.held, len(name), name))


def _after(prefix: str) -> str:
    """The first text that comes after everything that begins so."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _place(prefix: str) -> PurePosixPath:
    return SEARCH / f"-{prefix}.json"


def _packed(names: Sequence[str], held: Collection[str]) -> bytes:
    """Names with a plus where we have wheels of them."""
    return _compact({"names": " ".join(f"{name}+" if name in held else name for name in names)})


def _compact(content: Mapping[str, str]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()

"""The search index: names of projects in small files, so that a browser finds one of hundreds of thousands by one or two of them.

A trie of prefixes. A leaf (``-num.json``: whatever is found by beginning with "num") holds all names below it; a prefix with too
many has a file of the best of them, and its children. A name is found by each of its words: rpi-gpio by "rpi" and by "gpio".
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from piwheels_builder.site.layout import SEARCH

#: Bytes of names in a leaf, and how many names stand for a prefix that is divided.
_LEAF = 40_000
_BEST = 40
#: A prefix as a file's name; names have letters, digits and dashes only.
_Entry = tuple[str, str]


def search_files(names: Iterable[str], held: Collection[str]) -> dict[PurePosixPath, bytes]:
    """All files of the index. ``held`` are names with wheels of ours, which come first and are marked."""
    entries = sorted({(key, name) for name in names for key in _keys(name)})
    files: dict[str, list[str]] = {}
    leaves: list[str] = []
    for prefix, found, is_leaf in _divide(entries, "", held):
        files[prefix] = found
        if is_leaf:
            leaves.append(prefix)
    content = {_place(prefix): _packed(found, held) for prefix, found in files.items()}
    return content | {
        SEARCH / "shards.json": _compact({"leaves": " ".join(leaves), "divided": " ".join(sorted({*files} - {*leaves}))})
    }


def _keys(name: str) -> Iterator[str]:
    """The name, and what of it begins at each later word."""
    yield name
    for position, letter in enumerate(name):
        if letter == "-" and position + 1 < len(name):
            yield name[position + 1 :]


def _divide(entries: Sequence[_Entry], prefix: str, held: Collection[str]) -> Iterator[tuple[str, list[str], bool]]:
    names = dict.fromkeys(name for _, name in entries)
    if sum(len(name) + 3 for name in names) <= _LEAF:
        yield prefix, sorted(names), True
        return
    yield prefix, _best(entries, prefix, held), False
    start = 0
    depth = len(prefix)
    while start < len(entries):
        letter = entries[start][0][depth : depth + 1]
        end = start
        while end < len(entries) and entries[end][0][depth : depth + 1] == letter:
            end += 1
        # What ends here is among the best of this prefix: its rank is exact.
        if letter:
            yield from _divide(entries[start:end], prefix + letter, held)
        start = end


def _best(entries: Sequence[_Entry], prefix: str, held: Collection[str]) -> list[str]:
    ranked = sorted({name for _, name in entries}, key=lambda name: (name != prefix, name not in held, len(name), name))
    return ranked[:_BEST]


def _place(prefix: str) -> PurePosixPath:
    return SEARCH / f"-{prefix}.json"


def _packed(names: Sequence[str], held: Collection[str]) -> bytes:
    """Names with a plus where we have wheels of them."""
    return _compact({"names": " ".join(f"{name}+" if name in held else name for name in names)})


def _compact(content: Mapping[str, str]) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()

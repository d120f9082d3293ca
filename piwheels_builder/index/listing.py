"""The listings: the names of all projects that have a page in a root. What has a page is what lies in the tree."""

import os
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from piwheels_builder.index.layout import KINDS, SimpleRoot
from piwheels_builder.index.pages import listing_html, listing_json
from piwheels_builder.index.tree import Tree
from piwheels_builder.targets import GLIBC

_PAGE = ".json.gz"


def write_listings(tree: Tree, roots: Iterable[SimpleRoot]) -> int:
    """Write those that changed. Returns how many names the longest has."""
    everywhere = _names(tree, SimpleRoot())
    longest = 0
    for root in roots:
        # A page of all OS releases is one of each.
        names = sorted(everywhere if root.os_release is None else everywhere | _names(tree, root))
        tree.write({root.listing("html"): listing_html(names), root.listing("json"): listing_json(names)})
        longest = max(longest, len(names))
    return longest


def held_names(tree: Tree, roots: Iterable[SimpleRoot]) -> set[str]:
    """Every project that has a page in one of the roots, in this layout or an older one."""
    found: set[str] = set()
    for root in roots:
        found |= _names(tree, root)
        found |= {entry.name for shard in _shards(tree, root) for entry in _entries(shard) if entry.is_dir()}
    return found


def remove_leftovers(tree: Tree, roots: Collection[SimpleRoot]) -> None:
    """Of OS releases that are wanted no more, and of older layouts: until the second one a page was a directory, and lay in there
    uncompressed as well.
    """
    for root in {SimpleRoot(name) for name in GLIBC} - set(roots):
        shutil.rmtree(tree.path(root.directory), ignore_errors=True)
    for root in roots:
        for shard in _shards(tree, root):
            for entry in _entries(shard):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
        for kind in KINDS:
            tree.path(root.listing(kind)).unlink(missing_ok=True)


def _names(tree: Tree, root: SimpleRoot) -> set[str]:
    return {
        entry.name.removesuffix(_PAGE) for shard in _shards(tree, root) for entry in _entries(shard) if entry.name.endswith(_PAGE)
    }


def _shards(tree: Tree, root: SimpleRoot) -> Iterator[Path]:
    return (Path(entry.path) for entry in _entries(tree.path(root.directory)) if entry.is_dir())


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    with suppress(FileNotFoundError), os.scandir(directory) as entries:
        return list(entries)
    return []

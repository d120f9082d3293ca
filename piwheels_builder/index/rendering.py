"""Bring pages on disk up to what the database says, then the listings, then tell the database.

In this order a kill anywhere is mended by the next run: a page stays due until it and the listing that names it are on disk.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import aiosql

from piwheels_builder.db.connect import Connection
from piwheels_builder.index.contents import (
    PageRules,
    ProjectContents,
    project_page,
    read_contents,
    read_wanted_targets,
    simple_roots,
)
from piwheels_builder.index.layout import SimpleRoot
from piwheels_builder.index.locks import project_locked
from piwheels_builder.index.pages import listing_html, listing_json, page_html, page_json
from piwheels_builder.index.tree import Tree
from piwheels_builder.targets import Target

_queries = aiosql.from_path(Path(__file__).with_name("rendering.sql"), "psycopg2")
_LISTED = re.compile(r'<a href="([a-z0-9-]+)/">')
#: By which rules the pages were written. nginx serves no file whose name begins with a dot.
_RULES = PurePosixPath(".rules.json")
_JSON, _HTML = "index.json", "index.html"


@dataclass(frozen=True)
class Renderer:
    """``step`` is told what was just done; tests end the process there."""

    connection: Connection
    tree: Tree
    rules: PageRules
    step: Callable[[str], object]

    def write_due(self) -> int:
        """Write the pages that are due. Returns of how many projects a page changed."""
        return self._write([project_id for (project_id,) in _queries.due_projects(self.connection)])

    def write_all(self) -> int:
        """Write every page we hold, as after a change of the rules. Returns of how many projects a page changed."""
        roots = simple_roots(read_wanted_targets(self.connection))
        names = {name for root in roots for name in listed_names(self.tree, root)} | self.rules.private_projects
        return self._write([project_id for (project_id,) in _queries.held_projects(self.connection, names=sorted(names))])

    def rules_changed(self) -> bool:
        """Whether the pages in the tree were written by other rules, or for other targets, than today's."""
        path = self.tree.path(_RULES)
        return not path.exists() or path.read_bytes() != self._rules_now()

    def note_rules(self) -> None:
        """All pages are by today's rules."""
        self.tree.write({_RULES: self._rules_now()})

    def _rules_now(self) -> bytes:
        said = {
            "private_projects": sorted(self.rules.private_projects),
            "upstream_wins": self.rules.upstream_wins,
            "targets": sorted(map(str, read_wanted_targets(self.connection))),
        }
        return json.dumps(said).encode()

    def _write(self, project_ids: Iterable[int]) -> int:
        wanted = read_wanted_targets(self.connection)
        roots = simple_roots(wanted)
        changed = 0
        written = []
        for project_id in project_ids:
            with project_locked(self.connection, project_id):
                contents = read_contents(self.connection, project_id)
                changed += self._write_pages(contents, roots, wanted)
            written.append((project_id, contents.name, contents.changes))
            self.step("page written")
        self._write_listings(roots, [name for _, name, _ in written])
        self.step("listing written")
        for project_id, _, changes in written:
            _queries.page_written(self.connection, project_id=project_id, changes=changes)
        self.connection.commit()
        return changed

    def _write_pages(self, contents: ProjectContents, roots: Iterable[SimpleRoot], wanted: Sequence[Target]) -> bool:
        """In every root, or away where there is nothing of ours. Returns whether anything changed."""
        pages: dict[PurePosixPath, bytes] = {}
        removed = False
        for root in roots:
            page = project_page(contents, root, wanted, self.rules)
            directory = root.page_directory(contents.name)
            if page is not None:
                pages |= {directory / _HTML: page_html(page), directory / _JSON: page_json(page)}
            else:
                removed |= self.tree.remove(directory / _HTML) | self.tree.remove(directory / _JSON)
        return self.tree.write(pages) or removed

    def _write_listings(self, roots: Iterable[SimpleRoot], touched: Sequence[str]) -> None:
        _queries.lock_listings(self.connection)
        for root in roots:
            listed = listed_names(self.tree, root)
            # By what is on disk now, whoever wrote it: another publication may have been at the same project since.
            held = {name for name in touched if self.tree.path(root.page_directory(name) / _JSON).exists()}
            wanted = (listed - set(touched)) | held
            if wanted != listed or not self.tree.path(root.directory / _JSON).exists():
                names = sorted(wanted)
                # The JSON first: listed_names() reads the other one, so that a kill between them is noticed.
                self.tree.write({root.directory / _JSON: listing_json(names), root.directory / _HTML: listing_html(names)})
        self.connection.commit()


def listed_names(tree: Tree, root: SimpleRoot) -> set[str]:
    """The projects that the listing of a root names, read line by line: the JSON of all names takes 312 MB to load."""
    try:
        with tree.path(root.directory / _HTML).open(encoding="utf-8") as lines:
            return {found[1] for line in lines if (found := _LISTED.match(line))}
    except FileNotFoundError:
        return set()

"""Bring pages on disk up to what the database says, then tell the database, then write the listings if they are due.

In this order a kill anywhere is mended by the next run: a page stays due until it is on disk, and what it means for the listings is
noted before it comes or goes.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import aiosql

from piwheels_builder.db.connect import Connection
from piwheels_builder.index.bulk import write_in_processes
from piwheels_builder.index.contents import (
    PageRules,
    ProjectContents,
    project_pages,
    read_contents,
    read_wanted_targets,
    simple_roots,
)
from piwheels_builder.index.layout import KINDS, SimpleRoot
from piwheels_builder.index.listing import held_names, remove_leftovers, write_listings
from piwheels_builder.index.locks import projects_locked
from piwheels_builder.index.pages import ProjectPage, page_html, page_json
from piwheels_builder.index.tree import Tree
from piwheels_builder.targets import Target

#: Projects that are written together: as many as are locked at once.
PORTION = 1000
_queries = aiosql.from_path(Path(__file__).with_name("rendering.sql"), "psycopg2")
#: By which rules the pages were written, and in which layout of the tree. nginx serves no file whose name begins with a dot.
_RULES = PurePosixPath(".rules.json")
_LAYOUT = 3
_RENDERED = {"json": page_json, "html": page_html}
Pages = Mapping[str, bytes | None]


@dataclass(frozen=True)
class Renderer:
    """``step`` is told what was just done; tests end the process there."""

    connection: Connection
    tree: Tree
    rules: PageRules
    step: Callable[[str], object]
    #: So many pages are written without other processes, which take a second to start.
    alone: int = 2 * PORTION

    def write_due(self) -> int:
        """Write the pages that are due, and the listings if those are. Returns of how many projects a page changed."""
        due = [project_id for (project_id,) in _queries.due_projects(self.connection)]
        self.connection.commit()
        if len(due) > self.alone:
            changed = write_in_processes(self.connection.dsn, self.tree.root, self.rules, _portions(due))
        else:
            changed = self.write(due)
        self._list(urgently=False)
        return changed

    def write_all(self) -> int:
        """Write every page we hold, as after a change of the rules. Returns of how many projects a page changed."""
        roots = self._roots()
        _queries.make_pages_due(self.connection, names=sorted(held_names(self.tree, roots) | self.rules.private_projects))
        self.connection.commit()
        changed = self.write_due()
        self._list(urgently=True)
        remove_leftovers(self.tree, roots)
        return changed

    def rules_changed(self) -> bool:
        """Whether the pages in the tree were written by other rules, or for other targets, than today's."""
        return self.tree.read(_RULES) != self._rules_now()

    def note_rules(self) -> None:
        """All pages are by today's rules."""
        self.tree.write({_RULES: self._rules_now()})

    def write(self, project_ids: Sequence[int]) -> int:
        """Write the pages of these projects, and book them. Returns of how many a page changed."""
        wanted = read_wanted_targets(self.connection)
        return sum(self._write_portion(portion, wanted) for portion in _portions(project_ids))

    def _write_portion(self, project_ids: Sequence[int], wanted: Sequence[Target]) -> int:
        roots = simple_roots(wanted)
        with projects_locked(self.connection, project_ids):
            projects = read_contents(self.connection, project_ids)
            pages = [pages_of(contents, roots, wanted, self.rules) for contents in projects]
            self._announce(projects, pages)
            changed = self.tree.write_each(pages)
        self.step("pages written")
        due = [contents for contents in projects if contents.changes is not None]
        _queries.pages_written(
            self.connection, project_ids=[each.project_id for each in due], changes=[each.changes for each in due]
        )
        self.connection.commit()
        self.step("pages booked")
        return len(changed)

    def _announce(self, projects: Sequence[ProjectContents], pages: Sequence[Pages]) -> None:
        """Note for the listings which projects are about to get a page, or to lose one."""
        ids = [contents.project_id for contents, its in zip(projects, pages, strict=True) if self._come_or_go(its)]
        if ids:
            _queries.pages_come_or_go(self.connection, project_ids=ids)
        self.connection.commit()
        self.step("announced")

    def _come_or_go(self, pages: Pages) -> bool:
        return any((content is not None) != self.tree.has(page) for page, content in pages.items())

    def _list(self, *, urgently: bool) -> None:
        roots = self._roots()
        missing = not all(self.tree.has(root.listing("json")) for root in roots)
        if _queries.listing_changes(self.connection, urgently=urgently or missing) is None:
            return
        _queries.lock_listings(self.connection)
        # Read before the tree is: what comes meanwhile is for the next time.
        changes = _queries.listing_changes(self.connection, urgently=urgently or missing)
        if changes is not None:
            names = write_listings(self.tree, roots)
            _queries.listings_written(self.connection, changes=changes, names=names)
        self.connection.commit()
        self.step("listing written")

    def _roots(self) -> tuple[SimpleRoot, ...]:
        return simple_roots(read_wanted_targets(self.connection))

    def _rules_now(self) -> bytes:
        said = {
            "layout": _LAYOUT,
            "private_projects": sorted(self.rules.private_projects),
            "upstream_wins": self.rules.upstream_wins,
            "targets": sorted(map(str, read_wanted_targets(self.connection))),
        }
        return json.dumps(said).encode()


def pages_of(contents: ProjectContents, roots: Sequence[SimpleRoot], wanted: Sequence[Target], rules: PageRules) -> Pages:
    """Every page of a project, None where there is to be none; those of the OS releases before the one that stands in for them."""
    pages = project_pages(contents, reversed(roots), wanted, rules)
    return {root.page(contents.name, kind): _rendered(page, kind) for root, page in pages.items() for kind in KINDS}


def _portions(project_ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (project_ids[start : start + PORTION] for start in range(0, len(project_ids), PORTION))


def _rendered(page: ProjectPage | None, kind: str) -> bytes | None:
    return None if page is None else _RENDERED[kind](page)

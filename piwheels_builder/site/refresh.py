"""Bring the site up to date: the pages of what was touched, and what moves.

``refresh_projects`` is called before publication books the index's own pages, so that a kill between the two is mended by the next:
what is due stays due until both are on the disk. One refresh at a time: who comes second waits until the first is done.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import PurePosixPath

from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.db.connect import Connection
from piwheels_builder.index.tree import Tree
from piwheels_builder.site import layout, pages
from piwheels_builder.site.home_view import home_view, told_fleet
from piwheels_builder.site.metrics import Disk, metrics
from piwheels_builder.site.overview import Outlook, read_outlook, read_overview
from piwheels_builder.site.project_view import Surroundings, project_view
from piwheels_builder.site.projects import (
    SiteProject,
    attempted_since,
    portions,
    queries,
    read_meanings,
    read_projects,
    read_targets,
)
from piwheels_builder.site.search import search_files
from piwheels_builder.site.state import LAYOUT, State
from piwheels_builder.site.waiting import QueueShape

#: Projects that are read and written together.
PORTION = 500
#: What takes so long is repeated no sooner than after so many times as long.
_SELDOM = 50
#: Seconds between two overviews, and for each name between two search indexes.
_OVERVIEW_SECONDS, _NAME_SECONDS = 5.0, 0.005
_LOCK = ".site.lock"
_Files = dict[PurePosixPath, bytes | None]


@dataclass(frozen=True)
class SiteRules:
    """What the operator wants built, which says why the rest is not; ``private`` projects are in no list and no search."""

    policy: Policy
    private: frozenset[str] = frozenset()

    def __str__(self) -> str:
        """Pages by equal rules are equal."""
        choices = None if self.policy.choices is None else sorted(map(str, self.policy.choices))
        return json.dumps([LAYOUT, self.policy.build, choices, self.policy.newest])


@dataclass(frozen=True)
class Refresh:
    """One refresh, under its lock. ``state`` is written when its part is on the disk."""

    connection: Connection
    tree: Tree
    rules: SiteRules
    state: State

    def projects(self, due: Collection[int]) -> int:
        """Those that are due, those that were tried, and some of those that other rules wrote. Returns how many pages changed."""
        tried, mark = attempted_since(self.connection, self.state.attempt)
        touched = {*due, *(tried if self.state.attempt >= 0 else ())}
        around = self._surroundings()
        changed = sum(self._write(ids, around) for ids in _in_portions(sorted(touched)))
        changed += self._sweep(around)
        self.state.attempt = max(mark, 0)
        self.state.write(self.tree)
        return changed

    def all(self, tell: Callable[[int], object]) -> int:
        """Every project there is; ``tell`` hears how many more are done. Returns how many pages changed."""
        around, changed = self._surroundings(), 0
        _, mark = attempted_since(self.connection, self.state.attempt)
        for ids in portions(self.connection, PORTION):
            changed += self._write(ids, around)
            tell(len(ids))
        self.state.attempt, self.state.swept_to = max(mark, 0), None
        self.state.write(self.tree)
        return changed

    def overview(self) -> None:
        """The home page, the fleet's page, what both refresh from, and the search index where that is due."""
        history = self.state.past
        seen = read_overview(self.connection, self.rules.private, history)
        meanings = read_meanings(self.connection)
        self.connection.rollback()
        outlook, disk = self._outlook(), Disk.of(self.tree)
        home = home_view(seen, outlook, meanings, disk.free)
        written: _Files = {
            layout.HOME: pages.home_page(home),
            layout.FLEET: pages.fleet_page(seen),
            layout.LIVE / "home.json": pages.home_data(home),
            layout.LIVE / "fleet.json": pages.compact(told_fleet(seen)),
            layout.LIVE / "queue.json": pages.compact(outlook.shape.told()),
            layout.METRICS: metrics(seen, disk),
        }
        # Each by itself: none of them stands in for another.
        self.tree.write_each([{place: content} for place, content in (written | self._search() | self._assets()).items()])
        self.state.history, self.state.overview_at = history.told(), time.time()
        self.state.write(self.tree)

    def _sweep(self, around: Surroundings) -> int:
        """The next portion of those whose pages are by other rules."""
        if self.state.swept_to is None:
            return 0
        rows = list(queries.projects_after(self.connection, project_id=self.state.swept_to, most=PORTION))
        ids = [project_id for (project_id,) in rows]
        changed = self._write(ids, around) if ids else 0
        self.state.swept_to = ids[-1] if len(ids) == PORTION else None
        return changed

    def _write(self, project_ids: Sequence[int], around: Surroundings) -> int:
        read = read_projects(self.connection, project_ids)
        return len(self.tree.write_each([self._files(project, around) for project in read]))

    def _files(self, project: SiteProject, around: Surroundings) -> _Files:
        name = project.facts.name
        if not project.facts.builds and not self._is_named(name):
            return {layout.project_html(name): None, layout.project_json(name): None}
        view = project_view(project, around)
        return {layout.project_html(name): pages.project_page(view), layout.project_json(name): pages.project_data(view)}

    def _is_named(self, name: str) -> bool:
        """Whether the operator lists it: then its page says why nothing is built."""
        policy = self.rules.policy
        return policy.choices is not None and (policy.lists(name, "") or bool(policy.versions(name)))

    def _surroundings(self) -> Surroundings:
        targets, meanings = read_targets(self.connection), read_meanings(self.connection)
        self.connection.rollback()
        return Surroundings(targets, self.rules.policy, self._outlook().shape, meanings)

    def _outlook(self) -> Outlook:
        """As read lately, or now: the longer that takes, the more seldom."""
        state, began = self.state, time.time()
        if state.outlook is None or began > state.outlook_at + _SELDOM * state.outlook_seconds:
            read = read_outlook(self.connection)
            self.connection.rollback()
            state.outlook = {**asdict(read), "shape": read.shape.told()}
            state.outlook_at, state.outlook_seconds = began, time.time() - began
        told = state.outlook
        work = {target: (builds, seconds) for target, (builds, seconds) in told["work"].items()}
        return Outlook(**{**told, "shape": QueueShape.from_told(told["shape"]), "work": work})

    def _search(self) -> _Files:
        """The search index, where it is time: reading and dividing all names takes seconds where there are many."""
        now = time.time()
        if now < self.state.names_at + _NAME_SECONDS * self.state.names:
            return {}
        names = {name for (name,) in queries.project_names(self.connection)} - self.rules.private
        self.connection.rollback()
        made: _Files = dict(search_files(names, self._held(names)))
        lying = (path.name.removesuffix(".gz") for path in self.tree.path(layout.SEARCH).glob("*.json.gz"))
        made |= {layout.SEARCH / name: None for name in lying if layout.SEARCH / name not in made}
        self.state.names, self.state.names_at = len(names), now
        return made

    def _held(self, names: Collection[str]) -> set[str]:
        """Projects that have a page of the site."""
        lying = self.tree.path(layout.ROOT / "project").glob("*/*.json.gz")
        return {path.name.removesuffix(".json.gz") for path in lying} & set(names)

    def _assets(self) -> _Files:
        """Style and scripts as this version has them, and the pages that say the same for all."""
        own = files("piwheels_builder.site") / "assets"
        made: _Files = {layout.ASSETS / each.name: each.read_bytes() for each in own.iterdir() if each.is_file()}
        same = {layout.LOG: pages.log_page(), layout.UNKNOWN: pages.unknown_page(), layout.FOUND: pages.search_page()}
        return made | same


def refresh_projects(connection: Connection, tree: Tree, rules: SiteRules, due: Collection[int]) -> int:
    """Write the pages of these projects, and of those tried since the last time. Returns how many changed."""
    with refreshing(connection, tree, rules) as refresh:
        return refresh.projects(due)


def refresh_overview(connection: Connection, tree: Tree, rules: SiteRules) -> None:
    """Write what moves, unless that was done a moment ago."""
    with refreshing(connection, tree, rules) as refresh:
        if not 0 <= time.time() - refresh.state.overview_at < _OVERVIEW_SECONDS:
            refresh.overview()


@contextmanager
def refreshing(connection: Connection, tree: Tree, rules: SiteRules) -> Iterator[Refresh]:
    """Hold the site's lock for the length of a block. It ends with this process, however that ends."""
    held = os.open(tree.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield Refresh(connection, tree, rules, State.read(tree, str(rules)))
    finally:
        os.close(held)


def _in_portions(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[start : start + PORTION] for start in range(0, len(ids), PORTION))

"""Visit projects one by one: fetch what changed of each, write it, and bring the queue in line.

Pages are fetched by several threads, since that is waiting, and written by one. Each project is a transaction of its own, so that a
failing one stops no other and a killed sync loses nothing that was finished.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from packaging.utils import InvalidName, NormalizedName, canonicalize_name

from piwheels_builder.catalogue.facts import KnownProject, WantedTarget, known_project
from piwheels_builder.catalogue.needs import impossible
from piwheels_builder.catalogue.offered import Page
from piwheels_builder.catalogue.own_sdists import OwnSdists, refuse_changed
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.sync_report import ProjectReport
from piwheels_builder.catalogue.take_over import Change, mark_gone, queries, take_over
from piwheels_builder.catalogue.upstream import CONNECTIONS, UpstreamIndex
from piwheels_builder.catalogue.wanting import apply_needs
from piwheels_builder.db.connect import Connection, translated_errors
from piwheels_builder.errors import DatabaseAway, FleetError, UnknownProject, UpstreamError

#: Projects fetched before they are written; bounds the pages held in memory.
_CHUNK = 32
#: More projects than this, and than a hundredth of all, do not lose everything at once: upstream, or what is between, is broken.
FEW_DELETIONS = 50
_SHARE_OF_DELETIONS = 100


@dataclass(frozen=True)
class Work:
    """What is the same for every project. ``deadline`` (time.monotonic) ends a sync between two projects."""

    policy: Policy
    targets: tuple[WantedTarget, ...]
    check: bool = False
    accept_deletions: bool = False
    deadline: float | None = None
    own: OwnSdists = field(default_factory=OwnSdists)

    @property
    def is_over(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def believes(self, deletions: int, projects: int) -> bool:
        """Whether so many of so many projects may lose everything."""
        return self.accept_deletions or deletions <= max(FEW_DELETIONS, projects // _SHARE_OF_DELETIONS)


@dataclass(frozen=True)
class _KnownPage:
    """Which page of a project the database has; all None and False where it has none."""

    serial: int | None = None
    etag: str | None = None
    exists: bool = False


@dataclass(frozen=True)
class _Gone:
    """Upstream no longer has a project that it once had."""


#: A page with something new on it, None where the database has it already, or that there is none any more.
_Fetched = Page | None | _Gone


@dataclass
class Visits:
    """Visits of projects as the dispatcher role. Iterate over it once; then ``held_back`` are those whose loss is not believed."""

    connection: Connection
    upstream: UpstreamIndex
    work: Work
    #: How many projects there are, of which those visited may be few.
    projects: int
    visited: int = 0
    held_back: list[str] = field(default_factory=list)
    _losing: "list[tuple[str, Page | _Gone]]" = field(default_factory=list)

    def of(self, names: Iterator[str]) -> Iterator[ProjectReport]:
        """Visit these. What would lose all its files comes last, once it is known how many there are."""
        pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="fetch")
        try:
            while not self.work.is_over and (chunk := list(islice(names, _CHUNK))):
                yield from self._chunk(pool, chunk)
        finally:
            pool.shutdown(cancel_futures=True)
        yield from self._judge()

    def _chunk(self, pool: ThreadPoolExecutor, chunk: list[str]) -> Iterator[ProjectReport]:
        known = {name: _KnownPage(serial, etag, True) for name, serial, etag in queries.known_pages(self.connection, names=chunk)}
        # No transaction stays open while we wait for upstream.
        self.connection.rollback()
        fetches = [(name, pool.submit(self._fetch, name, known.get(name, _KnownPage()))) for name in chunk]
        for name, fetch in fetches:
            self.visited += 1
            if loss := _loss(fetch, known.get(name, _KnownPage())):
                self._losing.append((name, loss))
            else:
                yield self._write(name, fetch)

    def _fetch(self, name: str, known: _KnownPage) -> _Fetched:
        if name in self.work.own.projects:
            return self.work.own.page(NormalizedName(name))
        return _fetch(self.upstream, name, known)

    def _judge(self) -> Iterator[ProjectReport]:
        names = [name for name, _ in self._losing]
        losing = [name for (name,) in queries.projects_with_something(self.connection, names=names)]
        self.connection.rollback()
        if not self.work.believes(len(losing), max(self.projects, self.visited)):
            self.held_back = losing
        for name, loss in self._losing:
            if name not in self.held_back:
                yield self._write(name, _done(loss))

    def _write(self, name: str, fetch: "Future[_Fetched]") -> ProjectReport:
        try:
            fetched = fetch.result()
            with translated_errors():
                report = _written(self.connection, NormalizedName(name), fetched, self.work)
                if self.work.check:
                    self.connection.rollback()
                else:
                    self.connection.commit()
        except DatabaseAway:
            raise
        except FleetError as error:
            self.connection.rollback()
            return ProjectReport(name, error=error)
        return report


def _fetch(upstream: UpstreamIndex, name: str, known: _KnownPage) -> _Fetched:
    try:
        return upstream.page(canonicalize_name(name, validate=True), etag=known.etag, serial=known.serial)
    except InvalidName as error:
        raise UpstreamError(f"{name!a} cannot be a project's name", temporary=False) from error
    except UnknownProject:
        if known.exists:
            return _Gone()
        raise


def _loss(fetch: "Future[_Fetched]", known: _KnownPage) -> Page | _Gone | None:
    """What takes away all that a known project had, if this does."""
    if fetch.exception() is not None:
        return None
    fetched = fetch.result()
    is_loss = isinstance(fetched, _Gone) or (fetched is not None and known.exists and not fetched.files)
    return fetched if is_loss else None


def _done(fetched: Page | _Gone) -> "Future[_Fetched]":
    future: Future[_Fetched] = Future()
    future.set_result(fetched)
    return future


def _written(connection: Connection, name: NormalizedName, fetched: _Fetched, work: Work) -> ProjectReport:
    if name in work.own.projects and isinstance(fetched, Page):
        refuse_changed(fetched, dict(queries.known_hashes(connection, name=name)))
    change = _change(connection, name, fetched)
    # Needs are looked at even where the page is the old one: policy, targets or the operator's word may have changed.
    project = known_project(connection, name)
    queue = apply_needs(connection, project, work.targets, work.policy) if project else ()
    error = _unfulfillable(project, work) if project else None
    return ProjectReport(name, change, queue, gone=isinstance(fetched, _Gone), error=error)


def _unfulfillable(project: KnownProject, work: Work) -> FleetError | None:
    """A version that the list names and nobody can build is a mistake to be told of; everything else of the project is synced."""
    wishes = [_unfulfilled(project, version, work.targets) for version in work.policy.versions(project.name)]
    complaints = [wish for wish in wishes if wish is not None]
    return UnknownProject("; ".join(complaints)) if complaints else None


def _unfulfilled(project: KnownProject, version: str, targets: Sequence[WantedTarget]) -> str | None:
    release = next((release for release in project.releases if release.version == version), None)
    if release is None:
        newest = ", ".join(release.spelling for release in project.releases[:5]) or "none"
        return f"there is no {project.name}=={version} upstream; its newest releases: {newest}"
    objections = [impossible(release, target.target) for target in targets]
    return None if None in objections else f"{project.name}=={release.spelling} cannot be built: {objections[0]}"


def _change(connection: Connection, name: NormalizedName, fetched: _Fetched) -> Change:
    if isinstance(fetched, _Gone):
        return mark_gone(connection, name)
    return take_over(connection, fetched) if fetched else Change()

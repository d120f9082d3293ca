"""Sync: what upstream offers of the chosen projects into the catalogue, and what is wanted of it into the queue.

Pages are fetched by several threads, since that is waiting, and written by one. Each project is a transaction
of its own, so that a failing one stops no other and a killed sync loses nothing that was finished.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from packaging.utils import InvalidName, NormalizedName, canonicalize_name

from piwheels_builder.catalogue.facts import KnownProject, WantedTarget, known_project, wanted_targets
from piwheels_builder.catalogue.needs import impossible
from piwheels_builder.catalogue.pages import Page
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.take_over import Change, mark_gone, queries, take_over
from piwheels_builder.catalogue.upstream import CONNECTIONS, UpstreamIndex
from piwheels_builder.catalogue.wanting import QueueChange, apply_needs
from piwheels_builder.db.connect import Connection, connected, translated_errors
from piwheels_builder.errors import BadInput, DatabaseAway, FleetError, UnknownProject, UpstreamError

#: Projects fetched before they are written; bounds the pages held in memory.
_CHUNK = 32


@dataclass(frozen=True)
class ProjectReport:
    """What became of one project: an error, or what changed."""

    project: str
    change: Change = field(default_factory=Change)
    queue: tuple[QueueChange, ...] = ()
    gone: bool = False
    error: FleetError | None = None


@dataclass(frozen=True)
class SyncReport:
    """What became of all projects visited. Truth value: whether anything changed in the database."""

    projects: tuple[ProjectReport, ...] = field(default=())

    @property
    def changed(self) -> tuple[str, ...]:
        """Projects of which upstream says something new."""
        return tuple(report.project for report in self.projects if report.change)

    @property
    def gone(self) -> tuple[str, ...]:
        return tuple(report.project for report in self.projects if report.gone)

    @property
    def releases(self) -> int:
        return sum(report.change.releases for report in self.projects)

    @property
    def files(self) -> int:
        return sum(report.change.files + report.change.removed for report in self.projects)

    @property
    def wanted(self) -> tuple[QueueChange, ...]:
        return tuple(change for report in self.projects for change in report.queue if change.reason is None)

    @property
    def skipped(self) -> tuple[QueueChange, ...]:
        return tuple(change for report in self.projects for change in report.queue if change.reason is not None)

    @property
    def failures(self) -> Mapping[str, FleetError]:
        return {report.project: report.error for report in self.projects if report.error is not None}

    def __bool__(self) -> bool:
        return any(report.change or report.queue for report in self.projects)

    def raise_failures(self) -> None:
        """Raise one error that names every project that failed: UnknownProject where all are that, else UpstreamError."""
        failures = self.failures
        if not failures:
            return
        lines = "".join(f"\n  {project}: {error}" for project, error in failures.items())
        message = f"{len(failures)} of {len(self.projects)} projects failed; all others are synced:{lines}"
        if all(isinstance(error, UnknownProject) for error in failures.values()):
            raise UnknownProject(message)
        raise UpstreamError(message, temporary=any(getattr(error, "temporary", False) for error in failures.values()))


def sync(
    conninfo: str,
    upstream: UpstreamIndex,
    policy: Policy,
    projects: Iterable[str] | None = None,
    *,
    check: bool = False,
    told: Callable[[ProjectReport], None] | None = None,
) -> SyncReport:
    """Sync ``projects`` (None: every project the policy lists, forces or still has in the queue) as the dispatcher role.

    ``check`` does everything and keeps nothing. ``told`` is called after each project. Raises DatabaseAway, DatabaseRefused,
    BadInput where no target is wanted, UpstreamError for an unreadable list of all projects; other failures are in the report.
    """
    with connected(conninfo) as connection:
        targets = wanted_targets(connection)
        if not targets:
            raise BadInput(
                "the database knows no target to build for: `ansible-playbook provision.yml` makes them, of fleet_pythons"
            )
        names = _unique(_chosen(connection, upstream, policy) if projects is None else projects)
        connection.rollback()
        reports = []
        for report in _visit(connection, upstream, names, _Work(policy, targets, check)):
            if told:
                told(report)
            reports.append(report)
    return SyncReport(tuple(reports))


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


@dataclass(frozen=True)
class _Work:
    """What is the same for every project."""

    policy: Policy
    targets: tuple[WantedTarget, ...]
    check: bool


def _chosen(connection: Connection, upstream: UpstreamIndex, policy: Policy) -> Iterator[str]:
    forced = [name for (name,) in queries.forced_projects(connection)]
    queued = [name for (name,) in queries.projects_in_queue(connection)]
    yield from upstream.project_names() if policy.choices is None else policy.projects()
    yield from forced
    yield from queued


def _unique(names: Iterable[str]) -> Iterator[str]:
    """Each project once, by its normalized name."""
    seen = set()
    for name in names:
        normalized = canonicalize_name(name)
        if normalized not in seen:
            seen.add(normalized)
            yield normalized


def _visit(connection: Connection, upstream: UpstreamIndex, names: Iterator[str], work: _Work) -> Iterator[ProjectReport]:
    pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="fetch")
    try:
        while chunk := list(islice(names, _CHUNK)):
            known = {name: _KnownPage(serial, etag, True) for name, serial, etag in queries.known_pages(connection, names=chunk)}
            # No transaction stays open while we wait for upstream.
            connection.rollback()
            fetches = [(name, pool.submit(_fetch, upstream, name, known.get(name, _KnownPage()))) for name in chunk]
            for name, fetch in fetches:
                yield _visit_one(connection, name, fetch, work)
    finally:
        pool.shutdown(cancel_futures=True)


def _fetch(upstream: UpstreamIndex, name: str, known: _KnownPage) -> _Fetched:
    try:
        return upstream.page(canonicalize_name(name, validate=True), etag=known.etag, serial=known.serial)
    except InvalidName as error:
        raise UpstreamError(f"{name!a} cannot be a project's name", temporary=False) from error
    except UnknownProject:
        if known.exists:
            return _Gone()
        raise


def _visit_one(connection: Connection, name: str, fetch: "Future[_Fetched]", work: _Work) -> ProjectReport:
    try:
        fetched = fetch.result()
        with translated_errors():
            report = _write(connection, NormalizedName(name), fetched, work)
            if work.check:
                connection.rollback()
            else:
                connection.commit()
    except DatabaseAway:
        raise
    except FleetError as error:
        connection.rollback()
        return ProjectReport(name, error=error)
    return report


def _write(connection: Connection, name: NormalizedName, fetched: _Fetched, work: _Work) -> ProjectReport:
    change = _change(connection, name, fetched)
    # Needs are looked at even where the page is the old one: policy, targets or the operator's word may have changed.
    project = known_project(connection, name)
    queue = apply_needs(connection, project, work.targets, work.policy) if project else ()
    error = _unfulfillable(project, work) if project else None
    return ProjectReport(name, change, queue, gone=isinstance(fetched, _Gone), error=error)


def _unfulfillable(project: KnownProject, work: _Work) -> FleetError | None:
    """A version that the list names and nobody can build is a mistake to be told of; everything else of the project is synced."""
    wishes = [_unfulfilled(project, version, work.targets) for version in work.policy.versions(project.name)]
    complaints = [wish for wish in wishes if wish is not None]
    return UnknownProject("; ".join(complaints)) if complaints else None


def _unfulfilled(project: KnownProject, version: str, targets: tuple[WantedTarget, ...]) -> str | None:
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

"""Sync: what upstream offers of the chosen projects into the catalogue, and what is wanted of it into the queue.

A fleet that lists its projects visits each. One that follows all of upstream asks for the page of all names and visits those whose
serial there is another than the catalogue's; what the catalogue has nothing of is filled in bulk.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from packaging.utils import canonicalize_name

from piwheels_builder.catalogue.facts import wanted_targets
from piwheels_builder.catalogue.filling import WORTHWHILE, Fill, Filling, Order
from piwheels_builder.catalogue.freshness import queries as freshness_queries
from piwheels_builder.catalogue.own_sdists import OwnSdists
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.survey import Survey, survey
from piwheels_builder.catalogue.sweep import Swept, sweep
from piwheels_builder.catalogue.sync_report import Filled, ProjectReport, SyncReport
from piwheels_builder.catalogue.take_over import queries
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.catalogue.visiting import Visits, Work
from piwheels_builder.db.connect import Connection, connected
from piwheels_builder.errors import BadInput

#: Seconds between two notes of how far a round is.
_NOTE_SECONDS = 10


@dataclass(frozen=True)
class Ways:
    """How to sync. ``check`` does everything and keeps nothing. ``accept_deletions``: lose whatever upstream lost.

    ``seconds`` ends a round over all of upstream between two projects; the next one goes on. ``told`` is called after each project
    of which there is something to tell, ``filling`` while many are filled. ``own`` sdists are read in place of upstream's pages.
    """

    check: bool = False
    accept_deletions: bool = False
    seconds: float | None = None
    told: Callable[[ProjectReport], None] = field(default=lambda _: None)
    filling: Callable[[Filling], None] = field(default=lambda _: None)
    own: OwnSdists = field(default_factory=OwnSdists)


def sync(
    conninfo: str, upstream: UpstreamIndex, policy: Policy, projects: Iterable[str] | None = None, ways: Ways | None = None
) -> SyncReport:
    """Sync ``projects`` as the dispatcher role. None: a round over all of upstream, or over every project that the policy lists,
    forces or still has in the queue; only a round says how far behind upstream the catalogue is.

    Raises DatabaseAway, DatabaseRefused, BadInput where no target is wanted, UpstreamError for an unreadable list of all projects;
    other failures are in the report.
    """
    ways = ways or Ways()
    with connected(conninfo) as connection:
        targets = wanted_targets(connection)
        if not targets:
            raise BadInput(
                "the database knows no target to build for: `ansible-playbook provision.yml` makes them, of fleet_pythons"
            )
        deadline = time.monotonic() + ways.seconds if ways.seconds and projects is None and policy.choices is None else None
        work = Work(policy, targets, ways.check, ways.accept_deletions, deadline, ways.own)
        if projects is not None:
            return _visit(Visits(connection, upstream, work, 0), projects, ways.told)
        return _with_complaints(_all(conninfo, connection, upstream, work, ways), ways)


def _all(conninfo: str, connection: Connection, upstream: UpstreamIndex, work: Work, ways: Ways) -> SyncReport:
    if work.policy.choices is not None:
        return _listed(connection, upstream, work, ways)
    # Before the page of all names is asked for: none of these is anything new of upstream's.
    own = _visit(Visits(connection, upstream, work, 0), sorted(work.own.projects), ways.told)
    report = _Round(conninfo, connection, upstream, work, ways).run()
    report = replace(report, projects=(*own.projects, *report.projects), visited=own.visited + report.visited)
    report = replace(report, held_back=(*own.held_back, *report.held_back))
    return report if ways.check else replace(report, swept=_sweep(connection, work))


def _with_complaints(report: SyncReport, ways: Ways) -> SyncReport:
    """What lies among the own sdists and is taken for no project's is told of like a project that could not be read."""
    complaints = [ProjectReport(name, error=error) for name, error in ways.own.complaints()]
    return replace(report, projects=(*report.projects, *complaints), visited=report.visited + len(complaints))


def _sweep(connection: Connection, work: Work) -> Swept:
    """Targets are no news of upstream's: for one that is new the catalogue is looked through, in the time that is left."""
    seconds = None if work.deadline is None else max(0.0, work.deadline - time.monotonic())
    return sweep(connection, work.policy, seconds=seconds)


def _visit(visits: Visits, names: Iterable[str], told: Callable[[ProjectReport], None]) -> SyncReport:
    visits.connection.rollback()
    reports = []
    for report in visits.of(_unique(names)):
        if report:
            told(report)
            reports.append(report)
    return SyncReport(tuple(reports), visits.visited, held_back=tuple(visits.held_back))


def _unique(names: Iterable[str]) -> Iterator[str]:
    """Each project once, by its normalized name."""
    seen = set()
    for name in names:
        normalized = canonicalize_name(name)
        if normalized not in seen:
            seen.add(normalized)
            yield normalized


def _listed(connection: Connection, upstream: UpstreamIndex, work: Work, ways: Ways) -> SyncReport:
    """A round over what the operator lists."""
    forced = [name for (name,) in queries.forced_projects(connection)]
    queued = [name for (name,) in queries.projects_in_queue(connection)]
    asked_at = freshness_queries.clock(connection)
    names = [*work.policy.projects(), *sorted(work.own.projects), *forced, *queued]
    report = _visit(Visits(connection, upstream, work, 0), names, ways.told)
    if not work.check:
        behind = sum(getattr(error, "temporary", False) for error in report.failures.values()) + len(report.held_back)
        freshness_queries.note_round(
            connection,
            url=upstream.url,
            whole=False,
            listing_etag=None,
            asked_at=asked_at,
            behind=behind,
            held_back=len(report.held_back),
            projects=report.visited,
        )
        connection.commit()
    return report


class _Round:
    """A round over all of upstream."""

    def __init__(self, conninfo: str, connection: Connection, upstream: UpstreamIndex, work: Work, ways: Ways) -> None:
        self._conninfo = conninfo
        self._connection = connection
        self._upstream = upstream
        self._work = work
        self._ways = ways
        self._noted = 0.0

    def run(self) -> SyncReport:
        self._asked_at = freshness_queries.clock(self._connection)
        before = freshness_queries.upstream_state(self._connection)
        self._projects = before[7] if before else 0
        found = self._survey(before)
        losing = () if self._work.believes(len(found.missing), found.known) else tuple(found.missing)
        new = found.new if len(found.new) >= WORTHWHILE and not self._work.check else []
        one_by_one = [*found.changed, *(() if new else found.new), *(() if losing else found.missing)]
        self._to_do = len(new) + len(one_by_one)
        self._note(found, losing, done=0)
        filled, left, unseen = self._fill(found, losing, new)
        report = self._visit_all(found, losing, [*left, *one_by_one])
        report = SyncReport(
            report.projects,
            visited=report.visited + filled.projects,
            filled=filled,
            left=unseen + len(left) + len(one_by_one) - report.visited,
            held_back=(*losing, *report.held_back),
        )
        self._end(found, report)
        return report

    def _survey(self, before: Sequence[object] | None) -> Survey:
        """What differs. The page of all names need not be sent again where it is the one whose changes were all followed."""
        etag = None
        if before and before[0] == self._upstream.url and before[1] and before[5] == 0:
            etag = str(before[2]) if before[2] else None
        with self._upstream.listing(etag) as listing:
            self._etag = listing.etag if listing else etag
            found = survey(self._connection, listing.projects if listing else None).without(self._work.own.projects)
        self._projects = found.listed or self._projects
        self._connection.rollback()
        return found

    def _fill(self, found: Survey, losing: Sequence[str], new: Sequence[str]) -> tuple[Filled, list[str], int]:
        if not new:
            return Filled(), [], 0
        policy, upstream = self._work.policy, self._upstream
        order = Order(self._conninfo, upstream.secret_url, upstream.per_second, policy.build, policy.newest)

        def told(filling: Filling) -> None:
            self._note(found, losing, done=filling.done)
            self._ways.filling(filling)

        fill = Fill(order, new, told, lambda: self._work.is_over)
        fill.run()
        return fill.filled, fill.left, fill.unseen

    def _visit_all(self, found: Survey, losing: Sequence[str], names: Sequence[str]) -> SyncReport:
        visits = Visits(self._connection, self._upstream, self._work, found.known)
        before = self._to_do - len(names)

        def told(report: ProjectReport) -> None:
            self._learn(found, report)
            self._note(found, losing, done=before + visits.visited)
            self._ways.told(report)

        return _visit(visits, names, told)

    def _learn(self, found: Survey, report: ProjectReport) -> None:
        """Remember what cannot be followed, so that not every round asks for it."""
        if report.error is not None and not self._work.check:
            freshness_queries.note_unfollowed(
                self._connection,
                name=report.project,
                serial=found.serials.get(report.project),
                error=str(report.error),
                temporary=bool(getattr(report.error, "temporary", False)),
            )
            self._connection.commit()

    def _note(self, found: Survey, losing: Sequence[str], *, done: int) -> None:
        if self._work.check or time.monotonic() - self._noted < _NOTE_SECONDS:
            return
        self._noted = time.monotonic()
        # One more than is left: it is over when it is over.
        self._write_state(self._to_do - done + found.behind + len(losing) + 1, len(losing))

    def _end(self, found: Survey, report: SyncReport) -> None:
        if self._work.check:
            return
        failed = report.failures
        followed = [name for name in [*found.forgotten, *found.serials] if name not in failed]
        freshness_queries.note_followed(self._connection, names=followed)
        temporary = sum(getattr(error, "temporary", False) for error in failed.values())
        behind = report.left + found.behind + temporary + len(report.held_back)
        self._write_state(behind, len(report.held_back))

    def _write_state(self, behind: int, held_back: int) -> None:
        freshness_queries.note_round(
            self._connection,
            url=self._upstream.url,
            whole=True,
            listing_etag=self._etag,
            asked_at=self._asked_at,
            behind=behind,
            held_back=held_back,
            projects=self._projects,
        )
        self._connection.commit()

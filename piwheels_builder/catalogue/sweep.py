"""Look through the whole catalogue for what a target that is new, or wanted again, needs: online, piece by piece, resumable.

A sync looks at projects of which upstream says something new; that a target was added is news of none of them. How far each target
was looked through stands in its row, committed with what was wanted until there: a sweep that is interrupted goes on from there.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import aiosql

from piwheels_builder.catalogue.facts import KnownBuild, KnownFile, KnownProject, KnownRelease, WantedTarget, wanted_targets
from piwheels_builder.catalogue.filenames import FileKind
from piwheels_builder.catalogue.needs import Wanted, chosen_sdist
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.wanting import UNFINISHED, TargetNeed, guess_seconds, is_to_queue, needs_of
from piwheels_builder.db.connect import Connection

_queries = aiosql.from_path(Path(str(files(__package__))) / "sweep.sql", "psycopg2")
#: Projects a transaction: what it locks, leases and results may have to wait for (some 50 ms).
CHUNK = 100


@dataclass(frozen=True)
class Swept:
    """How far a sweep is: projects looked at and still to look at, builds put into the queue by it."""

    projects: int
    left: int
    queued: int


@dataclass(frozen=True)
class _Wish:
    """A build to want. ``leader_target`` is the target whose build of the same release goes first, or None."""

    release_id: int
    target_id: int
    priority: int
    seconds: float
    leader_target: int | None


def sweep_again(connection: Connection) -> None:
    """Let the next sweep look at everything for every target: the policy wants more. As the dispatcher role; the caller commits."""
    _queries.sweep_again(connection)


def sweep(
    connection: Connection, policy: Policy, *, seconds: float | None = None, told: Callable[[Swept], None] | None = None
) -> Swept:
    """Want what targets need that were not looked through yet, as the dispatcher role; it commits after every CHUNK of projects.

    ``seconds`` bounds how long it goes on: the next call continues. ``told`` is called after each chunk. Returns at once, with one
    query, where nothing is to do. Raises DatabaseAway, DatabaseRefused.
    """
    begun = time.monotonic()
    swept = Swept(0, 0, 0)
    while due := dict(_queries.due_targets(connection)):
        after = min(due.values())
        # Those that lag behind first; where they have caught up, all go on together.
        targets = frozenset(target for target, swept_to in due.items() if swept_to == after)
        if not swept.projects:
            swept = Swept(0, _queries.projects_left(connection, after=after), 0)
        projects = list(_queries.lock_chunk(connection, after=after, most=_most(due, after)))
        queued = _sweep_chunk(connection, [ProjectRow(*row) for row in projects], targets, policy)
        swept_to = projects[-1][0] if projects else None
        _queries.note_swept(connection, targets=list(targets), swept_to=swept_to)
        connection.commit()
        swept = Swept(swept.projects + len(projects), max(0, swept.left - len(projects)), swept.queued + queued)
        if told:
            told(swept)
        if seconds is not None and time.monotonic() - begun > seconds:
            break
    connection.rollback()
    return swept


def _most(due: dict[int, int], after: int) -> int:
    """No further than where the next target begins, so that they meet there."""
    ahead = [swept_to - after for swept_to in due.values() if swept_to > after]
    return min(CHUNK, *ahead) if ahead else CHUNK


@dataclass(frozen=True)
class ProjectRow:
    """A project without what it consists of."""

    project_id: int
    name: str
    status: str
    status_reason: str | None
    opted_out: str | None


def _sweep_chunk(connection: Connection, rows: Sequence[ProjectRow], due: frozenset[int], policy: Policy) -> int:
    """Want what these projects' releases need for the targets; how many builds were put into the queue."""
    targets = wanted_targets(connection)
    wishes = [wish for project in known_projects(connection, rows) for wish in _wishes_of(project, targets, due, policy)]
    if not wishes:
        return 0
    columns = {
        "releases": [wish.release_id for wish in wishes],
        "targets": [wish.target_id for wish in wishes],
        "priorities": [wish.priority for wish in wishes],
        "guesses": [wish.seconds for wish in wishes],
        "leader_targets": [wish.leader_target for wish in wishes],
    }
    return sum(1 for _ in _queries.want_builds(connection, **columns))


def known_projects(connection: Connection, rows: Sequence[ProjectRow]) -> Iterator[KnownProject]:
    """The same facts as facts.known_project, of many projects in three queries."""
    ids = [row.project_id for row in rows]
    names = {row.project_id: row.name for row in rows}
    found: defaultdict[int, list[KnownFile]] = defaultdict(list)
    for release_id, filename, kind, refusal, requires_python, yanked, size in _queries.chunk_files(connection, projects=ids):
        found[release_id].append(KnownFile(filename, FileKind(kind), refusal, requires_python, yanked, size))
    releases: defaultdict[int, list[KnownRelease]] = defaultdict(list)
    for project_id, release_id, version, spelling, place, word, why in _queries.chunk_releases(connection, projects=ids):
        own = tuple(found.get(release_id, ()))
        release = KnownRelease(release_id, names[project_id], version, spelling, place, own, word, why)
        releases[project_id].append(release)
    builds: defaultdict[int, list[KnownBuild]] = defaultdict(list)
    for project_id, *build in _queries.chunk_builds(connection, projects=ids):
        builds[project_id].append(KnownBuild(*build))
    for row in rows:
        yield KnownProject(
            row.name, row.status, row.status_reason, row.opted_out, tuple(releases[row.project_id]), tuple(builds[row.project_id])
        )


def _wishes_of(project: KnownProject, targets: tuple[WantedTarget, ...], due: frozenset[int], policy: Policy) -> Iterator[_Wish]:
    those_due = tuple(target for target in targets if target.target_id in due)
    by_release: defaultdict[int, list[KnownBuild]] = defaultdict(list)
    for build in project.builds:
        by_release[build.release_id].append(build)
    for release in project.releases:
        # needs_of reads the release's own builds alone; a project may have ten thousand.
        own = KnownProject(
            project.name, project.status, project.status_reason, project.opted_out, (), tuple(by_release[release.release_id])
        )
        if any(_is_wish(each) for each in needs_of(own, release, those_due, policy)):
            yield from _wishes(own, release, targets, due, policy)


def _wishes(
    project: KnownProject, release: KnownRelease, targets: tuple[WantedTarget, ...], due: frozenset[int], policy: Policy
) -> Iterator[_Wish]:
    """Of the targets that are due; the first wanted and unfinished build of any target leads, as in wanting.apply_needs."""
    leader: int | None = None
    seconds = guess_seconds(sdist.size if (sdist := chosen_sdist(release)) else None)
    for each in needs_of(project, release, targets, policy):
        target_id = each.target.target_id
        if isinstance(each.need, Wanted) and _is_wish(each) and target_id in due:
            yield _Wish(release.release_id, target_id, each.need.priority, seconds, leader)
        elif not isinstance(each.need, Wanted) or each.build is None or each.build.state not in UNFINISHED:
            continue
        leader = leader or target_id


def _is_wish(each: TargetNeed) -> bool:
    return isinstance(each.need, Wanted) and is_to_queue(each.build)

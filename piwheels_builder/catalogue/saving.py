"""What it saves that upstream's wheels are not built again: builds, and the time they would take.

Who calls: the forecast of a run. Cost: a few thousand projects read, however large the catalogue is.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiosql

from piwheels_builder.catalogue.facts import KnownProject, KnownRelease, WantedTarget, wanted_targets
from piwheels_builder.catalogue.filenames import is_pure, wheel_tags
from piwheels_builder.catalogue.needs import NotWanted, Wanted, chosen_sdist, upstreams_wheel
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.sweep import CHUNK, ProjectRow, known_projects
from piwheels_builder.catalogue.wanting import guess_seconds, is_to_queue, needs_of
from piwheels_builder.db.connect import Connection

_queries = aiosql.from_path(Path(str(files(__package__))) / "saving.sql", "psycopg2")
#: Projects looked at, of a larger catalogue.
SAMPLE = 3000


@dataclass(frozen=True)
class Saved:
    """Builds that upstream's wheels make needless, and seconds of one slot that they would take, by the size of their sdists.

    Both are for all ``projects``, of which only ``looked_at`` were where those are fewer.
    """

    builds: int
    seconds: float
    looked_at: int
    projects: int


def saved_builds(connection: Connection, policy: Policy, most: int = SAMPLE) -> Saved | None:
    """What the policy saves as compared with building everything that has an sdist, as the reader role; None where it builds that.

    Of all projects ``most`` at most are looked at, evenly spread; those that fleet.yml names are all looked at.
    """
    if policy.build == "all":
        return None
    rows = [ProjectRow(*row) for row in _rows(connection, policy, most)]
    targets = wanted_targets(connection)
    found = [seconds for project in _projects(connection, rows) for seconds in _needless(project, targets, policy)]
    projects = _queries.number_of_projects(connection) if policy.choices is None else len(rows)
    scale = projects / max(1, len(rows))
    return Saved(round(len(found) * scale), sum(found) * scale, len(rows), projects)


def _rows(connection: Connection, policy: Policy, most: int) -> Iterator[tuple[Any, ...]]:
    if policy.choices is None:
        yield from _queries.spread_projects(connection, most=most)
    else:
        yield from _queries.named_projects(connection, names=policy.projects())


def _projects(connection: Connection, rows: list[ProjectRow]) -> Iterator[KnownProject]:
    for start in range(0, len(rows), CHUNK):
        yield from known_projects(connection, rows[start : start + CHUNK])


def _needless(project: KnownProject, targets: tuple[WantedTarget, ...], policy: Policy) -> Iterator[float]:
    for release in project.releases:
        for _ in _builds(project, release, targets, policy):
            yield guess_seconds(sdist.size if (sdist := chosen_sdist(release)) else None)


def _builds(
    project: KnownProject, release: KnownRelease, targets: tuple[WantedTarget, ...], policy: Policy
) -> Iterator[WantedTarget]:
    """The targets that it would be built for. What upstream has as a pure wheel would be one of ours, too: built once for all."""
    built_once = False
    with_all = needs_of(project, release, targets, replace(policy, build="all"))
    for now, then in zip(needs_of(project, release, targets, policy), with_all, strict=True):
        if isinstance(now.need, NotWanted) and isinstance(then.need, Wanted) and is_to_queue(then.build):
            wheel = upstreams_wheel(release, now.target.target)
            pure = wheel is not None and is_pure(wheel_tags(wheel.filename))
            if not (pure and built_once):
                yield now.target
            built_once = built_once or pure

"""What a fleet of 19 that builds everything made of a project: builds, attempts, wheels, and what still waits in the queue.

As this fleet works: the first target's build leads, a pure wheel of it ends its siblings, anything else sets them free. So a
release that becomes a pure wheel has one attempt, one that fails or has compiled code has three.
"""

import gzip
from functools import cache
from math import exp
from pathlib import Path
from random import Random
from typing import NamedTuple

import yaml

from bench.catalogue import shape
from bench.catalogue.generate import Catalogue, Project, Release
from piwheels_builder.catalogue.wanting import guess_seconds

_TRIAGE = Path(__file__).parents[2] / "tests/triage"
_TARGETS = len(shape.PYTHONS)
#: Attempts of a release at most: one for each target, and one that ended by an infrastructure outcome.
ATTEMPTS = _TARGETS + 1
_CLASS_BYTES = (0.8 * 671_088_640, 0.8 * 3_221_225_472)


class Failure(NamedTuple):
    """How a real release fails, from tests/triage: one of its 84, each as likely as any. ``log_size`` in bytes, packed."""

    outcome: str
    error_line: str
    log_size: int | None
    missing: str | None


class Build(NamedTuple):
    """A row of build. Targets are numbered from 1; so are builds, three a release."""

    build_id: int
    release_id: int
    target_id: int
    state: str
    reason: str


class Attempt(NamedTuple):
    """A row of attempt. ``wheel`` is the file name that it made; ``passed`` the share of the history that was over then, 0 to 1."""

    attempt_id: int
    build_id: int
    lease_id: str
    builder_id: int
    memory_class: int
    outcome: str
    seconds: float
    peak_memory: int
    failure: Failure | None
    wheel: str | None
    wheel_size: int
    passed: float


class Queued(NamedTuple):
    """A row of queue."""

    build_id: int
    target_id: int
    memory_class: int
    priority: int
    estimate_seconds: float
    waits_for: int | None


class History(NamedTuple):
    """Of one project."""

    builds: list[Build]
    attempts: list[Attempt]
    queued: list[Queued]


def history_of(catalogue: Catalogue, project: Project) -> History:
    """From the seed and the project's number alone, as its page."""
    random = catalogue.random(project.number, "history")
    # With the outliers, as many releases are built as the size says.
    usually_built = (catalogue.size.built - shape.OUTLIERS) / (1 - 2 * shape.OUTLIERS)
    its_way = random.choice(failures())
    past = _Past(catalogue, project, random, its_way, random.random() >= usually_built, History([], [], []))
    newest_first = {release.place: place for place, release in enumerate(project.newest_first(), 1)}
    for release in project.releases:
        if release.sdist is not None:
            past.add(release, newest_first[release.place])
    return past.history


@cache
def failures() -> tuple[Failure, ...]:
    """The real ones."""
    rows = yaml.safe_load((_TRIAGE / "releases.yml").read_text())
    return tuple(
        Failure(
            row["outcome"],
            row["error_line"][:500],
            len(gzip.compress((_TRIAGE / f"logs/{row['project']}-{row['version']}.txt").read_bytes())),
            row.get("missing"),
        )
        for row in rows
    )


class _Past(NamedTuple):
    """Makes the history of one project: ``its_way`` to fail, if it usually fails."""

    catalogue: Catalogue
    project: Project
    random: Random
    its_way: Failure
    fails: bool
    history: History

    def add(self, release: Release, newest_first: int) -> None:
        first_id = self.catalogue.releases_before[self.project.number]
        release_id = first_id + release.place + 1
        failure = self._failure()
        begun, waits = _TARGETS, None
        if self.random.random() < shape.WANTED:
            begun = 1 if self.random.random() < shape.BEGUN else 0
            # A pure wheel would have ended its siblings at once.
            failure = failure or self.its_way
        elif failure is None and not self.project.compiled:
            self._pure(release, release_id)
            return
        for place in range(_TARGETS):
            build_id = (release_id - 1) * _TARGETS + place + 1
            if place < begun:
                self._try(release, release_id, build_id, place, failure)
                continue
            self.history.builds.append(Build(build_id, release_id, place + 1, "pending", "wanted"))
            self._queue(release, build_id, place, 1 if newest_first == 1 else 2, waits)
            waits = waits or (build_id if begun == 0 else None)

    def _failure(self) -> Failure | None:
        fails = self.fails != (self.random.random() < shape.OUTLIERS)
        return self.its_way if fails else None

    def _pure(self, release: Release, release_id: int) -> None:
        build_id = (release_id - 1) * _TARGETS + 1
        wheel = self._try(release, release_id, build_id, 0, None)
        self.history.builds.extend(
            Build(build_id + place, release_id, place + 1, "skipped", f"served by {wheel}") for place in range(1, _TARGETS)
        )

    def _try(self, release: Release, release_id: int, build_id: int, place: int, failure: Failure | None) -> str | None:
        first = (release_id - 1) * ATTEMPTS + 1
        if place == 0 and self.random.random() < shape.FAULTS:
            self._attempt(first, build_id, Failure("killed", "its builder lost power", None, None), None)
        wheel = None if failure else self._wheel(release, place)
        self._attempt(first + 1 + place, build_id, failure, wheel)
        reason = failure.outcome if failure else f"serves {wheel}"
        self.history.builds.append(Build(build_id, release_id, place + 1, "failed" if failure else "published", reason))
        return wheel

    def _wheel(self, release: Release, place: int) -> str:
        tags = f"{shape.PYTHONS[place]}-{shape.PYTHONS[place]}-linux_armv7l" if self.project.compiled else "py3-none-any"
        stem = f"{self.project.name.replace('-', '_')}-{release.spelling}"
        plain = f"{stem}-{tags}.whl"
        # A rebuild of what upstream has already gets a build tag.
        return f"{stem}-1-{tags}.whl" if any(file.filename == plain for file in release.files) else plain

    def _attempt(self, attempt_id: int, build_id: int, failure: Failure | None, wheel: str | None) -> None:
        kind = "compiled" if self.project.compiled else "pure"
        median, sigma = shape.MEMORY[kind]
        memory = int(median * exp(sigma * self.random.gauss()))
        bulk = 0.9 * self.project.bulk + 0.436 * self.random.gauss()
        self.history.attempts.append(
            Attempt(
                attempt_id,
                build_id,
                f"{self.random.getrandbits(128):032x}",
                1 + self.random.randrange(shape.BUILDERS),
                sum(memory > limit for limit in _CLASS_BYTES),
                failure.outcome if failure else "built",
                self._typical_seconds() * exp(shape.SECONDS[kind][2] * self.random.gauss()),
                memory,
                failure,
                wheel,
                200 + int(shape.WHEEL_BYTES[0] * exp(shape.WHEEL_BYTES[1] * bulk)),
                attempt_id / (self.catalogue.size.releases * ATTEMPTS),
            )
        )

    def _typical_seconds(self) -> float:
        median, between, _ = shape.SECONDS["compiled" if self.project.compiled else "pure"]
        return median * exp(between * self.project.grade)

    def _queue(self, release: Release, build_id: int, place: int, priority: int, waits: int | None) -> None:
        past = self.history.attempts
        # As expected_cost has it: what attempts of the project took, else a guess by the sdist's size.
        seconds = self._typical_seconds() if past else guess_seconds(release.sdist.size if release.sdist else None)
        memory_class = past[-1].memory_class if past else 0
        self.history.queued.append(Queued(build_id, place + 1, memory_class, priority, max(seconds, 0.1), waits))

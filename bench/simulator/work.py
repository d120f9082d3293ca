"""What is to be built: a seeded queue of releases, each with what it will really take. Distributions are assumed where they say so.


Nothing was ever built when a simulated run begins, so the queue knows no more than the size of each sdist: the hardest start.
Or all of it was built before, for another target: the queue knows about how long each build takes, and its memory.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from piwheels_builder.builder.limits import MEMORY_OF_CLASS
from piwheels_builder.catalogue.needs import BACK_CATALOGUE, NEWEST
from piwheels_builder.catalogue.wanting import guess_seconds

#: The first run's: releases a project, wheels with compiled code among all, releases that became a wheel.
RELEASES_EACH = 6.62
COMPILED = 15_568 / 730_630
BUILT = 0.76
#: Seconds of an attempt in a slot of a builder of speed 1: median, sigma between projects, sigma within one (log-normal, assumed).
#: The medians are those of pip on a Pi 3 that give the first run's mean (6 and 110 s), divided by docs/benchmarks.md's ratios of
#: the sums (9.5 and 2.3).
PURE, COMPILING = (0.63, 0.9, 0.44), (48.0, 1.5, 0.55)
#: The first run's releases, and the longest build in seconds: the builder's own limit. A smaller queue has it smaller in the same
#: measure, so that one build is no larger part of the whole; dispatch's delays are what they are, so a small queue is harder.
FIRST_RUN, LONGEST = 752_817, 6 * 3600.0
#: Size of an sdist in bytes: median and sigma (log-normal); how far the size of compiled code tells how long it takes (correlation
#: of the logarithms). Assumed.
SDIST_BYTES, SIZE_TELLS = (25_000, 1.9), 0.5
#: Peak memory of an attempt in bytes: median and sigma (log-normal). Assumed.
PURE_BYTES, COMPILING_BYTES = (55e6, 0.25), (160e6, 0.8)
#: How far the same release's time for one target is from that for another: sigma (log-normal). Assumed.
ANOTHER_TARGET = 0.2
#: A project's releases end alike but for one in twenty. Assumed.
OUTLIERS = 0.05


@dataclass(frozen=True)
class Truth:
    """What a build will take, which the queue does not know. ``seconds`` at speed 1; ``peak_bytes`` of memory."""

    seconds: float
    peak_bytes: int
    builds: bool
    compiled: bool


@dataclass(frozen=True)
class Release:
    """A release as the catalogue has it, with its truth. Ids count from 1; ``number`` is 1 for the newest of its project."""

    release_id: int
    project_id: int
    number: int
    sdist_bytes: int
    truth: Truth
    #: What the queue expects it to take, in seconds, and the memory class that it gives it.
    estimate: float
    memory_class: int = 0

    @property
    def project(self) -> str:
        return f"project-{self.project_id}"

    @property
    def version(self) -> str:
        return f"1.{self.release_id}"

    @property
    def priority(self) -> int:
        return NEWEST if self.number == 1 else BACK_CATALOGUE


def releases(count: int, seed: int, *, known: bool = False) -> Iterator[Release]:
    """``count`` releases, the same for the same seed; ``known`` where they were built before, for another target."""
    dice, memory = random.Random(seed), random.Random(seed + 1)
    for release in _releases(dice, count):
        if known:
            estimate = release.truth.seconds * memory.lognormvariate(0, ANOTHER_TARGET)
            yield replace(release, estimate=max(estimate, 0.1), memory_class=class_for(release.truth.peak_bytes))
        else:
            yield release


def class_for(peak_bytes: int) -> int:
    """The smallest memory class in which so much is no more than nearly all (functions/learn.sql)."""
    return sum(1 for limit in MEMORY_OF_CLASS if limit is not None and peak_bytes > 0.8 * limit)


def _releases(dice: random.Random, count: int) -> Iterator[Release]:
    longest = LONGEST * min(1, count / FIRST_RUN)
    made = project = 0
    while made < count:
        project += 1
        several = min(1 + int(dice.expovariate(1 / (RELEASES_EACH - 0.5))), count - made)
        yield from _of_project(dice, project, several, made, longest)
        made += several


def _of_project(dice: random.Random, project: int, several: int, before: int, longest: float) -> Iterator[Release]:
    compiled, builds = dice.random() < COMPILED, dice.random() < BUILT
    median, between, within = COMPILING if compiled else PURE
    large, slow = dice.gauss(0, 1), dice.gauss(0, 1)
    if compiled:
        slow = SIZE_TELLS * large + math.sqrt(1 - SIZE_TELLS**2) * slow
    size = int(SDIST_BYTES[0] * math.exp(SDIST_BYTES[1] * large)) + 500
    memory = COMPILING_BYTES if compiled else PURE_BYTES
    for number in range(1, several + 1):
        seconds = median * math.exp(between * slow + within * dice.gauss(0, 1))
        outcome = builds if dice.random() >= OUTLIERS else not builds
        peak = int(dice.lognormvariate(math.log(memory[0]), memory[1]))
        yield Release(
            before + number, project, number, size, Truth(min(seconds, longest), peak, outcome, compiled), guess_seconds(size)
        )

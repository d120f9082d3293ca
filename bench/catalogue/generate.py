"""What upstream offers: project i of N with its releases and files, from (seed, i) alone, so that any page can be made on demand.

Tuples and not dataclasses, since millions of them are made.
"""

import time
from collections.abc import Iterator
from functools import cached_property
from hashlib import sha256
from itertools import accumulate
from math import exp, gcd
from random import Random
from typing import NamedTuple

from bench.catalogue import shape
from bench.catalogue.names import name_of, number_of
from bench.catalogue.shape import Size

#: Files lie on another host than the index, as upstream's do. Nothing is there.
FILES = "https://files.upstream.invalid/packages"
_UNTIL_2020 = 1_577_836_800
_WHEEL_PLATFORMS = (
    "manylinux_2_17_x86_64.manylinux2014_x86_64",
    "manylinux_2_17_aarch64.manylinux2014_aarch64",
    "macosx_11_0_arm64",
    "win_amd64",
)


class File(NamedTuple):
    """A row of upstream_file. ``version`` is that of its release; ``upload_time`` is ISO 8601."""

    filename: str
    version: str
    kind: str
    sha256: str
    size: int
    requires_python: str | None
    upload_time: str
    metadata_sha256: str | None = None
    yanked: bool = False
    yanked_reason: str | None = None

    @property
    def url(self) -> str:
        return f"{FILES}/{self.sha256[:2]}/{self.sha256[2:4]}/{self.sha256[4:]}/{self.filename}"

    @property
    def refusal(self) -> str | None:
        return "an egg, which no installer of today takes" if self.kind == "refused" else None


class Release(NamedTuple):
    """``version`` is canonical (PEP 440), ``spelling`` upstream's; ``place`` counts from the oldest, 0."""

    place: int
    version: str
    spelling: str
    files: tuple[File, ...]

    @property
    def is_prerelease(self) -> bool:
        return "rc" in self.spelling

    @property
    def is_installable(self) -> bool:
        return any(not file.yanked for file in self.files if file.kind != "refused")

    @property
    def sdist(self) -> File | None:
        return next((file for file in self.files if file.kind == "sdist"), None)


class Project(NamedTuple):
    """``releases`` oldest first. ``grade`` and ``bulk`` say how long and how large it is beside others, as a normal deviate."""

    number: int
    name: str
    serial: int
    compiled: bool
    grade: float
    bulk: float
    releases: tuple[Release, ...]

    def newest_first(self) -> list[Release]:
        """In the order that pip would choose, as catalogue/take_over.py ranks them."""
        return sorted(self.releases, key=lambda one: (one.is_installable, not one.is_prerelease, one.place), reverse=True)


class Catalogue:
    """All projects of a size. ``serial`` is upstream's, after the last change of any."""

    def __init__(self, size: Size, seed: int = 6) -> None:
        self.size, self.seed = size, seed
        self.serial = 1_000 + 40 * size.projects
        # Multiplying by a number without a common divisor deals out every rank once.
        self._spread = next(step for step in range(int(size.projects * 0.618), size.projects + 2) if gcd(step, size.projects) == 1)

    def random(self, number: int, what: str) -> Random:
        """The random numbers of one project for one purpose."""
        return Random(f"{self.seed} {number} {what}")

    def count(self, number: int) -> int:
        """How many releases a project has."""
        rank = number * self._spread % self.size.projects
        return shape.releases_before(self.size, rank + 1) - shape.releases_before(self.size, rank)

    @cached_property
    def releases_before(self) -> list[int]:
        """For each project how many releases those before it have, and all at the end. Costs a second for 736,344 projects."""
        return list(accumulate(map(self.count, range(self.size.projects)), initial=0))

    def serial_of(self, number: int) -> int:
        """Upstream's serial of a project's last change."""
        return 1_000 + 40 * (number * self._spread % self.size.projects)

    def find(self, name: str) -> int | None:
        """The number of the project of this normalized name."""
        number = number_of(name)
        return number if number is not None and number < self.size.projects else None

    def project(self, number: int) -> Project:
        """One project with all it offers."""
        random = self.random(number, "page")
        compiled = random.random() < shape.COMPILED
        grade, bulk = random.gauss(), random.gauss()
        maker = _Files(self.seed, name_of(number).replace("-", "_"), compiled, bulk, random)
        count = self.count(number)
        releases = tuple(
            maker.release(place, version, spelling, uploaded, self.size)
            for place, ((version, spelling), uploaded) in enumerate(
                zip(_versions(random, count), _uploads(random, count, self.size), strict=True)
            )
        )
        return Project(number, name_of(number), self.serial_of(number), compiled, grade, bulk, releases)


class _Files(NamedTuple):
    """Makes the releases of one project."""

    seed: int
    stem: str
    compiled: bool
    bulk: float
    random: Random

    def release(self, place: int, version: str, spelling: str, uploaded: int, size: Size) -> Release:
        random = self.random
        year = time.gmtime(uploaded).tm_year
        upload_time = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(uploaded))
        requires = random.choice(shape.REQUIRES_PYTHON[max(since for since in shape.REQUIRES_PYTHON if since <= year)])
        yanked = uploaded > _UNTIL_2020 and random.random() < shape.YANKED
        said = (upload_time, requires, yanked, "broken, use a later one" if yanked and random.random() < 0.5 else None)
        if random.random() < shape.WITHOUT_FILES:
            return Release(place, version, spelling, ())
        wheel_only = random.random() < size.wheel_only
        has_wheel = wheel_only or random.random() < shape.WHEEL_SHARE.get(year, 0)
        files = [] if wheel_only else [self._file(f"{spelling}.tar.gz", version, "sdist", shape.SDIST_BYTES, said)]
        files += [
            self._file(f"{spelling}-{tags}.whl", version, "wheel", shape.WHEEL_BYTES, said)
            for tags in self._tags(uploaded)
            if has_wheel
        ]
        if files and year < 2014 and random.random() < shape.WITH_EGG:
            files.append(self._file(f"{spelling}-py2.7.egg", version, "refused", shape.WHEEL_BYTES, said))
        return Release(place, version, spelling, tuple(files))

    def _tags(self, uploaded: int) -> list[str]:
        if not self.compiled:
            return ["py2.py3-none-any" if uploaded < _UNTIL_2020 else "py3-none-any"]
        return [f"{python}-{python}-{platform}" for python in shape.PYTHONS for platform in _WHEEL_PLATFORMS]

    def _file(
        self, end: str, version: str, kind: str, size: tuple[int, float], said: tuple[str, str | None, bool, str | None]
    ) -> File:
        filename = f"{self.stem}-{end}"
        digest = sha256(f"{self.seed} {filename}".encode()).hexdigest()
        metadata = sha256(digest.encode()).hexdigest() if kind == "wheel" else None
        median, sigma = size
        length = 200 + int(median * exp(sigma * (0.9 * self.bulk + 0.436 * self.random.gauss())))
        upload_time, requires, yanked, reason = said
        return File(filename, version, kind, digest, length, requires, upload_time, metadata, yanked, reason)


def _versions(random: Random, count: int) -> Iterator[tuple[str, str]]:
    """Canonical version and spelling, ascending: patches mostly, one in twenty-five a release candidate."""
    parts = [0, random.randint(0, 1), 0]
    short = random.random() < 0.3
    for _ in range(count):
        chance = random.random()
        step = 0 if chance < 0.05 else 1 if short or chance < 0.4 else 2
        parts = [*parts[:step], parts[step] + 1, *[0] * (2 - step)]
        suffix = "rc1" if random.random() < shape.PRE_RELEASES else ""
        major, minor, patch = parts
        spelling = f"{major}.{minor}" if short else f"{major}.{minor}.{patch}"
        canonical = f"{major}.{minor}.{patch}" if patch else f"{major}.{minor}" if minor else f"{major}"
        yield canonical + suffix, spelling + suffix


def _uploads(random: Random, count: int, size: Size) -> list[int]:
    """Moments of the uploads in seconds since 1970, ascending."""
    since, until = shape.SINCE.timestamp(), size.until.timestamp()
    begin = since + (until - since) * random.random() ** (1 / 3)
    life = min(random.expovariate(1 / shape.MEAN_LIFE_SECONDS), until - begin)
    return sorted(int(begin + life * random.random()) for _ in range(count))

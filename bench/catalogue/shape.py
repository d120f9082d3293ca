"""How large catalogues are, and how what is in them is distributed. Every figure says where it is from; "assumed": from nowhere.

Totals: the first run (2017) covered 113,649 projects and 752,817 releases and made 730,630 wheels in 156 days and 18 hours on
Pi 3s, 76 % of the releases, 250 GB; 715,062 of the wheels were for any platform. The upstream index of 2026 has 736,344 projects,
8,234,245 releases; of 2020's attempts 52 % made a wheel.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import NormalDist

#: Sigma of the log-normal number of releases of a project (its mean is given by the totals). Assumed: half of all projects get to
#: 3 or 4 releases, the largest of 113,649 to 2,300 and of 736,344 to 7,300.
SIGMA_OF_RELEASES = 1.6


@dataclass(frozen=True)
class Size:
    """How much there is. ``built``: share of the releases tried that became a wheel; ``wheel_only``: of those without an sdist."""

    name: str
    projects: int
    releases: int
    until: datetime
    built: float
    wheel_only: float


_IN_2017, _IN_2026 = datetime(2017, 9, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)
#: percent is one in a hundred of first, sample of today. wheel_only is assumed.
SIZES = {
    size.name: size
    for size in (
        Size("percent", 1_136, 7_528, _IN_2017, 0.76, 0.02),
        Size("first", 113_649, 752_817, _IN_2017, 0.76, 0.02),
        Size("sample", 7_363, 82_342, _IN_2026, 0.52, 0.06),
        Size("today", 736_344, 8_234_245, _IN_2026, 0.52, 0.06),
    )
}

#: The oldest upload. A project begins at a moment of this span, the later the likelier (by the cube), and lives on for an
#: exponential time. Assumed.
SINCE = datetime(2005, 6, 1, tzinfo=UTC)
MEAN_LIFE_SECONDS = 2.0 * 365 * 86_400

#: Share of releases with a wheel upstream, by year of upload; before 2013 there were none. Assumed: it gives 1.4 files a release in
#: 2017 and 2.0 today.
WHEEL_SHARE = {
    2013: 0.05, 2014: 0.2, 2015: 0.35, 2016: 0.45, 2017: 0.55, 2018: 0.62, 2019: 0.68,
    2020: 0.73, 2021: 0.78, 2022: 0.83, 2023: 0.87, 2024: 0.90, 2025: 0.92, 2026: 0.93,
}  # fmt: skip

#: Share of the wheels a fleet makes that hold compiled code: 15,568 of the first run's 730,630. Whole projects are or are not.
COMPILED = 0.0213
#: Releases that were registered and never got a file; eggs beside old sdists; whole releases yanked since 2020. Assumed.
WITHOUT_FILES, WITH_EGG, YANKED = 0.012, 0.05, 0.004
#: Pre-releases among all. Assumed.
PRE_RELEASES = 0.04

#: What the sdists declare. All of them admit cp39: assumed, so that each release is wanted for each target, the largest history.
REQUIRES_PYTHON = {
    0: (None,),
    2016: (None, None, ">=2.7", ">=2.7, !=3.0.*, !=3.1.*"),
    2020: (None, ">=3.6", ">=3.7,<4.0", ">=3.8", ">=3.9"),
}

#: Sizes of files in bytes, log-normal: median and sigma. Wheels average 340 kB, as 250 GB for 730,630 do; the rest is assumed.
SDIST_BYTES = (25_000, 1.9)
WHEEL_BYTES = (30_000, 2.2)

#: Seconds of an attempt on a Pi 3, log-normal: median, sigma between projects, sigma within one. On average over all wheels
#: 18.0 s, as 156 days and 18 hours for 752,817 releases are; how it divides between pure and compiled is assumed. A failure takes
#: as long as a wheel of its project would.
SECONDS = {"pure": (6.0, 0.9, 0.44), "compiled": (110.0, 1.5, 0.55)}
#: Peak memory of an attempt in bytes, log-normal: median and sigma. Assumed.
MEMORY = {"pure": (55_000_000, 0.25), "compiled": (160_000_000, 0.8)}

#: Releases of one project end alike: where most are built one in twenty is not, and the other way round. Assumed.
OUTLIERS = 0.05
#: Attempts that end by an infrastructure outcome and are tried again. Assumed.
FAULTS = 0.02
#: Share of the releases that are wanted and unfinished; of these, those of which the first target's build is over. The first is the
#: benchmark's choice, the second assumed.
WANTED, BEGUN = 0.01, 0.4

#: cp39, cp311 and cp313 on armv7l; a builder has all three.
PYTHONS = ("cp39", "cp311", "cp313")
ARCHITECTURE, OS_RELEASE = "armv7l", "bookworm"
BUILDERS = 19

_NORMAL = NormalDist()


def releases_before(size: Size, rank: int) -> int:
    """How many releases the ``rank`` projects with the fewest have together: one each, and the Lorenz curve's share of the rest."""
    if rank <= 0:
        return 0
    if rank >= size.projects:
        return size.releases
    share = _NORMAL.cdf(_NORMAL.inv_cdf(rank / size.projects) - SIGMA_OF_RELEASES)
    return rank + int((size.releases - size.projects) * share)

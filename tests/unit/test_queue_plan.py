"""Batch sizes: shares shrink as the queue empties, and nobody's spool overflows."""

import math
from dataclasses import replace

import pytest

from piwheels_builder.queue.plan import (
    ROUND_SECONDS,
    SHORT_SECONDS,
    SMALLEST_BATCH_SECONDS,
    BuilderLoad,
    Portion,
    ServedFleet,
    portions,
)


def load(name: str, spool_seconds: float = 0, slots: int = 1, standing: str = "active", builds: int = 100) -> BuilderLoad:
    return BuilderLoad(name, standing, slots, spool_seconds, builds if spool_seconds else 0, 0)


def given(*arguments: object, **options: object) -> list[tuple[str, float]]:
    return [(portion.builder, portion.seconds) for portion in portions(*arguments, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("builder", "is_hungry"),
    [
        (load("empty"), True),
        (load("half", 3600), False),
        (load("two slots", 3600, 2), True),
        (load("x", standing="draining"), False),
        (replace(load("full disk"), has_room=False), False),
    ],
)
def test_a_builder_is_hungry_below_half_of_what_its_slots_should_have(builder: BuilderLoad, is_hungry: bool) -> None:
    assert bool(portions([builder], 1e9, 7200)) is is_hungry


def test_a_full_queue_fills_spools() -> None:
    assert given([load("a"), load("b", 3000)], 1e6, 7200) == [("a", 7200), ("b", 4200)]


def test_spools_shrink_with_the_queue() -> None:
    assert given([load("a"), load("b", 100)], 8000, 7200) == [("a", 1000), ("b", 900)]
    assert given([load("a", 600), load("b", 600)], 8000, 7200) == []


def test_a_round_gives_each_slot_work_until_the_next_one() -> None:
    assert given([load("a"), load("b")], 2 * ROUND_SECONDS, 7200) == [("a", ROUND_SECONDS), ("b", ROUND_SECONDS)]


def test_a_slot_that_builds_gets_what_comes_next_before_it_ends() -> None:
    assert given([load("a", 30, builds=1)], 30, 7200) == [("a", SMALLEST_BATCH_SECONDS)]
    assert given([load("a", ROUND_SECONDS, builds=1)], 30, 7200) == []


def test_one_builder_that_asks_for_itself_gets_its_share_and_leaves_the_rest() -> None:
    assert given([load("pi7")], 19_000 * 4, 7200, fleet=ServedFleet(19, 19)) == [("pi7", 1000)]
    assert given([load("pi7", 600)], 19_000 * 4, 7200, fleet=ServedFleet(19, 19)) == []


def test_the_last_crumbs_are_not_split() -> None:
    assert given([load("a"), load("b")], 10, 7200) == [("a", SMALLEST_BATCH_SECONDS)]


def test_an_empty_queue_gives_nothing() -> None:
    assert portions([load("a")], 0, 7200) == []


def test_slots_count() -> None:
    assert given([load("four", slots=4), load("one")], 2000, 7200) == [("four", 960), ("one", 240)]


def test_a_share_is_as_large_as_its_builder_is_fast() -> None:
    """Each has so many seconds of its own: the one half as fast gets half the work."""
    slow = replace(load("slow"), slowness=2.0)
    assert given([load("fast"), slow], 12_000, 7200) == [("fast", 2000), ("slow", 2000)]
    assert given([slow], 12_000, 7200, fleet=ServedFleet(2, 1.5)) == [("slow", 2000)]


def test_what_would_outlast_the_run_is_begun_first_and_by_a_fast_builder() -> None:
    slow = replace(load("slow"), slowness=2.0, has_faster=True)
    (fast, other) = portions([load("fast"), slow], 12_000, 7200)
    assert (fast.longest, fast.critical) == (math.inf, 4000)
    assert (other.longest, other.critical) == (8000, 4000)
    (alone,) = portions([replace(slow, has_faster=False)], 12_000, 7200)
    assert alone.longest == math.inf


def test_a_slot_is_not_left_without_a_build_however_long_the_others_are() -> None:
    long = load("a", 40_000, 4, builds=3)
    assert portions([long, load("b", 7200)], 500, 7200) == [Portion("a", SMALLEST_BATCH_SECONDS, 1, critical=SHORT_SECONDS)]
    assert portions([replace(long, spool_builds=4)], 500, 7200) == []


def test_nobody_who_is_not_served_gets_a_share() -> None:
    assert given([load("a"), load("paused", standing="paused")], 2000, 7200) == [("a", 500)]

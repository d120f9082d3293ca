"""Batch sizes: shares shrink as the queue empties, and nobody's spool overflows."""

from dataclasses import replace

import pytest

from piwheels_builder.queue.plan import SMALLEST_BATCH_SECONDS, BuilderLoad, hungry, portions


def load(name: str, spool_seconds: float = 0, slots: int = 1, standing: str = "active") -> BuilderLoad:
    return BuilderLoad(name, standing, slots, spool_seconds, 0, 0)


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
    assert bool(hungry([builder], 7200)) is is_hungry


def test_a_full_queue_fills_spools_and_an_emptying_one_is_shared() -> None:
    loads = [load("a"), load("b", 3000)]
    assert [(p.builder, p.seconds) for p in portions(loads, 1e6, 7200)] == [("a", 7200), ("b", 4200)]
    assert [(p.builder, p.seconds) for p in portions(loads, 1000, 7200)] == [("a", 250), ("b", 187.5)]


def test_the_last_crumbs_are_not_split() -> None:
    assert [p.seconds for p in portions([load("a"), load("b")], 10, 7200)] == [SMALLEST_BATCH_SECONDS]


def test_an_empty_queue_gives_nothing() -> None:
    assert portions([load("a")], 0, 7200) == []


def test_slots_count() -> None:
    assert [p.seconds for p in portions([load("four", slots=4), load("one")], 2000, 7200)] == [800, pytest.approx(120)]

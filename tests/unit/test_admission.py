"""Which build starts next: by the memory there is, and without any of them waiting for ever."""

import pytest

from piwheels_builder.builder.admission import PATIENCE, Admission
from piwheels_builder.builder.limits import MEMORY_OF_CLASS, Limits
from piwheels_builder.builder.machine import Memory, is_low, memory, memory_within, most_for_builds

GB = 2**30
MB = 2**20


class Machine:
    """``available`` and the clock are set by a test."""

    def __init__(self, total: int, available: int | None = None) -> None:
        self.total = total
        self.available = total * 3 // 4 if available is None else available
        self.now = 1000.0
        self.admission = Admission(lambda: Memory(self.total, self.available), lambda: self.now)

    def choose(self, *line: int, running: tuple[int, ...] = ()) -> int | None:
        """The place of the chosen one among builds of these classes."""
        named = [(f"waiting{place}", memory_class) for place, memory_class in enumerate(line)]
        return self.admission.choose(named, {f"running{number}": memory_class for number, memory_class in enumerate(running)})


def test_nobody_waits() -> None:
    assert Machine(GB).choose() is None


@pytest.mark.parametrize("memory_class", [0, 1, 2])
@pytest.mark.parametrize("total", [430 * MB, 900 * MB, 4 * GB, 24 * GB])
def test_one_alone_always_starts(total: int, memory_class: int) -> None:
    assert Machine(total).choose(memory_class) == 0


@pytest.mark.parametrize(
    ("total", "fit"),
    [(430 * MB, 1), (900 * MB, 3), (4 * GB, 15)],
)
def test_small_builds_run_side_by_side_as_far_as_they_may_come_to_need_memory(total: int, fit: int) -> None:
    """They have only just started, and use nothing yet: what is free says nothing."""
    machine = Machine(total, available=total)
    running: tuple[int, ...] = ()
    while machine.choose(0, running=running) == 0:
        running += (0,)
    assert len(running) == fit


def test_what_is_used_counts_as_well() -> None:
    assert Machine(4 * GB, available=700 * MB).choose(0, running=(0,)) == 0
    assert Machine(4 * GB, available=400 * MB).choose(0, running=(0,)) is None


def test_the_largest_class_runs_alone_on_a_small_machine_and_beside_others_on_a_large_one() -> None:
    for total, beside in ((4 * GB, None), (16 * GB, 0)):
        assert Machine(total).choose(2, running=(0,)) == beside
        assert Machine(total).choose(0, running=(2,)) == beside


def test_smaller_ones_overtake_for_a_while_and_then_no_longer() -> None:
    machine = Machine(2 * GB)
    assert machine.choose(1, 0, running=(1,)) == 1
    machine.now += PATIENCE - 1
    assert machine.choose(1, 0, running=(1, 0)) == 1
    machine.now += 1
    assert machine.choose(1, 0, running=(1, 0)) is None
    assert machine.choose(1, 0) == 0


def test_patience_begins_anew_with_each_first_in_line() -> None:
    machine = Machine(2 * GB)
    assert machine.choose(1, 0, running=(1,)) == 1
    machine.now += PATIENCE
    assert machine.admission.choose([("other", 1), ("small", 0)], {"running": 1}) == 1


def test_nothing_starts_while_memory_is_low() -> None:
    machine = Machine(GB, available=50 * MB)
    assert machine.choose(0) is None
    assert machine.admission.trouble == "50 MiB of memory available, 64 MiB needed"
    assert not machine.admission.has_room()
    machine.available = 500 * MB
    assert machine.choose(0) == 0
    assert machine.admission.trouble is None
    assert machine.admission.has_room()


def test_after_one_was_given_up_none_starts_until_another_has_ended() -> None:
    machine = Machine(4 * GB)
    machine.admission.was_crowded(["running0", "running1"])
    assert machine.choose(0, running=(0, 0)) is None
    assert machine.choose(0, running=(0,)) == 0
    assert machine.choose(0, running=(0, 0)) == 0


@pytest.mark.parametrize("total", [300 * MB, 430 * MB, 900 * MB, 8 * GB])
def test_the_limit_of_a_class_leaves_the_machine_its_reserve(total: int) -> None:
    bounds = [Limits().of_class(memory_class, total).memory_bytes for memory_class in range(3)]
    assert bounds == sorted(bounds)
    assert bounds[2] == most_for_builds(total) < total - 64 * MB
    assert bounds[:2] == [min(bound, bounds[2]) for bound in MEMORY_OF_CLASS[:2] if bound]


def test_what_is_kept_for_other_things_is_not_for_builds() -> None:
    now = memory()
    assert memory_within(None).total == memory_within(2 * now.total >> 20).total == now.total
    assert memory_within(200).total == 200 * MB
    assert memory_within(200).available > 200 * MB


def test_this_machines_memory() -> None:
    now = memory()
    assert 0 < now.available <= now.total
    assert Limits().of_class(2).memory_bytes == most_for_builds(now.total)
    assert not is_low(Memory(now.total, now.total))

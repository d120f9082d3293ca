"""The first run's Pi-days: read from the measured table, and falling with what upstream has."""

from pathlib import Path

import pytest

from bench.first_run import COMPILED, PI_DAYS, Ratios, pi_days

BENCHMARKS = Path(__file__).parents[2] / "docs/benchmarks.md"


def test_ratios_are_those_of_the_table() -> None:
    ratios = Ratios.read(BENCHMARKS.read_text())
    assert ratios.pure > ratios.compiled > 1
    assert 1 < ratios.slots < 2


def test_a_table_that_changed_is_refused() -> None:
    with pytest.raises(SystemExit, match="bench-build"):
        Ratios.read("# Benchmarks")


def test_days_are_the_first_runs_divided_class_by_class() -> None:
    same = Ratios(pure=1, compiled=1, slots=1, times_pure=1)
    pure, compiled = pi_days(same, 1)
    assert pure + compiled == pytest.approx(PI_DAYS)
    assert compiled == pytest.approx(PI_DAYS * COMPILED)
    assert pi_days(Ratios(10, 2, 1, 1), 1) == pytest.approx((pure / 10, compiled / 2))
    assert pi_days(same, 1, 0.25) == pytest.approx((pure / 4, compiled))

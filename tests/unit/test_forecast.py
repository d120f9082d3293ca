"""A forecast's arithmetic: the bound of a run, and how far estimates were off."""

from datetime import UTC, datetime

import pytest

from piwheels_builder.catalogue.saving import Saved
from piwheels_builder.queue.forecast import EstimateError, Forecast, TargetWork, told


def test_a_run_is_bound_by_all_slots_by_a_targets_own_or_by_the_longest_build() -> None:
    even = TargetWork("a", 10, 8000, 100, 8, 8)
    assert Forecast((even,), 8, 8, None).seconds_left == 1000
    assert Forecast((even, TargetWork("b", 1, 8000, 8000, 4, 4)), 8, 8, None).seconds_left == 8000
    assert Forecast((even, TargetWork("b", 9, 9000, 100, 2, 2)), 8, 8, None).seconds_left == 4500
    assert Forecast((even, TargetWork("b", 9, 8000, 100, 8, 8)), 8, 8, None).seconds_left == 2000
    assert Forecast((), 8, 8, None).seconds_left == 0


def test_it_does_not_end_where_nobody_serves_a_target() -> None:
    nobody = Forecast((TargetWork("a", 10, 8000, 100, 0, 0),), 8, 8, None)
    assert nobody.seconds_left is None
    assert "no active builder serves it" in "\n".join(told(nobody, datetime.now(UTC)))


def test_errors_are_factors_in_both_directions_and_the_whole_is_corrected_by_the_bias() -> None:
    error = EstimateError.of([(10, 10)] * 5 + [(10, 5), (10, 20), (10, 20), (10, 40), (10, 100)])
    assert error is not None
    assert error.attempts == 10
    assert error.median == pytest.approx(1.5)
    assert error.p90 == pytest.approx(4)
    assert error.bias == pytest.approx(2.35)
    assert Forecast((TargetWork("a", 10, 8000, 100, 8, 8),), 8, 8, error).seconds_left == pytest.approx(2350)
    assert EstimateError.of([]) is None


def test_disk_is_that_of_the_share_that_makes_a_wheel() -> None:
    assert Forecast((TargetWork("a", 10, 8000, 100, 8, 8),), 8, 8, None, built=0.5, wheel_bytes=1000).bytes == 5000


def test_effort_is_told_in_days_of_the_mean_pi_and_what_is_saved_says_how_much_was_looked_at() -> None:
    found = Forecast((TargetWork("a", 10, 4 * 86400, 100, 8, 8),), 8, 8, None, pis=2, saved=Saved(70, 86400, 10, 1000))
    text = "\n".join(told(found, datetime.now(UTC)))
    assert "a: 10 builds, 4.0 days of one slot (1.00 Pi-days), 8 slots" in text
    assert "save 70 builds, 1.0 days of one slot (0.25 Pi-days), by the size of their sdists, by 10 of 1,000 projects" in text
    assert "Pi-days" not in "\n".join(told(Forecast(found.work, 0, 0, None), datetime.now(UTC)))

"""The simulator in small: the real queue in virtual time, emptied by builders that die, are stopped, and run out of memory."""

import pytest

from bench.simulator.__main__ import simulated
from bench.simulator.fleet import Faults
from bench.simulator.work import releases
from tests.support.database import embedded_server


def test_the_same_seed_makes_the_same_work() -> None:
    assert list(releases(200, 1)) == list(releases(200, 1)) != list(releases(200, 2))


@pytest.mark.parametrize("faults", [Faults(), Faults(death_every=30, down=5, for_good=0, stall_every=20, stall=2)])
def test_a_queue_is_emptied_no_sooner_than_can_be(faults: Faults) -> None:
    with embedded_server() as server:
        outcome = simulated(server, list(releases(150, 1)), 3, 1, faults)
    assert outcome.over >= 1
    assert 0 <= outcome.idle < 1
    assert outcome.traffic.leased >= 150
    assert (outcome.deaths > 0) is (faults.death_every < 60)

"""Several attacks at once, each in a slot of its own, with harmless builds between: none is disturbed by the others."""

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.hostile.arena import Arena, arena, warm_parents
from tests.hostile.attack import Attack
from tests.hostile.corpus import CORPUS
from tests.support.chaos import LONG
from tests.support.sdists import setup_py

_SLOTS = 3
#: Each slot's attacks. Those that ask for an index of their own change which environments there are, for everybody.
_ATTACKS = [attack for attack in CORPUS if attack.offer is None]
_ROUNDS = 20 if LONG else 3


@pytest.fixture
def around() -> Iterator[Arena]:
    with arena() as made:
        yield made


def test_attacks_side_by_side(around: Arena) -> None:
    """In an order that is new each time, and named when it fails."""
    seed = random.SystemRandom().randrange(10**9)
    chosen = random.Random(seed)
    failures: list[str] = []
    with ExitStack() as stack:
        threads = []
        for slot in range(_SLOTS):
            parents = stack.enter_context(warm_parents(around.world.state / "area"))
            attacks = chosen.sample(_ATTACKS, _ROUNDS)
            threads.append(
                threading.Thread(target=_one_slot, args=(replace(around, warm=parents).in_form("warm"), slot, attacks, failures))
            )
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == [], f"seed {seed}"
        around.check_after()


def _one_slot(around: Arena, slot: int, attacks: list[Attack], failures: list[str]) -> None:
    for attack in attacks:
        try:
            # Time and the builder's own size are shared with the other slots.
            around.run(replace(attack, seconds=attack.seconds * 4), slot, alone=False)
            after = around.yard.build(setup_py(), slot=slot)
            assert after.wheel.read_bytes() == around.reference, after.log
        except AssertionError as failure:
            failures.append(f"slot {slot}, {attack.name}: {failure}")

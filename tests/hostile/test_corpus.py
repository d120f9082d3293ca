"""Every attack ends in its named outcome, within its limits, and the world around it is as before."""

from collections.abc import Iterator

import pytest

from tests.hostile.arena import Arena, arena, pretending, run_outside
from tests.hostile.attack import Attack, script_text
from tests.hostile.canaries import world
from tests.hostile.corpus import CORPUS

#: Each build in an interpreter of its own; as the child of a warm parent.
FORMS = ("fresh", "warm")
#: In memory and, where they fill that, on the disk.
_IN_MEMORY = (
    "disk",
    "disk_without_names",
    "inodes",
    "left_behind",
    "awkward_directories",
    "other_builds_files",
    "other_builds_directories",
    "daemon",
)
_RUNS = [(form, attack) for form in FORMS for attack in CORPUS if form == "fresh" or attack.warmable]
_RUNS += [("memory", attack) for attack in CORPUS if attack.name in _IN_MEMORY]


@pytest.fixture(scope="module")
def around() -> Iterator[Arena]:
    with arena() as made:
        yield made


@pytest.mark.parametrize(("form", "attack"), _RUNS, ids=[f"{form}-{attack.name}" for form, attack in _RUNS])
def test_attack(around: Arena, form: str, attack: Attack) -> None:
    chosen = around.in_form(form)
    try:
        chosen.run(attack)
    finally:
        chosen.check_after()


def test_every_attack_has_a_name_of_its_own() -> None:
    assert len({attack.name for attack in CORPUS}) == len(CORPUS) >= 40


_PROVABLE = [attack for attack in CORPUS if attack.control]


@pytest.mark.parametrize("attack", _PROVABLE, ids=[attack.name for attack in _PROVABLE])
def test_outside_it_succeeds_and_is_seen(attack: Attack) -> None:
    """Without a sandbox the same script reaches what it is after, and this world tells."""
    assert attack.control
    with world(None) as around, pretending(around):
        (around.state / "environments").mkdir(exist_ok=True)
        around.remember()
        said = run_outside(script_text(attack.control, around.places), around.places.home)
        seen = bool(around.leaks(said.encode()))
        try:
            around.check()
        except AssertionError:
            seen = True
    assert seen, said

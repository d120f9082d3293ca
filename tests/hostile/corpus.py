"""All attacks. Each stands in the file of its family, and nowhere else."""

from tests.hostile import (
    archives,
    build_systems,
    endless,
    exhaustion,
    kernel,
    lying_wheels,
    network,
    parents,
    prompts,
    reading,
    second_tries,
    writing,
)
from tests.hostile.attack import Attack

FAMILIES: dict[str, tuple[Attack, ...]] = {
    "writing": writing.ATTACKS,
    "reading": reading.ATTACKS,
    "network": network.ATTACKS,
    "prompts": prompts.ATTACKS,
    "exhaustion": exhaustion.ATTACKS,
    "endless": endless.ATTACKS,
    "archives": archives.ATTACKS,
    "build_systems": build_systems.ATTACKS,
    "lying_wheels": lying_wheels.ATTACKS,
    "parents": parents.ATTACKS,
    "kernel": kernel.ATTACKS,
    "second_tries": second_tries.ATTACKS,
}
CORPUS: tuple[Attack, ...] = tuple(attack for attacks in FAMILIES.values() for attack in attacks)

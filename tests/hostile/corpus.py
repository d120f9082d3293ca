"""All attacks. Each stands in the file of its family, and nowhere else."""

from tests.hostile import archives, build_systems, endless, exhaustion, lying_wheels, network, parents, prompts, reading, writing
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
}
CORPUS: tuple[Attack, ...] = tuple(attack for attacks in FAMILIES.values() for attack in attacks)

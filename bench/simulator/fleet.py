"""Simulated builders: a spool, slots, and what befalls machines. No clock of their own: whoever simulates tells them the time."""

from collections import deque
from dataclasses import dataclass, field
from uuid import UUID

from piwheels_builder.queue.batch import Batch, LeasedBuild


@dataclass(frozen=True)
class Faults:
    """What befalls machines, in seconds. Assumed: a Pi dies once a week, and one death in twenty is for good; each file server of
    ``rack`` Pis without cards stops once a day for a minute, and all its Pis with it.
    """

    death_every: float = 7 * 86_400.0
    down: float = 300.0
    for_good: float = 0.05
    stall_every: float = 86_400.0
    stall: float = 60.0
    rack: int = 20


@dataclass(frozen=True)
class Spooled:
    """A build in a spool, with the lease it came by."""

    lease_id: UUID
    leased: LeasedBuild


@dataclass
class Running:
    """A build in a slot. ``spent`` is what its slot has given it so far, in seconds, without stalls."""

    spooled: Spooled
    began: float
    ends: float


@dataclass
class SimulatedBuilder:
    """One Pi. ``speed`` 1 takes a build's seconds as they are.

    ``incarnation`` changes with each death, so that ends of what died are known as such.
    """

    name: str
    slots: int
    memory_mb: int
    speed: float
    spool: deque[Spooled] = field(default_factory=deque)
    running: dict[int, Running] = field(default_factory=dict)
    interrupted: list[Running] = field(default_factory=list)
    alive: bool = True
    incarnation: int = 0
    #: What the database believes to be left in its spool and slots.
    held: dict[int, float] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        return not self.running and not self.spool

    def take(self, batch: Batch) -> None:
        """A batch arrives."""
        self.spool.extend(Spooled(batch.lease_id, build) for build in batch.builds)

    def leases(self) -> list[UUID]:
        """What a heartbeat names."""
        found = {spooled.lease_id for spooled in self.spool} | {run.spooled.lease_id for run in self.running.values()}
        return sorted(found | {run.spooled.lease_id for run in self.interrupted})

    def begin(self, now: float, seconds: float) -> Running:
        """The spool's next build starts in a free slot."""
        slot = next(slot for slot in range(self.slots) if slot not in self.running)
        self.running[slot] = Running(self.spool.popleft(), now, now + seconds)
        return self.running[slot]

    def die(self) -> None:
        """Power is gone. What ran is to be reported as killed when it is back."""
        self.interrupted += self.running.values()
        self.running = {}
        self.alive = False
        self.incarnation += 1

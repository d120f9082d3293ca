"""How long a queued build waits: its place among all that may be leased, from a coarse picture of the queue that is read seldom."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from piwheels_builder.site.projects import Queued


@dataclass(frozen=True)
class Heap:
    """Builds of one target, priority and memory class. ``points`` are estimates from the longest to the shortest, evenly spaced."""

    priority: int
    memory_class: int
    builds: int
    seconds: float
    points: tuple[float, ...]

    def share_before(self, estimate: float) -> float:
        """Which share of its builds is longer, and so goes first: from 0 to 1."""
        longer = bisect_left([-point for point in self.points], -estimate)
        return longer / len(self.points)


@dataclass(frozen=True)
class Place:
    """About how many builds go first, of how many, and seconds until its turn; None where nobody builds for its target."""

    before: int
    of: int
    seconds: float | None


@dataclass(frozen=True)
class QueueShape:
    """Heaps of each target, and the seconds of a Pi 4 that its builders do in one; ``bias`` is what an estimated second takes."""

    heaps: Mapping[str, tuple[Heap, ...]]
    speed: Mapping[str, float]
    bias: float = 1.0

    def place(self, target: str, queued: Queued) -> Place:
        """By the order of leasing: priority, then the larger memory class, then the longer build."""
        heaps = self.heaps.get(target, ())
        rank = (queued.priority, -queued.memory_class)
        before, seconds = 0.0, 0.0
        for heap in heaps:
            its = (heap.priority, -heap.memory_class)
            share = 1.0 if its < rank else heap.share_before(queued.estimate_seconds) if its == rank else 0.0
            before += share * heap.builds
            seconds += share * heap.seconds
        speed = self.speed.get(target, 0)
        wait = self.bias * seconds / speed if speed else None
        return Place(int(before), sum(heap.builds for heap in heaps), wait)

    def told(self) -> dict[str, Any]:
        """As JSON has it, for whoever computes a place anew (assets/project.js)."""
        return {
            "bias": self.bias,
            "speed": dict(self.speed),
            "heaps": {
                target: [[heap.priority, heap.memory_class, heap.builds, heap.seconds, list(heap.points)] for heap in heaps]
                for target, heaps in self.heaps.items()
            },
        }

    @classmethod
    def from_told(cls, told: Mapping[str, Any]) -> "QueueShape":
        """The inverse of ``told``."""
        heaps = {
            target: tuple(
                Heap(priority, memory, builds, seconds, tuple(points)) for priority, memory, builds, seconds, points in rows
            )
            for target, rows in told["heaps"].items()
        }
        return cls(heaps, told["speed"], told["bias"])

    @classmethod
    def of(cls, rows: Sequence[Sequence[Any]], speed: Mapping[str, float], bias: float) -> "QueueShape":
        """From the rows of queue_shape (overview.sql)."""
        heaps: dict[str, list[Heap]] = {}
        for target, priority, memory_class, builds, seconds, points in rows:
            heaps.setdefault(target, []).append(Heap(priority, memory_class, builds, seconds, tuple(points)))
        return cls({target: tuple(its) for target, its in heaps.items()}, speed, bias)

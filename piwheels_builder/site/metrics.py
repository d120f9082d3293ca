"""What Prometheus is told of the fleet: an overview in its text format, with names by its conventions.

https://prometheus.io/docs/instrumenting/exposition_formats/, /docs/practices/naming/. Moments are told, not ages: the file may be
read long after it was written.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from shutil import disk_usage

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from piwheels_builder.index.tree import Tree
from piwheels_builder.queue.statistics import Statistic
from piwheels_builder.site.overview import Overview
from piwheels_builder.states import Outcome


@dataclass(frozen=True)
class Disk:
    """What holds the published tree, in bytes."""

    size: int
    free: int

    @classmethod
    def of(cls, tree: Tree) -> "Disk":
        usage = disk_usage(tree.root)
        return cls(usage.total, usage.free)


def metrics(seen: Overview, disk: Disk) -> bytes:
    """All of them, in the text format 0.0.4."""
    registry = CollectorRegistry()
    registry.register(_Told([*_counts(seen.statistics), *_builders(seen), *_freshness(seen), *_disk(disk), _written(seen)]))
    return generate_latest(registry)


class _Told(Collector):
    """What was gathered before: this writer asks collectors."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _counts(found: Sequence[Statistic]) -> Iterator[Metric]:
    parts: dict[str, list[Statistic]] = {}
    for each in found:
        parts.setdefault(each.what.partition(" ")[0], []).append(each)
    yield from _queue(parts.get("queue", ()))
    yield from _attempts(parts.get("attempt", ()))
    builds = _gauge("piwheels_builds", "Builds by state", "state", "target")
    for each in parts.get("build", ()):
        builds.add_metric([_rest(each), each.target or ""], each.number)
    yield builds
    wheels = _gauge("piwheels_wheels", "Published wheels, and withdrawn ones", "kind", "target")
    sizes = _gauge("piwheels_wheels_bytes", "What they take", "kind", "target")
    for each in parts.get("wheel", ()):
        wheels.add_metric([_rest(each), each.target or ""], each.number)
        sizes.add_metric([_rest(each), each.target or ""], each.amount)
    yield from (wheels, sizes)


def _queue(found: Sequence[Statistic]) -> Iterator[Metric]:
    """Those that are free to be leased stand in the statistics by memory class: "free 0"."""
    number: Counter[tuple[str, str]] = Counter()
    seconds: dict[tuple[str, str], float] = {}
    for each in found:
        key = (_rest(each).split(" ")[0], each.target or "")
        number[key] += each.number
        seconds[key] = seconds.get(key, 0.0) + each.amount
    builds = _gauge("piwheels_queue_builds", "Queued builds by what holds them up; free ones may be leased", "state", "target")
    work = _gauge("piwheels_queue_seconds", "Their estimated seconds of one slot", "state", "target")
    for key in number:
        builds.add_metric(key, number[key])
        work.add_metric(key, max(seconds[key], 0.0))
    yield from (builds, work)


def _attempts(found: Sequence[Statistic]) -> Iterator[Metric]:
    labels = ("outcome", "blame", "target")
    attempts = CounterMetricFamily("piwheels_attempts", "Attempts by outcome, and whose fault it was", labels=labels)
    seconds = CounterMetricFamily("piwheels_attempt_seconds", "What attempts took", labels=labels)
    for each in found:
        said = [_rest(each), Outcome(_rest(each)).blame, each.target or ""]
        attempts.add_metric(said, each.number)
        seconds.add_metric(said, each.amount)
    yield from (attempts, seconds)


def _builders(seen: Overview) -> Iterator[Metric]:
    at_work = Counter(each.builder for each in seen.building)
    heard = _gauge("piwheels_builder_last_seen_timestamp_seconds", "When a builder was last heard of", "builder")
    standing = _gauge("piwheels_builder_standing", "1 for what a builder is: active, paused, quarantined", "builder", "standing")
    numbers = {
        "slots": _gauge("piwheels_builder_slots", "Builds at once", "builder"),
        "building": _gauge("piwheels_builder_building_builds", "Builds that it has begun", "builder"),
        "spool": _gauge("piwheels_builder_spool_builds", "Builds that it is given", "builder"),
        "work": _gauge("piwheels_builder_spool_seconds", "Their estimated seconds of one slot", "builder"),
        "waiting": _gauge("piwheels_builder_wheels_waiting", "Wheels that wait to be collected and published", "builder"),
        "room": _gauge("piwheels_builder_has_room", "Whether its disk has room for more", "builder"),
    }
    for each in seen.builders:
        if each.last_seen_at is not None:
            heard.add_metric([each.name], each.last_seen_at.timestamp())
        standing.add_metric([each.name, each.standing], 1)
        told = (each.slots, at_work[each.name], each.spool_builds, each.spool_seconds, each.wheels_waiting, each.has_room)
        for family, value in zip(numbers.values(), told, strict=True):
            family.add_metric([each.name], value)
    yield from (heard, standing, *numbers.values(), *_conditions(seen))


def _conditions(seen: Overview) -> Iterator[Metric]:
    """Nothing of what is unknown: no number would be true."""
    names = {
        "temperature": ("piwheels_builder_temperature_celsius", "Its processor's"),
        "memory_free": ("piwheels_builder_memory_free_bytes", "What can be had without swapping"),
        "memory_total": ("piwheels_builder_memory_size_bytes", "The memory it has"),
        "throttled": ("piwheels_builder_throttled", "Whether its firmware slows its processor down"),
        "under_voltage": ("piwheels_builder_under_voltage", "Whether its power supply is too weak"),
        "disk_free": ("piwheels_builder_disk_free_bytes", "What is free on the disk that holds its state"),
    }
    for field, (name, text) in names.items():
        family = _gauge(name, text, "builder")
        for each in seen.builders:
            if (value := getattr(each.condition, field)) is not None:
                family.add_metric([each.name], value)
        yield family


def _freshness(seen: Overview) -> Iterator[Metric]:
    if (fresh := seen.freshness) is None:
        return
    if fresh.followed_at is not None:
        text = "What upstream had then, the catalogue has"
        yield GaugeMetricFamily("piwheels_catalogue_followed_timestamp_seconds", text, fresh.followed_at.timestamp())
    yield GaugeMetricFamily("piwheels_catalogue_behind_projects", "Projects that upstream has changed since", fresh.behind)
    yield GaugeMetricFamily("piwheels_catalogue_held_back_projects", "Those that would lose all their files", fresh.held_back)
    yield GaugeMetricFamily("piwheels_catalogue_unfollowed_projects", "Projects that cannot be read", fresh.unfollowed)


def _disk(disk: Disk) -> Iterator[Metric]:
    yield GaugeMetricFamily("piwheels_published_disk_size_bytes", "The disk of the published tree", disk.size)
    yield GaugeMetricFamily("piwheels_published_disk_free_bytes", "What is free on it", disk.free)


def _written(seen: Overview) -> Metric:
    return GaugeMetricFamily("piwheels_metrics_timestamp_seconds", "When a round last wrote this file", seen.now.timestamp())


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)


def _rest(each: Statistic) -> str:
    """The second word of "attempt built"."""
    return each.what.partition(" ")[2]

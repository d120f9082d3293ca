"""How many attempts ended how, by the hour for two days and by the day before: counted once, the last two hours again each time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

_HOURS, _DAYS, _BUILDER_HOURS = 48, 730, 24
_HOUR = "%Y-%m-%dT%HZ"
#: What a blame is called here: a wheel, the release's fault, ours.
_KINDS = {"none": "built", "release": "failed", "memory": "failed", "infrastructure": "faults"}
Counts = dict[str, int]


@dataclass
class History:
    """Counts (built, failed, faults) by hour and by day, and for the last day by hour and builder."""

    hours: dict[str, Counts] = field(default_factory=dict)
    days: dict[str, Counts] = field(default_factory=dict)
    builders: dict[str, dict[str, Counts]] = field(default_factory=dict)

    @property
    def since(self) -> datetime:
        """From when on attempts are to be counted again."""
        if not self.hours:
            return datetime(2000, 1, 1, tzinfo=UTC)
        return datetime.strptime(max(self.hours), _HOUR).replace(tzinfo=UTC) - timedelta(hours=1)

    def count(self, rows: Iterable[tuple[str, str, str, int]], now: datetime) -> None:
        """Take in what was counted since ``since``: (hour, builder, blame, number)."""
        begin = self.since.strftime(_HOUR)
        for hour in [hour for hour in self.hours if hour >= begin]:
            self.hours.pop(hour)
            self.builders.pop(hour, None)
        for hour, builder, blame, number in rows:
            for counts in (self.hours.setdefault(hour, {}), self.builders.setdefault(hour, {}).setdefault(builder, {})):
                counts[_KINDS[blame]] = counts.get(_KINDS[blame], 0) + number
        self.hours.setdefault(now.strftime(_HOUR), {})
        self._fold(now)

    def _fold(self, now: datetime) -> None:
        """Hours that are long gone become parts of their day."""
        first_day = (now - timedelta(hours=_HOURS)).strftime("%Y-%m-%d")
        for hour in [hour for hour in self.hours if hour[:10] < first_day]:
            _add(self.days.setdefault(hour[:10], {}), self.hours.pop(hour))
        for day in sorted(self.days)[:-_DAYS]:
            del self.days[day]
        recent = (now - timedelta(hours=_BUILDER_HOURS)).strftime(_HOUR)
        self.builders = {hour: its for hour, its in self.builders.items() if hour >= recent}

    def by_day(self) -> dict[str, Counts]:
        """Days, those of which the hours are kept too."""
        days = {day: dict(counts) for day, counts in self.days.items()}
        for hour, counts in self.hours.items():
            _add(days.setdefault(hour[:10], {}), counts)
        return dict(sorted(days.items()))

    def by_builder(self) -> dict[str, Counts]:
        """Of the last day, most wheels first."""
        found: dict[str, Counts] = {}
        for its in self.builders.values():
            for builder, counts in its.items():
                _add(found.setdefault(builder, {}), counts)
        return dict(sorted(found.items(), key=lambda item: (-item[1].get("built", 0), item[0])))

    def told(self) -> dict[str, Any]:
        """As the state keeps it."""
        return {"hours": self.hours, "days": self.days, "builders": self.builders}

    @classmethod
    def from_told(cls, told: Mapping[str, Any]) -> "History":
        """The inverse of ``told``."""
        return cls(dict(told.get("hours", {})), dict(told.get("days", {})), dict(told.get("builders", {})))


def _add(counts: Counts, more: Mapping[str, int]) -> None:
    for kind, number in more.items():
        counts[kind] = counts.get(kind, 0) + number

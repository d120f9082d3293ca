"""Numbers as a person reads them."""

from datetime import UTC, datetime

#: Where there is no number.
NOTHING = "\N{EN DASH}"
_SPANS = (("days", 86_400), ("h", 3_600), ("min", 60))


def span(seconds: float | None) -> str:
    """90 -> 2 min; None is a dash."""
    if seconds is None:
        return NOTHING
    for unit, length in _SPANS:
        if seconds >= length * 1.5:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def size(count: float | None) -> str:
    """1500000 -> 1.5 MB; None is a dash."""
    if count is None:
        return NOTHING
    for unit, length in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= length:
            return f"{count / length:.3g} {unit}" if count < length * 1000 else f"{count / length:,.0f} {unit}"
    return f"{count:.0f} B"


def number(count: float) -> str:
    """1234567 -> 1,234,567."""
    return f"{count:,.0f}"


def percent(share: float | None) -> str:
    """0.987 -> 98.7 %; None is a dash."""
    return NOTHING if share is None else f"{100 * share:.1f} %"


def heat(degrees: float) -> str:
    """61.8 -> 62 °C."""
    return f"{degrees:.0f} °C"


def moment(when: datetime | None) -> str:
    """2026-01-31 12:00 UTC; None is a dash."""
    return NOTHING if when is None else f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def iso(when: datetime | None) -> str | None:
    """For JSON and machines."""
    return None if when is None else f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def outcome(name: str | None) -> str:
    """missing_header -> missing header."""
    return (name or "").replace("_", " ")

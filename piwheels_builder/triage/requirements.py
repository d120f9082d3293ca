"""Which build requirement could not be had, by what uv says."""

import re

#: uv's words, the surest first: its hint, then the sentence that begins its reason. Words of uv 0.9 to 0.13.
_NAMES = (
    r"Wheels are required for `(?P<missing>[\w.-]+)` because building from source is disabled",
    r"(?P<missing>[A-Za-z0-9][\w.-]*)(\{[^}]*\})?[=<>!~][^ ]* has no (usable wheels|wheels with a matching)",
    r"(?P<missing>[A-Za-z0-9][\w.-]*) was not found in the package registry",
    r"Because (there (is|are) no versions? of |only )(?P<missing>[A-Za-z0-9][\w.-]*)",
    r"you require (?P<missing>[A-Za-z0-9][\w.-]*)",
)


def missing_requirement(said: str) -> str | None:
    """The name of the requirement without a version, or without a wheel; None where uv names none."""
    text = " ".join(said.split())
    for expression in _NAMES:
        found = re.search(expression, text)
        if found:
            return found["missing"]
    return None

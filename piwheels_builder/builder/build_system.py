"""What an sdist says it is built with: [build-system] of pyproject.toml (PEP 517, PEP 518)."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from packaging.requirements import Requirement

from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.states import Outcome

_LEGACY = "setuptools.build_meta:__legacy__"
#: For a source without requirements of its own. wheel: many a setup.py from before PEP 517 imports it.
_LEGACY_REQUIRES = ("setuptools>=40.8.0", "wheel")
_LARGEST = 2**20
#: A key of n parts takes a parser n * n steps: a MiB of them would take it an hour, and can't be interrupted.
_MOST_DOTS_IN_LINE = 1000
#: uv asks upstream about each; the largest sources in use have some twenty.
_MOST_REQUIREMENTS = 200


@dataclass(frozen=True)
class BuildSystem:
    """``requires`` are PEP 508 requirements by name, none by URL; ``backend_path`` as written, checked inside the sandbox."""

    requires: tuple[str, ...]
    backend: str
    backend_path: tuple[str, ...] = ()


def read_build_system(source: Path) -> BuildSystem:
    """The build system of an unpacked source. Raises BuildEnded: bad_sdist, or requirement_unavailable for an odd requirement."""
    place = source / "pyproject.toml"
    if not place.is_file():
        return BuildSystem(_LEGACY_REQUIRES, _LEGACY)
    if place.stat().st_size > _LARGEST:
        raise _bad(f"is larger than {_LARGEST} bytes")
    try:
        text = place.read_text(encoding="utf-8")
        if any(line.count(".") > _MOST_DOTS_IN_LINE for line in text.splitlines()):
            raise _bad(f"has a line with more than {_MOST_DOTS_IN_LINE} dots")
        table = tomllib.loads(text).get("build-system")
    except (ValueError, RecursionError) as error:
        raise _bad(f"is not TOML: {error}"[:300]) from error
    if table is None:
        return BuildSystem(_LEGACY_REQUIRES, _LEGACY)
    return _build_system(table)


def check_requirements(requirements: object) -> tuple[str, ...]:
    """Requirements as uv may be given them. Raises BuildEnded for what isn't a list of names with versions and markers.

    By URL is refused: it would have the builder read any file, or connect to any host, outside of the sandbox.
    """
    if not _is_list_of_strings(requirements):
        raise BuildEnded(Outcome.BAD_SDIST, "its build requirements are not a list of texts")
    if len(requirements) > _MOST_REQUIREMENTS:
        raise BuildEnded(
            Outcome.REQUIREMENT_UNAVAILABLE, f"{len(requirements)} build requirements, {_MOST_REQUIREMENTS} are allowed"
        )
    return tuple(_check_requirement(requirement) for requirement in requirements)


def _check_requirement(text: str) -> str:
    try:
        requirement = Requirement(text)
        plain = str(requirement)
    except (ValueError, RecursionError) as error:
        raise BuildEnded(Outcome.REQUIREMENT_UNAVAILABLE, f"{text[:100]!r} is not a requirement (PEP 508)") from error
    if requirement.url:
        raise BuildEnded(Outcome.REQUIREMENT_UNAVAILABLE, f"{text[:100]!r} is a URL, and only the upstream index is asked")
    if not plain.isprintable():
        # A marker's text may hold an end of line, and the next line of uv's file would be an option.
        raise BuildEnded(Outcome.REQUIREMENT_UNAVAILABLE, f"{text[:100]!r} is not one line of text")
    return plain


def _build_system(table: Any) -> BuildSystem:
    if not isinstance(table, dict) or "requires" not in table:
        raise _bad("has a [build-system] without requires (PEP 518)")
    backend, path = table.get("build-backend", _LEGACY), table.get("backend-path", [])
    if not isinstance(backend, str) or not _is_list_of_strings(path):
        raise _bad("has a build-backend or backend-path of the wrong type (PEP 517)")
    return BuildSystem(check_requirements(table["requires"]), backend, tuple(path))


def _is_list_of_strings(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _bad(what: str) -> BuildEnded:
    return BuildEnded(Outcome.BAD_SDIST, f"pyproject.toml {what}")

"""What an sdist says it is built with: [build-system] of pyproject.toml (PEP 517, PEP 518)."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from packaging.requirements import InvalidRequirement, Requirement

from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.states import Outcome

_LEGACY = "setuptools.build_meta:__legacy__"
#: For a source without requirements of its own. wheel: many a setup.py from before PEP 517 imports it.
_LEGACY_REQUIRES = ("setuptools>=40.8.0", "wheel")
_LARGEST = 2**20


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
        table = tomllib.loads(place.read_text(encoding="utf-8")).get("build-system")
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
    return tuple(_check_requirement(requirement) for requirement in requirements)


def _check_requirement(text: str) -> str:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise BuildEnded(Outcome.REQUIREMENT_UNAVAILABLE, f"{text[:100]!r} is not a requirement (PEP 508)") from error
    if requirement.url:
        raise BuildEnded(Outcome.REQUIREMENT_UNAVAILABLE, f"{text[:100]!r} is a URL, and only the upstream index is asked")
    return str(requirement)


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

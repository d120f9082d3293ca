"""Targets: a Python ABI on an architecture on an OS release, and which wheels serve one."""

import functools
import re
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, generic_tags

from piwheels_builder.errors import BadInput

#: C library of each supported OS release, as (major, minor); the same rows as os_release in the database (tested).
GLIBC = {"bullseye": (2, 31), "bookworm": (2, 36), "trixie": (2, 41)}
ARCHITECTURES = ("armv6l", "armv7l", "aarch64", "x86_64", "i686", "riscv64")
#: Older names of three manylinux levels (PEP 600).
_LEGACY_MANYLINUX = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}


@dataclass(frozen=True)
class Target:
    """For example ``Target("cp311", "armv7l", "bookworm")``. Raises BadInput for what this fleet does not know."""

    python: str
    architecture: str
    os_release: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"(cp|pp)3\d{1,2}t?", self.python):
            raise BadInput(f"{self.python!r} is not a Python ABI: write it like cp311")
        if self.architecture not in ARCHITECTURES:
            raise BadInput(f"{self.architecture!r} is not an architecture known here: one of {', '.join(ARCHITECTURES)}")
        if self.os_release not in GLIBC:
            raise BadInput(f"{self.os_release!r} is not an OS release known here: one of {', '.join(GLIBC)}")

    def __str__(self) -> str:
        return f"{self.python}-{self.architecture}-{self.os_release}"

    @classmethod
    def parse(cls, text: str) -> "Target":
        """The inverse of ``str()``."""
        parts = text.split("-")
        if len(parts) != 3:
            raise BadInput(f"{text!r} is not a target: write it like cp311-armv7l-bookworm")
        return cls(*parts)

    @property
    def python_version(self) -> tuple[int, int]:
        return _version(self.python)

    @property
    def abi_order(self) -> int:
        """Sorts cp39 before cp311, and plain builds before free-threaded ones."""
        major, minor = self.python_version
        return (major * 100 + minor) * 2 + self.python.endswith("t")

    @property
    def glibc(self) -> tuple[int, int]:
        return GLIBC[self.os_release]

    @functools.cached_property
    def tags(self) -> frozenset[Tag]:
        """Every tag a pip of this target installs (PEP 425, PEP 600)."""
        return _tags(self)

    @property
    def ranked_tags(self) -> tuple[Tag, ...]:
        """The same, best first."""
        return _ranked_tags(self)

    def is_served_by(self, tags: Iterable[Tag]) -> bool:
        """Whether a wheel with these tags installs here."""
        return not self.tags.isdisjoint(tags)

    def is_admitted_by(self, requires_python: str | None) -> bool:
        """Whether a ``requires-python`` admits this Python. One that is no specifier (``>=3.6.*``) admits all, as pip has it."""
        return not requires_python or _admits(requires_python, self.python)

    def platforms(self) -> Iterable[str]:
        """Platform tags, best first."""
        major, newest = self.glibc
        for minor in range(newest, 4, -1):
            yield f"manylinux_{major}_{minor}_{self.architecture}"
            if (major, minor) in _LEGACY_MANYLINUX:
                yield f"{_LEGACY_MANYLINUX[major, minor]}_{self.architecture}"
        yield f"linux_{self.architecture}"


@functools.cache
def _version(python: str) -> tuple[int, int]:
    digits = python[2:].rstrip("t")
    return int(digits[0]), int(digits[1:])


@functools.lru_cache(maxsize=16384)
def _admits(requires_python: str, python: str) -> bool:
    """Remembered: the files of a project, and of most projects, say the same few."""
    major, minor = _version(python)
    # The newest patch release any Python has had is below 99: ">=3.11.4" admits cp311, "!=3.11.*" does not.
    try:
        return SpecifierSet(requires_python).contains(f"{major}.{minor}.99", prereleases=True)
    except InvalidSpecifier:
        return True


@functools.cache
def _tags(target: Target) -> frozenset[Tag]:
    return frozenset(_ranked_tags(target))


@functools.cache
def _ranked_tags(target: Target) -> tuple[Tag, ...]:
    """Once for each target there is: nearly a thousand, in 10 ms."""
    platforms = list(target.platforms())
    if target.python.startswith("pp"):
        # PyPy names its ABI after its own too: pp73 since 2019, in every release for 3.6 and newer.
        own = generic_tags(interpreter=target.python, abis=[f"pypy{target.python[2:]}_pp73"], platforms=platforms)
    else:
        own = cpython_tags(target.python_version, abis=[target.python], platforms=platforms)
    pure = compatible_tags(target.python_version, interpreter=target.python, platforms=platforms)
    return (*own, *pure)

"""The Python of a target as markers and requires-python see it: not the one that runs this."""

from collections.abc import Iterable, Set
from dataclasses import dataclass

from packaging.markers import Marker
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from piwheels_builder.errors import BadInput
from piwheels_builder.targets import Target

#: The Python of each OS release, in its last point release: some markers ask for more than two numbers.
_OF_OS_RELEASE = {"bullseye": "3.9.2", "bookworm": "3.11.2", "trixie": "3.13.5"}


@dataclass(frozen=True)
class TargetPython:
    """``version`` is whole, like 3.11.2. Made by `of`."""

    target: Target
    version: str

    @classmethod
    def of(cls, target: Target, version: str | None = None) -> "TargetPython":
        """The Python of the target's OS release, else its newest imaginable patch release. Raises BadInput."""
        short = ".".join(map(str, target.python_version))
        own = _OF_OS_RELEASE.get(target.os_release, "")
        chosen = version or (own if own.startswith(f"{short}.") else f"{short}.99")
        try:
            fits = Version(chosen).release[:2] == target.python_version and len(Version(chosen).release) == 3
        except InvalidVersion:
            fits = False
        if not fits:
            raise BadInput(f"{chosen!r} is no version of {target.python}: write it like {short}.2")
        return cls(target, chosen)

    @property
    def environment(self) -> dict[str, str]:
        """What markers ask about (dependency specifiers, PEP 508)."""
        pypy = self.target.python.startswith("pp")
        return {
            "implementation_name": "pypy" if pypy else "cpython",
            "implementation_version": self.version,
            "os_name": "posix",
            "platform_machine": self.target.architecture,
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.version,
            "platform_python_implementation": "PyPy" if pypy else "CPython",
            "python_version": ".".join(map(str, self.target.python_version)),
            "sys_platform": "linux",
        }

    def holds(self, marker: Marker, extra: str = "") -> bool:
        """Whether a marker holds on the target."""
        return marker.evaluate({**self.environment, "extra": extra})

    def holds_in_lock(self, marker: Marker, groups: Iterable[str]) -> bool:
        """The same in a lock file, without extras and with these dependency groups (PEP 751)."""
        environment: dict[str, str | Set[str]] = {
            **self.environment,
            "extras": frozenset[str](),
            "dependency_groups": frozenset(groups),
        }
        return marker.evaluate(environment, context="lock_file")

    def is_admitted_by(self, requires_python: str | None) -> bool:
        """Whether a requires-python admits it. One that is no specifier admits all, as pip has it."""
        try:
            return SpecifierSet(requires_python or "").contains(self.version, prereleases=True)
        except InvalidSpecifier:
            return True

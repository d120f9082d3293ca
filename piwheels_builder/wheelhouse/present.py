"""What a Pi has already, by the lists that it prints itself: ``pip freeze --all`` and ``dpkg-query -W``."""

import re
from collections.abc import Sequence
from pathlib import Path

from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import InvalidVersion, Version

from piwheels_builder.errors import BadInput

_FROZEN = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>\S+)")
_PACKAGE = re.compile(r"(?P<name>[a-z0-9][a-z0-9+.-]*)(:[a-z0-9-]+)?[ \t]+(?P<version>[0-9]\S*)")
#: Of a Debian version what upstream called it: without epoch, revision and what a repacked source is marked by (deb-version(7)).
_UPSTREAM = re.compile(r"(?:\d+:)?(?P<version>[^-+~]+(?:~(?:a|b|rc)\d+)?)")
#: Packages whose project is called otherwise. Those that it names None are of no project of the name.
_PROJECTS = {
    "bs4": "beautifulsoup4",
    "dateutil": "python-dateutil",
    "magic": None,
    "pil": "pillow",
    "serial": "pyserial",
    "smbus": None,
    "usb": "pyusb",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}


def read_present(files: Sequence[Path]) -> dict[NormalizedName, Version]:
    """Versions by project. What is installed from a path or URL, or has no version of PEP 440, is absent. Raises BadInput."""
    return {name: version for path in files for name, version in _listed(path)}


def _listed(path: Path) -> list[tuple[NormalizedName, Version]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror})") from error
    known = [_one(line.strip()) for line in lines]
    if lines and not any(_FROZEN.fullmatch(line.strip()) or _PACKAGE.fullmatch(line.strip()) for line in lines):
        raise BadInput(f"{path} lists nothing: print it on the Pi with `pip freeze --all`, or `dpkg-query -W`")
    return [each for each in known if each is not None]


def _one(line: str) -> tuple[NormalizedName, Version] | None:
    if frozen := _FROZEN.fullmatch(line):
        return _versioned(frozen["name"], frozen["version"])
    package = _PACKAGE.fullmatch(line)
    if package is None or not package["name"].startswith("python3-"):
        return None
    name = package["name"].removeprefix("python3-")
    project, version = _PROJECTS.get(name, name), _UPSTREAM.match(package["version"])
    return _versioned(project, version["version"].replace("~", "")) if project and version else None


def _versioned(name: str, version: str) -> tuple[NormalizedName, Version] | None:
    try:
        return canonicalize_name(name), Version(version)
    except InvalidVersion:
        return None

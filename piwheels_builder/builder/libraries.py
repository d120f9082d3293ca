"""Which packages of this builder's OS release bring the shared libraries that a wheel needs: asked of dpkg, by file.

ldconfig lists what the system's own libraries are; nothing of a wheel is run, or loaded, for that.
"""

import json
import re
import subprocess
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from piwheels_builder.builder.disk import write_atomically

_DPKG_STATUS = Path("/var/lib/dpkg/status")
_LDCONFIG, _DPKG = "/sbin/ldconfig", "/usr/bin/dpkg-query"
_SECONDS = 120
#: `` \tlibz.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libz.so.1``
_LISTED = re.compile(r"^\s+(\S+) \([^)]*\) => (/\S+)$", re.MULTILINE)
#: Class and byte order, and the machine, of an ELF file.
_KIND = (slice(4, 6), slice(18, 20))


def packages_of(libraries: Collection[str], program: Path, known: Path) -> dict[str, str | None]:
    """The package of each library (its soname), None where no package of this host brings it.

    ``program`` is one for the same machine, as a host may have libraries for several. ``known`` is a file that remembers what dpkg
    said, since it reads the file lists of all packages for that. Never fails: what can't be asked is None.
    """
    if not libraries:
        return {}
    remembered = _recall(known)
    if asked := sorted(set(libraries) - set(remembered)):
        remembered |= dict.fromkeys(asked) | _ask(asked, program)
        _remember(known, remembered)
    return {library: remembered[library] for library in sorted(libraries)}


def _ask(libraries: Collection[str], program: Path) -> dict[str, str]:
    places = {library: list(_names_of(path)) for library, path in _installed(libraries, program)}
    owners = _owners({place for its in places.values() for place in its})
    found = {library: next((owners[place] for place in its if place in owners), None) for library, its in places.items()}
    return {library: package for library, package in found.items() if package}


def _installed(libraries: Collection[str], program: Path) -> Iterator[tuple[str, Path]]:
    kind = _kind(program)
    seen = set()
    for soname, place in _LISTED.findall(_run([_LDCONFIG, "-p"])):
        if soname in libraries and soname not in seen and _kind(Path(place)) == kind:
            seen.add(soname)
            yield soname, Path(place)


def _kind(file: Path) -> tuple[bytes, ...]:
    with suppress(OSError), file.open("rb") as opened:
        header = opened.read(20)
        return tuple(header[part] for part in _KIND)
    return ()


def _names_of(path: Path) -> Iterator[str]:
    """What dpkg may know it as: with /usr and without, and by what a link of update-alternatives leads to."""
    for each in dict.fromkeys((str(path), str(path.resolve()))):
        yield each
        yield each.removeprefix("/usr") if each.startswith("/usr/") else f"/usr{each}"


def _owners(places: Iterable[str]) -> dict[str, str]:
    """The package of each file; it ends with an error where it knows one of them not."""
    owners = {}
    for line in _run([_DPKG, "--search", *sorted(places)]).splitlines():
        packages, _, place = line.partition(": ")
        if not packages.startswith("diversion by"):
            owners[place] = packages.partition(",")[0].partition(":")[0]
    return owners


def _run(program: Sequence[str]) -> str:
    with suppress(OSError, subprocess.SubprocessError):
        ended = subprocess.run(
            program, env={"LC_ALL": "C"}, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=_SECONDS, text=True
        )
        return ended.stdout
    return ""


def _installed_at() -> int:
    with suppress(OSError):
        return _DPKG_STATUS.stat().st_mtime_ns
    return 0


def _recall(known: Path) -> dict[str, str | None]:
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        remembered = json.loads(known.read_text(encoding="utf-8"))
        if remembered["at"] == _installed_at():
            return dict(remembered["packages"])
    return {}


def _remember(known: Path, packages: dict[str, str | None]) -> None:
    with suppress(OSError):
        known.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(known, json.dumps({"at": _installed_at(), "packages": packages}))

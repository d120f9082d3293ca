"""With what a build was made, in one line: so that failures can be asked for by any part of it."""

import functools
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from piwheels_builder.builder.disk import write_atomically
from piwheels_builder.builder.interpreter import Interpreter
from piwheels_builder.targets import Target

#: The column holds no more characters.
_LONGEST = 1000
#: Programs whose version decides what compiles, and how each tells it.
_PROGRAMS = {
    "gcc": ("gcc", "-dumpfullversion"),
    "g++": ("g++", "-dumpfullversion"),
    "gfortran": ("gfortran", "-dumpfullversion"),
    "rustc": ("rustc", "--version"),
    "cargo": ("cargo", "--version"),
    "cmake": ("cmake", "--version"),
    "make": ("make", "--version"),
    "ld": ("ld", "--version"),
}
_LIBRARIES = ("dpkg-query", "--show", "--showformat", "${binary:Package} ${Version} ${db:Status-Status}\\n", "lib*-dev")
#: Requirements that do the building come first, where the line has to end somewhere.
_BACKENDS = ("setuptools", "hatchling", "flit-core", "poetry-core", "pdm-backend", "scikit-build-core", "meson-python", "maturin")
_DPKG_STATUS = Path("/var/lib/dpkg/status")
_DEBIAN_VERSION = Path("/etc/debian_version")
_SECONDS = 20


def fingerprint(
    target: Target, python: Interpreter, environment_key: str, pins: Sequence[str] = (), known: Path | None = None
) -> str:
    """Parts of a name and a value with semicolons between, in one order everywhere; at most 1000 characters.

    For example ``bookworm 12.9; armv7l; gcc 12.2.0; ld 2.40; glibc 2.36; libraries 0123456789ab; cpython 3.11.2; requirements
    0123456789abcdef; setuptools 80.9.0``. libraries is a hash over all installed lib*-dev packages, requirements the key of the
    environment, whose ``pins`` (name==version) follow as far as there is room. ``known`` is a file that remembers what is installed
    from one process to the next.
    """
    system = [f"{target.os_release} {_point_version()}".strip(), target.architecture, *_installed(_installed_at(), known)]
    parts = [*system, f"{python.implementation} {python.version}", f"requirements {environment_key}"]
    return _joined([*parts, *_requirements(pins)])


def _joined(parts: Sequence[str]) -> str:
    line = ""
    for part in parts:
        longer = f"{line}; {part}" if line else part
        if len(longer) > _LONGEST:
            break
        line = longer
    return line


def _requirements(pins: Sequence[str]) -> Iterator[str]:
    named = {pin.partition("==")[0]: pin.partition("==")[2] for pin in pins}
    for name in sorted(named, key=lambda name: (name not in _BACKENDS, name)):
        yield f"{name} {named[name]}"


def _point_version() -> str:
    """Such as 12.9; nothing where the system has none."""
    with suppress(OSError):
        return _DEBIAN_VERSION.read_text(encoding="utf-8").strip()
    return ""


def _installed_at() -> int:
    """Changes whenever packages are installed, upgraded or removed."""
    with suppress(OSError):
        return _DPKG_STATUS.stat().st_mtime_ns
    return 0


@functools.lru_cache(maxsize=1)
def _installed(at: int, known: Path | None) -> tuple[str, ...]:
    """Programs there are with their versions, the C library, and the hash over the libraries to link with."""
    if known is None:
        return _ask_all()
    with suppress(OSError, ValueError, LookupError, TypeError):
        remembered = json.loads(known.read_text(encoding="utf-8"))
        if remembered["at"] == [at, os.environ.get("PATH")]:
            return tuple(map(str, remembered["parts"]))
    parts = _ask_all()
    with suppress(OSError):
        known.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(known, json.dumps({"at": [at, os.environ.get("PATH")], "parts": parts}))
    return parts


def _ask_all() -> tuple[str, ...]:
    asked = {name: _start(command) for name, command in {**_PROGRAMS, "libraries": _LIBRARIES}.items()}
    answers = {name: _answer(process) for name, process in asked.items() if process is not None}
    versions = {name: _version(answers[name]) for name in _PROGRAMS if name in answers}
    programs = [f"{name} {version}" for name, version in versions.items() if version]
    c_library = os.confstr("CS_GNU_LIBC_VERSION") or ""
    libraries = _libraries(answers.get("libraries", ""))
    return (*programs, *filter(None, (c_library, libraries)))


def _start(command: Sequence[str]) -> subprocess.Popen[str] | None:
    # All at once: one after the other they take as long as a small release to build.
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
        )
    except OSError:
        return None


def _answer(process: subprocess.Popen[str]) -> str:
    with process:
        try:
            return process.communicate(timeout=_SECONDS)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            return ""


def _version(answer: str) -> str | None:
    """The last number with a dot of the first line, since distributions put their own before it in brackets."""
    found = re.findall(r"\d+(?:\.\d+)+", answer.partition("\n")[0])
    return found[-1] if found else None


def _libraries(answer: str) -> str | None:
    installed = sorted(line for line in answer.splitlines() if line.endswith(" installed"))
    digest = hashlib.sha256("\n".join(installed).encode()).hexdigest()
    return f"libraries {digest[:12]}" if installed else None

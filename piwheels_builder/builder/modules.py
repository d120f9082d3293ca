"""Which modules of a wheel must import: its top-level ones, and below a namespace package what stands in that."""

import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from piwheels_builder.zips import open_zip

#: What projects install beside themselves by mistake, and never import.
_NO_API = re.compile("benchmarks?|conftest|docs?|examples?|scripts|setup|tests?|testing|test_.*", re.IGNORECASE)
#: Where nothing says what is meant to be imported, more tell nothing new.
MOST_MODULES = 50
_DEEPEST = 3
_LARGEST_LIST = 2**16


def modules_to_import(wheel: Path) -> tuple[str, ...]:
    """Dotted names, sorted; none where it holds no module. Those of a leading underscore only where there is nothing else.

    top_level.txt narrows what the files say, where it is there (setuptools writes it). Raises BadZip, OSError.
    """
    with open_zip(wheel) as archive:
        files = [_installed_as(name) for name in archive.namelist()]
        named = _top_level(archive)
    found = {module for module in _modules([file for file in files if file], ()) if not named or module.split(".")[0] in named}
    public = {module for module in found if not any(part.startswith("_") for part in module.split("."))}
    return tuple(sorted(public or found))[:MOST_MODULES]


def _installed_as(name: str) -> tuple[str, ...]:
    """Its parts below site-packages; nothing where it goes elsewhere, or is about the wheel."""
    parts = PurePosixPath(name).parts
    if name.endswith("/") or parts[0].endswith(".dist-info"):
        return ()
    if parts[0].endswith(".data"):
        return parts[2:] if len(parts) > 2 and parts[1] in ("purelib", "platlib") else ()
    return parts


def _modules(files: Iterable[tuple[str, ...]], above: tuple[str, ...]) -> Iterator[str]:
    """The modules directly below ``above``; in place of a directory without __init__ (PEP 420) those in it."""
    depth = len(above)
    below = [file for file in files if file[:depth] == above]
    for file in below:
        if len(file) == depth + 1 and (name := _module(file[-1])) and name != "__init__" and _may_be_asked_for(name):
            yield ".".join([*above, name])
    for directory in {file[depth] for file in below if len(file) > depth + 1 and _may_be_asked_for(file[depth])}:
        package = (*above, directory)
        own = [file for file in below if file[: depth + 1] == package]
        if any(len(file) == depth + 2 and _module(file[-1]) == "__init__" for file in own):
            yield ".".join(package)
        elif depth + 1 < _DEEPEST:
            yield from _modules(own, package)


def _module(filename: str) -> str | None:
    """The name: fast of fast.py, fast.so, fast.abi3.so and fast.cpython-311-x86_64-linux-gnu.so."""
    return filename.partition(".")[0] if filename.endswith((".py", ".so")) else None


def _may_be_asked_for(name: str) -> bool:
    return name.isidentifier() and not _NO_API.fullmatch(name)


def _top_level(archive: zipfile.ZipFile) -> frozenset[str]:
    for member in archive.infolist():
        directory, _, name = member.filename.partition("/")
        if directory.endswith(".dist-info") and name == "top_level.txt" and member.file_size <= _LARGEST_LIST:
            lines = archive.read(member).decode(errors="replace").split()
            return frozenset(line.replace("/", ".").split(".")[0] for line in lines)
    return frozenset()

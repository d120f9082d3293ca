"""What somebody requires: requirements files (pip's format) and lock files (pylock.toml, PEP 751), understood.

Of pip's options a file may have -r, -c and --hash. Where to install from is said on the command line alone.
"""

import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.pylock import Package, Pylock, PylockValidationError, is_valid_pylock_path
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name

from piwheels_builder.errors import BadInput
from piwheels_builder.wheelhouse.python import TargetPython

_SHA256 = re.compile(r"--hash[= ]sha256:([0-9a-fA-F]{64})(?=\s|$)")
_COMMENT = re.compile(r"(^|\s)#.*$")
_INCLUDES = re.compile(r"(?P<option>-r|-c|--requirement|--constraint)[= ]?\s*(?P<file>.+)")
#: What says where or how pip installs; a wheelhouse has an index and wheels only.
_NEEDLESS = ("-i", "--index-url", "--only-binary", "--prefer-binary", "--require-hashes", "--no-index")
_DEEPEST = 20


@dataclass
class Required:
    """``requirements`` hold for the target. ``hashes``: the sha256 that a file allows of a project, where it names any."""

    requirements: list[Requirement] = field(default_factory=list)
    constraints: dict[NormalizedName, SpecifierSet] = field(default_factory=dict)
    hashes: dict[NormalizedName, frozenset[str]] = field(default_factory=dict)


def read_required(files: Sequence[Path], python: TargetPython) -> Required:
    """Read all files. Raises BadInput, naming the file and the line."""
    required = Required()
    for path in files:
        if is_valid_pylock_path(path):
            _read_lock(path, python, required)
        else:
            _read_lines(path, python, required, constrains=False, depth=0)
    if not required.requirements:
        raise BadInput(f"{', '.join(map(str, files))}: nothing is required for {python.target}")
    return required


def _read_lines(path: Path, python: TargetPython, required: Required, *, constrains: bool, depth: int) -> None:
    if depth > _DEEPEST:
        raise BadInput(f"{path} is included by itself: -r and -c lead round in a circle")
    for number, line in _lines(_text(path)):
        included = _INCLUDES.fullmatch(line)
        if included:
            other = path.parent / included["file"].strip()
            only_constrains = constrains or included["option"] in ("-c", "--constraint")
            _read_lines(other, python, required, constrains=only_constrains, depth=depth + 1)
        elif not line.startswith(_NEEDLESS):
            _read_requirement(line, f"{path}, line {number}", python, required, constrains=constrains)


def _read_requirement(line: str, place: str, python: TargetPython, required: Required, *, constrains: bool) -> None:
    hashes = frozenset(digest.lower() for digest in _SHA256.findall(line))
    requirement = _requirement(_SHA256.sub("", line).strip(), place)
    if requirement.marker and not python.holds(requirement.marker):
        return
    name = canonicalize_name(requirement.name)
    if hashes:
        required.hashes[name] = required.hashes.get(name, frozenset()) | hashes
    if constrains:
        required.constraints[name] = required.constraints.get(name, SpecifierSet()) & requirement.specifier
    else:
        required.requirements.append(requirement)


def _requirement(text: str, place: str) -> Requirement:
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        raise BadInput(
            f"{place}: {text[:100]!r} is no requirement: write NAME, NAME==VERSION or the like (-e, paths and URLs are of one "
            "machine: let the fleet build it as an sdist of your own)"
        ) from error
    if requirement.url:
        raise BadInput(
            f"{place}: {requirement.name} is required by a URL: put its sdist where the fleet finds it, and name it alone"
        )
    return requirement


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines without comments, each with the number of its first line."""
    whole, first = "", 0
    for number, physical in enumerate(text.splitlines(), 1):
        first = first if whole else number
        line = _COMMENT.sub("", physical)
        if line.endswith("\\"):
            whole += line[:-1] + " "
            continue
        if stripped := (whole + line).strip():
            yield first, stripped
        whole = ""
    if whole.strip():
        yield first, whole.strip()


def _read_lock(path: Path, python: TargetPython, required: Required) -> None:
    try:
        lock = Pylock.from_dict(tomllib.loads(_text(path)))
    except (tomllib.TOMLDecodeError, PylockValidationError) as error:
        raise BadInput(f"{path} is no lock file (PEP 751): {error}") from error
    for package in lock.packages:
        if package.marker is None or python.holds_in_lock(package.marker, lock.default_groups or ()):
            _read_locked(path, package, required)


def _read_locked(path: Path, package: Package, required: Required) -> None:
    if package.version is None or package.vcs or package.directory or package.archive:
        raise BadInput(f"{path}: {package.name} is locked to a place, not to a version: the fleet builds releases of an index")
    required.requirements.append(Requirement(f"{package.name}=={package.version}"))
    files = [*(package.wheels or ()), *([package.sdist] if package.sdist else ())]
    digests = frozenset(file.hashes["sha256"].lower() for file in files if "sha256" in file.hashes)
    if digests:
        required.hashes[package.name] = required.hashes.get(package.name, frozenset()) | digests


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error

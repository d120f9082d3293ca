"""What an upstream file name says: which release of the project it belongs to, and whether anything can be built from it.

Wheel names follow the binary distribution format, sdist names PEP 625 and everything setuptools wrote before it. The project
is known (its page listed the file), so names and versions with dashes are told apart as pip does: by normalizing.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from math import prod

from packaging.tags import Tag, parse_tag
from packaging.utils import NormalizedName, canonicalize_name, canonicalize_version, parse_wheel_filename
from packaging.version import InvalidVersion, Version

#: NAME_MAX of the file systems that builders keep sdists on, in bytes.
LONGEST_NAME = 255
#: A name may hold sets of tags (PEP 425) whose product is every tag it claims; the longest honest ones have about a hundred.
MOST_TAGS = 500
#: Archives that builders unpack.
SDIST_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")

_REFUSED_SUFFIXES = {
    ".egg": "an egg, which no installer of today takes",
    ".exe": "a Windows installer",
    ".msi": "a Windows installer",
    ".rpm": "an RPM package",
    ".deb": "a Debian package",
    ".dmg": "a macOS disk image",
    ".metadata": "the metadata of another file",
    ".asc": "the signature of another file",
    ".sig": "the signature of another file",
    ".provenance": "the provenance of another file",
    ".tar.Z": "an archive kind that builders do not unpack",
    ".tar.lz": "an archive kind that builders do not unpack",
    ".tar.lzma": "an archive kind that builders do not unpack",
    ".tbz": "an archive kind that builders do not unpack",
    ".txz": "an archive kind that builders do not unpack",
    ".tlz": "an archive kind that builders do not unpack",
    ".tar": "an archive kind that builders do not unpack",
}
#: What nearly every wheel is called: no build tag, a version of plain numbers, few tags.
_PLAIN_WHEEL = re.compile(
    r"(?P<name>[A-Za-z0-9]+(?:_[A-Za-z0-9]+)*)-(?P<version>[0-9]{1,9}(?:\.[0-9]{1,9}){0,5}(?:(?:a|b|rc|\.post|\.dev)[0-9]{1,9})?)-"
    r"(?P<tags>[a-z0-9_]{1,20}(?:\.[a-z0-9_]{1,20}){0,3}-[a-z0-9_]{1,30}-[a-z0-9_]{1,40}(?:\.[a-z0-9_]{1,40}){0,3})\.whl",
    re.ASCII,
)
_UNEXPECTED = re.compile(r"[^A-Za-z0-9._+!-]")
_DUMB = re.compile(r"[.-](aix|cygwin|darwin|freebsd|linux|macosx|mingw|solaris|sunos|win)[-._A-Za-z0-9]*", re.IGNORECASE)


class FileKind(StrEnum):
    """The same words as the database's enum file_kind (tested)."""

    SDIST = "sdist"
    WHEEL = "wheel"
    REFUSED = "refused"


@dataclass(frozen=True)
class ClassifiedName:
    """``refusal`` says why a refused name is; ``version`` is then only the release it seems to belong to, or None."""

    kind: FileKind
    version: Version | None = None
    refusal: str | None = None

    @property
    def canonical_version(self) -> str | None:
        """As release.version spells it: PEP 440, trailing zeros stripped."""
        return None if self.version is None else canonical(self.version)


class _RefusedName(ValueError):
    """Says why a name is refused; never leaves this file."""


def classify(project: str, filename: str) -> ClassifiedName:
    """What a file name on the page of ``project`` says. Never raises: what cannot be used is refused with a reason."""
    try:
        _check_characters(filename)
        if filename.endswith(".whl"):
            return ClassifiedName(FileKind.WHEEL, _wheel_version(canonicalize_name(project), filename))
        return ClassifiedName(FileKind.SDIST, _sdist_version(canonicalize_name(project), filename))
    except _RefusedName as refusal:
        return ClassifiedName(FileKind.REFUSED, _seeming_version(canonicalize_name(project), filename), str(refusal))


def is_plain_wheel(filename: str) -> bool:
    """Whether it is surely the name of a wheel: told without taking it apart."""
    return _PLAIN_WHEEL.fullmatch(filename) is not None


@lru_cache(maxsize=4096)
def wheel_tags(filename: str) -> frozenset[Tag]:
    """The tags of a name that ``classify`` called a wheel. Remembered: each is asked once for every target."""
    plain = _PLAIN_WHEEL.fullmatch(filename)
    return known_tags(plain["tags"]) if plain else parse_wheel_filename(filename)[3]


@lru_cache(maxsize=4096)
def known_tags(tags: str) -> frozenset[Tag]:
    """The tags of a wheel's name, of which the world has a few hundred."""
    return parse_tag(tags)


@lru_cache(maxsize=65536)
def read_version(text: str) -> Version:
    """A version by PEP 440. Raises InvalidVersion. Remembered: every file of a release is called by it."""
    return Version(text)


@lru_cache(maxsize=65536)
def canonical(version: Version) -> str:
    """As release.version spells it: trailing zeros stripped."""
    return canonicalize_version(version)


def is_pure(tags: Iterable[Tag]) -> bool:
    """Whether a wheel with these tags installs on any platform."""
    return _is_pure(frozenset(tags))


@lru_cache(maxsize=4096)
def _is_pure(tags: frozenset[Tag]) -> bool:
    """Remembered: a frozen set knows its hash, and there are a few hundred of them."""
    return any(tag.platform == "any" for tag in tags)


def _check_characters(filename: str) -> None:
    if not filename:
        raise _RefusedName("an empty name")
    if len(filename) > LONGEST_NAME:
        raise _RefusedName(f"longer than {LONGEST_NAME} characters")
    if unexpected := _UNEXPECTED.search(filename):
        # ascii(), since what stands here may look like a letter or end a line of a log.
        raise _RefusedName(f"holds {unexpected[0]!a}, which no file name of a release needs")


def _wheel_version(project: NormalizedName, filename: str) -> Version:
    plain = _PLAIN_WHEEL.fullmatch(filename)
    if plain and plain["name"].lower().replace("_", "-") == project:
        return read_version(plain["version"])
    tag_sets = filename.removesuffix(".whl").split("-")[-3:]
    if prod(len(tags.split(".")) for tags in tag_sets) > MOST_TAGS:
        raise _RefusedName(f"claims more than {MOST_TAGS} tags")
    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except ValueError as error:
        raise _RefusedName(f"not a wheel's name: {error}") from error
    if name != project:
        raise _RefusedName(f"a wheel of {name}, not of {project}")
    return version


def _sdist_version(project: NormalizedName, filename: str) -> Version:
    suffix = next((suffix for suffix in SDIST_SUFFIXES if filename.endswith(suffix)), None)
    if suffix is None:
        raise _RefusedName(_why_no_sdist(filename))
    version = _text_after(project, filename.removesuffix(suffix))
    try:
        return read_version(version)
    except InvalidVersion as error:
        if _DUMB.search(version):
            raise _RefusedName("a dumb binary distribution of one platform") from error
        raise _RefusedName(f"{version!r} is not a version (PEP 440)") from error


def _why_no_sdist(filename: str) -> str:
    # Longest first, so that .tar.lz is not taken for something shorter.
    for suffix in sorted(_REFUSED_SUFFIXES, key=len, reverse=True):
        if filename.endswith(suffix):
            return _REFUSED_SUFFIXES[suffix]
    return "neither a wheel nor an archive of a kind that builders unpack"


def _text_after(project: NormalizedName, stem: str) -> str:
    """What follows the project's name and a dash, whichever way the name is spelled."""
    if stem[: len(project)].lower().replace("_", "-").replace(".", "-") == project and stem[len(project) : len(project) + 1] == "-":
        return stem[len(project) + 1 :]
    found = _stem_of(project).fullmatch(stem)
    if found is None:
        raise _RefusedName(f"does not begin with {project} and a dash")
    return found[1]


@lru_cache(maxsize=256)
def _stem_of(project: NormalizedName) -> re.Pattern[str]:
    name = "[-_.]+".join(map(re.escape, project.split("-")))
    return re.compile(f"(?:{name})-(.*)", re.IGNORECASE | re.DOTALL)


def _seeming_version(project: NormalizedName, filename: str) -> Version | None:
    """The longest beginning of what follows the project's name that is a version, as in foo-1.0.win32-py2.7.exe."""
    try:
        text = _text_after(project, filename[:LONGEST_NAME])
    except _RefusedName:
        return None
    ends = [len(text), *(separator.start() for separator in reversed(list(re.finditer("[-.]", text))))]
    return next((Version(text[:end]) for end in ends if is_version(text[:end])), None)


def is_version(text: str) -> bool:
    """Whether this is a version by PEP 440."""
    try:
        return bool(read_version(text))
    except InvalidVersion:
        return False

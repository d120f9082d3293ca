"""Whether a file is what it says: a whole wheel of its release, that installs and loads on its target.

The builder asks before it delivers a wheel, the index host again before it publishes it; neither trusts where it came from.
Binary distribution format, PEP 427, 425, 440, 600.
"""

import hashlib
import os
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from email.parser import BytesParser
from math import prod
from pathlib import Path

from installer.sources import WheelFile
from packaging.tags import Tag, parse_tag
from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from piwheels_builder.elf import BadElf, ElfFacts
from piwheels_builder.elf_files import elf_files
from piwheels_builder.errors import WheelRejected
from piwheels_builder.targets import ARCHITECTURES, Target
from piwheels_builder.zips import BadZip, open_zip

#: The most a wheel may have: the file, one file of metadata, in bytes.
LARGEST = 2 * 2**30
_LARGEST_METADATA = 8 * 2**20
#: A wheel's name may hold sets of tags (PEP 425); their product is bounded before anyone multiplies it out.
_MOST_TAGS = 500
#: What the package of the C library (glibc 2.31 and later) holds on every machine: no system is without it.
_OF_LIBC = re.compile(r"(ld-linux.*|libc|libm|libmvec|libdl|libpthread|librt|libutil|libresolv|libanl|libnsl)\.so\.\d+")
_MANYLINUX_NAMES = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}


@dataclass(frozen=True)
class InspectedWheel:
    """A whole wheel. ``sha256`` are hex, ``size`` bytes; ``glibc_floor`` like "2.17", None where nothing in it needs a glibc.

    ``beyond_armv6``: why what it holds for 32-bit ARM would not run on a Pi 1 or Zero; None if it would, or there is nothing.
    """

    filename: str
    project: NormalizedName
    version: Version
    tags: frozenset[Tag]
    sha256: str
    size: int
    metadata: bytes
    metadata_sha256: str
    requires_python: str | None
    glibc_floor: str | None
    beyond_armv6: str | None
    #: Shared libraries that it needs and does not hold, by soname, sorted; without the C library's own.
    libraries: tuple[str, ...] = ()


def check_wheel(path: Path, project: str, version: str, target: Target) -> InspectedWheel:
    """Inspect a wheel, and see that it is of this release and serves this target. Raises WheelRejected, OSError."""
    _check_release(path.name, project, version)
    wheel = inspect_wheel(path)
    if not target.is_served_by(wheel.tags):
        raise WheelRejected(f"{path.name} does not install on {target}")
    if wheel.glibc_floor and tuple(map(int, wheel.glibc_floor.split("."))) > target.glibc:
        raise WheelRejected(
            f"{path.name} needs glibc {wheel.glibc_floor}, {target.os_release} has {'.'.join(map(str, target.glibc))}"
        )
    return wheel


def inspect_wheel(path: Path) -> InspectedWheel:
    """Read a wheel whole and check all it says about itself. Raises WheelRejected, and OSError if it can't be read.

    Made for hostile files: memory and time are bounded by LARGEST and what zips.open_zip allows.
    """
    project, version, tags = _parse_filename(path.name)
    size, sha256 = _digest(path)
    try:
        with open_zip(path) as archive:
            content = _read_content(archive, path.name)
    except (WheelRejected, OSError):
        raise
    except (BadZip, BadElf) as error:
        raise WheelRejected(f"{path.name} {error}"[:300]) from error
    except Exception as error:  # What strangers put into zip files makes zipfile and installer raise nearly anything.
        raise WheelRejected(f"{path.name} is broken: {type(error).__name__}: {error}"[:300]) from error
    _check_metadata(content, path.name, project, version)
    _check_tags(content, path.name, tags)
    return InspectedWheel(
        filename=path.name,
        project=project,
        version=version,
        tags=tags,
        sha256=sha256,
        size=size,
        metadata=content.metadata,
        metadata_sha256=hashlib.sha256(content.metadata).hexdigest(),
        requires_python=_header(content.metadata, "Requires-Python"),
        glibc_floor=_floor_text(content.elfs),
        beyond_armv6=content.beyond_armv6,
        libraries=content.libraries,
    )


@dataclass(frozen=True)
class _Content:
    """Of a wheel's archive, what decides about it. ``elfs``: those that Linux could load, by name."""

    metadata: bytes
    wheel: bytes
    elfs: tuple[tuple[str, ElfFacts], ...]
    beyond_armv6: str | None
    libraries: tuple[str, ...]


def _parse_filename(filename: str) -> tuple[NormalizedName, Version, frozenset[Tag]]:
    tag_sets = filename.removesuffix(".whl").split("-")[-3:]
    if prod(len(tags.split(".")) for tags in tag_sets) > _MOST_TAGS or not filename.isascii() or filename.startswith("."):
        raise WheelRejected(f"{filename[:200]!a} is not the name of a wheel")
    try:
        project, version, _, tags = parse_wheel_filename(filename)
    except ValueError as error:
        raise WheelRejected(f"{filename[:200]!a} is not the name of a wheel: {error}"[:300]) from error
    return project, version, tags


def _check_release(filename: str, project: str, version: str) -> None:
    its_project, its_version, _ = _parse_filename(filename)
    if its_project != canonicalize_name(project) or its_version != Version(version):
        raise WheelRejected(f"{filename} is not a wheel of {project} {version}", other_release=True)


def _digest(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST:
            raise WheelRejected(f"{path.name} has {size} bytes; the most a wheel may have is {LARGEST}")
        return size, hashlib.file_digest(file, "sha256").hexdigest()


def _read_content(archive: zipfile.ZipFile, filename: str) -> _Content:
    source = WheelFile(archive)
    try:
        source.validate_record()
    except WheelFile.validation_error as error:
        raise WheelRejected(f"{filename}: {'; '.join(error.issues[:3])}"[:300]) from error
    metadata = _read_member(archive, f"{source.dist_info_dir}/METADATA")
    wheel = _read_member(archive, f"{source.dist_info_dir}/WHEEL")
    files = tuple(elf_files(archive))
    loadable = tuple((name, elf) for name, elf in files if elf and elf.loadable)
    return _Content(metadata, wheel, loadable, _beyond_armv6(files), _libraries(loadable, archive.namelist()))


def _libraries(elfs: Iterable[tuple[str, ElfFacts]], members: Iterable[str]) -> tuple[str, ...]:
    needed = {library for _, elf in elfs for library in elf.needed}
    held = {member.rpartition("/")[2] for member in members} if needed else set()
    return tuple(sorted(library for library in needed - held if not _OF_LIBC.fullmatch(library)))


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        size = archive.getinfo(name).file_size
    except KeyError as error:
        raise WheelRejected(f"a wheel without {name}") from error
    if size > _LARGEST_METADATA:
        raise WheelRejected(f"{name} has {size} bytes")
    return archive.read(name)


def _beyond_armv6(files: Iterable[tuple[str, ElfFacts | None]]) -> str | None:
    """Why what is compiled for 32-bit ARM does not run on a Pi 1 or Zero. Of other machines' files, those that Linux loads are
    refused by the wheel's tags, and firmware is data.
    """
    for name, elf in files:
        if elf is None:
            return f"{name!a} holds objects that nobody could look into"
        why = elf.beyond("armv6l") if elf.machine == "EM_ARM" else None
        if why:
            return f"{name!a} {why}"
    return None


def _check_metadata(content: _Content, filename: str, project: NormalizedName, version: Version) -> None:
    if b"\0" in content.metadata:
        # No text of a database can hold it, and no tool writes it.
        raise WheelRejected(f"{filename}: its METADATA holds a NUL character")
    name, spelled = _header(content.metadata, "Name"), _header(content.metadata, "Version")
    if not name or not spelled:
        raise WheelRejected(f"{filename}: its METADATA names no project or no version")
    try:
        same = canonicalize_name(name) == project and Version(spelled) == version
    except InvalidVersion as error:
        raise WheelRejected(f"{filename}: its METADATA has the version {spelled[:100]!a}, which is none (PEP 440)") from error
    if not same:
        raise WheelRejected(f"{filename}: its METADATA says {name[:100]!a} {spelled[:100]!a}", other_release=True)


def _check_tags(content: _Content, filename: str, tags: frozenset[Tag]) -> None:
    """The name's tags are the WHEEL file's, and what the ELF files are made for."""
    lines = BytesParser().parsebytes(content.wheel, headersonly=True).get_all("Tag") or []
    if frozenset(tag for line in lines[:_MOST_TAGS] for tag in _parse_tag(str(line))) != tags:
        raise WheelRejected(f"{filename}: its WHEEL file says other tags than its name: {', '.join(map(str, lines))}"[:300])
    for name, elf in content.elfs:
        for platform in {tag.platform for tag in tags}:
            _check_elf(filename, name, elf, platform)


def _parse_tag(line: str) -> frozenset[Tag]:
    if prod(len(part.split(".")) for part in line.split("-")) > _MOST_TAGS:
        return frozenset()
    try:
        return parse_tag(line.strip())
    except ValueError:
        return frozenset()


def _check_elf(filename: str, name: str, elf: ElfFacts, platform: str) -> None:
    architecture = next((known for known in ARCHITECTURES if platform.endswith(f"_{known}")), None)
    if architecture is None:
        raise WheelRejected(f"{filename} is tagged {platform} and holds compiled code: {name!a}")
    if why := elf.beyond(architecture):
        raise WheelRejected(f"{filename} is tagged {platform}, but {name!a} {why}")
    floor = _manylinux_level(platform)
    if floor and elf.glibc and elf.glibc > floor:
        raise WheelRejected(f"{filename} is tagged {platform}, but {name!a} needs glibc {'.'.join(map(str, elf.glibc))}")


def _manylinux_level(platform: str) -> tuple[int, int] | None:
    found = re.match(r"manylinux_(\d+)_(\d+)_", platform)
    return (int(found[1]), int(found[2])) if found else _MANYLINUX_NAMES.get(platform.partition("_")[0])


def _header(metadata: bytes, name: str) -> str | None:
    value = BytesParser().parsebytes(metadata, headersonly=True).get(name)
    return None if value is None else " ".join(str(value).split())


def _floor_text(elfs: tuple[tuple[str, ElfFacts], ...]) -> str | None:
    floor = max((elf.glibc for _, elf in elfs if elf.glibc), default=None)
    return f"{floor[0]}.{floor[1]}" if floor else None

"""One build without fleet or database: the release to build, for this machine, from a command line."""

import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name, canonicalize_version
from packaging.version import InvalidVersion, Version

from piwheels_builder.builder.attempt import Attempt
from piwheels_builder.builder.build import build
from piwheels_builder.builder.delivery import own_delivery
from piwheels_builder.builder.fetch import SdistCache
from piwheels_builder.builder.in_memory import memory_area
from piwheels_builder.builder.interpreter import Interpreter, describe
from piwheels_builder.builder.limits import MEMORY_OF_CLASS
from piwheels_builder.builder.machine import processors
from piwheels_builder.builder.sandbox import check_sandbox, sandbox_program
from piwheels_builder.builder.workshop import Workshop
from piwheels_builder.catalogue.filenames import SDIST_SUFFIXES, FileKind, classify
from piwheels_builder.errors import BadInput, UnknownProject
from piwheels_builder.queue.batch import LeasedBuild, Sdist
from piwheels_builder.settings import FIRST_BUILD_UID
from piwheels_builder.states import Outcome
from piwheels_builder.targets import GLIBC, Target

if TYPE_CHECKING:
    from piwheels_builder.catalogue.offered import OfferedFile


@dataclass(frozen=True)
class Trial:
    """What came of it: ``wheel`` is None unless built; ``log`` is kept either way."""

    attempt: Attempt
    wheel: Path | None
    log: Path


def try_release(asked: str, wheel_dir: Path, python: Path | None, state_dir: Path | None, progress: Callable[[str], None]) -> Trial:
    """Build ``PROJECT``, ``PROJECT==VERSION`` or an sdist's file for this machine. Raises FleetError for what can't be tried."""
    state_dir = (state_dir or default_state_dir()).absolute()
    path = python or Path(sys.executable)
    target = this_target(describe(path))
    workshop = Workshop(
        state_dir, {target.python: path}, first_build_uid=FIRST_BUILD_UID, cores=processors(), in_memory=memory_area(state_dir, 1)
    )
    sandbox_program(workshop.build_uid)
    for directory in (state_dir / "logs", wheel_dir):
        directory.mkdir(parents=True, exist_ok=True)
    lease_id = uuid4()
    with own_delivery(state_dir, lease_id) as delivery:
        progress(f"looking for {asked}")
        leased = _leased(asked, target, SdistCache(state_dir / "cache/sdists"))
        attempt = build(leased, lease_id, workshop, delivery, progress)
        if attempt.outcome is Outcome.BUILDER_FAULT:
            # Looked at only now: a sandbox for nothing takes as long as all that is ours in a small build.
            check_sandbox(workshop.build_uid)
        return _keep(attempt, delivery, wheel_dir, state_dir / "logs")


def default_state_dir() -> Path:
    """Where environments, sdists and logs of trials are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "piwheels-builder"


def this_target(python: Interpreter) -> Target:
    """The target that a Python of this machine is. Raises BadInput where that is none of a fleet's."""
    machine = platform.machine()
    if python.bits == 32:
        # A 64-bit kernel under a 32-bit userland.
        machine = {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}.get(machine, machine)
    return Target(python.python_abi, machine, _os_release())


def _os_release() -> str:
    """The OS release of this machine; where a fleet doesn't know it, the oldest known one with no older C library."""
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    if codename in GLIBC:
        return codename
    ours = tuple(int(part) for part in platform.libc_ver()[1].split(".")[:2] if part.isdecimal())
    return next((name for name, glibc in GLIBC.items() if glibc >= ours), list(GLIBC)[-1])


def _leased(asked: str, target: Target, cache: SdistCache) -> LeasedBuild:
    path = Path(asked)
    if path.is_file():
        project, version, sdist = _from_file(path, cache)
    elif asked.endswith(SDIST_SUFFIXES):
        raise BadInput(f"{asked}: there is no such file")
    else:
        project, version, sdist = _from_upstream(asked, target)
    return LeasedBuild(0, project, version, target, sdist, 0.0, memory_class=len(MEMORY_OF_CLASS) - 1)


def _from_file(path: Path, cache: SdistCache) -> tuple[str, str, Sdist]:
    stem = next((path.name.removesuffix(suffix) for suffix in SDIST_SUFFIXES if path.name.endswith(suffix)), "")
    # The project is whatever stands before a dash such that a version stands behind it.
    for place in (number for number, character in enumerate(stem) if character == "-"):
        named = classify(stem[:place], path.name)
        if named.kind is FileKind.SDIST and named.canonical_version is not None:
            sdist = Sdist(path.name, path.absolute().as_uri(), cache.add(path), path.stat().st_size)
            return canonicalize_name(stem[:place]), named.canonical_version, sdist
    raise BadInput(f"{path.name} is not the name of an sdist: it should be PROJECT-VERSION.tar.gz")


def _from_upstream(asked: str, target: Target) -> tuple[str, str, Sdist]:
    # What it imports takes longer than many a build, and an sdist's file doesn't need it.
    from piwheels_builder.catalogue.upstream import UpstreamIndex  # noqa: PLC0415

    project, wanted = _parse(asked)
    with UpstreamIndex() as upstream:
        page = upstream.page(canonicalize_name(project))
    candidates = [found for file in page.files if (found := _candidate(project, file, target, wanted))] if page else []
    if not candidates:
        raise UnknownProject(f"the upstream index has no sdist of {asked} for {target}: is the version right?")
    version, file = max(candidates, key=lambda found: (not found[0].is_prerelease, found[0]))
    sdist = Sdist(file.filename, file.url, file.sha256, file.size, file.upload_time)
    return canonicalize_name(project), canonicalize_version(version), sdist


def _parse(asked: str) -> tuple[str, Version | None]:
    """A project and a version, None for the newest. Raises BadInput."""
    project, equals, version = asked.partition("==")
    try:
        return Requirement(project).name, Version(version) if equals else None
    except (InvalidRequirement, InvalidVersion) as error:
        raise BadInput(f"{asked!r} is neither release nor file: write docopt==0.6.2, docopt or docopt-0.6.2.tar.gz") from error


def _candidate(project: str, file: "OfferedFile", target: Target, wanted: Version | None) -> "tuple[Version, OfferedFile] | None":
    named = classify(project, file.filename)
    if named.kind is not FileKind.SDIST or named.version is None:
        return None
    if wanted is not None:
        return (named.version, file) if named.version == wanted else None
    return (named.version, file) if not file.yanked and _admits(file, target) else None


def _admits(file: "OfferedFile", target: Target) -> bool:
    try:
        return target.is_admitted_by(file.requires_python)
    except ValueError:
        return True


def _keep(attempt: Attempt, delivery: Path, wheel_dir: Path, logs: Path) -> Trial:
    log = logs / f"{attempt.project}-{attempt.version}.log"
    shutil.move(delivery / "log.txt", log)
    if attempt.wheel is None:
        return Trial(attempt, None, log)
    # In two steps, since wheel_dir may be another disk and must never show half a wheel.
    wheel = wheel_dir / attempt.wheel.filename
    partial = wheel.with_name(f".{wheel.name}.{uuid4().hex}")
    shutil.move(delivery / wheel.name, partial)
    return Trial(attempt, partial.rename(wheel), log)

"""`serve --check`: what a host must have before builds are sound on it, each with the remedy where it is missing."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import packaging

import piwheels_builder
from piwheels_builder.builder import about_tag
from piwheels_builder.builder.bubblewrap import pretence
from piwheels_builder.builder.cgroup import memory_control
from piwheels_builder.builder.disk import free_bytes
from piwheels_builder.builder.interpreter import describe
from piwheels_builder.builder.record import database_clock
from piwheels_builder.builder.sandbox import personality, variables
from piwheels_builder.builder.serve import NO_SANDBOX, check_enclosure
from piwheels_builder.errors import FleetError
from piwheels_builder.settings import BuilderSettings
from piwheels_builder.targets import Target

#: By so many seconds this host's clock may be off the database's.
_MOST_OFF = 60.0
_SECONDS = 60
#: The machines a 32-bit ARM Python may call its own: a 64-bit kernel is armv8l to it, and armv6l is what all of them run.
_32_BIT = {"armv6l", "armv7l", "i686"}
_RUNS_ON = {"armv7l": ("armv7l", "armv8l"), "armv6l": ("armv6l", "armv7l", "armv8l")}


@dataclass(frozen=True)
class Check:
    """``state``: ok, warning or failed. ``says``: what was found, and what to do where that is not well."""

    name: str
    state: str
    says: str


class _Failed(Exception):
    """What was found, with its remedy."""


class _Warned(Exception):
    """What was found, and can be lived with."""


def run_checks(settings: BuilderSettings) -> list[Check]:
    """All of them, whatever the others say."""
    checks: dict[str, Callable[[BuilderSettings], str]] = {
        "interpreters": _interpreters,
        "architecture": _architecture,
        "sandbox": _sandbox,
        "memory": _memory,
        "disk": _disk,
        "clock": _clock,
    }
    return [_outcome(name, check, settings) for name, check in checks.items()]


def as_json(checks: list[Check]) -> str:
    """Of the form {"ready": bool, "checks": [{"name", "state", "says"}]}."""
    return json.dumps({"ready": is_ready(checks), "checks": list(map(asdict, checks))}, indent=1)


def is_ready(checks: list[Check]) -> bool:
    """Whether none has failed."""
    return all(check.state != "failed" for check in checks)


def _outcome(name: str, check: Callable[[BuilderSettings], str], settings: BuilderSettings) -> Check:
    try:
        return Check(name, "ok", check(settings))
    except _Warned as warning:
        return Check(name, "warning", str(warning))
    except (_Failed, FleetError, OSError) as failure:
        return Check(name, "failed", str(failure))


def _interpreters(settings: BuilderSettings) -> str:
    for abi, python in settings.pythons.items():
        if not python.is_file():
            raise _Failed(f"builder.yml says that {abi} is {python}, which is not there: run `ansible-playbook provision.yml`")
        found = describe(python).python_abi
        if found != abi:
            raise _Failed(f"builder.yml says that {abi} is {python}, which is {found}: correct fleet_pythons")
    return ", ".join(f"{abi} is {python}" for abi, python in settings.pythons.items())


def _architecture(settings: BuilderSettings) -> str:
    tags, wanted = {}, settings.architecture
    for abi, python in settings.pythons.items():
        real, tags[abi] = _first_tags(python, Target(abi, wanted, settings.os_release))
        # The personality has a 64-bit Python name a 32-bit machine, too.
        bits = describe(python).bits
        fits = bits == (32 if wanted in _32_BIT else 64) and any(
            real.endswith(f"_{machine}") for machine in _RUNS_ON.get(wanted, (wanted,))
        )
        if not fits or not tags[abi].endswith(f"_{wanted}"):
            raise _Failed(
                f"{python} ({bits} bits) makes wheels for {tags[abi] if fits else real}, and builder.yml says {wanted}: run "
                "`ansible-playbook provision.yml` again, or install the Python of that architecture"
            )
    return ", ".join(f"{abi} makes {tag}" for abi, tag in tags.items())


def _first_tags(python: Path, target: Target) -> tuple[str, str]:
    """The platform tag that pip of this Python likes best, and the one it likes by what a build is told of this machine."""
    packages = os.fspath(Path(packaging.__file__).parents[1])
    # Neither -I nor -E: it reads a variable.
    command = [*pretence(personality(target)), os.fspath(python), "-s", "-S", about_tag.__file__, packages]
    try:
        told = subprocess.run(command, env=variables(target), capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise _Failed(f"{python} does not answer within {_SECONDS} s: is this host overloaded?") from error
    if told.returncode:
        said = (told.stderr.strip().splitlines() or [f"exit code {told.returncode}"])[-1]
        raise _Failed(f"{' '.join(command)} fails ({said}): is this Python whole, and `setarch` there (util-linux)?")
    real, as_told = told.stdout.split()
    return real, as_told


def _sandbox(settings: BuilderSettings) -> str:
    check_enclosure(settings)
    if settings.sandbox == "off":
        raise _Warned(f"{NO_SANDBOX}; for tests only")
    return "bubblewrap works"


def _memory(_settings: BuilderSettings) -> str:
    there, ours = memory_control()
    if there is None:
        raise _Warned("no control groups of version 2 here: builds are bounded by process limits and a watcher")
    if not there:
        raise _Warned(
            "the kernel has no memory controller, so builds are bounded by process limits and a watcher: on a Raspberry Pi add "
            "`cgroup_enable=memory` to the line in /boot/firmware/cmdline.txt, and restart it"
        )
    if ours is False:
        raise _Failed("systemd delegated a control group without the memory controller: set Delegate=yes, MemoryAccounting=yes")
    return "control groups bound it" if ours else "the kernel can bound it, where systemd delegates a control group (Delegate=yes)"


def _disk(settings: BuilderSettings) -> str:
    place = next(place for place in (settings.state_dir, *settings.state_dir.parents) if place.exists())
    free, needed = free_bytes(place) >> 20, settings.build_disk_mb
    if free < needed:
        raise _Failed(f"{free} MiB free in {place}, and one build may fill {needed}: make space, or lower builder_build_disk_mb")
    return f"{free} MiB free in {place}"


def _clock(settings: BuilderSettings) -> str:
    now, installed = time.time(), max(_file_times())
    if now < installed - _MOST_OFF:
        raise _Failed(
            f"the clock says {_shown(now)}, and this software is of {_shown(installed)}: set it (`timedatectl set-ntp true`)"
        )
    try:
        theirs = database_clock(settings)
    except FleetError as error:
        raise _Warned(f"{_shown(now)} may be right; the database's clock can't be asked ({error})") from error
    off = datetime.now(UTC) - theirs
    if abs(off.total_seconds()) > _MOST_OFF:
        raise _Failed(f"the clock is {off.total_seconds():+.0f} s off the database's: set it (`timedatectl set-ntp true`)")
    return f"{off.total_seconds():+.1f} s off the database's"


def _file_times() -> Iterator[float]:
    return (path.stat().st_mtime for path in Path(piwheels_builder.__path__[0]).rglob("*.py"))


def _shown(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")

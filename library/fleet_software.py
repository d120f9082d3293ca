#!/usr/bin/python
"""Ansible module: have this version of the fleet's software installed on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleet_software
short_description: Have this version of the fleet's software installed on a host
description:
  - Installs piwheels_builder into a virtual environment of its own, made aside and put in place by renaming a link, so that an
    interrupted run leaves the old version, and a running service keeps its files until it is restarted.
  - Looks at one file first; where that agrees nothing else is done.
  - The action plugin of the same name packs the checkout and carries what is missing.
  - Needs nothing but Debian's python3 on the host.
options:
  directory:
    description: Where everything is installed. The environment is always at C(venv) in it.
    type: path
    required: true
  extras:
    description: Extras of piwheels_builder that this host needs.
    type: list
    elements: str
    default: []
  packages:
    description: Debian packages that have to be there first.
    type: list
    elements: str
    default: []
  index:
    description: The simple index that packages come from. Empty is the one that pip is configured with on the host.
    type: str
    default: ""
  os_releases:
    description: Code names of the OS releases that hosts may run.
    type: list
    elements: str
    required: true
  compiled:
    description: Whether modules are compiled, for users who can't keep what Python compiles for them.
    type: bool
    default: false
  with_playbooks:
    description: Whether the checkout's playbooks are installed too, at C(checkout) in the directory.
    type: bool
    default: false
  version:
    description: Of the package. Set by the action plugin.
    type: str
    required: true
  playbooks_version:
    description: Of the playbooks. Set by the action plugin.
    type: str
    default: ""
  wheel:
    description: Where it was carried to. Set by the action plugin.
    type: path
  playbooks:
    description: Where a tar file with them was carried to. Set by the action plugin.
    type: path
attributes:
  check_mode:
    description: Tells what is missing.
    support: full
  diff_mode: {description: Names what is missing., support: full}
"""

EXAMPLES = r"""
- name: Install this version of the fleet's software
  fleet_software:
    directory: /opt/piwheels-builder
    os_releases: [bookworm, trixie]
    packages: [python3-venv]
"""

RETURN = r"""
missing:
  description: What was not there.
  returned: always
  type: list
"""

import ast
import contextlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

ARGUMENTS = {
    "directory": {"type": "path", "required": True},
    "extras": {"type": "list", "elements": "str", "default": []},
    "packages": {"type": "list", "elements": "str", "default": []},
    "index": {"type": "str", "default": ""},
    "os_releases": {"type": "list", "elements": "str", "required": True},
    "compiled": {"type": "bool", "default": False},
    "with_playbooks": {"type": "bool", "default": False},
    "version": {"type": "str", "required": True},
    "playbooks_version": {"type": "str", "default": ""},
    "wheel": {"type": "path"},
    "playbooks": {"type": "path"},
}
#: What the upstream index has no wheels of for 32-bit ARM, by what Debian calls it.
OF_DEBIAN = {
    "cryptography": "python3-cryptography",
    "paramiko": "python3-paramiko",
    "psutil": "python3-psutil",
    "psycopg2-binary": "python3-psycopg2",
    "pyyaml": "python3-yaml",
}
_PYTHON = "/usr/bin/python3"
#: Seconds. uv unpacks while it reads: a slow card, or root on the network, that keeps it from reading is no network that is away.
PATIENT = {"UV_HTTP_TIMEOUT": "300"}
#: What must be free before anything is installed.
_DISK_MB = 500
#: How often apt's lists are asked for while somebody else holds them, and seconds between.
_TRIES = 10
_BETWEEN_TRIES = 15
#: The keys of pip's configuration that name its index, strongest first.
_INDEX_KEYS = (":env:.index-url", "install.index-url", "global.index-url")


class Refused(Exception):
    """This host cannot be what was asked; the words say how to mend it."""


def is_32_bit_arm() -> bool:
    return sys.maxsize < 2**32 and platform.machine()[:3] in ("arm", "aar")


def run(*command: str, **more: Any) -> str:
    """A program's output. Raises Refused with the end of what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **more)
    if done.returncode:
        raise Refused(f"{' '.join(command[:4])} ... ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-1500:]}")
    return str(done.stdout)


class Software:
    """The software below one directory of this host."""

    def __init__(self, params: dict[str, Any]) -> None:
        self._params = params
        self._directory = Path(params["directory"])
        self._venv = self._directory / "venv"
        self._checkout = self._directory / "checkout"
        #: Newer than a service's start: that service runs an older version.
        self._stamp = self._directory / "installed"

    @property
    def is_there(self) -> bool:
        """Whether any version is installed."""
        return (self._venv / "bin/python").exists()

    @property
    def key(self) -> str:
        """What the environment is made for: the package, what is asked of it, and this host's Python."""
        extras = ",".join(sorted(self._params["extras"]))
        compiled = "compiled" if self._params["compiled"] else "plain"
        return f"{self._params['version']} {extras or '-'} {compiled} {'.'.join(map(str, sys.version_info[:2]))}"

    @property
    def _stamped(self) -> str:
        return "\n".join([self.key, *self.packages, ""])

    @property
    def packages(self) -> list[str]:
        wanted = list(self._params["packages"])
        # paramiko is the index host's alone.
        unneeded = set() if "controller" in self._params["extras"] else {"paramiko"}
        return wanted + [OF_DEBIAN[name] for name in sorted(OF_DEBIAN.keys() - unneeded)] if is_32_bit_arm() else wanted

    def missing(self) -> list[str]:
        """wheel, playbooks, both or neither."""
        wheel = read(self._stamp) != self._stamped or not self.is_there
        playbooks = self._params["playbooks_version"]
        other = bool(playbooks) and leads_to(self._checkout) != playbooks
        return ["wheel"] * wheel + ["playbooks"] * other

    def check_host(self) -> None:
        """Raises Refused where this host can't be one of the fleet's."""
        fields = dict(line.split("=", 1) for line in read(Path("/etc/os-release")).splitlines() if "=" in line)
        release = fields.get("VERSION_CODENAME", "").strip('"') or fields.get("PRETTY_NAME", "an unknown system").strip('"')
        if release not in self._params["os_releases"]:
            raise Refused(f"this host runs {release}: install Debian or Raspberry Pi OS {' or '.join(self._params['os_releases'])}")
        if not Path("/run/systemd/system").is_dir():
            raise Refused("systemd does not run here, and keeps the services running: boot this host with it (systemd-sysv)")
        if os.geteuid() != 0:
            raise Refused("software is installed as root: let ansible_user become root (sudo), or log in as root")
        free = shutil.disk_usage("/opt" if Path("/opt").exists() else "/").free // 2**20
        if free < _DISK_MB:
            raise Refused(f"{free} MB of disk are free and {_DISK_MB} needed: apt-get clean, or use a larger card")

    def install_packages(self) -> None:
        """Debian's packages. The list of what there is is read anew only where one is not found."""
        missing = [name for name in self.packages if name not in installed_packages(self.packages)]
        if not missing:
            return
        if "nginx" in missing:
            # It would serve its own page at once; the fleet runs it as a service of its own.
            run("systemctl", "mask", "nginx.service")
        get = ("apt-get", "-qy", "-o", "DPkg::Lock::Timeout=600")
        install = (*get, "install", "--no-install-recommends", *missing)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
        try:
            run(*install, env=environment)
        except Refused:
            update_lists(*get, env=environment)
            run(*install, env=environment)

    def install_wheel(self, wheel: str) -> None:
        """Make an environment aside, then let the link lead to it. The stamp comes last."""
        versions = self._directory / "versions"
        versions.mkdir(parents=True, exist_ok=True)
        place = versions / self.key.replace(" ", "-")
        self._stamp.unlink(missing_ok=True)
        if not (place / "complete").exists():
            with self._tools(versions / "bootstrap") as tools:
                self._fill(place, wheel, tools)
        before = leads_to(self._venv)
        relink(self._venv, f"versions/{place.name}")
        write(self._stamp, self._stamped)
        # Services that were not restarted yet run from the one before; after a run that died before its stamp that is another.
        remove_others(versions, {place.name, before if before != place.name else newest_besides(place)})

    def _fill(self, place: Path, wheel: str, tools: Path) -> None:
        arm = is_32_bit_arm()
        shutil.rmtree(place, ignore_errors=True)
        environment = {**os.environ, "UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_NO_CONFIG": "1", **PATIENT}
        uv = str(tools / "uv")
        run(uv, "venv", "-q", "--python", _PYTHON, *["--system-site-packages"] * arm, str(place), env=environment)
        extras = ",".join(self._params["extras"] + ["compiled"] * (not arm))
        # pip tells which index this host is configured with.
        command = [uv, "pip", "install", "-q", "--python", str(place / "bin/python"), f"{wheel}[{extras}]", "pip"]
        index = self._params["index"] or configured_index(tools)
        # Not in the command, which everybody on this host can read: it may hold a password.
        environment |= {"UV_DEFAULT_INDEX": index} if index else {}
        command += ["--compile-bytecode"] * self._params["compiled"]
        if arm:
            # uv does not count what the system has: a condition that never holds leaves those out.
            overrides = place / "of-debian.txt"
            write(overrides, "".join(f"{name}; python_version < '0'\n" for name in OF_DEBIAN))
            command += ["--override", str(overrides)]
        run(*command, env=environment)
        run(str(place / "bin/python"), "-c", "import piwheels_builder.settings, psycopg2, psutil, yaml")
        write(place / "complete", "")

    @contextlib.contextmanager
    def _tools(self, bootstrap: Path) -> Iterator[Path]:
        """A directory with python, pip and uv: of the version before, else of an environment that is removed again."""
        if self._works():
            yield self._venv / "bin"
            return
        run(_PYTHON, "-m", "venv", "--clear", str(bootstrap))
        run(str(bootstrap / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "uv")
        yield bootstrap / "bin"
        shutil.rmtree(bootstrap)

    def _works(self) -> bool:
        """Whether the environment of now has what makes another; not after an upgrade of Debian."""
        try:
            run(str(self._venv / "bin/uv"), "--version")
            return bool(run(str(self._venv / "bin/python"), "-m", "pip", "--version"))
        except (Refused, OSError):
            return False

    def install_playbooks(self, tar: str) -> None:
        checkouts = self._directory / "checkouts"
        place = checkouts / self._params["playbooks_version"]
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        run("tar", "--extract", "--no-same-owner", "--file", tar, "--directory", str(place))
        before = leads_to(self._checkout)
        relink(self._checkout, f"checkouts/{place.name}")
        # A round that began before goes on reading the old ones.
        remove_others(checkouts, {place.name, before})


def configured_index(tools: Path) -> str:
    """The index-url that pip is configured with here; empty where it is configured with none."""
    told = run(str(tools / "python"), "-m", "pip", "--disable-pip-version-check", "config", "list")
    settings = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    return next((str(ast.literal_eval(settings[key])) for key in _INDEX_KEYS if settings.get(key)), "")


def update_lists(*get: str, **more: Any) -> None:
    """Read anew what there is. Waits for whoever reads it too, as Debian's own timer does after the first boot. Raises Refused."""
    for left in reversed(range(_TRIES)):
        try:
            run(*get, "update", **more)
        except Refused as error:
            if not left or "Could not get lock" not in str(error):
                raise
            time.sleep(_BETWEEN_TRIES)
        else:
            return


def installed_packages(names: list[str]) -> set[str]:
    command = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *names]
    told = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL).stdout
    return {line.split()[0] for line in told.splitlines() if line.endswith(" installed")}


def read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def write(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(text)
    fresh.replace(path)


def leads_to(link: Path) -> str:
    """The name of what a link leads to; empty where there is no link."""
    return link.readlink().name if link.is_symlink() else ""


def relink(link: Path, target: str) -> None:
    fresh = link.with_name(f".{link.name}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def newest_besides(place: Path) -> str:
    """The name of the whole version beside this one that was made last; empty where there is none."""
    others = [path.parent for path in place.parent.glob("*/complete") if path.parent != place]
    return max(others, key=lambda path: path.stat().st_mtime).name if others else ""


def remove_others(directory: Path, kept: set[str]) -> None:
    for path in directory.iterdir():
        if path.name not in kept:
            shutil.rmtree(path)


def install(module: AnsibleModule, software: Software, missing: list[str]) -> bool:
    """Do what can be done with what was carried here. Returns whether anything was."""
    os.umask(0o022)
    wheel, playbooks = module.params["wheel"], module.params["playbooks"]
    if "wheel" in missing:
        software.install_packages()
    if "wheel" in missing and wheel:
        software.install_wheel(wheel)
    if "playbooks" in missing and playbooks:
        software.install_playbooks(playbooks)
    return bool(wheel or playbooks)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    software = Software(module.params)
    try:
        missing = software.missing()
        if "wheel" in missing:
            software.check_host()
            if module.check_mode and not software.is_there:
                raise Refused("nothing of the fleet is installed here: a dry run can tell no more of this host, so provision it")
        changed = bool(missing) if module.check_mode else install(module, software, missing)
    except Refused as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"the software cannot be installed: {error}")
    diff = {"before": "", "after": "".join(f"{name}\n" for name in missing)}
    module.exit_json(changed=changed, missing=missing, diff=diff)


if __name__ == "__main__":
    main()

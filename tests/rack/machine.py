"""What this machine must have: Debian packages, foreign binaries of ARM, and an apt mirror that the hosts are made from."""

import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.rack.commands import RackError, run, say, works

#: Package -> a file that is there when it is installed.
PACKAGES = {
    "debootstrap": "/usr/sbin/debootstrap",
    "qemu-user-static": "/usr/bin/qemu-arm-static",
    "binfmt-support": "/usr/sbin/update-binfmts",
    "systemd-container": "/usr/bin/systemd-nspawn",
    "nftables": "/usr/sbin/nft",
    "openssh-client": "/usr/bin/ssh",
    "rsync": "/usr/bin/rsync",
    "iproute2": "/usr/bin/ip",
    "e2fsprogs": "/usr/sbin/mkfs.ext4",
    "tayga": "/usr/sbin/tayga",
    "unbound": "/usr/sbin/unbound",
}
BINFMT = Path("/proc/sys/fs/binfmt_misc")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True)
class Mirror:
    """Where apt of this machine fetches Debian from."""

    archive: str
    security: str


def require_root() -> None:
    """Raises RackError unless we are root."""
    if os.geteuid() != 0:
        msg = "a rack needs root: it mounts, makes networks and starts hosts. Run it with sudo."
        raise RackError(msg)


def install_packages(wanted: Mapping[str, str] = PACKAGES) -> None:
    """Install what is missing here of packages, each with a file of its own, without starting any of it. Raises RackError."""
    missing = [package for package, file in wanted.items() if not Path(file).exists()]
    if not missing:
        return
    say(f"installing on this machine: {' '.join(missing)}")
    with services_not_started():
        quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
        if not works(*quiet, "install", "-y", "--no-install-recommends", *missing, seconds=900):
            run(*quiet, "update")
            run(*quiet, "install", "-y", "--no-install-recommends", *missing)


@contextmanager
def services_not_started() -> Iterator[None]:
    """Debian starts services when it installs them, unless this file says otherwise."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def enable_arm() -> None:
    """Let this kernel start programs of 32-bit ARM through qemu. Raises RackError."""
    if not (BINFMT / "register").exists():
        run("mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT)
    entry = BINFMT / "qemu-arm"
    if not entry.exists():
        run("update-binfmts", "--enable", "qemu-arm")
    if not entry.exists() or "flags: " not in entry.read_text() or "F" not in entry.read_text().split("flags: ")[1].split()[0]:
        msg = f"{entry} does not open its interpreter at once (flag F), so a host cannot find it: install Debian's qemu-user-static"
        raise RackError(msg)


def native_architecture() -> str:
    """Debian's name of this machine's architecture."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def debian_architecture(architecture: str) -> str:
    """Debian's name of an architecture of addresses.KINDS, where `native` is this machine's own."""
    return native_architecture() if architecture == "native" else architecture


def mirror() -> Mirror:
    """Read from apt's sources what this machine takes Debian from. Raises RackError."""
    targets = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    return chosen_mirror(targets, codename())


def codename() -> str:
    """The name of this machine's Debian release, or what it calls itself."""
    found = re.search(r"^VERSION_CODENAME=(\S+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    return found[1] if found else ""


def chosen_mirror(targets: str, name: str) -> Mirror:
    """Choose among lines of "URI release component" those of the Debian release called `name`. Raises RackError."""
    found = {release: uri.rstrip("/") for uri, release, component in map(str.split, targets.splitlines()) if component == "main"}
    if name not in found:
        msg = f"apt of this machine has no source of Debian {name or '(no codename)'} main; a rack is made from there"
        raise RackError(msg)
    security = found.get(f"{name}-security", found[name] + "-security")
    return Mirror(found[name], security)

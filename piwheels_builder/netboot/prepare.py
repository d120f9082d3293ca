"""Makes a root that was copied from a card's image, or from another machine, one that boots from the network.

Trees are not trusted: a machine wrote its own root. Nothing is written or removed through a link that leads out of the tree.
"""

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from piwheels_builder.errors import BadInput

_FSTAB = "# The kernel mounts the root; there is no card.\nproc /proc proc defaults 0 0\n"
# Whoever took the interface down, or its address away, would take the root away.
_NETWORKD = "[Match]\nName=eth0\n\n[Link]\nUnmanaged=yes\n"
_NETWORK_MANAGER = "[keyfile]\nunmanaged-devices=interface-name:eth0\n"
_IFUPDOWN = "# eth0 is brought up by the kernel and stays as it is.\nauto lo\niface lo inet loopback\n"
#: What images bring along for a card of their own: growing it, swapping to it, asking for a user at the console.
MASKED = (
    *("dphys-swapfile.service", "resize2fs_once.service", "rpi-resizerootfs.service", "rpi-resize.service", "sshswitch.service"),
    *(
        "regenerate_ssh_host_keys.service",
        "rpi-generate-ssh-host-keys.service",
        "userconfig.service",
        "ifupdown-wait-online.service",
    ),
    *("systemd-networkd-wait-online.service", "NetworkManager-wait-online.service", "e2scrub_reap.service"),
)
#: What must not be the same on two machines, and what a builder had that this is a copy of. Emptied if it is a directory.
_NOT_SHARED = (
    *(
        "etc/machine-id",
        "var/lib/dbus/machine-id",
        "var/lib/systemd/random-seed",
        "etc/piwheels-builder",
        "var/lib/piwheels-builder",
    ),
    *("var/log/journal", "root/.cache", "var/swap", "root/.bash_history"),
)


@dataclass(frozen=True)
class Settings:
    """What every root gets: who may log in as root, the DNS servers, and the script that starts a machine on a shared one."""

    login_keys: tuple[str, ...]
    resolvers: tuple[str, ...]
    first_process: str


def prepare(root: Path, settings: Settings) -> None:
    """Everything that is done once, when a root is made. Raises BadInput, OSError."""
    if not inside(root, "usr/lib/systemd/systemd").exists() and not inside(root, "lib/systemd/systemd").exists():
        msg = f"{root} has no systemd: it is no root of Debian or Raspberry Pi OS. Correct the image's source"
        raise BadInput(msg)
    for name in _NOT_SHARED:
        _empty(inside(root, name))
    for key in inside(root, "etc/ssh/x").parent.glob("ssh_host_*"):
        key.unlink()
    write(root, "etc/machine-id", "uninitialized\n", 0o444)
    write_all(root, {"etc/fstab": _FSTAB, "etc/network/interfaces": _IFUPDOWN})
    write_all(root, {"etc/systemd/network/05-piwheels-netboot.network": _NETWORKD})
    write_all(root, {"etc/NetworkManager/conf.d/piwheels-netboot.conf": _NETWORK_MANAGER})
    for unit in MASKED:
        _link(root, f"etc/systemd/system/{unit}", "/dev/null")
    _link(root, "etc/systemd/system/multi-user.target.wants/ssh.service", "/lib/systemd/system/ssh.service")
    for place in (".piwheels/overlay", "var/lib/piwheels-builder", "etc/piwheels-builder"):
        inside(root, f"{place}/x").parent.mkdir(parents=True, exist_ok=True)
    for name in changing(root, settings):
        _settle(root, name, settings)


def changing(root: Path, settings: Settings) -> list[str]:
    """The files that follow the settings, and differ from them."""
    return [name for name, (text, mode) in _settled(settings).items() if not _is(inside(root, name), text, mode)]


def settle(root: Path, settings: Settings) -> None:
    """Make a root that machines share follow the settings again. Raises BadInput, OSError."""
    for name in changing(root, settings):
        _settle(root, name, settings)


def name_host(root: Path, name: str) -> None:
    """Give a root, or a layer over one, the name of its host."""
    write_all(root, {"etc/hostname": f"{name}\n", "etc/hosts": _hosts(name)})


def _hosts(name: str) -> str:
    return f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 {name}\n"


def _settled(settings: Settings) -> Mapping[str, tuple[str, int]]:
    resolvers = "".join(f"nameserver {address}\n" for address in settings.resolvers)
    return {
        ".piwheels/init": (settings.first_process, 0o755),
        "etc/resolv.conf": (resolvers, 0o644),
        "root/.ssh/authorized_keys": ("".join(f"{key.strip()}\n" for key in settings.login_keys), 0o600),
    }


def _settle(root: Path, name: str, settings: Settings) -> None:
    text, mode = _settled(settings)[name]
    place = inside(root, name)
    if not place.parent.exists():
        place.parent.mkdir(mode=0o700 if name.startswith("root/") else 0o755, parents=True)
    write(root, name, text, mode)


def _is(place: Path, text: str, mode: int) -> bool:
    if place.is_symlink() or not place.is_file():
        return False
    return place.stat().st_mode & 0o777 == mode and place.read_text(errors="replace") == text


def write_all(root: Path, texts: Mapping[str, str]) -> None:
    """Write files that everybody may read."""
    for name, text in texts.items():
        write(root, name, text, 0o644)


def write(root: Path, name: str, text: str, mode: int) -> None:
    """Replace a file of a root in one rename; a link in its place goes, and what it led to stays. Raises BadInput, OSError."""
    place = inside(root, name)
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f".{place.name}.fresh")
    fresh.unlink(missing_ok=True)
    number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(number, "w") as file:
        os.fchmod(number, mode)
        file.write(text)
    fresh.rename(place)


def _link(root: Path, name: str, target: str) -> None:
    place = inside(root, name)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(target)


def _empty(place: Path) -> None:
    if not place.is_dir() or place.is_symlink():
        place.unlink(missing_ok=True)
        return
    for entry in place.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def inside(root: Path, name: str) -> Path:
    """Where a file of a root lies. Its last part may be a link, those before it must not lead out. Raises BadInput."""
    place = root / name
    parent = Path(os.path.realpath(place.parent))
    if not parent.is_relative_to(Path(os.path.realpath(root))):
        msg = f"in {root}, {place.parent.relative_to(root)} leads out of the tree, to {parent}: make it a directory"
        raise BadInput(msg)
    return parent / place.name


def executables(root: Path, names: Iterable[str]) -> list[str]:
    """Those of the names that a root has in none of its directories of programs."""
    places = ("usr/sbin", "usr/bin", "sbin", "bin")
    return [name for name in names if not any(os.path.lexists(root / place / name) for place in places)]

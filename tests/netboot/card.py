"""The image of a card, laid out as Raspberry Pi OS's is: a FAT partition that Pis boot from, and a root with what must go from it.

The files in it are noise, of a third of the real sizes and less, so that what came can be compared byte by byte.
"""

import hashlib
import lzma
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.rack.commands import run

#: Bytes of each file that some Pi asks for.
BOOT_FILES = {
    "bootcode.bin": 52_476,
    "start.elf": 1_479_264,
    "start4.elf": 1_255_616,
    "fixup.dat": 7_274,
    "fixup4.dat": 5_446,
    "config.txt": 1_223,
    "kernel8.img": 3_000_001,
    "kernel_2712.img": 3_100_224,
    # A multiple of each block size: its last block is empty.
    "initramfs8": 1_048_576,
    "initramfs_2712": 1_048_577,
    "bcm2710-rpi-3-b.dtb": 34_228,
    "bcm2710-rpi-3-b-plus.dtb": 34_871,
    "bcm2711-rpi-4-b.dtb": 56_213,
    "bcm2712-rpi-5-b.dtb": 78_314,
    "overlays/vc4-kms-v3d.dtbo": 3_913,
    # Of the card: it must not reach a Pi.
    "cmdline.txt": 180,
    "boot.scr.uimg": 700,
}
_FSTAB = "PARTUUID=4c4e106f-02 / ext4 defaults,noatime 0 1\nPARTUUID=4c4e106f-01 /boot/firmware vfat defaults 0 2\n"
_PROGRAMS = (
    "usr/bin/sh",
    "usr/bin/mount",
    "usr/bin/umount",
    "usr/bin/mountpoint",
    "usr/sbin/pivot_root",
    "usr/sbin/chroot",
    "usr/sbin/modprobe",
)
_MIB = 2**20
_FAT, _ROOT = 24 * _MIB, 8 * _MIB


@dataclass(frozen=True)
class Card:
    """An image, packed, and what lies in its boot partition."""

    packed: Path
    boot: Path

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.packed.read_bytes()).hexdigest()


def make(into: Path, seed: int = 5) -> Card:
    """An .img.xz in a directory, which is made. Raises RackError."""
    boot, root, image = into / "boot", into / "root", into / "card.img"
    _boot_files(boot, seed)
    _root(root)
    image.touch()
    run("truncate", "-s", str(_MIB + _FAT + _ROOT), image)
    start, size = _MIB // 512, _FAT // 512
    run("sfdisk", "-q", image, stdin=f"label: dos\n{start},{size},c\n{start + size},,83\n")
    _write(image, _MIB, lambda part: _fat(part, boot))
    _write(image, _MIB + _FAT, lambda part: _ext4(part, root))
    packed = into / "card.img.xz"
    with lzma.open(packed, "wb", preset=0) as file, image.open("rb") as whole:
        shutil.copyfileobj(whole, file)
    image.unlink()
    return Card(packed, boot)


def _write(image: Path, offset: int, make_part: Callable[[Path], None]) -> None:
    part = image.with_suffix(".part")
    make_part(part)
    with image.open("r+b") as file, part.open("rb") as data:
        file.seek(offset)
        shutil.copyfileobj(data, file)
    part.unlink()


def _fat(part: Path, boot: Path) -> None:
    run("truncate", "-s", str(_FAT), part)
    run("mkfs.vfat", part)
    run("mcopy", "-s", "-i", part, *sorted(boot.iterdir()), "::")


def _ext4(part: Path, root: Path) -> None:
    run("truncate", "-s", str(_ROOT), part)
    run("mkfs.ext4", "-q", "-F", "-d", root, part)


def _boot_files(boot: Path, seed: int) -> None:
    noise = random.Random(seed)
    for name, size in BOOT_FILES.items():
        place = boot / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(noise.randbytes(size))


def _root(root: Path) -> None:
    for name in ("usr/lib/systemd", "usr/bin", "usr/sbin", "etc/ssh", "etc/network", "root", "dev", "proc", "var/lib"):
        root.joinpath(name).mkdir(parents=True)
    root.joinpath("usr/lib/systemd/systemd").write_text("no systemd, but its name\n")
    for name in _PROGRAMS:
        root.joinpath(name).write_text("no program, but its name\n")
    root.joinpath("bin").symlink_to("usr/bin")
    root.joinpath("etc/fstab").write_text(_FSTAB)
    root.joinpath("etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    root.joinpath("etc/ssh/ssh_host_rsa_key").write_text("everybody's\n")
    # Systemd's, as images have it: it leads out of the tree.
    root.joinpath("etc/resolv.conf").symlink_to("/run/systemd/resolve/stub-resolv.conf")

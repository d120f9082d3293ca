"""What the netboot server is told to serve, made once and kept in the rack's cache: Debian's userland for ARM, and what boots it.

It is what a Pi's image is to an own rack: a tree of files as its root, and the files of its boot partition.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.netboot import initramfs
from tests.rack import bootable, images, machine, places
from tests.rack.addresses import Kind
from tests.rack.commands import contained, run, say

PACKAGES = {
    "qemu-system-arm": "/usr/bin/qemu-system-arm",
    "u-boot-qemu": "/usr/lib/u-boot/qemu_arm/u-boot.bin",
    "u-boot-tools": "/usr/bin/mkimage",
}
USERLAND = Kind("netbooted", 8, "bookworm", "armhf")
KERNEL = "linux-image-armmp"
#: Besides the toolchain: what provision.yml installs on a builder, which takes an emulated processor minutes. How bare hosts get it
#: is shown by the rack's others.
MORE = (
    *("nftables", "zram-tools", "sudo", "busybox-static"),
    *("python3-cryptography", "python3-psutil", "python3-psycopg2", "python3-yaml"),
)
#: Of the kernel's modules, what an emulated machine has devices for and a builder rules of its firewall: a fifth of them.
MODULES = ("arch", "block", "crypto", "fs", "lib", "mm", "net", "drivers/block", "drivers/char", "drivers/virtio")
#: As bootable.MASKED, of which every one costs seconds of each boot: what mounts and loads what no builder asks for.
MASKED = (
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount", "sys-fs-fuse-connections.mount"),
    *("dev-mqueue.mount", "modprobe@.service", "kmod-static-nodes.service", "nftables.service"),
    *("systemd-networkd.service", "systemd-networkd.socket", "systemd-network-generator.service", "systemd-pstore.service"),
)
#: u-boot asks for its script by itself. The server's command line for each host stands in a file of its own.
SCRIPT = """\
tftpboot ${scriptaddr} bootargs.env
env import -t ${scriptaddr} ${filesize}
tftpboot ${kernel_addr_r} vmlinuz
tftpboot ${ramdisk_addr_r} initramfs
bootz ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${fdt_addr}
"""
#: Raised when what is written here changes, so that older images are made anew.
RECIPE = 1


@dataclass(frozen=True)
class Served:
    """What was made, by its directory."""

    directory: Path

    @property
    def root(self) -> Path:
        return self.directory / "root"

    @property
    def boot(self) -> Path:
        return self.directory / "boot"


def served() -> Served:
    """What to serve, made if it isn't there. Raises RackError."""
    machine.install_packages(PACKAGES)
    machine.enable_arm()
    base = images.base_image(USERLAND)
    made = places.cache() / "images" / f"netbooted-{base.name}-{RECIPE}"
    with places.locked(places.cache() / "locks" / "netbooted"):
        if not made.exists():
            _make(base, made)
    return Served(made)


def _make(base: Path, made: Path) -> None:
    for older in made.parent.glob("netbooted-*"):
        places.remove(older)
    say("making what a netbooted machine boots, once (five minutes)")
    unfinished = Served(made.with_name("netbooted-unfinished"))
    unfinished.boot.mkdir(parents=True)
    run("cp", "--archive", "--reflink=auto", base, unfinished.root)
    _install(unfinished.root)
    unpacked = unfinished.directory / "kernel"
    _unpack_kernel(unfinished.root, unpacked)
    _add_modules(unpacked, unfinished.root)
    _write_boot(unpacked, unfinished)
    shutil.rmtree(unpacked)
    unfinished.directory.rename(made)


def _install(root: Path) -> None:
    (root / "etc/dpkg/dpkg.cfg.d/unsafe").write_text("force-unsafe-io\n")
    bootable.install(root, [*MORE, *bootable.toolchain()])
    bootable.install_uv(root)
    bootable.mask(root, MASKED)
    # What hosts under qemu-user need, a whole machine with a kernel of its own must show that it does not.
    (root / images.EMULATED_PLACE).unlink()


def _unpack_kernel(root: Path, unpacked: Path) -> None:
    """The kernel of the root's own Debian, unpacked and not installed: that would make an initramfs, in 24 emulated minutes."""
    run("chroot", root, "apt-get", "-qq", "update")
    depends = run("chroot", root, "apt-cache", "depends", KERNEL)
    (package,) = re.findall(r"Depends: (linux-image-\S+-armmp)\n", depends)
    fetched = root / "var/cache/apt/fetched"
    fetched.mkdir()
    run("chroot", root, "sh", "-c", f"cd /{fetched.relative_to(root)} && apt-get -qq -o APT::Sandbox::User=root download {package}")
    (archive,) = fetched.glob("*.deb")
    run("dpkg-deb", "--extract", archive, unpacked)
    shutil.rmtree(fetched)


def _modules(unpacked: Path) -> Path:
    (version,) = (unpacked / "lib/modules").iterdir()
    return version


def _add_modules(unpacked: Path, root: Path) -> None:
    taken = _modules(unpacked)
    kept = root / "lib/modules" / taken.name
    for name in MODULES:
        shutil.copytree(taken / "kernel" / name, kept / "kernel" / name)
    for file in taken.glob("modules.*"):
        shutil.copy2(file, kept)
    run(*contained("chroot", root, "depmod", taken.name))


def _write_boot(unpacked: Path, made: Served) -> None:
    (kernel,) = (unpacked / "boot").glob("vmlinuz-*")
    shutil.copyfile(kernel, made.boot / "vmlinuz")
    busybox = made.root / "bin/busybox"
    (made.boot / "initramfs").write_bytes(initramfs.initramfs(busybox, _modules(unpacked)))
    script = made.directory / "script"
    script.write_text(SCRIPT)
    run("mkimage", "-A", "arm", "-T", "script", "-C", "none", "-d", script, made.boot / "boot.scr.uimg")
    script.unlink()

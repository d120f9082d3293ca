"""What a whole emulated machine boots from: the rack's base image with a kernel, and what provisioning would fetch."""

import shutil
from pathlib import Path

import yaml

from tests.rack import images, machine, places
from tests.rack.addresses import Address, ipv6_network
from tests.rack.commands import RackError, contained, run, say, works

PROGRAM = "qemu-system-x86_64"
PACKAGES = {"qemu-system-x86": f"/usr/bin/{PROGRAM}", "e2fsprogs": "/usr/sbin/mkfs.ext4"}
DISK_BYTES = 6 * 2**30
#: Besides the kernel: what provision.yml installs on a builder. An emulated processor unpacks a compiler for minutes, and how bare
#: hosts get theirs is shown by the rack's others.
MORE = ("nftables", "zram-tools")
TOOLCHAIN = Path(__file__).parents[2] / "roles/builder/files/toolchain.yml"
#: Each costs an emulated processor a second or more of each boot, and shows nothing. Device nodes are the kernel's.
MASKED = (
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "systemd-logind.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "unattended-upgrades.service",
    "serial-getty@ttyS0.service",
    "getty.target",
    "e2scrub_reap.service",
    "e2scrub_all.timer",
    "fstrim.timer",
    "dpkg-db-backup.timer",
    "systemd-pcrphase.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-journal-catalog-update.service",
    "systemd-repart.service",
)
#: The disk is an NVMe one, whose driver is in Debian's kernel: so there is no initial file system to unpack.
#: `panic`: a kernel that can't go on restarts, and the emulator ends instead.
COMMAND_LINE = (
    "root=/dev/nvme0n1 rw console=ttyS0 loglevel=4 net.ifnames=0 panic=1 mitigations=off apparmor=0 nokaslr tsc=reliable "
    "systemd.unit=multi-user.target systemd.show_status=false"
)
MODULES = "virtio_pci\nvirtio_net\nvirtio_rng\n"
CABLE = """\
[Unit]
DefaultDependencies=no
After=systemd-modules-load.service network-pre.target
Before=network.target
Wants=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/ip -batch /etc/cable
[Install]
WantedBy=sysinit.target
"""
NETWORK = """\
link set lo up
link set eth0 up
address add {ipv4}/24 dev eth0
address add {ipv6}/64 dev eth0 nodad
route add default via {gateway_ipv4}
route add {ipv6_network} via {gateway_ipv6}
"""
#: Raised when what is written here changes, so that older trees are made anew.
RECIPE = 1


def bootable_tree(address: Address) -> Path:
    """The root directory that machines are made from, made if it isn't there. Raises RackError."""
    if machine.native_architecture() != "amd64":
        msg = "the rack's whole machine is an x86_64 one, and this machine has no packages for it"
        raise RackError(msg)
    machine.install_packages(PACKAGES)
    base = images.base_image(address.kind)
    tree = places.cache() / "images" / f"machine-{base.name}-{RECIPE}"
    with places.locked(places.cache() / "locks" / "machine"):
        if not tree.exists():
            _make(base, tree)
    return tree


def _make(base: Path, tree: Path) -> None:
    for older in tree.parent.glob("machine-*"):
        if not places.is_in_use(older):
            places.remove(older)
    say("making what a whole machine boots from, once (two minutes)")
    root = tree.with_name("machine-unfinished")
    run("cp", "--archive", "--reflink=auto", base, root)
    install(root, ["linux-image-cloud-amd64", *MORE, *toolchain()])
    install_uv(root)
    strip(root)
    root.rename(tree)


def toolchain() -> list[str]:
    """What the role builder installs at least."""
    packages: list[str] = yaml.safe_load(TOOLCHAIN.read_text())["minimal"]
    return packages


def install_uv(root: Path) -> None:
    """Leave what an older version of the fleet's software would have: pip and uv, which take emulated minutes to install."""
    place = Path("versions/before")
    inside = Path("/opt/piwheels-builder") / place
    run(*contained("chroot", root, "python3", "-m", "venv", inside))
    run(*contained("chroot", root, inside / "bin/python", "-m", "pip", "install", "-q", "uv"))
    (root / "opt/piwheels-builder/venv").symlink_to(place)


def strip(root: Path) -> None:
    """Leave out of a boot what nobody asks for, and bring the network up by the shortest way. Raises RackError."""
    mask(root)
    (root / "etc/modules-load.d/cable.conf").write_text(MODULES)
    (root / "etc/systemd/system/cable.service").write_text(CABLE)
    run("systemctl", f"--root={root}", "enable", "cable.service")


def mask(root: Path, more: tuple[str, ...] = ()) -> None:
    """Leave out of a boot, and of a login, what nobody asks for, and more units."""
    for unit in (*MASKED, *more):
        place = root / "etc/systemd/system" / unit
        place.unlink(missing_ok=True)
        place.symlink_to("/dev/null")
    # Else each login by ssh starts a service manager of its own.
    sessions = root / "etc/pam.d/common-session"
    kept = [line for line in sessions.read_text().splitlines(keepends=True) if "pam_systemd" not in line]
    sessions.write_text("".join(kept))


def install(root: Path, packages: list[str]) -> None:
    """Install Debian packages into a root directory, without starting any of it. Raises RackError."""
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    command = [*images.apt_of(root), "install", "-y", "--no-install-recommends", *packages]
    if not works(*command, seconds=900):
        run(*images.apt_of(root), "update")
        run(*command)
    run(*images.apt_of(root), "clean")
    policy.unlink()


def make_disk(root: Path, address: Address, disk: Path) -> None:
    """Write a machine's disk from its own, furnished root directory. Raises RackError."""
    configured = {"ipv4": address.ipv4, "ipv6": address.ipv6, "ipv6_network": ipv6_network(address.number)}
    gateways = {"gateway_ipv4": address.gateway_ipv4, "gateway_ipv6": address.gateway_ipv6}
    (root / "etc/cable").write_text(NETWORK.format(**configured, **gateways))
    with (root / "etc/hosts").open("a") as hosts:
        hosts.write(f"127.0.1.1 {address.kind.name}\n")
    unfinished = disk.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    run("truncate", "-s", str(DISK_BYTES), unfinished)
    run(*contained("mkfs.ext4", "-q", "-F", "-d", root, unfinished))
    unfinished.rename(disk)


def kernel(tree: Path, directory: Path) -> Path:
    """The kernel of a tree, copied to where it stays when the cache is made anew."""
    kept = directory / "vmlinuz"
    if not kept.exists():
        shutil.copyfile(next((tree / "boot").glob("vmlinuz-*")), kept)
    return kept

"""A whole emulated machine whose root is on NFS: the rack's tree and Debian's kernel, exported by NFS-Ganesha on loopback.

The kernel's own NFS client, whatever this machine's kernel has: it runs in QEMU, which reaches loopback as 10.0.2.2.
"""

import gzip
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.rack import bootable, machine
from tests.rack.addresses import addresses
from tests.rack.commands import RackError, run, say

PACKAGES = {
    **bootable.PACKAGES,
    "nfs-ganesha": "/usr/bin/ganesha.nfsd",
    "nfs-ganesha-vfs": "/usr/lib/x86_64-linux-gnu/ganesha/libfsalvfs.so",
    "busybox-static": "/bin/busybox",
}
MODULES = ("virtio_pci", "virtio_net", "nfsv4")
#: Mounts the root as the kernel would, were its NFS client built in.
FIRST = """\
#!/bin/busybox sh
export PATH=/bin
busybox mount -t proc proc /proc
for module in $(busybox cat /modules); do busybox insmod /lib/$module || echo "no $module"; done
busybox ip link set lo up
busybox ip link set eth0 up
busybox ip address add 10.0.2.15/24 dev eth0
port=$(busybox sed 's/.*nfs_port=\\([0-9]*\\).*/\\1/' /proc/cmdline)
busybox mount -t nfs4 -o "vers=4.1,port=$port,addr=10.0.2.2,clientaddr=10.0.2.15,hard,noatime" 10.0.2.2:/ /root
busybox umount /proc
exec busybox switch_root /root /bench/init
"""
INIT = """\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm; mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm; mount -t tmpfs run /run; mount -t cgroup2 cgroup /sys/fs/cgroup
exec >/dev/console 2>&1 </dev/null
cd /bench && PYTHONPATH=/bench/lib PYTHONDONTWRITEBYTECODE=1 python3 /bench/netboot_inside.py
sync
echo o >/proc/sysrq-trigger
sleep 60
"""
GANESHA = """\
NFS_CORE_PARAM {{ NFS_Port = {port}; Protocols = 4; Bind_addr = 127.0.0.1; Enable_NLM = false; Enable_RQUOTA = false;
    Plugins_Dir = /usr/lib/x86_64-linux-gnu/ganesha; }}
NFSV4 {{ Only_Numeric_Owners = true; Graceless = true; Minor_Versions = 1; }}
EXPORT {{ Export_Id = 1; Path = {root}; Pseudo = /; Access_Type = RW; Squash = No_Root_Squash; SecType = sys;
    FSAL {{ Name = VFS; }} }}
"""
#: Seconds that NFS-Ganesha may take to start, and a machine to do all it has to.
PATIENCE = 60
LONGEST = 3600


def make_root(root: Path) -> None:
    """A tree to export, kept from run to run, with this checkout's software and what goes on in the machine. Raises RackError."""
    machine.require_root()
    machine.install_packages(PACKAGES)
    tree = bootable.bootable_tree(addresses(0)["bookworm"])
    if not root.exists():
        say("copying the tree of the machine")
        run("cp", "--archive", "--reflink=auto", tree, root)
    place = root / "bench"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    here = Path(__file__).parent
    software = [Path(sys.executable).with_name("uv"), "pip", "install", "-q", "--target", place / "lib", "--python", sys.executable]
    run(*map(str, [*software, f"{here.parent}[psycopg2]"]))
    shutil.copy(here / "netboot_inside.py", place)
    (place / "init").write_text(INIT)
    (place / "init").chmod(0o755)


def make_initial_ramdisk(root: Path, image: Path) -> None:
    """The kernel's modules for the way to the root, and busybox. Raises RackError."""
    modules = next((root / "lib/modules").iterdir())
    place = image.with_suffix(".tree")
    shutil.rmtree(place, ignore_errors=True)
    for directory in ("bin", "lib", "proc", "root", "dev"):
        (place / directory).mkdir(parents=True)
    os.mknod(place / "dev/console", 0o600 | 0o020000, os.makedev(5, 1))
    shutil.copy("/bin/busybox", place / "bin/busybox")
    (place / "bin/sh").symlink_to("busybox")
    files = in_order(modules)
    for file in files:
        shutil.copy(modules / file, place / "lib")
    (place / "modules").write_text("".join(f"{Path(file).name}\n" for file in files))
    (place / "init").write_text(FIRST)
    (place / "init").chmod(0o755)
    names = "".join(f"{path.relative_to(place)}\n" for path in sorted(place.rglob("*"))).encode()
    packed = subprocess.run(["/bin/busybox", "cpio", "-o", "-H", "newc"], input=names, cwd=place, capture_output=True, check=True)
    image.write_bytes(gzip.compress(packed.stdout, 1))


def in_order(modules: Path) -> list[str]:
    """The files of the modules, each after those that it needs."""
    needs = dict(line.split(":", 1) for line in (modules / "modules.dep").read_text().splitlines())
    found = list[str]()
    for name in MODULES:
        file = next(path for path in needs if path.endswith(f"/{name}.ko"))
        found += [each for each in (*reversed(needs[file].split()), file) if each not in found]
    return found


@contextmanager
def exported(root: Path, place: Path) -> Iterator[int]:
    """NFS-Ganesha for the length of a block. Yields its port. Raises RackError."""
    port = free_port()
    configuration = place / "ganesha.conf"
    configuration.write_text(GANESHA.format(port=port, root=root))
    for needed in ("/var/lib/nfs/ganesha", "/var/run/ganesha"):
        Path(needed).mkdir(parents=True, exist_ok=True)
    log = place / "ganesha.log"
    command = ["ganesha.nfsd", "-F", "-f", configuration, "-L", log, "-p", place / "ganesha.pid"]
    with subprocess.Popen(
        list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            wait_for(port, log)
            yield port
        finally:
            server.send_signal(signal.SIGKILL)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def wait_for(port: int, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError as error:
            if time.monotonic() > deadline:
                msg = f"NFS-Ganesha does not start; its log is {log}"
                raise RackError(msg) from error
            time.sleep(0.2)
        else:
            return


def boot(root: Path, place: Path, nfs_port: int, megabytes: int) -> Iterator[str]:
    """Run the machine until it powers itself off. Yields the lines of its console."""
    kernel = next((root / "boot").glob("vmlinuz-*"))
    append = f"console=ttyS0 quiet loglevel=4 net.ifnames=0 panic=1 mitigations=off nokaslr tsc=reliable nfs_port={nfs_port}"
    command = [bootable.PROGRAM, "-accel", "tcg,thread=multi", "-smp", "2", "-m", str(megabytes), "-nographic", "-no-reboot"]
    command += ["-kernel", str(kernel), "-initrd", str(place / "initrd"), "-append", append]
    command += ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]
    with subprocess.Popen(
        ["timeout", str(LONGEST), *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as emulator:
        try:
            yield from (line.rstrip() for line in emulator.stdout or ())
        finally:
            emulator.terminate()

"""The first file system of an emulated machine: what a Pi's kernel can by itself, and Debian's can with modules only.

That is to have an address and a root by NFS. What becomes of the root, its ``init=`` decides, which is the server's.
"""

import gzip
import io
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: In the order in which each finds what it asks for; NFS 4 asks for the version 3 of nobody, but Debian's nfs.ko comes with both.
MODULES = (
    *("failover", "net_failover", "virtio_mmio", "virtio_net"),
    *("netfs", "fscache", "sunrpc", "grace", "nfs_acl", "lockd", "dns_resolver", "nfs", "nfsv3", "nfsv4", "overlay"),
)
INIT = Path(__file__).with_name("init.sh")


@dataclass(frozen=True)
class Entry:
    """A file of the archive. ``mode`` is a whole st_mode; a link's content is what it leads to."""

    name: str
    mode: int
    content: bytes = b""


def initramfs(busybox: Path, modules: Path) -> bytes:
    """The archive, compressed, of a static busybox and modules of a kernel (its directory below lib/modules). Raises OSError."""
    return gzip.compress(archive(entries(busybox, modules)), compresslevel=6, mtime=0)


def entries(busybox: Path, modules: Path) -> Iterator[Entry]:
    """What is in it. Raises OSError; StopIteration becomes RuntimeError where the kernel has no such module."""
    for directory in ("bin", "dev", "proc", "sys", "run", "modules", "root"):
        yield Entry(directory, stat.S_IFDIR | 0o755)
    yield Entry("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes())
    yield Entry("bin/sh", stat.S_IFLNK | 0o777, b"busybox")
    yield Entry("init", stat.S_IFREG | 0o755, INIT.read_bytes())
    for module in MODULES:
        yield Entry(f"modules/{module}.ko", stat.S_IFREG | 0o644, next(modules.rglob(f"{module}.ko")).read_bytes())
    yield Entry("modules/order", stat.S_IFREG | 0o644, "".join(f"{module}\n" for module in MODULES).encode())


def archive(files: Iterator[Entry]) -> bytes:
    """A cpio archive in the kernel's form (Documentation/driver-api/early-userspace/buffer-format.rst: "newc")."""
    written = io.BytesIO()
    for number, file in enumerate(files, start=1):
        _write(written, number, file)
    _write(written, 0, Entry("TRAILER!!!", 0))
    return written.getvalue()


def _write(written: io.BytesIO, number: int, file: Entry) -> None:
    name = file.name.encode() + b"\0"
    # Inode, mode, uid, gid, links, time, size, four numbers of devices, length of the name, no checksum.
    fields = (number, file.mode, 0, 0, 1, 0, len(file.content), 0, 0, 0, 0, len(name), 0)
    written.write(b"070701" + "".join(f"{field:08X}" for field in fields).encode() + name)
    _pad(written)
    written.write(file.content)
    _pad(written)


def _pad(written: io.BytesIO) -> None:
    written.write(bytes(-written.tell() % 4))

"""Image files of operating systems: the checksum, what is packed, and the two partitions that a Pi needs, mounted read-only."""

import hashlib
import json
import lzma
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from piwheels_builder.errors import BadInput, StorageFault

#: A larger one is none of a Pi's: what was packed to fill the disk ends here.
MOST_BYTES = 64 * 2**30
#: Seconds for copying, unpacking or mounting; a slow disk needs a quarter of an hour for a root.
SECONDS = 3600
_CHUNK = 2**20
_LINUX = {
    "83",
    "0fc63daf-8483-4772-8e79-3d69d8477de4",
    "b921b045-1df0-41c3-af44-4c6f280d3fae",
    "69dad710-2ce4-4e3c-b16c-21a1d49abed3",
}
_BOOT = {"b", "c", "e", "ef", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"}


@dataclass(frozen=True)
class Part:
    """A partition's place in an image, in bytes."""

    start: int
    size: int


def check(image: Path, sha256: str) -> None:
    """Read the whole file. Raises BadInput where it is not the one that was meant."""
    digest = hashlib.sha256()
    try:
        with image.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        msg = f"the image {image} cannot be read on the file server: {error.strerror}. Put it there, or correct its source"
        raise BadInput(msg) from error
    if digest.hexdigest() != sha256.lower():
        msg = f"{image} has the sha256 {digest.hexdigest()}, not {sha256}: fetch it again, or correct netboot_server_images"
        raise BadInput(msg)


@contextmanager
def unpacked(image: Path, beside: Path) -> Iterator[Path]:
    """The image as it is on a card: itself, or unpacked ``beside`` for as long as it is needed. Raises BadInput, StorageFault."""
    if image.suffix != ".xz":
        yield image
        return
    whole = beside / f".{image.stem}.unpacked"
    try:
        with lzma.open(image) as packed, whole.open("wb") as file:
            _unpack(packed, file)
        yield whole
    except (lzma.LZMAError, EOFError) as error:
        msg = f"{image} is no whole .xz file ({error}): fetch it again"
        raise BadInput(msg) from error
    finally:
        whole.unlink(missing_ok=True)


def _unpack(packed: IO[bytes], file: IO[bytes]) -> None:
    """Empty blocks take no room: half of an image is empty."""
    while chunk := packed.read(_CHUNK):
        if chunk.count(0) == len(chunk):
            file.seek(len(chunk), os.SEEK_CUR)
        else:
            file.write(chunk)
        if file.tell() > MOST_BYTES:
            msg = f"it is more than {MOST_BYTES >> 30} GiB unpacked: no image of a Pi's operating system"
            raise BadInput(msg)
    file.truncate()


def partitions(image: Path) -> tuple[Part, Part]:
    """The boot partition and the root partition. Raises BadInput."""
    done = subprocess.run(["sfdisk", "--json", image], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        msg = f"{image} has no partition table ({done.stderr.strip()}): netboot_server_images takes a whole card's image"
        raise BadInput(msg)
    table = json.loads(done.stdout)["partitiontable"]
    boot = _first(table, _BOOT)
    root = _first(table, _LINUX)
    if boot is None or root is None:
        msg = f"{image} lacks a FAT partition to boot from, or a Linux partition: is it an image for Raspberry Pis?"
        raise BadInput(msg)
    return boot, root


def _first(table: dict[str, Any], types: set[str]) -> Part | None:
    sector = int(table.get("sectorsize", 512))
    for part in table.get("partitions", []):
        if str(part["type"]).lower() in types:
            return Part(int(part["start"]) * sector, int(part["size"]) * sector)
    return None


@contextmanager
def mounted(image: Path, part: Part, at: Path, *options: str) -> Iterator[Path]:
    """A partition of an image, read-only. Raises StorageFault."""
    at.mkdir(mode=0o700, parents=True, exist_ok=True)
    said = ",".join(["ro", "loop", "nosuid", "nodev", f"offset={part.start}", f"sizelimit={part.size}", *options])
    run("mount", "-o", said, image, at)
    try:
        yield at
    finally:
        run("umount", at)
        at.rmdir()


def copy(source: Path, target: Path, *options: str) -> None:
    """Copy a tree: owners, hard links, attributes too. Shares blocks where the file system can. Raises StorageFault."""
    target.mkdir(mode=0o755, parents=True)
    run("cp", "--archive", "--reflink=auto", "--one-file-system", *options, f"{source}/.", target)


def copy_fat(image: Path, part: Part, target: Path) -> None:
    """Copy a FAT partition without mounting it, which containers and small kernels cannot. Raises StorageFault."""
    target.mkdir(mode=0o755, parents=True)
    run("env", "LC_ALL=C.UTF-8", "MTOOLS_SKIP_CHECK=1", "mcopy", "-s", "-n", "-i", f"{image}@@{part.start}", "::*", target)


def remove(tree: Path) -> None:
    """Remove what an interrupted run left. Raises OSError."""
    if tree.is_dir() and not tree.is_symlink():
        shutil.rmtree(tree)
    else:
        tree.unlink(missing_ok=True)


def run(*command: str | Path) -> None:
    """Raises StorageFault with what the program said last."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        msg = f"{command[0]} did not end within {SECONDS} s: is the disk broken?"
        raise StorageFault(msg) from error
    if done.returncode:
        msg = f"{' '.join(map(str, command))}: {done.stderr.strip()[-500:]}"
        raise StorageFault(msg)

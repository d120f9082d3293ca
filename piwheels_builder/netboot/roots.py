"""Roots on the file server: each image taken once, and from it a root, or a layer over it, for each machine.

A file beside each says what it was made of, and is written last: what has none is what an interrupted run left, and is made anew.
"""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piwheels_builder.builder.disk import write_atomically
from piwheels_builder.errors import BadInput
from piwheels_builder.netboot import image_files, prepare
from piwheels_builder.netboot.machines import Machine

#: What the first process of a machine on a shared root runs.
_PROGRAMS = ("mount", "umount", "mountpoint", "pivot_root", "chroot", "modprobe", "sh")


@dataclass(frozen=True)
class Image:
    """Where an operating system comes from: a card's image, by its sha256, or a directory. ``boot`` is empty for the usual."""

    name: str
    source: str
    sha256: str
    boot: str

    @classmethod
    def from_mapping(cls, name: str, given: Mapping[str, Any]) -> "Image":
        """Raises BadInput."""
        if not isinstance(given, Mapping):
            msg = f"netboot_server_images, {name}: write {{source: {given}, sha256: ...}}"
            raise BadInput(msg)
        image = cls(name, str(given.get("source") or ""), str(given.get("sha256") or "").lower(), str(given.get("boot") or ""))
        if not name or name.startswith(".") or "/" in name or any(letter.isspace() for letter in name):
            msg = f"{name!r} cannot be an image's name in netboot_server_images: write one word"
            raise BadInput(msg)
        if not Path(image.source).is_absolute():
            msg = f"netboot_server_images, {name}: source is {image.source!r}; write the path of a file or directory on that host"
            raise BadInput(msg)
        return image

    @property
    def made_of(self) -> dict[str, str]:
        """What tells it from another one of the same name."""
        return {"sha256": self.sha256} if self.sha256 else {"source": self.source}


@dataclass(frozen=True)
class Roots:
    """All roots below a directory of the file server."""

    directory: Path
    settings: prepare.Settings

    def image(self, name: str) -> Path:
        """The root of an image."""
        return self.directory / "images" / name

    def boot(self, name: str) -> Path:
        """Its boot files."""
        return self.directory / "boot" / name

    def host(self, machine: Machine) -> Path:
        """What belongs to one machine."""
        return self.directory / "hosts" / machine.name

    # Images

    def image_is_due(self, image: Image) -> bool:
        """Whether it must be made. Raises BadInput where another one has its name: machines run from that."""
        made = _said(self.image(image.name))
        if made is None:
            return True
        if made != image.made_of:
            msg = f"the image {image.name} was made of {made}, not of {image.made_of}: give the new one a name of its own"
            raise BadInput(msg)
        return False

    def make_image(self, image: Image) -> None:
        """Copy it and make it boot from the network. Raises BadInput, StorageFault, OSError."""
        root, boot = self.image(image.name), self.boot(image.name)
        fresh, fresh_boot = root.with_name(f".{image.name}"), boot.with_name(f".{image.name}")
        for left in (fresh, fresh_boot, root, boot):
            image_files.remove(left)
        source = Path(image.source)
        if source.is_dir():
            _from_directory(image, fresh, fresh_boot)
        else:
            _from_file(image, fresh, fresh_boot)
        # Whatever user sends them must be able to read them.
        image_files.run("chmod", "-R", "a+rX", fresh_boot)
        prepare.prepare(fresh, self.settings)
        fresh.rename(root)
        fresh_boot.rename(boot)
        _say(root, image.made_of)

    # Machines

    def machine_is_due(self, machine: Machine) -> bool:
        """Whether something of it must be made. Raises BadInput where its own root is of another image."""
        kind = self._kind(machine)
        made = _said(kind)
        if made is None:
            return True
        if not machine.shared and made != {"image": machine.image}:
            msg = (
                f"{machine.name} has a root of the image {made.get('image')}, not {machine.image}: with the machine off, remove"
                f" {kind} and {kind}.made on the file server, or set netboot_image back"
            )
            raise BadInput(msg)
        return False

    def make_machine(self, machine: Machine) -> None:
        """Its own root, or its layer and state. Raises BadInput, StorageFault, OSError."""
        place = self._kind(machine)
        place.parent.mkdir(mode=0o755, exist_ok=True)
        fresh = place.with_name(f".{place.name}")
        for left in (fresh, place):
            image_files.remove(left)
        if machine.shared:
            self._check_shared(machine)
            fresh.joinpath("etc/ssh").mkdir(parents=True)
            for kept in ("lib/.piwheels", "etc"):
                place.with_name("state").joinpath(kept).mkdir(parents=True, exist_ok=True)
        else:
            image_files.copy(self.image(machine.image), fresh)
        prepare.name_host(fresh, machine.name)
        key = prepare.inside(fresh, "etc/ssh/ssh_host_ed25519_key")
        image_files.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", machine.name, "-f", key)
        fresh.rename(place)
        _say(place, {"image": "" if machine.shared else machine.image})

    def _kind(self, machine: Machine) -> Path:
        return self.host(machine) / ("layer" if machine.shared else "root")

    def _check_shared(self, machine: Machine) -> None:
        missing = prepare.executables(self.image(machine.image), _PROGRAMS)
        if missing:
            msg = (
                f"{machine.name}: the image {machine.image} lacks {', '.join(missing)}, so cannot be shared: set netboot_root: own"
            )
            raise BadInput(msg)


def _from_directory(image: Image, root: Path, boot: Path) -> None:
    source = Path(image.source)
    usual = [place for place in (source / "boot/firmware", source / "boot") if place.is_dir()]
    files = Path(image.boot) if image.boot else next(iter(usual), None)
    if files is None or not files.is_dir():
        msg = f"the image {image.name} has no boot files in {image.boot or source / 'boot'}: say where they are with boot:"
        raise BadInput(msg)
    image_files.copy(source, root)
    image_files.copy(files, boot)


def _from_file(image: Image, root: Path, boot: Path) -> None:
    if len(image.sha256) != 64:
        msg = f"netboot_server_images, {image.name}: write the sha256 that whoever offers the image says it has"
        raise BadInput(msg)
    image_files.check(Path(image.source), image.sha256)
    with ExitStack() as stack:
        card = stack.enter_context(image_files.unpacked(Path(image.source), root.parent))
        boot_part, root_part = image_files.partitions(card)
        # Without replaying a journal, which would have to write.
        seen = stack.enter_context(image_files.mounted(card, root_part, root.with_name(f".{image.name}.root"), "norecovery"))
        image_files.copy(seen, root)
        image_files.copy_fat(card, boot_part, boot)


def _said(place: Path) -> dict[str, str] | None:
    """What a root was made of; None where it was not, or not to the end."""
    note = place.with_name(f"{place.name}.made")
    if not place.is_dir() or not note.is_file():
        return None
    found = json.loads(note.read_text())
    return {str(key): str(value) for key, value in found.items()}


def _say(place: Path, made_of: Mapping[str, str]) -> None:
    write_atomically(place.with_name(f"{place.name}.made"), json.dumps(dict(made_of)) + "\n")

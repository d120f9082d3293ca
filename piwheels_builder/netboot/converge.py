"""Everything that a file server of netbooted machines keeps, in one pass: what must be made, and making it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from piwheels_builder.netboot import boot_files, prepare
from piwheels_builder.netboot.machines import Machine
from piwheels_builder.netboot.roots import Image, Roots


@dataclass(frozen=True)
class Step:
    """One thing that is not as it should be, in words, and how it is made so."""

    what: str
    do: Callable[[], None] = field(compare=False)


@dataclass(frozen=True)
class Rack:
    """All images and machines, and each machine's kernel command line by its name."""

    roots: Roots
    images: tuple[Image, ...]
    machines: tuple[Machine, ...]
    lines: Mapping[str, str]

    def steps(self) -> Iterator[Step]:
        """What is to do, in this order; each step's doing comes before the next one is looked for. Raises BadInput, OSError."""
        for place in (self.roots.directory, *(self.roots.directory / name for name in ("images", "boot", "hosts", "tftp"))):
            if not place.is_dir():
                yield Step(f"make {place}", partial(_directory, place))
        for image in self.images:
            yield from self._image(image)
        for machine in self.machines:
            if self.roots.machine_is_due(machine):
                kind = "the layer" if machine.shared else "a root"
                yield Step(f"make {kind} of {machine.name}", partial(self.roots.make_machine, machine))
        yield from self._boot_files()

    def _image(self, image: Image) -> Iterator[Step]:
        root, settings = self.roots.image(image.name), self.roots.settings
        if self.roots.image_is_due(image):
            yield Step(f"make the image {image.name} of {image.source}", partial(self.roots.make_image, image))
            return
        for name in prepare.changing(root, settings):
            yield Step(f"change {name} in the image {image.name}", partial(prepare.settle, root, settings))

    def _boot_files(self) -> Iterator[Step]:
        boot, tftp = self.roots.directory / "boot", self.roots.directory / "tftp"
        # A dry run has made none yet.
        machines = [machine for machine in self.machines if self.roots.boot(machine.image).is_dir()]
        entries = boot_files.wanted(machines, boot, self.lines)
        for path in boot_files.differences(tftp, entries):
            told = f"serve {path}" if path in entries else f"serve {path} no more"
            yield Step(told, partial(boot_files.put, tftp, entries, [path]))


def _directory(place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    # Nobody lists the roots; NFS 4 looks its way up to them as nobody.
    place.chmod(0o711 if place.name in ("images", "hosts") else 0o755)

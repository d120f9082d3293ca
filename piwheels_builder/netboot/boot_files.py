"""What machines ask for by TFTP: a directory for each, by its MAC, with links to its image's boot files and its command line."""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from piwheels_builder.errors import BadInput
from piwheels_builder.netboot.machines import NEEDED, ROMS, Machine


@dataclass(frozen=True)
class Link:
    """A symbolic link, relative to where it lies."""

    target: str


#: What should lie at a path below the TFTP root: a link, or a file of this text.
Wanted = Mapping[str, Link | str]


def wanted(machines: Iterable[Machine], boot: Path, lines: Mapping[str, str]) -> dict[str, Link | str]:
    """Everything below the TFTP root, by path. ``lines`` holds a command line by the machine's name. Raises BadInput."""
    found: dict[str, Link | str] = {}
    for machine in machines:
        found |= dict(_of(machine, boot, lines[machine.name]))
        if machine.serial:
            # Where the server does not know the asker's MAC yet, its prefix alone must do.
            found[machine.serial] = Link(machine.directory)
        if machine.model in ROMS:
            found["bootcode.bin"] = Link(f"../boot/{machine.image}/bootcode.bin")
    return found


def _of(machine: Machine, boot: Path, line: str) -> Iterator[tuple[str, Link | str]]:
    names = [entry.name for entry in (boot / machine.image).iterdir()]
    missing = [name for name in NEEDED[machine.model] if name not in names]
    if missing:
        msg = (
            f"{machine.name}: the image {machine.image} has no {', '.join(missing)}, which its firmware ({machine.model}) asks for"
        )
        raise BadInput(msg)
    for name in names:
        yield f"{machine.directory}/{name}", Link(f"../../boot/{machine.image}/{name}")
    # Whatever the firmware puts in front of a name (nothing, its serial number, its MAC): the same files.
    for prefix in filter(None, (machine.serial, machine.directory)):
        yield f"{machine.directory}/{prefix}", Link(".")
    if machine.model == "u-boot":
        yield f"{machine.directory}/bootargs.env", f"bootargs={line}\n"
    else:
        yield f"{machine.directory}/cmdline.txt", f"{line}\n"


def differences(root: Path, entries: Wanted) -> list[str]:
    """The paths below the TFTP root that are not as they should be, those too that should not be there."""
    there = _present(root)
    return sorted(path for path in there.keys() | entries.keys() if there.get(path) != entries.get(path))


def put(root: Path, entries: Wanted, paths: Iterable[str]) -> None:
    """Make these paths so. A file that is being sent stays whole: each is replaced in one rename. Raises OSError."""
    for path in paths:
        place = root / path
        entry = entries.get(path)
        if entry is None:
            place.unlink(missing_ok=True)
            continue
        place.parent.mkdir(mode=0o755, exist_ok=True)
        _replace(place, entry)
    for directory in root.iterdir():
        if directory.is_dir() and not directory.is_symlink() and not any(directory.iterdir()):
            directory.rmdir()


def _replace(place: Path, entry: Link | str) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    fresh = place.with_name(f".{place.name}.fresh")
    fresh.unlink(missing_ok=True)
    if isinstance(entry, Link):
        fresh.symlink_to(entry.target)
    else:
        fresh.write_text(entry)
        fresh.chmod(0o644)
    fresh.rename(place)


def _present(root: Path) -> dict[str, Link | str]:
    found: dict[str, Link | str] = {}
    for place, directories, names in os.walk(root):
        for name in [*directories, *names]:
            path = Path(place, name)
            if path.is_symlink():
                found[str(path.relative_to(root))] = Link(str(path.readlink()))
            elif path.is_file():
                found[str(path.relative_to(root))] = path.read_text(errors="replace")
    return found

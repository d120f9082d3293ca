"""A wheelhouse as files: hashed requirements, and the archive that carries wheels to where no network is.

Of the same wheels and the same requirements comes the same archive, byte for byte, but for its signature's key.
"""

import io
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import IO

from piwheels_builder.catalogue.offered import OfferedFile
from piwheels_builder.errors import BadInput
from piwheels_builder.wheelhouse.files import Files
from piwheels_builder.wheelhouse.manifest import MANIFEST, SIGNATURE, Listed, Manifest, NotAsSigned, sign
from piwheels_builder.wheelhouse.python import TargetPython
from piwheels_builder.wheelhouse.resolving import Pick

INSTALLER, REQUIREMENTS, WHEELS = "install.py", "requirements.txt", "wheels"
_FETCHED_AT_ONCE = 4
_LARGEST_MANIFEST = 64 * 2**20


def to_install(picks: Sequence[Pick]) -> list[tuple[Pick, OfferedFile]]:
    """Those that the target has not, each with its wheel."""
    return [(pick, pick.offered.wheel) for pick in picks if pick.offered and pick.offered.wheel]


def requirements_text(picks: Sequence[Pick], python: TargetPython) -> str:
    """Pins with hashes, as ``pip install --require-hashes`` reads them."""
    head = f"# For {python.target}, Python {python.version}; made by piwheels-builder wheelhouse.\n"
    present = "".join(f"# there already: {pick}\n" for pick in picks if pick.offered is None)
    return head + present + "".join(f"{pick} \\\n    --hash=sha256:{wheel.sha256}\n" for pick, wheel in to_install(picks))


def fetch_wheels(picks: Sequence[Pick], store: Files, on_wheel: Callable[[Path], None]) -> list[Path]:
    """Every wheel, by name. Raises UpstreamError, OSError."""
    with ThreadPoolExecutor(_FETCHED_AT_ONCE) as pool:
        fetched = []
        for path in pool.map(store.fetch, (wheel for _, wheel in to_install(picks))):
            on_wheel(path)
            fetched.append(path)
    return sorted(fetched)


def write_bundle(
    output: Path, picks: Sequence[Pick], python: TargetPython, *, asked: Sequence[str], wheels: Sequence[Path], key: Path | None
) -> None:
    """Write the archive (a plain tar: wheels are compressed). Raises BadInput, OSError."""
    small = {INSTALLER: _installer(), REQUIREMENTS: requirements_text(picks, python).encode()}
    large = {f"{WHEELS}/{path.name}": path for path in wheels}
    manifest = Manifest(
        target=str(python.target),
        python=python.version,
        glibc=python.target.glibc,
        asked=tuple(asked),
        installs=tuple(pick.project for pick, _ in to_install(picks)),
        expects={pick.project: str(pick.version) for pick in picks if pick.offered is None},
        files={**{name: Listed.of(io.BytesIO(body)) for name, body in small.items()}, **_listed(large)},
    ).text()
    small[MANIFEST] = manifest
    if key:
        small[SIGNATURE] = sign(manifest, key)
    with _replacing(output) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted({*small, *large}):
            with io.BytesIO(small[name]) if name in small else large[name].open("rb") as content:
                _add(archive, f"{output.stem}/{name}", content)


def contents(bundle: Path) -> tuple[dict[str, Listed], dict[str, bytes]]:
    """Every file of a bundle, archive or directory, by its path below the top; and manifest and signature themselves.

    Raises BadInput where there is no bundle, NotAsSigned for what no bundle holds. Nothing is unpacked.
    """
    found: dict[str, Listed] = {}
    small: dict[str, bytes] = {}
    for name, content in _members(bundle) if not bundle.is_dir() else _walk(bundle):
        if name in found:
            raise NotAsSigned(f"{bundle} holds {name!r} twice")
        if name in (MANIFEST, SIGNATURE):
            small[name] = content.read(_LARGEST_MANIFEST)
            content = io.BytesIO(small[name])  # noqa: PLW2901
        found[name] = Listed.of(content)
    if MANIFEST not in small:
        raise BadInput(f"{bundle} is no bundle: it has no {MANIFEST}")
    return found, small


def _members(bundle: Path) -> Iterator[tuple[str, IO[bytes]]]:
    try:
        with tarfile.open(bundle, "r:") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                if content is None and not member.isdir():
                    raise NotAsSigned(f"{bundle} holds {member.name!r}, which is no plain file")
                if content is not None:
                    yield "/".join(PurePosixPath(member.name).parts[1:]), content
    except (tarfile.TarError, OSError) as error:
        raise BadInput(f"{bundle} cannot be read as a bundle: {error}") from error


def _walk(bundle: Path) -> Iterator[tuple[str, IO[bytes]]]:
    for path in sorted(bundle.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise NotAsSigned(f"{path} is no plain file")
        if path.is_file() and "__pycache__" not in path.parts:
            with path.open("rb") as content:
                yield path.relative_to(bundle).as_posix(), content


def _installer() -> bytes:
    return (files(__package__) / "inside" / INSTALLER).read_bytes()


def _listed(large: Mapping[str, Path]) -> dict[str, Listed]:
    listed = {}
    for name, path in large.items():
        with path.open("rb") as file:
            listed[name] = Listed.of(file)
    return listed


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes]) -> None:
    # Everybody's and of no time, so that the same content is the same archive.
    member = tarfile.TarInfo(name)
    member.size, member.mode = content.seek(0, os.SEEK_END), 0o644
    content.seek(0)
    archive.addfile(member, content)


@contextmanager
def _replacing(output: Path) -> Iterator[Path]:
    """A name to write to, which becomes ``output`` once it is whole."""
    temporary = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)

"""What the tests of wheelhouses share: an index with wheels that require each other, and the command."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

from piwheels_builder.cli import main
from tests.support.published import make_wheel
from tests.support.upstream import Upstream


def offer(
    upstream: Upstream,
    place: Path,
    project: str,
    version: str = "1.0",
    *,
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
    described: bool = True,
    **fields: object,
) -> Path:
    """A wheel on the index, its metadata beside it if ``described``. Returns a copy of it."""
    wheel = make_wheel(place / "offered", project, version, requires=requires, tag=tag)
    upstream.add_file(project, wheel.name, wheel.read_bytes(), **fields)
    if described:
        with zipfile.ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            upstream.add_metadata(project, wheel.name, archive.read(name))
    return wheel


def wheelhouse(what: str, place: Path, required: str, target: object, index: str, *options: str) -> int:
    """Run a command of wheelhouse on a requirements file of this text. Returns its exit code."""
    file = place / "requirements.txt"
    file.write_text(required)
    return main(["wheelhouse", what, str(file), "--target", str(target), "--index", index, *options])

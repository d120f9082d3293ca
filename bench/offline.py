"""The offline cache of the build benchmark: pinned sdists and build requirements, and an index on loopback that serves them."""

import hashlib
import html
import os
import re
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

LIST = Path(__file__).with_name("releases.txt")
#: Seconds that one download may take.
_PATIENCE = 600


@dataclass(frozen=True)
class Pinned:
    """A line of releases.txt. ``kind``: pure or compiled for a release to build, requires for a wheel that builds need."""

    kind: str
    project: str
    version: str
    sha256: str

    @property
    def is_release(self) -> bool:
        return self.kind != "requires"

    def __str__(self) -> str:
        return f"{self.project} {self.version}"


@dataclass(frozen=True)
class Offline:
    """``files`` holds every pinned file; ``pip`` is the interpreter of a virtual environment with nothing but the newest pip."""

    files: Path
    pip: Path
    releases: tuple[Pinned, ...]
    sdists: dict[Pinned, Path]

    @property
    def pip_version(self) -> str:
        said = subprocess.run(
            [self.pip, "-m", "pip", "--version"], stdout=subprocess.PIPE, text=True, check=True, timeout=_PATIENCE
        )
        return said.stdout.split()[1]


def read_list(path: Path = LIST) -> list[Pinned]:
    """All pins, in their order."""
    lines = (line.partition("#")[0].replace("==", " ").split() for line in path.read_text(encoding="utf-8").splitlines())
    return [Pinned(*fields) for fields in lines if fields]


def prepare(directory: Path, pins: Sequence[Pinned] | None = None) -> Offline:
    """Download what is missing of some pins, or of the whole list, by pip from the index it is configured with, file by file.

    Ends if it can't.
    """
    files, pip = directory / "files", directory / "pip/bin/python"
    files.mkdir(parents=True, exist_ok=True)
    _want_pip(pip)
    pins = read_list() if pins is None else pins
    have = _by_digest(files)
    for pin in pins:
        if pin.sha256 not in have:
            print(f"downloading {pin}", file=sys.stderr, flush=True)
            _download(pin, pip, files)
    have = _by_digest(files)
    releases = tuple(pin for pin in pins if pin.is_release)
    _write_index(directory / "index", [have[pin.sha256] for pin in pins])
    return Offline(files, pip, releases, {pin: have[pin.sha256] for pin in releases})


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve the cache as a simple index. Yields its URL."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", os.fspath(directory / "index")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            port = re.search(r" port (\d+) ", server.stdout.readline() if server.stdout else "")
            if not port:
                raise SystemExit("the index on loopback did not start")
            yield f"http://127.0.0.1:{port[1]}/simple/"
        finally:
            server.terminate()


def _want_pip(python: Path) -> None:
    # uv and virtual environments give it no other packages, and no wheel package: what pip has in its own is not of use here.
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--upgrade", "pip"], check=True, timeout=_PATIENCE)
        subprocess.run([python, "-m", "pip", "uninstall", "-q", "-y", "setuptools"], check=True, timeout=_PATIENCE)


def _download(pin: Pinned, pip: Path, files: Path) -> None:
    form = ["--no-binary", pin.project] if pin.is_release else ["--only-binary", ":all:"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
        wanted.write(f"{pin.project}=={pin.version} --hash=sha256:{pin.sha256}\n")
        wanted.flush()
        command = ["-m", "pip", "download", "-q", "--no-deps", *form, "--dest", os.fspath(files), "--requirement", wanted.name]
        if subprocess.run([os.fspath(pip), *command], check=False, timeout=_PATIENCE).returncode:
            raise SystemExit(f"{pin} could not be downloaded: is {LIST.name} made for this Python and machine?")


def _by_digest(files: Path) -> dict[str, Path]:
    return {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in files.iterdir() if path.is_file()}


def _write_index(index: Path, files: Iterable[Path]) -> None:
    """PEP 503 pages and the files, as http.server serves a directory."""
    pages: dict[str, list[str]] = {}
    (index / "files").mkdir(parents=True, exist_ok=True)
    for path in files:
        there = index / "files" / path.name
        if not there.exists():
            os.link(path, there)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        pages.setdefault(_project_of(path.name), []).append(
            f'<a href="../../files/{html.escape(path.name)}#sha256={digest}">{html.escape(path.name)}</a><br>\n'
        )
    for project, links in pages.items():
        page = index / "simple" / project / "index.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("<!DOCTYPE html><html><body>\n" + "".join(links) + "</body></html>\n", encoding="utf-8")


def _project_of(filename: str) -> str:
    """By the dash before the version: no project of the list has a dash and a digit in its name."""
    return canonicalize_name(re.split(r"-(?=\d)", filename, maxsplit=1)[0])

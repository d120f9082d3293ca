"""What a controller carries to its hosts: a wheel of this checkout, and its playbooks. Packed once for each state of the sources.

Who calls it: the action plugin fleet_software, from the role ``software``.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from piwheels_builder.errors import BadInput

#: What the wheel is made of, and what a host needs to run playbooks itself.
SOURCES = ("piwheels_builder", "setup.py", "pyproject.toml")
PLAYBOOKS = ("ansible.cfg", "build.yml", "playbooks", "roles", "library", "plugins")
_KEPT = 4
_SECONDS = 600


@dataclass(frozen=True)
class Pack:
    """A file to be carried, and the ``version`` of what is in it: a hash of names, contents and execute bits."""

    path: Path
    version: str


def version(root: Path, parts: Sequence[str]) -> str:
    """A hash over the files of a checkout's parts. Raises BadInput where one is missing."""
    digest = hashlib.sha256()
    for path in files(root, parts):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(root)}\0{os.access(path, os.X_OK):d}\0{content}\n".encode())
    return digest.hexdigest()[:24]


def files(root: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Every file of a checkout's parts, in one order everywhere, without what Python or an editor left."""
    for part in parts:
        whole = root / part
        if not whole.exists():
            raise BadInput(f"{whole} is missing: provision from a whole checkout")
        yield from [whole] if whole.is_file() else sorted(path for path in whole.rglob("*") if _belongs(path))


def wheel(root: Path, cache: Path) -> Pack:
    """A wheel of the checkout. Raises BadInput with the builder's last words where it can't be made."""
    return _packed(root, SOURCES, cache / "wheels", _build_wheel)


def playbooks(root: Path, cache: Path) -> Pack:
    """A tar file of the checkout's playbooks and what they use."""
    return _packed(root, PLAYBOOKS, cache / "playbooks", _build_tar)


def cache_dir() -> Path:
    """Where packs are kept on the controller."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "piwheels-builder"


def _belongs(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".") and path.suffix != ".pyc"


def _packed(root: Path, parts: Sequence[str], cache: Path, build: Callable[[Path, Path], None]) -> Pack:
    found = version(root, parts)
    place = cache / found
    # Tasks for several hosts pack at once.
    with _alone(cache):
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=cache, prefix=".") as fresh:
                _copy(root, parts, Path(fresh) / "from")
                (Path(fresh) / "to").mkdir()
                build(Path(fresh) / "from", Path(fresh) / "to")
                (Path(fresh) / "to").rename(place)
            _forget_old(cache)
    (path,) = place.iterdir()
    return Pack(path, found)


def _copy(root: Path, parts: Sequence[str], to: Path) -> None:
    for path in files(root, parts):
        target = to / path.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)


def _build_wheel(sources: Path, to: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(to), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise BadInput(f"no wheel of this checkout could be made: {done.stderr.strip()[-1000:]}")


def _build_tar(sources: Path, to: Path) -> None:
    with tarfile.open(to / "playbooks.tar.gz", "w:gz") as tar:
        for path in sorted(sources.iterdir()):
            tar.add(path, path.name, filter=_readable)


def _readable(member: tarfile.TarInfo) -> tarfile.TarInfo:
    # Whatever the umask of whoever cloned the checkout: on the host others than root read it.
    member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
    return member


def _forget_old(cache: Path) -> None:
    places = sorted((path for path in cache.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime, reverse=True)
    for place in places[_KEPT:]:
        shutil.rmtree(place)


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

"""The clients: how each is told to resolve a requirement into a lock with hashes, and to install what was locked."""

import json
import os
import re
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

UV = str(Path(sys.executable).with_name("uv"))
#: What is installed for each client, and beside what.
PACKAGES: Mapping[str, str] = {
    "pip-23.0.1": "pip==23.0.1",
    "pip-25.1.1": "pip==25.1.1",
    "pip-newest": "pip",
    "uv": "uv",
    "poetry": "poetry",
    # With what it was made and tested with: later releases of its own requirements broke it.
    "pdm": "pdm[locked]",
}


class Refused(Exception):
    """The client ended with an error; its last lines."""


class CannotBeAsked(Exception):
    """The client has no option for it."""


@dataclass(frozen=True)
class Wish:
    """``index`` is the only one, or beside ``extra`` the first; ``cutoff``: nothing that was uploaded later."""

    requirement: str
    index: str
    extra: str | None = None
    cutoff: datetime | None = None


@dataclass(frozen=True)
class Client(ABC):
    """``home`` has the program's environment, its caches and the projects it works in."""

    name: str
    home: Path

    def set_up(self) -> None:
        """Install it, unless it is there."""
        venv = self.home / "venv"
        if not (venv / "bin").exists():
            run([UV, "venv", "-q", "--python", sys.executable, str(venv)])
            run([UV, "pip", "install", "-q", "--python", str(venv / "bin/python"), *PACKAGES[self.name].split()])

    def version(self) -> str:
        said = self.call("--version")
        found = re.search(r"\d+(\.\d+)+", said)
        return found[0] if found else said

    def project(self, name: str) -> Path:
        """An empty directory of this name."""
        place = self.home / "projects" / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        return place

    def call(self, *arguments: str, place: Path | None = None) -> str:
        return run([*self.program(), *arguments], place, {"HOME": str(self.home), **self.settings()})

    def program(self) -> list[str]:
        return [str(self.home / "venv/bin" / self.name)]

    def settings(self) -> Mapping[str, str]:
        """Of its environment."""
        return {}

    @abstractmethod
    def lock(self, place: Path, wish: Wish) -> None:
        """Resolve, and write down what with which hashes."""

    @abstractmethod
    def install(self, place: Path) -> Path:
        """Install what is written down, nothing else, into an empty environment. Returns its site-packages."""


class Pip(Client):
    def program(self) -> list[str]:
        return [str(self.home / "venv/bin/python"), "-m", "pip", "--isolated", "--disable-pip-version-check"]

    def lock(self, place: Path, wish: Wish) -> None:
        options = ["--index-url", wish.index, *(["--extra-index-url", wish.extra] if wish.extra else [])]
        if wish.cutoff:
            if "--uploaded-prior-to" not in self.call("install", "--help"):
                raise CannotBeAsked
            options += ["--uploaded-prior-to", wish.cutoff.isoformat()]
        self.call("install", *options, "--dry-run", "--ignore-installed", "--report", str(place / "report.json"), wish.requirement)
        report = json.loads((place / "report.json").read_text())
        lines = [_hashed(item["metadata"], item["download_info"]["archive_info"]["hashes"]) for item in report["install"]]
        hosts = [f"--index-url {wish.index}", *([f"--extra-index-url {wish.extra}"] if wish.extra else [])]
        (place / "requirements.txt").write_text("\n".join([*hosts, *lines]) + "\n")

    def install(self, place: Path) -> Path:
        site = place / "site"
        shutil.rmtree(site, ignore_errors=True)
        options = ["--no-cache-dir", "--require-hashes", "--no-deps", "--only-binary=:all:"]
        self.call("install", *options, "--target", str(site), "-r", "requirements.txt", place=place)
        return site


def _hashed(metadata: Mapping[str, str], hashes: Mapping[str, str]) -> str:
    return f"{metadata['name']}=={metadata['version']} --hash=sha256:{hashes['sha256']}"


class _OfProjects(Client):
    """Those that lock a project: a pyproject.toml with its sources, a virtual environment beside it."""

    def _write(self, place: Path, tool: str, dependency: str | None) -> None:
        listed = f'"{dependency}"' if dependency else ""
        (place / "pyproject.toml").write_text(
            f'[project]\nname = "app"\nversion = "0"\nrequires-python = "==3.11.*"\ndependencies = [{listed}]\n{tool}'
        )

    def _site(self, place: Path) -> Path:
        return next((place / ".venv/lib").glob("python3.*/site-packages"))


class Uv(_OfProjects):
    def settings(self) -> Mapping[str, str]:
        return {"UV_CACHE_DIR": str(self.home / "cache"), "UV_PYTHON": sys.executable}

    def lock(self, place: Path, wish: Wish) -> None:
        indexes = f'[[tool.uv.index]]\nname = "first"\nurl = "{wish.index}"\ndefault = true\n'
        if wish.extra:
            indexes += f'[[tool.uv.index]]\nname = "extra"\nurl = "{wish.extra}"\n'
        cutoff = f'exclude-newer = "{wish.cutoff:%Y-%m-%dT%H:%M:%SZ}"\n' if wish.cutoff else ""
        self._write(place, f"[tool.uv]\n{cutoff}package = false\n{indexes}", wish.requirement)
        self.call("lock", "--refresh", "--upgrade", "--no-build", place=place)

    def install(self, place: Path) -> Path:
        shutil.rmtree(place / ".venv", ignore_errors=True)
        self.call("sync", "--locked", "--no-build", "--no-cache", place=place)
        return self._site(place)


class Poetry(_OfProjects):
    def settings(self) -> Mapping[str, str]:
        return {
            "POETRY_VIRTUALENVS_IN_PROJECT": "1",
            "POETRY_CACHE_DIR": str(self.home / "cache"),
            "POETRY_CONFIG_DIR": str(self.home / "config"),
            "POETRY_KEYRING_ENABLED": "0",
            "POETRY_INSTALLER_ONLY_BINARY": ":all:",
        }

    def call(self, *arguments: str, place: Path | None = None) -> str:
        return super().call(*arguments, "--no-interaction", place=place)

    def lock(self, place: Path, wish: Wish) -> None:
        sources = f'[[tool.poetry.source]]\nname = "first"\nurl = "{wish.index}"\npriority = "primary"\n'
        if wish.extra:
            # Poetry takes every project from the first source that has it, unless it is told where from.
            sources += f'[[tool.poetry.source]]\nname = "extra"\nurl = "{wish.extra}"\npriority = "explicit"\n'
            sources += f'[tool.poetry.dependencies]\n{wish.requirement} = {{source = "extra"}}\n'
        self._write(place, f"[tool.poetry]\npackage-mode = false\n{sources}", wish.requirement)
        (place / "poetry.toml").unlink(missing_ok=True)
        if wish.cutoff:
            days = (datetime.now(UTC) - wish.cutoff).days
            (place / "poetry.toml").write_text(f"[solver]\nmin-release-age = {max(days, 0)}\n")
        self.call("lock", "--regenerate", "--no-cache", place=place)

    def install(self, place: Path) -> Path:
        shutil.rmtree(place / ".venv", ignore_errors=True)
        self.call("sync", "--no-root", "--no-cache", place=place)
        return self._site(place)


class Pdm(_OfProjects):
    def settings(self) -> Mapping[str, str]:
        return {"PDM_CACHE_DIR": str(self.home / "cache"), "PDM_CHECK_UPDATE": "0", "PDM_NO_BINARY": "", "PDM_ONLY_BINARY": ":all:"}

    def lock(self, place: Path, wish: Wish) -> None:
        sources = f'[[tool.pdm.source]]\nname = "pypi"\nurl = "{wish.index}"\nverify_ssl = false\n'
        if wish.extra:
            sources += f'[[tool.pdm.source]]\nname = "extra"\nurl = "{wish.extra}"\nverify_ssl = false\n'
        self._write(place, f"[tool.pdm]\ndistribution = false\n{sources}", wish.requirement)
        shutil.rmtree(self.home / "cache", ignore_errors=True)
        self.call("use", "-f", sys.executable, place=place)
        cutoff = ["--exclude-newer", f"{wish.cutoff:%Y-%m-%dT%H:%M:%SZ}"] if wish.cutoff else []
        (place / "pdm.lock").unlink(missing_ok=True)
        self.call("lock", "-S", "static_urls", *cutoff, place=place)

    def install(self, place: Path) -> Path:
        shutil.rmtree(place / ".venv", ignore_errors=True)
        shutil.rmtree(self.home / "cache", ignore_errors=True)
        self.call("venv", "create", "-f", sys.executable, place=place)
        self.call("use", "-f", str(place / ".venv/bin/python"), place=place)
        self.call("sync", "--no-self", place=place)
        return self._site(place)


def client(name: str, home: Path) -> Client:
    """By its name in PACKAGES."""
    made: Mapping[str, type[Client]] = {"uv": Uv, "poetry": Poetry, "pdm": Pdm}
    return made.get(name, Pip)(name, home)


def run(command: list[str], place: Path | None = None, settings: Mapping[str, str] | None = None) -> str:
    """Run it with nothing of this machine's own settings; what it said. Raises Refused."""
    others = ("PIP_", "UV_", "PDM_", "POETRY_", "HTTP", "VIRTUAL_ENV")
    ours = {name: value for name, value in os.environ.items() if not name.upper().startswith(others)}
    told = {**ours, "PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "127.0.0.1", **(settings or {})} if settings is not None else None
    done = subprocess.run(command, cwd=place, env=told, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Refused("\n".join((done.stdout + done.stderr).strip().splitlines()[-6:]))
    return done.stdout


def installed(site: Path) -> dict[str, str]:
    """Versions by the names of what is installed there."""
    found = (path.name.removesuffix(".dist-info").split("-") for path in site.glob("*.dist-info"))
    return {name: version for name, version in found if name not in ("pip", "setuptools", "wheel")}

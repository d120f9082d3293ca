"""What `piwheels-builder` imports before it gets to work: on a Pi each of these packages takes longer than many a build."""

import argparse
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from piwheels_builder.cli import parser
from tests.support.sdists import make_sdist

#: No single build of a pure sdist that lies here needs them; elftools only where a wheel holds an ELF file.
_HEAVY = {
    "aiosql",
    "ansible",
    "bs4",
    "elftools",
    "jinja2",
    "psutil",
    "psycopg2",
    "pydantic",
    "pypi_simple",
    "requests",
    "rich",
    "yaml",
}
_BACKEND = """
import base64
import hashlib
import zipfile

_INFO = "demo-1.0.dist-info"
_FILES = {
    "demo.py": "",
    f"{_INFO}/METADATA": "Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n",
    f"{_INFO}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
}
def _digest(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")

_ROWS = [f"{name},sha256={_digest(text)},{len(text)}" for name, text in _FILES.items()]
_FILES[f"{_INFO}/RECORD"] = "\\n".join([*_ROWS, f"{_INFO}/RECORD,,"])

def build_wheel(directory, settings=None, metadata=None):
    with zipfile.ZipFile(f"{directory}/demo-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in _FILES.items():
            wheel.writestr(name, content)
    return "demo-1.0-py3-none-any.whl"
"""
_PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
#: Runs a command, then prints its exit code and every top-level package that was imported meanwhile.
_TOLD = """
import json, sys
from piwheels_builder.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
print("\\n" + json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def _imported_by(*arguments: str) -> set[str]:
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    told = subprocess.run(
        [sys.executable, "-c", _TOLD, *arguments], stdout=subprocess.PIPE, text=True, check=True, env=environment, timeout=120
    )
    code, modules = json.loads(told.stdout.splitlines()[-1])
    assert code == 0
    return set(modules)


def test_help_imports_no_package_but_ours() -> None:
    modules = _imported_by("--help")
    assert not modules & {*_HEAVY, "packaging", "installer", "uv"}
    assert modules >= {"argparse", "piwheels_builder"}


def test_building_a_file_imports_only_what_building_needs(tmp_path: Path) -> None:
    sdist = make_sdist(tmp_path / "demo-1.0.tar.gz", {"demo-1.0/pyproject.toml": _PYPROJECT, "demo-1.0/backend.py": _BACKEND})
    build = ("build", str(sdist), "--wheel-dir", str(tmp_path), "--state-dir", str(tmp_path / "state"))
    # The first one makes the environment, which is another matter.
    _imported_by(*build)
    (tmp_path / "demo-1.0-py3-none-any.whl").unlink()
    assert not _imported_by(*build) & _HEAVY
    assert (tmp_path / "demo-1.0-py3-none-any.whl").is_file()


def _commands(top: argparse.ArgumentParser) -> list[tuple[str, argparse.ArgumentParser]]:
    """All that do something: of those with commands of their own, these."""
    chosen = (action.choices for action in top._actions if isinstance(action, argparse._SubParsersAction))
    found = [command for choices in chosen for command in choices.items()]
    return [each for name, command in found for each in (_commands(command) or [(name, command)])]


@pytest.mark.parametrize(("name", "command"), _commands(parser()))
def test_every_command_is_there_when_it_is_asked_for(name: str, command: argparse.ArgumentParser) -> None:
    assert callable(pkgutil.resolve_name(command.get_default("run"))), name


def test_a_process_that_fills_holds_no_parser_of_html() -> None:
    # 15 MB in each of three, and a second of a Pi.
    asked = "import sys, piwheels_builder.catalogue.filling; print({'bs4', 'pydantic', 'pypi_simple'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"

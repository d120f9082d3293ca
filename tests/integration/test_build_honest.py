"""Releases as they are, really built in the sandbox."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from piwheels_builder.builder.sandbox import check_sandbox
from piwheels_builder.settings import FIRST_BUILD_UID
from piwheels_builder.states import Outcome
from tests.support.sdists import SETUPTOOLS, Yard, make_yard, setup_py

HATCHLING = (
    '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n[project]\nname = "demo"\nversion = "1.0"\n'
)
FLIT = HATCHLING.replace("hatchling.build", "flit_core.buildapi").replace("hatchling", "flit_core") + 'description = "x"\n'
EXTENSION = """
#define PY_SSIZE_T_CLEAN
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "fast", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_fast(void) { return PyModule_Create(&module); }
"""
SETUP_EXTENSION = (
    "from setuptools import Extension, setup\nsetup(name='demo', version='1.0', ext_modules=[Extension('fast', ['fast.c'])])\n"
)
OWN_BACKEND = """
import zipfile
def get_requires_for_build_wheel(config_settings=None):
    return REQUIRES
def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    BODY
    import base64, hashlib
    files = {'demo.py': b'', 'demo-1.0.dist-info/METADATA': b'Metadata-Version: 2.1\\nName: demo\\nVersion: 1.0\\n',
             'demo-1.0.dist-info/WHEEL': b'Wheel-Version: 1.0\\nGenerator: own\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'}
    record = ''
    with zipfile.ZipFile(wheel_directory + '/demo-1.0-py3-none-any.whl', 'w') as wheel:
        for name, content in files.items():
            wheel.writestr(name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip('=')
            record += f'{name},sha256={digest},{len(content)}\\n'
        wheel.writestr('demo-1.0.dist-info/RECORD', record + 'demo-1.0.dist-info/RECORD,,\\n')
    return 'demo-1.0-py3-none-any.whl'
"""


def own_backend(requires: str = "[]", body: str = "pass", path: str = ".", needs: str = "[]") -> dict[str, str]:
    """An sdist with its own backend, which says REQUIRES and does BODY."""
    system = f'[build-system]\nrequires = {needs}\nbuild-backend = "own"\nbackend-path = ["{path}"]\n'
    return {"demo-1.0/pyproject.toml": system, "demo-1.0/own.py": OWN_BACKEND.replace("REQUIRES", requires).replace("BODY", body)}


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    yard = make_yard(tmp_path_factory.mktemp("yard"))
    yield yard
    # Whatever a build did, nothing of it stays behind in the area.
    assert list(yard.workshop.state_dir.glob("area/*")) == []


def test_the_sandbox_works_on_this_machine() -> None:
    check_sandbox(FIRST_BUILD_UID if os.geteuid() == 0 else None)


def test_setuptools(yard: Yard) -> None:
    built = yard.build(setup_py())
    assert built.wheel.name == "demo-1.0-py3-none-any.whl"
    assert "requirements " in (built.attempt.toolchain or "")
    assert 10**6 < (built.attempt.peak_memory or 0) < 10**9
    assert {entry.name for entry in built.delivery.iterdir()} == {built.wheel.name, "log.txt"}


@pytest.mark.parametrize("pyproject", [HATCHLING, FLIT], ids=["hatchling", "flit"])
def test_other_backends(yard: Yard, pyproject: str) -> None:
    built = yard.build({"demo-1.0/pyproject.toml": pyproject, "demo-1.0/demo.py": '"""Demo."""\n'})
    assert "demo.py" in zipfile.ZipFile(built.wheel).namelist()


def test_an_sdist_without_pyproject(yard: Yard) -> None:
    files = setup_py("import wheel")
    del files["demo-1.0/pyproject.toml"]
    assert yard.build(files).wheel


def test_a_project_at_the_root_of_its_archive(yard: Yard) -> None:
    assert yard.build({name.removeprefix("demo-1.0/"): content for name, content in setup_py().items()}).wheel


def test_a_c_extension_is_compiled_and_checked(yard: Yard) -> None:
    files = {"demo-1.0/pyproject.toml": SETUPTOOLS, "demo-1.0/setup.py": SETUP_EXTENSION, "demo-1.0/fast.c": EXTENSION}
    built = yard.build(files)
    assert "-linux_" in built.wheel.name
    assert "gcc " in (built.attempt.toolchain or "")


def test_a_version_spelled_otherwise_is_the_same_release(yard: Yard) -> None:
    assert yard.build(setup_py(version="1.0.0"), version="1").wheel.name == "demo-1.0.0-py3-none-any.whl"


def test_another_version_is_a_mismatch(yard: Yard) -> None:
    built = yard.build(setup_py(version="1.1"))
    assert built.attempt.outcome is Outcome.VERSION_MISMATCH
    assert list(built.delivery.glob("*.whl")) == []


def test_another_project_is_a_mismatch(yard: Yard) -> None:
    assert yard.build(setup_py(name="other")).attempt.outcome is Outcome.VERSION_MISMATCH


def test_a_backend_in_the_source(yard: Yard) -> None:
    assert yard.build(own_backend()).wheel


def test_a_backend_that_asks_for_more_gets_it(yard: Yard) -> None:
    built = yard.build(own_backend(requires="['flit_core>=3.2']", body="import flit_core"))
    assert built.wheel
    assert built.log.count("  building\n") == 2


def test_a_backend_that_asks_for_what_is_there_runs_once(yard: Yard) -> None:
    built = yard.build(own_backend(requires="['Flit.Core']", needs='["flit_core"]'))
    assert built.log.count("  building\n") == 1


def test_a_backend_that_never_has_enough(yard: Yard) -> None:
    asking = own_backend(requires="[f'flit_core>=3.{count()}']")
    asking["demo-1.0/own.py"] += """
def count():
    with open('counter', 'a+') as counter:
        counter.write('x')
        return counter.tell()
"""
    built = yard.build(asking)
    assert (built.attempt.outcome, built.log.count("  building\n")) == (Outcome.BUILD_ERROR, 3)


def test_a_second_build_finds_its_environment(yard: Yard) -> None:
    yard.build(setup_py())
    assert "Resolved" not in yard.build(setup_py()).log


def test_an_interpreter_that_is_not_what_the_settings_say(yard: Yard) -> None:
    wrong = {abi: Path("/bin/true") for abi in yard.workshop.pythons}
    assert yard.build(setup_py(), pythons=wrong).attempt.outcome is Outcome.BUILDER_FAULT

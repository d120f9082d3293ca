"""Compiled releases get the cores that are idle."""

import dataclasses

import pytest

from piwheels_builder.builder.limits import Limits
from piwheels_builder.states import Outcome
from tests.support.sdists import SETUPTOOLS, Built, Yard, make_yard

#: Says when each file is compiled, in a file that setup.py prints at its end.
COMPILER = """#!/bin/sh
case "$*" in *-c*) date +"begin %s%N" >> /tmp/said; sleep 0.3; date +"end %s%N" >> /tmp/said;; esac
exec gcc "$@"
"""
SETUP = """
import atexit, os
os.chmod('compiler', 0o755)
os.environ['CC'] = os.path.abspath('compiler')
from setuptools import Extension, setup
%s
setup(name='demo', version='1.0', ext_modules=[Extension('demo', [f'part{number}.c' for number in range(4)])])
if os.path.exists('/tmp/said'):
    print(open('/tmp/said').read())
"""
MODULE = """
#include <Python.h>
static struct PyModuleDef demo = {PyModuleDef_HEAD_INIT, "demo", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_demo(void) { return PyModule_Create(&demo); }
"""


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Yard:
    return make_yard(tmp_path_factory.mktemp("yard"))


def sources(first: str = "", part: str = "int part%d;") -> dict[str, str]:
    parts = {f"demo-1.0/part{number}.c": part % number for number in range(1, 4)}
    files = {"pyproject.toml": SETUPTOOLS, "setup.py": SETUP % first, "compiler": COMPILER, "part0.c": MODULE}
    return {**parts, **{f"demo-1.0/{name}": content for name, content in files.items()}}


def most_at_once(built: Built) -> int:
    said = [line.split() for line in built.log.splitlines() if line.startswith(("begin ", "end "))]
    assert said, built.log
    running = most = 0
    for what, _ in sorted(said, key=lambda line: line[1]):
        running += 1 if what == "begin" else -1
        most = max(most, running)
    return most


@pytest.mark.parametrize("cores", [1, 3])
def test_the_files_of_an_extension_are_compiled_side_by_side(yard: Yard, cores: int) -> None:
    built = yard.build(sources(), cores=cores)
    assert built.attempt.outcome is Outcome.BUILT, built.log
    assert most_at_once(built) == cores


def test_a_project_with_a_way_of_its_own_is_left_alone(yard: Yard) -> None:
    replace = (
        "import distutils.unixccompiler as unix\n"
        "theirs = unix.UnixCCompiler._compile\n"
        "def own(self, *arguments): return theirs(self, *arguments)\n"
        "unix.UnixCCompiler._compile = own\n"
    )
    assert most_at_once(yard.build(sources(replace), cores=3)) == 1


def test_an_error_among_many_is_the_builds(yard: Yard) -> None:
    attempt = yard.build(sources(part="int part%d"), cores=3).attempt
    assert attempt.outcome is Outcome.COMPILE_ERROR


def test_no_more_compilers_than_fit_its_memory(yard: Yard) -> None:
    limits = dataclasses.replace(Limits().of_class(0), memory_bytes=350 * 2**20)
    built = yard.build(sources("print('JOBS', os.environ['CMAKE_BUILD_PARALLEL_LEVEL'])"), cores=8, limits=limits)
    assert "JOBS 2" in built.log
    assert most_at_once(built) == 2

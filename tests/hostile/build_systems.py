"""Attacks by the build system: what pyproject.toml asks for, which the builder itself reads and gets, outside of the sandbox."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from piwheels_builder.states import Outcome
from tests.hostile.attack import Attack, Make, Offer, Places, files, script_text, tar_of
from tests.support.chaos import LONG
from tests.support.sdists import make_sdist, setup_py
from tests.support.simple_index import offer
from tests.support.wheelmaking import make_wheel

_UNAVAILABLE = (Outcome.REQUIREMENT_UNAVAILABLE,)
#: A backend in a requirement, that leaves an honest wheel.
_BACKEND = """
import os, shutil
def build_wheel(directory, config_settings=None, metadata_directory=None):
    shutil.copy(os.path.join(os.path.dirname(__file__), 'ready.whl'), os.path.join(directory, 'demo-1.0-py3-none-any.whl'))
    return 'demo-1.0-py3-none-any.whl'
"""


def _requiring(*requirements: str, backend: str = "setuptools.build_meta") -> Make:
    text = f"[build-system]\nrequires = {json.dumps(requirements)}\nbuild-backend = {json.dumps(backend)}\n"
    return files({"pyproject.toml": text, "setup.py": setup_py()["demo-1.0/setup.py"], "demo.py": ""})


def _pyproject(text: str) -> Make:
    return files({"pyproject.toml": text, "setup.py": "", "evil.py": ""})


def _asks(name: str, tries: str, requirement: str, *ends: Outcome) -> Attack:
    return Attack(name, tries, _requiring(requirement), ends or _UNAVAILABLE)


def _offering(name: str, content: Mapping[str, bytes | str]) -> Offer:
    """A wheel of the project ``name``, with a backend of that name."""

    def put(index: Path) -> None:
        with TemporaryDirectory() as place:
            made = {f"{name}.py": _BACKEND.encode(), "ready.whl": make_wheel(Path(place)).read_bytes()}
            made |= {path: text.encode() if isinstance(text, str) else text for path, text in content.items()}
            offer(index, make_wheel(Path(place), name, "1.0", content=made))

    return put


def _wheel_attack(
    name: str, tries: str, project: str, content: Mapping[str, bytes | str], *ends: Outcome, **rest: object
) -> Attack:
    make = _requiring(project, backend=project)
    return Attack(name, tries, make, ends or (Outcome.BUILT,), offer=_offering(project, content), **rest)  # type: ignore[arg-type]


def _sdist_only(index: Path) -> None:
    with TemporaryDirectory() as place:
        body = f"import os; os.makedirs('/tmp/ran-a-requirement-{os.getpid()}')"
        content = {"evilsdist-1.0/setup.py": body, "evilsdist-1.0/PKG-INFO": "Name: evilsdist\n"}
        offer(index, make_sdist(Path(place) / "evilsdist-1.0.tar.gz", content))


#: What the filter of system calls keeps from a build, asked for when Python starts.
_UNFILTERED = (
    "import os, ctypes; os.path.isdir('/driver') and (lambda c: print('asked') if c.semget(0, 9, 896) < 0 > c.unshare(0x10000000)"
    " else print('ATTACK', 'SUCCEEDED: not filtered'))(ctypes.CDLL(None))\n"
)
#: In the sandbox these may run; outside they show themselves, since /driver is not there.
_PTH = "import os, sys; print('PTH RUNS'); os.path.isdir('/driver') or os.close(os.open('/tmp/ran-outside', os.O_CREAT))\n"


def _in_process(places: Places) -> bytes:
    """A backend of its own that changes modules in memory, and what is below its environment."""
    body = """
    import setuptools, setuptools.build_meta, distutils.core, zipfile, builtins, json
    def evil(*_, **__):
        raise RuntimeError('CHANGED BY AN EARLIER BUILD')
    setuptools.build_meta.build_wheel = evil
    setuptools.setup = distutils.core.setup = evil
    zipfile.ZipFile.writestr = evil
    builtins.open = evil
    json.loads = evil
    os.fork = evil
    sys.modules['setuptools.command.bdist_wheel'] = None
    """
    text = script_text(body, places)
    return tar_of({"demo-1.0/setup.py": text.encode()})


ATTACKS: tuple[Attack, ...] = (
    Attack(
        "backend_path_out",
        "has its backend in a directory outside of its source",
        _pyproject('[build-system]\nrequires = []\nbuild-backend = "evil"\nbackend-path = ["../../home"]\n'),
        (Outcome.BUILD_ERROR,),
        says="leads out of the source",
    ),
    Attack(
        "backend_path_absolute",
        "has its backend in /env",
        _pyproject('[build-system]\nrequires = []\nbuild-backend = "os"\nbackend-path = ["/env/lib"]\n'),
        (Outcome.BUILD_ERROR,),
        says="leads out of the source",
    ),
    Attack(
        "backend_that_is_a_program",
        "names a function of the standard library as its backend",
        _pyproject('[build-system]\nrequires = []\nbuild-backend = "os:system"\n'),
        (Outcome.PYTHON_API_GONE, Outcome.BUILD_ERROR),
    ),
    _asks("requires_url", "requires a file from a host of its own", "evil @ http://127.0.0.1:9/evil-1.0-py3-none-any.whl"),
    _asks("requires_file", "requires a file of the host", "evil @ file:///etc/passwd"),
    _asks(
        "requires_git",
        "requires a repository, which git would clone outside of the sandbox",
        "evil @ git+ssh://git@host.invalid/evil",
    ),
    _asks("requires_option", "has an option of the installer as a requirement: another index", "--index-url=http://127.0.0.1:9/"),
    _asks("requires_editable", "has its own source installed outside of the sandbox, by an option", "-e ."),
    _asks("requires_file_of_requirements", "has a file of the host read as requirements", "-r /etc/passwd"),
    _asks(
        "requires_second_line",
        "hides an option in a marker: once written out, its text has an end of line in it",
        "setuptools; os_name != 'x\\n-r /etc/passwd\\nsetuptools; os_name != x'",
    ),
    _asks(
        "requires_second_line_between_quotes",
        "the same with both kinds of quotes",
        "setuptools; os_name != 'x\\x22\\n--index-url http://127.0.0.1:9/\\nsetuptools; os_name != \\x27x\\x22'",
    ),
    _asks("requires_deep_marker", "has a marker that no parser bears", "setuptools; " + "(" * 100_000 + "os_name == 'x'"),
    Attack(
        "requires_thousands",
        "requires 20,000 projects, about each of which the upstream index would be asked",
        _requiring(*(f"evil-{number}" for number in range(20_000))),
        _UNAVAILABLE,
        seconds=10,
    ),
    _asks("requires_impossible", "requires what cannot be", "setuptools>=99999"),
    Attack(
        "toml_of_dots",
        "has a key of 60,000 parts in its pyproject.toml, for which a parser needs a minute",
        _pyproject(".".join(["a"] * 60_000) + " = 1\n[build-system]\nrequires = []\n"),
        (Outcome.BAD_SDIST,),
        seconds=6,
    ),
    Attack(
        "toml_that_is_deep", "has arrays in arrays in its pyproject.toml", _pyproject("a = " + "[" * 200_000), (Outcome.BAD_SDIST,)
    ),
    Attack("toml_that_is_large", "has a pyproject.toml of 20 MiB", _pyproject("#" * 20 * 2**20), (Outcome.BAD_SDIST,)),
    Attack(
        "requirement_as_sdist",
        "requires a project that has no wheel, whose setup.py would run outside of the sandbox",
        _requiring("evilsdist", backend="evilsdist"),
        (Outcome.REQUIREMENT_WITHOUT_WHEEL,),
        offer=_sdist_only,
    ),
    _wheel_attack(
        "requirement_with_pth",
        "requires a wheel with a .pth file and a sitecustomize, which run when the environment's Python starts",
        "evilpth",
        {"evil.pth": _PTH, "sitecustomize.py": _PTH, "usercustomize.py": _PTH},
        says="PTH RUNS",
    ),
    _wheel_attack(
        "requirement_that_ends_python",
        "requires a wheel with a .pth file that says what the sandbox says when it fails, and ends Python before the driver begins",
        "evilend",
        {"evilend.pth": "import os, sys; os.path.isdir('/driver') and (os.write(2, b'bwrap: No permissions\\n'), os._exit(1))\n"},
        Outcome.BUILD_ERROR,
    ),
    _wheel_attack(
        "requirement_before_the_filter",
        "requires a wheel with a .pth file that asks the kernel for things before the driver has them forbidden",
        "evilearly",
        {"evilearly.pth": _UNFILTERED},
        says="asked",
    ),
    _wheel_attack(
        "requirement_without_python",
        "requires a wheel that has the environment's Python look for its library where none is, so that it can't start",
        "evilhome",
        {"evilhome-1.0.data/data/pyvenv.cfg": "home = /nowhere/bin\nversion = 3.3\n"},
        Outcome.BUILD_ERROR,
        Outcome.BUILT,
    ),
    _wheel_attack(
        "requirement_with_programs",
        "requires a wheel with programs that are named like those which run before the driver, with root's rights",
        "evilprograms",
        {
            f"evilprograms-1.0.data/scripts/{name}": "#!/bin/sh\necho ATTACK SUCCEEDED $(/usr/bin/id -u)\n"
            for name in ("setpriv", "prlimit", "setarch", "env", "sh", "bwrap", "chmod", "rm")
        },
    ),
    _wheel_attack(
        "requirement_as_interpreter",
        "requires a wheel with a program named python, to take the interpreter's place",
        "evilpython",
        {"evilpython-1.0.data/scripts/python": "#!/bin/sh\necho ATTACK SUCCEEDED\n"},
        *_UNAVAILABLE,
    ),
    _wheel_attack(
        "requirement_with_entry_points",
        "requires a wheel with a program whose name climbs out of the environment",
        "evilpoints",
        {"evilpoints-1.0.dist-info/entry_points.txt": "[console_scripts]\n../../../../../tmp/ran-outside = evil:x\n"},
        *_UNAVAILABLE,
    ),
    _wheel_attack(
        "requirement_that_climbs",
        "requires a wheel with files whose paths climb out of the environment",
        "evilclimbs",
        {"../../../../../../ran-outside": "x", "evilclimbs-1.0.data/data/../../../../ran-outside": "x", "/tmp/ran-outside": "x"},
        Outcome.BUILT,
        *_UNAVAILABLE,
    ),
    _wheel_attack(
        "requirement_that_is_a_bomb",
        "requires a wheel that unpacks to more than a build may use, outside of the sandbox",
        "evilbomb",
        {"zeros": b"\0" * (2**30 if LONG else 300 * 2**20)},
        Outcome.DISK_LIMIT,
        *_UNAVAILABLE,
        limits={"disk_bytes": 100 * 2**20, "disk_files": 20_000},
    ),
    _wheel_attack(
        "requirement_hard_to_compile",
        "requires a wheel with Python that takes gigabytes to compile, outside of the sandbox",
        "evilcode",
        {"big.py": "x = [" + "[1, 'a', {2: 3}, (lambda: 4)], " * (400_000 if LONG else 60_000) + "]\n", "deep.py": "(" * 100_000},
        seconds=60,
    ),
)

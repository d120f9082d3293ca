"""Compiled wheels are imported, and their libraries looked up, before they are delivered: really built, on this machine."""

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from piwheels_builder.builder.attempt import Attempt, Imported
from piwheels_builder.builder.interpreter import describe
from piwheels_builder.builder.trial import this_target
from piwheels_builder.states import ImportResult, Outcome
from tests.integration.test_build_honest import EXTENSION, own_backend
from tests.support.sdists import SETUPTOOLS, Built, Yard, make_yard, setup_py
from tests.support.simple_index import offer, serving
from tests.support.wheelmaking import make_wheel

NAMED = EXTENSION.replace("fast", "demo")
#: Code of the module's own that runs when it is imported.
DOES = NAMED.replace("{ return PyModule_Create(&module); }", "{ BODY; return PyModule_Create(&module); }")
SETUP = "from setuptools import Extension, setup\nsetup(name='demo', version='1.0', py_modules=MODULES, ext_modules=[EXTENSION])\n"


def extension(
    body: str = "", *, python: dict[str, str] | None = None, libraries: tuple[str, ...] = (), requires: tuple[str, ...] = ()
) -> dict[str, str]:
    """An sdist with a C extension that does ``body`` (C) when imported, and modules in ``python``, by name."""
    made = f"Extension('{'_fast' if python else 'demo'}', ['demo.c'], extra_link_args={['-Wl,--no-as-needed', *libraries]!r})"
    script = SETUP.replace("MODULES", repr(sorted(python or {}))).replace("EXTENSION", made)
    if requires:
        script = script.replace("version='1.0'", f"version='1.0', install_requires={list(requires)!r}")
    code = DOES.replace("BODY", body)
    return {
        "demo-1.0/pyproject.toml": SETUPTOOLS,
        "demo-1.0/setup.py": script,
        "demo-1.0/demo.c": code.replace("PyInit_demo", "PyInit__fast") if python else code,
        **{f"demo-1.0/{name}.py": content for name, content in (python or {}).items()},
    }


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    yard = make_yard(tmp_path_factory.mktemp("yard"))
    yield yard
    # Neither a build nor an import leaves anything behind.
    assert list(yard.workshop.state_dir.glob("area/*")) == []


def imported(built: Built) -> Imported:
    assert built.wheel.exists()
    assert built.attempt.wheel is not None
    assert built.attempt.wheel.imported is not None
    # It reaches the outbox's file and comes back.
    assert Attempt.from_json(built.attempt.to_json()) == built.attempt
    return built.attempt.wheel.imported


def test_an_extension_that_imports_and_what_it_is_linked_with(yard: Yard) -> None:
    built = yard.build(extension(libraries=("-l:libz.so.1", "-lm")))
    assert imported(built) == Imported(ImportResult.PASSED)
    assert built.attempt.wheel is not None
    assert built.attempt.wheel.libraries == {"libz.so.1": "zlib1g"}
    assert "imports demo" in built.log
    # Asked once: dpkg reads the file lists of all packages for it.
    remembered = json.loads((yard.workshop.state_dir / "cache/libraries.json").read_text())
    assert remembered["packages"] == {"libz.so.1": "zlib1g"}


def test_a_pure_wheel_is_not_looked_at(yard: Yard) -> None:
    built = yard.build(setup_py())
    assert imported(built) == Imported(ImportResult.NOT_NEEDED)
    assert "importing" not in built.log


def test_a_failing_import_is_not_delivered(yard: Yard) -> None:
    built = yard.build(extension(python={"demo": "import _fast\nimport nothing_of_that_name\n"}))
    assert built.attempt.outcome is Outcome.UNIMPORTABLE
    assert built.attempt.error_line == "import demo: ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert built.attempt.missing == "nothing_of_that_name"
    assert built.attempt.wheel is None
    assert list(built.delivery.glob("*.whl")) == []
    assert "Traceback" in built.log


def test_a_failing_import_is_delivered_where_the_operator_says_so(yard: Yard) -> None:
    files = extension('PyErr_SetString(PyExc_ValueError, "no"); return NULL')
    for projects in ({"demo"}, {"all"}):
        found = imported(yard.build(files, publish_failing_imports=frozenset(projects)))
        assert found == Imported(ImportResult.FAILED, "import demo: ValueError: no")
    assert yard.build(files, publish_failing_imports=frozenset({"other"})).attempt.outcome is Outcome.UNIMPORTABLE


def test_a_crash_is_named(yard: Yard) -> None:
    built = yard.build(extension("__builtin_trap()"))
    assert built.attempt.outcome is Outcome.UNIMPORTABLE
    assert built.attempt.error_line in {
        f"import demo: Python ended in the middle, by {signal}" for signal in ("SIGILL", "SIGTRAP", "SIGABRT", "SIGSEGV")
    }


def test_a_hang_is_bounded(yard: Yard) -> None:
    built = yard.build(extension("for (;;) {}"), build_seconds=60)
    assert built.attempt.outcome is Outcome.UNIMPORTABLE
    assert built.attempt.error_line == "import demo was not done after all the time there is"


def test_what_it_leaves_running_holds_nothing_up(yard: Yard) -> None:
    threads = "import _fast, threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n"
    assert imported(yard.build(extension(python={"demo": threads}))).result is ImportResult.PASSED


def test_imported_code_is_in_a_sandbox(yard: Yard, tmp_path: Path) -> None:
    """Neither the network, nor this host's files, nor the delivery; and what it says of itself is not believed against its end."""
    secret = tmp_path / "secret"
    secret.write_text("x")
    attack = f"""
import _fast, json, os, socket
assert not os.path.exists({str(secret)!r}) and not os.path.exists({str(yard.place)!r})
try:
    socket.create_connection(('127.0.0.1', 22), 2)
    raise SystemError('the network is there')
except OSError:
    pass
for place in ('/env/lib', '/driver', '/usr', '/'):
    try:
        open(place + '/mine', 'w')
        raise SystemError(place + ' can be written')
    except OSError:
        pass
json.dump({{"done": True}}, open('/build/result.json', 'w'))
os._exit(7)
"""
    built = yard.build(extension(python={"demo": attack}))
    assert built.attempt.outcome is Outcome.UNIMPORTABLE
    assert "with exit code 7" in str(built.attempt.error_line), built.log


def test_what_a_sandbox_hides_is_no_failure(yard: Yard) -> None:
    pi = "import _fast\nraise RuntimeError('This module can only be run on a Raspberry Pi!')\n"
    found = imported(yard.build(extension(python={"demo": pi})))
    assert found.result is ImportResult.UNTRIED
    assert "can only be run on a Raspberry Pi" in (found.detail or "")


def platform_wheel(requires: str, module: str) -> dict[str, str]:
    """An sdist whose own backend, which needs nothing, makes a wheel for this platform, with this requirement and module."""
    tag = f"py3-none-linux_{this_target(describe(Path(sys.executable))).architecture}"
    files = own_backend()
    script = files["demo-1.0/own.py"].replace("py3-none-any", tag).replace("'demo.py': b''", f"'demo.py': {module.encode()!r}")
    return {**files, "demo-1.0/own.py": script.replace("Version: 1.0\\n'", f"Version: 1.0\\nRequires-Dist: {requires}\\n'")}


def test_requirements_are_installed_from_wheels(yard: Yard, tmp_path: Path) -> None:
    offer(tmp_path, make_wheel(tmp_path, "needed", "1.0", content={"needed.py": b"ANSWER = 42\n"}))
    files = platform_wheel("needed", "import needed\nassert needed.ANSWER == 42\n")
    with serving(tmp_path) as url:
        assert imported(yard.build(files, upstream=url)) == Imported(ImportResult.PASSED)


@pytest.mark.parametrize("requires", ["needed", "needed>=2", "nowhere", "needed @ file:///etc/passwd"])
def test_requirements_without_a_wheel(yard: Yard, tmp_path: Path, requires: str) -> None:
    """An sdist is never built for it, nor a URL opened: the wheel is published untried, which is said."""
    sdist = tmp_path / "needed-1.0.tar.gz"
    sdist.write_bytes(b"never opened")
    offer(tmp_path, sdist)
    with serving(tmp_path) as url:
        found = imported(yard.build(platform_wheel(requires, "import needed\n"), upstream=url))
    assert found.result is ImportResult.UNTRIED
    assert "its requirements cannot be installed: " in (found.detail or "")


def test_libraries_are_put_into_the_wheel(yard: Yard) -> None:
    """By the real auditwheel: the wheel then installs, and imports, where the library is missing."""
    built = yard.build(extension(libraries=("-l:libbz2.so.1.0",)), bundles_libraries=True)
    assert imported(built) == Imported(ImportResult.PASSED)
    assert "manylinux" in built.wheel.name
    assert built.attempt.wheel is not None
    assert built.attempt.wheel.libraries == {}
    with zipfile.ZipFile(built.wheel) as wheel:
        assert any(name.startswith("demo.libs/libbz2-") for name in wheel.namelist())
    assert {entry.name for entry in built.delivery.iterdir()} == {built.wheel.name, "log.txt"}


def test_a_wheel_stays_as_it_was_where_nothing_can_be_put_into_it(yard: Yard, tmp_path: Path) -> None:
    """The upstream index has no auditwheel here."""
    files = platform_wheel("demo", "")
    link = (
        "import subprocess; subprocess.run(['gcc', '-shared', '-o/tmp/a.so', '-Wl,--no-as-needed', '-l:libbz2.so.1.0'], check=True)"
    )
    script = files["demo-1.0/own.py"].replace("'demo.py':", "'demo.libs/a.so': open('/tmp/a.so', 'rb').read(), 'demo.py':")
    files["demo-1.0/own.py"] = script.replace("    pass\n", f"    {link}\n")
    (tmp_path / "simple").mkdir()
    with serving(tmp_path) as url:
        built = yard.build(files, bundles_libraries=True, upstream=url)
    assert imported(built).result is ImportResult.UNTRIED
    assert "manylinux" not in built.wheel.name
    assert "its libraries stay outside: " in built.log
    assert built.attempt.wheel is not None
    assert built.attempt.wheel.libraries == {"libbz2.so.1.0": "libbz2-1.0"}

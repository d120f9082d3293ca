"""Releases that fail: each ends in its outcome. Those that attack stand in tests/hostile."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import uv

from piwheels_builder.builder.attempt import Attempt
from piwheels_builder.builder.fetch import SdistCache, fetch
from piwheels_builder.builder.process import run
from piwheels_builder.builder.relay import Relay
from piwheels_builder.queue.batch import Sdist
from piwheels_builder.settings import FIRST_BUILD_UID
from piwheels_builder.states import Outcome
from tests.support.sdists import SETUPTOOLS, Yard, make_sdist, make_yard, setup_py

CHECKOUT = Path(__file__).parents[2]
NOBODY = 65534
SECRET = "a-secret-of-this-test"


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    yard = make_yard(tmp_path_factory.mktemp("yard"))
    yield yard
    assert list(yard.workshop.state_dir.glob("area/*")) == []


def running(marker: str) -> list[psutil.Process]:
    """Processes with this word on their command line."""
    return [process for process in psutil.process_iter(["cmdline"]) if marker in (process.info["cmdline"] or [])]


def gone(marker: str) -> bool:
    """Whether they are gone, or go within a moment."""
    deadline = time.monotonic() + 5
    while running(marker):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("body", "outcome", "line"),
    [
        ("import numpy", Outcome.IMPORT_ERROR, "No module named 'numpy'"),
        ("print 'hello'", Outcome.PYTHON2_ONLY, "Missing parentheses"),
        ("import platform; platform.linux_distribution()", Outcome.PYTHON_API_GONE, "linux_distribution"),
        ("input('Continue? ')", Outcome.PROMPTED, "EOF when reading a line"),
        ("import urllib.request as u; u.urlopen('http://upstream.invalid/')", Outcome.NEEDS_NETWORK, "urlopen error"),
        ("import subprocess; subprocess.check_call(['cmake'], env={'PATH': '/x'})", Outcome.MISSING_PROGRAM, "cmake"),
        ("raise RuntimeError('This package has been renamed: install other')", Outcome.DELIBERATE_REFUSAL, "renamed"),
        ("raise OSError(28, 'No space left on device')", Outcome.BUILD_ERROR, "No space left"),
        ("raise ValueError('something of its own')", Outcome.BUILD_ERROR, "something of its own"),
        ("raise SystemExit('not today')", Outcome.BUILD_ERROR, "not today"),
        ("import os; os._exit(0)", Outcome.NO_WHEEL_MADE, "no wheel"),
        ("import os; os.kill(os.getpid(), 9)", Outcome.BUILD_ERROR, "137"),
        ("import os; os.kill(os.getpid(), 11)", Outcome.BUILD_ERROR, "139"),
    ],
)
def test_outcomes(yard: Yard, body: str, outcome: Outcome, line: str) -> None:
    attempt = yard.build(setup_py(body)).attempt
    assert attempt.outcome is outcome, attempt
    assert line in (attempt.error_line or "")
    assert attempt.log_tail


def test_a_missing_header_is_named(yard: Yard) -> None:
    script = "from setuptools import Extension, setup\nsetup(name='demo', version='1.0', ext_modules=[Extension('a', ['a.c'])])\n"
    files = {"demo-1.0/pyproject.toml": SETUPTOOLS, "demo-1.0/setup.py": script, "demo-1.0/a.c": "#include <no_such_thing.h>\n"}
    attempt = yard.build(files).attempt
    assert attempt.outcome is Outcome.MISSING_HEADER
    assert "no_such_thing.h" in (attempt.error_line or "")


@pytest.mark.parametrize(
    ("requirement", "outcome"),
    [
        ("setuptools>=99999", Outcome.REQUIREMENT_UNAVAILABLE),
        ("docopt==0.6.2", Outcome.REQUIREMENT_WITHOUT_WHEEL),
    ],
)
def test_requirements_that_cannot_be_had(yard: Yard, requirement: str, outcome: Outcome) -> None:
    files = setup_py()
    files["demo-1.0/pyproject.toml"] = f'[build-system]\nrequires = ["{requirement}"]\n'
    assert yard.build(files).attempt.outcome is outcome


def test_an_index_that_is_away(yard: Yard) -> None:
    files = setup_py()
    files["demo-1.0/pyproject.toml"] = '[build-system]\nrequires = ["setuptools<84"]\n'
    attempt = yard.build(files, upstream="http://user:password@127.0.0.1:9/simple/").attempt
    assert attempt.outcome is Outcome.NETWORK_AWAY
    assert "password" not in attempt.to_json()


def test_nothing_of_the_host_is_to_be_seen(yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIWHEELS_SECRET", SECRET)
    (tmp_path / "secret").write_text(SECRET)
    places = [str(tmp_path / "secret"), str(CHECKOUT / "setup.py"), str(yard.workshop.state_dir), "/etc/shadow", "/sys", "/home"]
    body = f"""
import os, pwd, sys
for place in {places}:
    print('SEES' if os.path.lexists(place) else 'misses', os.path.basename(place))
print('ENVIRONMENT', [value for name, value in os.environ.items() if 'secret' in value or name.startswith(('SSL', 'HTTP', 'UV'))])
print('PARENT', [open(f'/proc/{{number}}/cmdline').read() for number in os.listdir('/proc') if number.isdecimal()])
print('UIDS', os.getuid(), os.getresuid(), os.getgroups(), pwd.getpwuid(os.getuid()).pw_dir, os.path.expanduser('~'))
print('CAPABILITIES', [line for line in open('/proc/self/status') if line.startswith(('Cap', 'NoNewPrivs'))])
print('STDIN', repr(sys.stdin.read()))
"""
    built = yard.build(setup_py(body))
    assert built.wheel
    assert "SEES" not in built.log
    assert "ENVIRONMENT []" in built.log
    assert "-m pytest" not in built.log and "bin/pytest" not in built.log
    assert SECRET not in built.log
    assert "STDIN ''" in built.log
    assert "/build/home /build/home" in built.log
    assert "CapEff:\\t0000000000000000" in built.log
    assert "CapBnd:\\t0000000000000000" in built.log or os.geteuid() != 0
    assert "NoNewPrivs:\\t1" in built.log
    if os.geteuid() == 0:
        assert f"UIDS {FIRST_BUILD_UID} ({FIRST_BUILD_UID}, {FIRST_BUILD_UID}, {FIRST_BUILD_UID}) []" in built.log


def test_slots_are_different_users(yard: Yard) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root has other users to run builds as")
    assert f"UID {FIRST_BUILD_UID + 3}\n" in yard.build(setup_py("import os; print('UID', os.getuid())"), slot=3).log


def test_a_slow_upstream_does_not_count_against_the_limit(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    yard.build(setup_py())

    def fetch_slowly(sdist: Sdist, cache: SdistCache, relay: Relay | None = None) -> Path:
        time.sleep(3.2)
        return fetch(sdist, cache, relay=relay)

    monkeypatch.setattr("piwheels_builder.builder.build.fetch", fetch_slowly)
    assert yard.build(setup_py("print(1)"), build_seconds=3).attempt.outcome is Outcome.BUILT


def test_an_interrupted_build_leaves_nothing_running(yard: Yard) -> None:
    """KeyboardInterrupt passes through build(), which any exception that is no Exception stands for."""
    seconds = str(100_000 + time.time_ns() % 10**9)

    class Interruption(BaseException):
        pass

    class InterruptingLog:
        def __init__(self, output: object) -> None:
            self.output = output

        def write(self, data: bytes, /) -> None:
            if b"ABOUT TO SLEEP" in data:
                raise Interruption

    def interrupted_run(command, *, output, **rest):  # type: ignore[no-untyped-def]
        return run(command, output=InterruptingLog(output), **rest)

    body = f"import subprocess; print('ABOUT TO SLEEP'); subprocess.call(['sleep', '{seconds}'])"
    yard.build(setup_py())
    with pytest.raises(Interruption):
        yard.build(setup_py(body), runner=interrupted_run)
    assert gone(seconds)


def test_builds_side_by_side(yard: Yard) -> None:
    """Three slots begin with no environment, and make it at the same time."""
    outcomes: list[Attempt] = []
    other = make_yard(yard.place / "side-by-side")

    def build_in(slot: int) -> None:
        outcomes.append(other.build(setup_py(), slot=slot).attempt)

    other.place.mkdir()
    threads = [threading.Thread(target=build_in, args=(slot,)) for slot in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [attempt.outcome for attempt in outcomes] == [Outcome.BUILT] * 3, outcomes


def test_an_ordinary_user_builds_too() -> None:
    """As root: the command, run by a user without any rights, with this distribution's Python."""
    system = Path("/usr/bin/python3")
    packages = Path(uv.__file__).parents[1]
    same = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if os.geteuid() != 0 or system.resolve().name != same:
        pytest.skip("only root can be somebody else, and with a Python of the same version that others may run")
    if not all(above.stat().st_mode & 0o001 for above in CHECKOUT.parents):
        pytest.skip("others may not read this checkout")
    with tempfile.TemporaryDirectory() as place:
        os.chown(place, NOBODY, NOBODY)
        sdist = make_sdist(Path(place) / "demo-1.0.tar.gz", setup_py("import os; print('UID', os.getuid())"))
        places = ["--wheel-dir", f"{place}/wheels", "--state-dir", f"{place}/state"]
        done = subprocess.run(
            [str(system), "-m", "piwheels_builder.cli", "build", str(sdist), "--json", *places],
            env={**os.environ, "PYTHONPATH": f"{CHECKOUT}:{packages}", "HOME": place},
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            cwd=place,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        told = json.loads(done.stdout)
        assert Path(told["wheel_path"]).is_file()
        assert f"UID {NOBODY}" in Path(told["log_path"]).read_text()

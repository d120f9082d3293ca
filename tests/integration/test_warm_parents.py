"""Builds by children of warm parents: as fast as promised, apart from each other, and never at the price of a build."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence

import psutil
import pytest

from piwheels_builder.builder import warm_parent
from piwheels_builder.builder.bubblewrap import Sandbox, parent_command
from piwheels_builder.builder.warm import WarmParents
from piwheels_builder.builder.warmable import modules_to_warm
from piwheels_builder.states import Outcome
from tests.support.builders import eventually
from tests.support.sdists import SETUPTOOLS, Built, Yard, make_yard, setup_py

FLIT = {
    "demo-1.0/pyproject.toml": '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n'
    '[project]\nname = "demo"\nversion = "1.0"\ndescription = "x"\n',
    "demo-1.0/demo.py": "ANSWER = 42\n",
}


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    yard = make_yard(tmp_path_factory.mktemp("yard"), warm=True)
    yield yard
    parents = parents_of(yard)
    parents.close()
    assert list(yard.workshop.state_dir.glob("area/*")) == []


def parents_of(yard: Yard) -> WarmParents:
    assert yard.workshop.warm is not None
    return yard.workshop.warm


def was_warm(built: Built) -> bool:
    return "an interpreter of its own" not in built.log


def test_the_second_build_has_the_modules_of_the_first(yard: Yard) -> None:
    """The parent imported setuptools; the child does not, and says so."""
    body = "import sys; print('PARENT HAD', 'setuptools.command.bdist_wheel' in sys.modules)"
    built = yard.build(setup_py(body))
    assert built.attempt.outcome is Outcome.BUILT
    assert "PARENT HAD True" in built.log
    assert was_warm(built)
    (parent,) = parents_of(yard).processes()
    assert yard.build(setup_py()).attempt.outcome is Outcome.BUILT
    assert parents_of(yard).processes() == [parent]


def test_warm_and_fresh_make_the_same_wheel(yard: Yard) -> None:
    warm, fresh = yard.build(setup_py()), yard.build(setup_py(), warm=None)
    assert warm.attempt.wheel == fresh.attempt.wheel
    assert "PARENT" not in fresh.log


def test_children_find_nothing_of_each_other(yard: Yard) -> None:
    """What one leaves in its directories, its memory and the modules it shares with its parent, the next doesn't see."""
    leave = (
        "import os, setuptools, subprocess\n"
        "setuptools.LEFT = True; os.environ['LEFT'] = '1'\n"
        "for place in ('/tmp', '/dev/shm', '/build', '/build/home'): open(place + '/left', 'w').close()\n"
        "subprocess.Popen(['sleep', '600'])\n"
    )
    assert yard.build(setup_py(leave)).attempt.outcome is Outcome.BUILT
    look = (
        "import os, setuptools\n"
        "print('LEFT', hasattr(setuptools, 'LEFT'), 'LEFT' in os.environ)\n"
        "print('FILES', [place for place in ('/tmp', '/dev/shm', '/build', '/build/home') if os.path.exists(place + '/left')])\n"
        "print('OTHERS', os.listdir('/slot'), sorted(filter(str.isdigit, os.listdir('/proc'))))\n"
    )
    log = yard.build(setup_py(look)).log
    assert "LEFT False False" in log
    assert "FILES []" in log
    assert "OTHERS [] ['1', '2']" in log


def test_the_child_has_no_rights_left(yard: Yard) -> None:
    body = (
        "status = dict(line.rstrip('\\n').split(':\\t', 1) for line in open('/proc/self/status') if ':\\t' in line)\n"
        "print('RIGHTS', [status[name] for name in ('CapPrm', 'CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs')])\n"
        "import os, socket\n"
        "print('NET', [name for _, name in socket.if_nameindex()], 'FDS', os.listdir('/proc/self/fd'))\n"
    )
    log = yard.build(setup_py(body)).log
    nothing = "0000000000000000"
    assert f"RIGHTS {[nothing, nothing, nothing, nothing, '1']}" in log
    # The fourth is the one that lists them.
    assert "NET ['lo'] FDS ['0', '1', '2', '3']" in log


def test_as_root_builds_run_as_the_users_of_their_slots(yard: Yard) -> None:
    log = yard.build(setup_py("import os; print('IDS', os.getresuid(), os.getgroups())")).log
    uid = yard.workshop.build_uid if os.geteuid() == 0 else os.geteuid()
    assert f"IDS {(uid, uid, uid)}" in log


def test_exit_codes_and_signals_are_those_of_the_build(yard: Yard) -> None:
    assert "139" in (yard.build(setup_py("import os; os.kill(os.getpid(), 11)")).attempt.error_line or "")
    assert yard.build(setup_py("raise SystemExit('not today')")).attempt.error_line in {"not today", "SystemExit: not today"}


def test_it_is_killed_at_its_limit_with_all_it_started(yard: Yard) -> None:
    seconds = str(100_000 + time.time_ns() % 10**9)
    body = f"import subprocess\nif subprocess.Popen(['setsid', 'sleep', '{seconds}']): subprocess.call(['sleep', '{seconds}'])"
    attempt = yard.build(setup_py(body), build_seconds=1).attempt
    assert (attempt.outcome, attempt.mechanism) == (Outcome.TIMEOUT, "wall clock")
    assert not [process for process in psutil.process_iter(["cmdline"]) if seconds in (process.info["cmdline"] or [])]
    assert yard.build(setup_py()).attempt.outcome is Outcome.BUILT


def test_a_parent_that_died_is_replaced(yard: Yard) -> None:
    yard.build(setup_py())
    for parent in parents_of(yard).processes():
        os.kill(parent, signal.SIGKILL)
    built = yard.build(setup_py())
    assert built.attempt.outcome is Outcome.BUILT
    assert was_warm(built)


def test_a_parent_dies_under_its_child(yard: Yard) -> None:
    """As when the kernel, short of memory, takes the parent: an outcome that is not the release's, and the next build is fine."""

    def kill_parent_of_sleeper() -> None:
        (parent,) = parents_of(yard).processes()
        eventually(lambda: any("sleep" in child.name() for child in psutil.Process(parent).children(recursive=True)))
        os.kill(parent, signal.SIGKILL)

    yard.build(setup_py())
    thread = threading.Thread(target=kill_parent_of_sleeper)
    thread.start()
    attempt = yard.build(setup_py("import subprocess; subprocess.call(['sleep', '600'])"), build_seconds=30).attempt
    thread.join()
    assert attempt.outcome is Outcome.KILLED
    assert yard.build(setup_py()).attempt.outcome is Outcome.BUILT


def test_no_more_parents_than_allowed(yard: Yard) -> None:
    few = WarmParents(yard.workshop.area, most=1)
    for files in (setup_py(), FLIT, setup_py()):
        assert was_warm(yard.build(files, warm=few))
        assert len(few.processes()) == 1
    few.close()


def test_an_idle_parent_ends_by_itself(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_parent, "IDLE_SECONDS", 0.5)
    idle = WarmParents(yard.workshop.area)
    assert was_warm(yard.build(setup_py(), warm=idle))
    (pid,) = idle.processes()
    eventually(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    assert was_warm(yard.build(setup_py(), warm=idle))
    idle.close()


def test_a_source_with_a_backend_of_its_own_gets_a_fresh_interpreter(yard: Yard) -> None:
    system = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "own"\nbackend-path = ["."]\n'
    files = {**setup_py(), "demo-1.0/pyproject.toml": system, "demo-1.0/own.py": "from setuptools.build_meta import *\n"}
    built = yard.build(files)
    assert built.attempt.outcome is Outcome.BUILT
    assert not was_warm(built)


def test_so_does_an_environment_with_a_distribution_that_is_not_known(yard: Yard) -> None:
    system = SETUPTOOLS.replace('"setuptools"', '"setuptools", "docutils"')
    built = yard.build({**setup_py(), "demo-1.0/pyproject.toml": system})
    assert built.attempt.outcome is Outcome.BUILT
    assert not was_warm(built)


@pytest.mark.parametrize("where", ["parent", "child"])
def test_and_a_machine_whose_kernel_refuses(yard: Yard, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """Where a parent can't start, or a child can't have namespaces, builds happen all the same, and it is tried once."""
    started = []

    def refusing(sandbox: Sandbox, program: Sequence[str]) -> list[str]:
        started.append(program)
        if where == "parent":
            return parent_command(sandbox, ["/bin/false"])
        # As with user.max_user_namespaces=0: one level less than a child needs.
        return parent_command(sandbox, ["/usr/bin/python3", "-c", _REFUSE, *program])

    monkeypatch.setattr(warm_parent, "parent_command", refusing)
    refused = WarmParents(yard.workshop.area)
    for _ in range(3):
        built = yard.build(setup_py(), warm=refused)
        assert built.attempt.outcome is Outcome.BUILT
        assert not was_warm(built)
    assert refused.processes() == []
    assert len(started) == 1
    refused.close()


#: Runs a program without the right to make user namespaces, by the filter that builds have, too.
_REFUSE = "import os, sys; sys.path.insert(0, '/driver'); import forbidden; forbidden.forbid(); os.execv(sys.argv[1], sys.argv[1:])"


def test_what_is_known_and_what_is_not() -> None:
    assert modules_to_warm({"setuptools", "wheel"})
    assert modules_to_warm({"setuptools", "evil-plugin"}) is None
    assert modules_to_warm(set()) is None


def test_modules_that_are_warmed_exist(yard: Yard) -> None:
    """A module that a backend no longer has would be passed over in silence."""
    yard.build(setup_py())
    yard.build(FLIT)
    said = [path.read_text() for path in yard.workshop.state_dir.glob("area/warm-*/said.txt")]
    assert said == ["", ""]

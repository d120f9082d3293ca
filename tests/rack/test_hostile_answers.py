"""A builder that somebody took over answers the operator's playbooks: nothing of it is obeyed, and nobody waits for it."""

import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.rack.attacks import PYTHON, Intruder, Operator
from tests.rack.hosts import Host
from tests.rack.playbooks import Run, play
from tests.rack.upstream import Release, Upstream, serving

HOSTS = "index,bookworm,trixie"
OWNED = Path("/tmp/rack-owned")
#: Would be run on the controller, were it taken for a template, a variable of Ansible's, or a host.
EVIL = "{{ lookup('ansible.builtin.pipe', 'touch " + str(OWNED) + "') }}"
_TAKES_OVER = {
    "ansible_facts": {
        "fleet_python": f"touch {OWNED};",
        "ansible_python_interpreter": f"touch {OWNED};",
        "ansible_connection": "local",
        "dispatch_index_host": "evil",
        "dispatch_builder_state_dir": EVIL,
    },
    "add_host": {
        "host_name": "evil",
        "groups": ["index", "builders"],
        "host_vars": {"ansible_connection": "local", "ansible_python_interpreter": f"touch {OWNED};"},
    },
    "add_group": "index",
    "warnings": [f"\x1b]0;owned\x07{EVIL}"],
    "deprecations": [{"msg": f"\x1b[2J{EVIL}", "version": "9"}],
}
_RUNNING = [{"project": EVIL, "version": "\x1b]0;owned\x07", "target": "\u202ex"}] * 900
#: What its Python answers, whatever module it is sent; the last one again and again.
ANSWERS: dict[str, list[Any]] = {
    "templates": [
        *[{"alive": True, "status": {"running": _RUNNING, "spool": 10**30}, "batches": 1, "unrecorded": 0, **_TAKES_OVER}] * 3,
        {"alive": True, "status": {"database_trouble": EVIL}, "batches": 0, "unrecorded": 0, **_TAKES_OVER},
    ],
    "other kinds": [{"alive": "x", "status": ["\x1b[2J"], "batches": None, "unrecorded": {}}],
    "a failure": [{"failed": True, "msg": f"\x1b]0;owned\x07{EVIL}" + "x" * 10**6, **_TAKES_OVER}],
    "no end of depth": ["[" * 200_000],
}
_FAKE = """#!/bin/sh
exec /usr/bin/python3 -I -c '
import pathlib, sys
sys.stdin.buffer.read()
turn = pathlib.Path("/run/fake/turn")
number = int(turn.read_text())
turn.write_text(str(number + 1))
answers = sorted(pathlib.Path("/run/fake").glob("answer-*"))
print(answers[min(number, len(answers) - 1)].read_text())
'
"""
_HANGS = "#!/bin/sh\nexec sleep 1000\n"


@pytest.fixture
def upstream(intruder: Intruder, operator: Operator) -> Iterator[Upstream]:
    gateway = operator.index.address.gateway_ipv4
    assert gateway
    OWNED.unlink(missing_ok=True)
    with serving(gateway) as upstream:
        yield upstream
    intruder.host.must("sh", "-c", f"[ ! -e {PYTHON}.kept ] || mv {PYTHON}.kept {PYTHON}")
    operator.make_amends()


def speaks(intruder: Intruder, script: str, answers: list[Any]) -> None:
    """Have modules on the builder run into this."""
    intruder.host.must("sh", "-c", "rm -rf /run/fake && mkdir -m 0777 /run/fake && umask 0 && echo 0 >/run/fake/turn")
    for number, answer in enumerate(answers):
        text = answer if isinstance(answer, str) else json.dumps(answer)
        intruder.shell(f"base64 -d > /run/fake/answer-{number}", text.encode())
    intruder.host.must("mv", PYTHON, f"{PYTHON}.kept")
    intruder.shell(f"base64 -d > {PYTHON} && chmod 0755 {PYTHON}", script.encode())


def new(label: str) -> str:
    """A project that no run before wanted."""
    return f"hostile-{label}-{uuid.uuid4().hex[:10]}"


def build(upstream: Upstream, *releases: Release, **wishes: Any) -> Run:
    upstream.offer(*releases)
    wanted = {
        "fleet_projects": [release.project for release in releases],
        "fleet_upstream": upstream.url,
        "fleet_build_policy": "all",
    }
    extra = {**wanted, "dispatch_answer_seconds": 30, "dispatch_away_seconds": 15, **wishes}
    return play("build.yml", extra=extra, options=("--limit", HOSTS), seconds=300)


def assert_nothing_was_obeyed(run: Run) -> None:
    assert not OWNED.exists()
    assert "evil" not in run.changed
    assert [letter for letter in run.output if not letter.isprintable() and letter not in "\n\t"] == []
    assert len(run.output) < 100_000


@pytest.mark.parametrize("said", ANSWERS)
def test_others_are_served_whatever_it_answers(
    intruder: Intruder, operator: Operator, upstream: Upstream, rack: Mapping[str, Host], said: str
) -> None:
    assert rack
    speaks(intruder, _FAKE, ANSWERS[said])
    release = Release(new("answer"), requires_python=">=3.12")
    run = build(upstream, release)
    assert_nothing_was_obeyed(run)
    assert operator.files(release.project) != []
    if said == "other kinds":
        assert "answers what no builder does" in run.output
        assert "piwheels-builder distrust bookworm" in run.output.replace("\n", " ")


def test_a_round_does_not_wait_for_a_builder_that_hangs(intruder: Intruder, operator: Operator, upstream: Upstream) -> None:
    speaks(intruder, _HANGS, [])
    # A round hands out half of what is left: enough of each that both are given some.
    mine = [Release(new("hangs"), requires_python="<3.12") for _ in range(4)]
    its = [Release(new("others"), requires_python=">=3.12") for _ in range(4)]
    run = build(upstream, *mine, *its, fleet_converge="round")
    assert run.seconds < 200
    assert "Timed out after 30 second(s)" in run.output
    told = operator.psql(
        "SELECT split_part(name, '-', 2), state FROM build JOIN release USING (release_id) JOIN project USING (project_id)"
        f" WHERE name = ANY ('{{{','.join(release.project for release in (*mine, *its))}}}')"
    )
    states = [line.split("|") for line in told.split()]
    # Somebody else may have them at once.
    assert {state for label, state in states if label == "hangs"} == {"pending"}
    assert {state for label, state in states if label == "others"} & {"leased", "building", "built", "published"}


def test_a_status_that_is_a_trap_keeps_nobody_waiting(intruder: Intruder, operator: Operator, upstream: Upstream) -> None:
    """With a Python that is honest: what lies in the builder's own directories."""
    status = "/var/lib/piwheels-builder/builder/status.json"
    release = Release(new("trap"), requires_python=">=3.12")
    intruder.host.must("sh", "-c", f"rm -f {status} && mkfifo /run/trap && ln -s /run/trap {status}")
    try:
        run = build(upstream, release)
    finally:
        intruder.host.must("rm", "-f", status, "/run/trap")
    assert_nothing_was_obeyed(run)
    assert operator.files(release.project) != []

"""What a person is shown of a run, line by line and drawn."""

import atexit
import importlib.util
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from piwheels_builder.queue.progress import Board, Progress, Teller, parse, printable

ROOT = Path(__file__).parents[2]


def progress(builder: str, **fields: object) -> Progress:
    return Progress(builder, most=30, **{"done": 3, **fields})  # type: ignore[arg-type]


def test_what_is_sent_is_what_arrives_and_nothing_else_does() -> None:
    told = progress("pi1", running=("docopt 0.6.2 for cp311",), notes=("2 parked",), seconds_left=90.0)
    assert parse(told.to_json()) == told
    assert [parse(junk) for junk in (b"", b"{}", b"[]", b'{"progress": {"x": 1}}', b"\xff")] == [None] * 5


def test_a_line_is_printed_on_a_change_not_too_often_and_at_the_end() -> None:
    now = 0.0
    board = Board(lambda: now)
    assert list(board.plain(progress("pi1"))) == ["pi1: 3 of 30 done"]
    now = 5
    assert list(board.plain(progress("pi1", done=4))) == []
    now = 11
    assert list(board.plain(progress("pi1", done=5, built=2, failed=1, seconds_left=100.0))) == [
        "pi1: 5 of 30 done; 2 built, 1 failed; about 2 min left"
    ]
    now = 30
    assert list(board.plain(progress("pi1", done=5, built=2, failed=1))) == []
    now = 31
    assert list(board.plain(progress("pi1", done=6))) == ["pi1: 6 of 30 done"]
    assert list(board.plain(progress("pi1", done=30, over=True))) == ["pi1: 30 of 30 done"]


def test_the_fleet_has_a_line_where_it_is_more_than_one() -> None:
    now = 0.0
    board = Board(lambda: now)
    list(board.plain(progress("pi1", built=2, spool=4)))
    assert (
        list(board.plain(progress("pi2", built=1, failed=1, spool=3)))[-1] == "fleet: 3 of 30 done; 3 built, 1 failed; 7 in spools"
    )
    now = 1
    list(board.plain(progress("pi1", done=30, built=28, over=True)))
    last = list(board.plain(progress("pi2", done=30, built=1, failed=1, over=True)))
    assert last[-1] == "fleet: 30 of 30 done; 29 built, 1 failed; 0 in spools"


@pytest.mark.parametrize("height", [3, 10, 70])
def test_no_more_is_drawn_than_fits_and_those_at_work_go_first(height: int) -> None:
    board = Board()
    for number in range(40):
        board.note(progress(f"pi{number:02}", running=("numpy 2",) if number >= 38 else ()))
    drawn = board.drawn(height)
    assert len(drawn) == min(height, 41)
    assert drawn[-1][0] == "fleet"
    assert height < 5 or {"pi38", "pi39"} <= {name for name, _ in drawn}
    if height < 41:
        assert drawn[-2][0] == "..."
        assert f"{40 - (height - 2)} more" in drawn[-2][1]


def test_a_builders_words_cannot_speak_to_the_terminal() -> None:
    assert printable("\x1b[2Jdisk full\n") == "?[2Jdisk full?"
    assert len(printable("x" * 5000)) == 300


def test_where_nobody_listens_lines_are_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in ("", str(tmp_path / "gone")):
        monkeypatch.setenv("FLEET_PROGRESS_SOCKET", path)
        said: list[str] = []
        teller = Teller(said.append)
        teller.show(progress("pi1"))
        teller.say("pi1: hello")
        assert said == ["pi1: 3 of 30 done", "pi1: hello"]


TELLING = '''
"""An action that tells of progress, as converge does."""
import time
from ansible.plugins.action import ActionBase
from piwheels_builder.queue.progress import Progress, Teller

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        name, teller = task_vars["inventory_hostname"], Teller(print)
        for done in range(5):
            teller.show(Progress(name, done, 4, built=done, running=("demo [1]",), over=done == 4))
            time.sleep(0.05)
        teller.say(f"{name}: said as it is")
        return {"changed": False}
'''
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Tell
      telling:
    - name: Do something after it
      ansible.builtin.assert: {that: true}
"""


def played(place: Path, *, terminal: bool) -> str:
    """What a run of two hosts shows."""
    (place / "action").mkdir()
    (place / "action/telling.py").write_text(TELLING)
    (place / "play.yml").write_text(PLAYBOOK)
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "pi1,pi2,", str(place / "play.yml")]
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_ACTION_PLUGINS": str(place / "action"),
        "ANSIBLE_NOCOLOR": "1",
        "TERM": "xterm",
        "COLUMNS": "100",
        "LINES": "20",
    }
    if not terminal:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, start_new_session=True
    )
    os.close(theirs)
    return read_all(ours, process)


def read_all(terminal: int, process: "subprocess.Popen[bytes]") -> str:
    shown, deadline = b"", time.monotonic() + 120
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                shown += os.read(terminal, 65536)
            except OSError:
                break
        elif process.poll() is not None:
            break
    os.close(terminal)
    assert process.wait(10) == 0, shown.decode()
    return shown.decode()


def test_plain_lines_where_the_output_is_no_terminal(tmp_path: Path) -> None:
    lines = played(tmp_path, terminal=False).splitlines()
    for name in ("pi1", "pi2"):
        mine = [line for line in lines if line.startswith(f"{name}: ") and " of 4 done" in line]
        assert mine[0] == f"{name}: 0 of 4 done; building demo [1]"
        assert mine[-1] == f"{name}: 4 of 4 done; building demo [1]; 4 built, 0 failed"
        assert len(mine) == 2
        assert f"{name}: said as it is" in lines
    assert "fleet: 4 of 4 done; 8 built, 0 failed; 0 in spools" in lines
    # All of it before the next task is told of.
    assert max(lines.index(f"{name}: said as it is") for name in ("pi1", "pi2")) < lines.index(
        next(line for line in lines if line.startswith("TASK [Do something"))
    )
    assert "\x1b" not in "".join(lines)


def test_lines_are_drawn_anew_on_a_terminal(tmp_path: Path) -> None:
    shown = re.sub("\x1b\\[[0-9;]*m", "", played(tmp_path, terminal=True))
    assert "pi1: 0 of" not in shown
    assert shown.count("fleet  ") > 2
    # Up and over what was there, and the cursor comes back.
    assert "\x1b[1A" in shown
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")
    last = shown[shown.rfind("fleet  ") :]
    assert "4 of 4 done; 8 built, 0 failed" in last
    assert "demo [1]" in shown
    assert "pi1: said as it is" in shown
    assert "PLAY RECAP" in last


def test_a_screen_that_fails_or_a_listener_that_died_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEET_PROGRESS_SOCKET", "")
    found = importlib.util.spec_from_file_location("fleet_progress", ROOT / "plugins/callback/fleet_progress.py")
    assert found and found.loader
    plugin = importlib.util.module_from_spec(found)
    found.loader.exec_module(plugin)
    monkeypatch.setattr(atexit, "register", lambda _: None)
    ear = plugin.Ear()

    def fail(_: object) -> None:
        raise ValueError

    ear._screen = SimpleNamespace(draw=fail, leave=lambda: None)
    said: list[str] = []
    monkeypatch.setattr(plugin.display, "display", said.append)
    teller = Teller(said.append)
    teller.show(progress("pi1"))
    teller.show(progress("pi1", done=30, over=True))
    ear.settle()
    assert (ear._screen, said[-1]) == (None, "pi1: 30 of 30 done")
    ear._listener = SimpleNamespace(is_alive=lambda: False)
    monkeypatch.setattr(plugin.socket, "socket", fail)
    ear.settle()
    ear._close()

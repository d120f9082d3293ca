"""Processes of the rack on this machine, found by their command lines: nothing has to be remembered that could be out of date."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.rack.commands import RackError


def found(program: str, argument: str) -> int | None:
    """The process id of a running program that has this argument, or None."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if Path(words[0]).name == program and argument in words:
                return int(entry.name)
    return None


def child(pid: int) -> int | None:
    """The first child of a process, or None."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                return int(entry.name)
    return None


def start(command: list[str], output: Path, control_groups: list[Path]) -> None:
    """Start a process of a session of its own, in these control groups, that outlives us; its output goes to a file."""
    entering = 'while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done; shift; exec "$@"'
    words = ["setsid", "--fork", "sh", "-c", entering, "sh", *map(str, control_groups), "--", *command]
    with output.open("ab") as written:
        subprocess.run(words, stdin=subprocess.DEVNULL, stdout=written, stderr=written, check=True)


def end(pid: int, program: str, *, sent: signal.Signals = signal.SIGTERM, seconds: float = 10) -> bool:
    """Signal a process and say whether it has ended in time."""
    with suppress(ProcessLookupError):
        os.kill(pid, sent)
    return gone(pid, program, seconds)


def gone(pid: int, program: str, seconds: float) -> bool:
    """Whether a process ends within some seconds. A zombie has ended; so has one whose number another program bears."""
    until = time.monotonic() + seconds
    while is_running(pid, program):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def is_running(pid: int, program: str) -> bool:
    """Whether a process of that number is that program, and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    name, _, rest = stat.partition("(")[2].rpartition(")")
    return program.startswith(name) and rest.split()[0] != "Z"


def must_end(pid: int, program: str) -> None:
    """End a process, by force if it does not obey. Raises RackError."""
    if not (end(pid, program) or end(pid, program, sent=signal.SIGKILL)):
        msg = f"process {pid} ({program}) does not end, even by SIGKILL: see /proc/{pid}/stack"
        raise RackError(msg)

"""Programs of this machine, with their words when they fail."""

import subprocess
import sys
from pathlib import Path


class RackError(Exception):
    """The rack cannot do what was asked; the message says why and what to do."""


def run(*command: str | Path, stdin: str = "", seconds: float = 1800) -> str:
    """Run a program to its end and return what it printed. Raises RackError with the end of its output when it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)
    except FileNotFoundError as error:
        msg = f"{words[0]} is not on this machine: `python3 -m tests.rack up` installs it"
        raise RackError(msg) from error
    except subprocess.TimeoutExpired as error:
        msg = f"{' '.join(words)} did not end within {seconds:.0f} s"
        raise RackError(msg) from error
    if done.returncode:
        msg = f"{' '.join(words)} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:].strip()}"
        raise RackError(msg)
    return done.stdout


def contained(*command: str | Path) -> list[str | Path]:
    """A command line whose processes end with it, and with us, so that nothing goes on in what the next `up` removes."""
    # No namespace of mounts: it would hold what is mounted now, the disks of running hosts, for as long as it lives.
    return ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", *command]


def works(*command: str | Path, seconds: float = 60) -> bool:
    """Whether a program ends well. What it prints is dropped."""
    words = [str(word) for word in command]
    try:
        return subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, timeout=seconds, check=False).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


def say(words: str) -> None:
    """A line of progress, on stderr."""
    print(words, file=sys.stderr, flush=True)

"""Runs a program with its output going into the build's log, within bounds, and never leaves it behind."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

#: After the program itself has ended, how long what it left running may hold its output open.
_DRAIN_SECONDS = 2.0
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Ended:
    """``exit_code`` is negative for a signal; ``stopped`` says which limit we killed it at: timeout, log_flood, or None."""

    exit_code: int
    stopped: str | None = None


class Output(Protocol):
    """Takes what a program prints."""

    def write(self, data: bytes, /) -> object: ...


class Runner(Protocol):
    """What stations start programs through; the tests' own runners are others."""

    def __call__(
        self, command: Sequence[str], *, environment: Mapping[str, str], output: Output, seconds: float, output_bytes: int
    ) -> Ended: ...


def run(command: Sequence[str], *, environment: Mapping[str, str], output: Output, seconds: float, output_bytes: int) -> Ended:
    """Run ``command`` for at most ``seconds``, its stdout and stderr (at most ``output_bytes``) going to ``output``.

    Whatever ends this call, also an exception, the program and its process group are dead. Raises OSError if it can't start.
    """
    process = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        umask=0o022,
    )
    try:
        stopped = _follow(process, output, time.monotonic() + seconds, output_bytes)
    finally:
        _kill(process)
    return Ended(process.returncode, stopped)


def _follow(process: subprocess.Popen[bytes], output: Output, deadline: float, budget: int) -> str | None:
    """Copy output until the program has ended. Returns the limit it reached, if any."""
    assert process.stdout is not None
    pidfd = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as waiting:
            waiting.register(process.stdout, selectors.EVENT_READ)
            waiting.register(pidfd, selectors.EVENT_READ)
            for pipe in _events(waiting, pidfd, deadline):
                chunk = os.read(pipe, _CHUNK)
                output.write(chunk[:budget])
                budget -= len(chunk)
                if budget < 0:
                    return "log_flood"
                if not chunk:
                    waiting.unregister(process.stdout)
        return None
    except TimeoutError:
        return "timeout"
    finally:
        os.close(pidfd)


def _events(waiting: selectors.BaseSelector, pidfd: int, deadline: float) -> Iterator[int]:
    """The pipe's descriptor each time it can be read, until both it and the program are done. Raises TimeoutError.

    Once the program has ended, what it left running may hold the pipe for a moment, and no longer.
    """
    running = True
    while waiting.get_map():
        ready = [key.fd for key, _ in waiting.select(max(0.0, deadline - time.monotonic()))]
        if pidfd in ready:
            running = False
            waiting.unregister(pidfd)
            deadline = min(deadline, time.monotonic() + _DRAIN_SECONDS)
        yield from (descriptor for descriptor in ready if descriptor != pidfd)
        if time.monotonic() >= deadline and running:
            raise TimeoutError
        if time.monotonic() >= deadline:
            return


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group, and reap the program."""
    # Not yet reaped, the program keeps its number even when it has ended: the signal can't hit a stranger.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()

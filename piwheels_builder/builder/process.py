"""Runs a program with its output going into the build's log, within bounds, and never leaves it behind."""

import math
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
class Stop:
    """Why it was killed. ``limit``: timeout, log_flood, stalled, memory, disk, processes, crowded. ``mechanism``: what enforced it.

    ``crowded`` says nothing of the build: this machine has no memory for so many at once, and it was the youngest.
    """

    limit: str
    mechanism: str


@dataclass(frozen=True)
class Ended:
    """``exit_code`` is negative for a signal. ``peak_memory``: bytes of all processes together, as measured from outside."""

    exit_code: int
    stop: Stop | None = None
    peak_memory: int | None = None


class Output(Protocol):
    """Takes what a program prints."""

    def write(self, data: bytes, /) -> object: ...


class Watch(Protocol):
    """The bounds of one run, for all its processes together."""

    #: Seconds between two looks.
    interval: float

    def prefix(self) -> Sequence[str]:
        """What a command line begins with, so that the program starts within the bounds."""

    def admit(self, pid: int) -> None:
        """Put a process that somebody else started, and all that it will start, within the bounds."""

    def look(self, pid: int, printed: int) -> Stop | None:
        """Whether the run, whose first process is ``pid``, must be killed now. ``printed``: bytes of output so far."""

    def end(self, ended: Ended) -> Ended:
        """All processes are gone: what is known about them in the end, with a stop that the kernel enforced by itself."""


class Running(Protocol):
    """A program that was started, with all that it starts."""

    pid: int
    #: Becomes readable when the program has ended.
    pidfd: int
    #: Where its output is read from.
    pipe: int

    def kill(self) -> int:
        """End all of it, if it has not ended. Returns the program's exit code, negative for a signal."""


class Runner(Protocol):
    """What stations start programs through; the tests' own runners are others."""

    def __call__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        output: Output,
        seconds: float,
        output_bytes: int,
        watch: Watch | None = None,
    ) -> Ended: ...


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    output: Output,
    seconds: float,
    output_bytes: int,
    watch: Watch | None = None,
) -> Ended:
    """Run ``command`` for at most ``seconds``, its stdout and stderr (at most ``output_bytes``) going to ``output``.

    Whatever ends this call, also an exception, the program and its process group are dead. Raises OSError if it can't start.
    """
    started = _Started(
        subprocess.Popen(
            [*(watch.prefix() if watch else ()), *command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o022,
        )
    )
    return follow(started, output=output, seconds=seconds, output_bytes=output_bytes, watch=watch)


def follow(running: Running, *, output: Output, seconds: float, output_bytes: int, watch: Watch | None = None) -> Ended:
    """Copy the output of what was started until it has ended, as in ``run``."""
    stop = None
    try:
        stop = _Following(running, output, output_bytes, watch).until(time.monotonic() + seconds)
    finally:
        ended = Ended(running.kill(), stop)
        if watch:
            ended = watch.end(ended)
    return ended


class _Stopped(Exception):
    def __init__(self, stop: Stop) -> None:
        super().__init__(stop.limit)
        self.stop = stop


class _Following:
    """Copies the output of what runs, and looks at it from time to time, until it has ended or must be stopped."""

    def __init__(self, running: Running, output: Output, output_bytes: int, watch: Watch | None) -> None:
        self._running = running
        self._output = output
        self._most = output_bytes
        self._watch = watch
        self._printed = 0

    def until(self, deadline: float) -> Stop | None:
        """The limit that was reached by the time ``deadline`` of the monotonic clock, if any."""
        try:
            with selectors.DefaultSelector() as waiting:
                waiting.register(self._running.pipe, selectors.EVENT_READ)
                waiting.register(self._running.pidfd, selectors.EVENT_READ)
                for pipe in self._events(waiting, deadline):
                    if not self._copy(pipe):
                        waiting.unregister(pipe)
        except _Stopped as stopped:
            return stopped.stop
        return None

    def _events(self, waiting: selectors.BaseSelector, deadline: float) -> Iterator[int]:
        """The pipe each time it can be read, until both it and the program are done. Raises _Stopped.

        Once the program has ended, what it left running may hold the pipe for a moment, and no longer.
        """
        alive, look_at = True, self._look()
        while waiting.get_map():
            ready = [key.fd for key, _ in waiting.select(max(0.0, min(deadline, look_at) - time.monotonic()))]
            if self._running.pidfd in ready:
                alive, look_at = False, math.inf
                waiting.unregister(self._running.pidfd)
                deadline = min(deadline, time.monotonic() + _DRAIN_SECONDS)
            yield from (descriptor for descriptor in ready if descriptor != self._running.pidfd)
            if time.monotonic() >= deadline:
                if alive:
                    raise _Stopped(Stop("timeout", "wall clock"))
                return
            if time.monotonic() >= look_at:
                look_at = self._look()

    def _copy(self, pipe: int) -> bool:
        """Copy what is there. Returns False at the end of the output. Raises _Stopped."""
        chunk = os.read(pipe, _CHUNK)
        self._output.write(chunk[: self._most - self._printed])
        self._printed += len(chunk)
        if self._printed > self._most:
            raise _Stopped(Stop("log_flood", "log cap"))
        return bool(chunk)

    def _look(self) -> float:
        """Look, and return when to look again, by the monotonic clock. Raises _Stopped."""
        if self._watch is None:
            return math.inf
        stop = self._watch.look(self._running.pid, self._printed)
        if stop:
            raise _Stopped(stop)
        return time.monotonic() + self._watch.interval


class _Started:
    """A child process of ours, leader of its own process group."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        self._process = process
        self.pid = process.pid
        self.pidfd = os.pidfd_open(process.pid)
        self.pipe = process.stdout.fileno()

    def kill(self) -> int:
        """End the whole process group, and reap the program."""
        # Not yet reaped, the program keeps its number even when it has ended: the signal can't hit a stranger.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        exit_code = self._process.wait()
        os.close(self.pidfd)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return exit_code

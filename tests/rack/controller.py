"""The operator's ``ansible-playbook build.yml``, running while something breaks."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.rack.playbooks import ROOT, command, environment


class Controller:
    """One run at a time; what it said is kept for whoever looks into a failure."""

    def __init__(self, extra: Mapping[str, Any], options: tuple[str, ...] = ()) -> None:
        self._command = command("build.yml", extra=extra, options=options)
        self._said = Path(tempfile.mkstemp(prefix="rack-build-")[1])
        self._run: subprocess.Popen[bytes] | None = None
        #: Besides the operator's own.
        self.environment: dict[str, str] = {}

    def start(self) -> None:
        with self._said.open("ab") as said:
            self._run = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env={**environment(), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                # Its forks die with it, as they would with a terminal.
                start_new_session=True,
            )

    def runs(self) -> bool:
        return self._run is not None and self._run.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """To all of its processes; nothing where it has ended."""
        if self._run is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._run.pid, number)

    def wait(self, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> int | None:
        """Its exit code; None where it had to be ended. ``meanwhile`` is called every two seconds."""
        assert self._run is not None
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._run.wait(2)
            meanwhile()
        self.signal(signal.SIGKILL)
        self._run.wait()
        return None

    def finish(self, tries: int = 4, seconds: float = 240, meanwhile: Callable[[], None] = lambda: None) -> str | None:
        """Run again until a run succeeds, as an operator would. Returns None, or what was said where none did."""
        ended = self.wait(seconds, meanwhile)
        for _ in range(tries):
            if ended == 0:
                return None
            self.start()
            ended = self.wait(seconds, meanwhile)
        return None if ended == 0 else self.said

    def restart(self) -> None:
        """End it at once, and run again."""
        self.signal(signal.SIGKILL)
        self.wait(10)
        self.start()

    @property
    def said(self) -> str:
        return self._said.read_text(errors="replace")[-6000:]

    def forget(self) -> None:
        self._said.unlink()

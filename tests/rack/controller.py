"""The operator's ``ansible-playbook build.yml``, running while something breaks."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
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

    def wait(self, seconds: float) -> int | None:
        """Its exit code; None where it had to be ended."""
        assert self._run is not None
        try:
            return self._run.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self._run.wait()
            return None

    def finish(self, tries: int = 4, seconds: float = 240) -> str | None:
        """Run again until a run succeeds, as an operator would. Returns None, or what was said where none did."""
        ended = self.wait(seconds)
        for _ in range(tries):
            if ended == 0:
                return None
            self.start()
            ended = self.wait(seconds)
        return None if ended == 0 else self.said

    @property
    def said(self) -> str:
        return self._said.read_text(errors="replace")[-6000:]

    def forget(self) -> None:
        self._said.unlink()

"""Ansible callback: how far a run until drained is, a line for each builder and one for the fleet.

The actions tell it through a Unix socket (queue/progress.py). On a terminal the lines stay at the bottom and are drawn anew in
place; elsewhere a line is printed when something changed, and not too often.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase
from ansible.utils.display import Display
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from piwheels_builder.queue.progress import SOCKET, Board, Progress, parse

DOCUMENTATION = r"""
name: fleet_progress
type: aggregate
short_description: Shows how far a run until drained is
description:
  - A line for each builder and one for the fleet, drawn anew in place on a terminal; plain lines on changes elsewhere.
requirements:
  - enabled in the configuration (callbacks_enabled)
"""

display = Display()
_LARGEST = 65536
_MARK = b"heard"
_HEARD_WITHIN = 2.0


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Listens for as long as a playbook runs."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "fleet_progress"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._ear: Ear | None = None

    def v2_playbook_on_start(self, playbook: Any) -> None:  # noqa: ARG002
        """Before any action is forked, which has the environment as it is now."""
        if self._ear is None:
            self._ear = Ear()

    def v2_playbook_on_play_start(self, play: Any) -> None:  # noqa: ARG002
        self._settle()

    def v2_playbook_on_task_start(self, task: Any, is_conditional: Any) -> None:  # noqa: ARG002
        self._settle()

    def v2_playbook_on_stats(self, stats: Any) -> None:  # noqa: ARG002
        self._settle()

    def _settle(self) -> None:
        if self._ear is not None:
            self._ear.settle()


class Ear:
    """The socket, who listens at it, and what is shown."""

    def __init__(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="fleet-progress-")
        self._path = str(Path(self._directory) / "socket")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._path)
        os.environ[SOCKET] = self._path
        self._owner = os.getpid()
        self._shown = threading.Lock()
        self._heard = threading.Event()
        self._board = Board()
        self._screen = Screen() if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" else None
        self._listener = threading.Thread(target=self._listen, name="fleet_progress", daemon=True)
        self._listener.start()
        atexit.register(self._close)

    def _listen(self) -> None:
        while True:
            message = self._socket.recv(_LARGEST)
            if message == _MARK:
                self._heard.set()
                continue
            with self._shown:
                try:
                    self._tell(parse(message))
                except Exception:
                    # Whatever a terminal does: nobody else empties the socket, and whoever writes to it would wait.
                    self._screen = None

    def _tell(self, told: Progress | str | None) -> None:
        if isinstance(told, Progress):
            self._show(told)
        elif told is not None:
            display.display(told)

    def _show(self, progress: Progress) -> None:
        if self._screen is None:
            for line in self._board.plain(progress):
                display.display(line)
        else:
            self._board.note(progress)
            self._screen.draw(self._board)

    def settle(self) -> None:
        """What was drawn stays as it is, and others print below it."""
        self._hear_out()
        with self._shown:
            if self._screen is not None:
                self._screen.leave()
            self._board = Board()

    def _hear_out(self) -> None:
        """Let what was sent before this be shown: an action that is over has sent its last."""
        if not self._listener.is_alive():
            return
        self._heard.clear()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, contextlib.suppress(OSError):
            channel.settimeout(_HEARD_WITHIN)
            channel.sendto(_MARK, self._path)
            self._heard.wait(_HEARD_WITHIN)

    def _close(self) -> None:
        # Every forked action would do this, too.
        if os.getpid() == self._owner:
            self.settle()
            shutil.rmtree(self._directory, ignore_errors=True)


class Screen:
    """The lowest lines of a terminal."""

    def __init__(self) -> None:
        self._console = Console()
        self._live: Live | None = None

    def draw(self, board: Board) -> None:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(no_wrap=True, overflow="ellipsis")
        for name, text in board.drawn(self._console.height - 2):
            # Not as markup: names may hold brackets.
            table.add_row(Text(name), Text(text))
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=False)
            self._live.start()
        self._live.update(table, refresh=True)

    def leave(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

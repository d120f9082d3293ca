"""The threads of ``watch``: what waits for a database or a builder must keep nobody from pressing keys.

They end with the process, which waits for none of them: a host that does not answer would hold it. What they find are messages to
the terminal, which posting may be done from any thread.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual.app import App
from textual.message import Message

from piwheels_builder.db.connect import connected
from piwheels_builder.errors import FleetError
from piwheels_builder.watching.files import Files, reached
from piwheels_builder.watching.following import Following, Running
from piwheels_builder.watching.reach import Place
from piwheels_builder.watching.sight import Watched, sight

#: Seconds between two looks at a log, and before a builder that was not reached is tried again.
_TICK = 0.5
_AGAIN = 10.0


@dataclass
class Looked(Message):
    """What the database says of all builders; or why it says nothing."""

    found: Sequence[Watched]
    trouble: str | None = None


@dataclass
class Logged(Message):
    """What came of following ``builder``: which builds run there, which of them is followed, its new lines; or a trouble."""

    builder: str
    running: Sequence[Running] = ()
    followed: Running | None = None
    lines: Sequence[str] = ()
    #: Whether these lines begin another log than those before.
    anew: bool = False
    trouble: str | None = None


@dataclass
class Done(Message):
    """How something that was done to a builder ended."""

    words: str
    failed: bool


class Looking:
    """Asks the database again and again. ``stop`` ends it, ``wake`` has it ask now."""

    def __init__(self, app: App[int], conninfo: str, seconds: float) -> None:
        self._app, self._conninfo, self._seconds = app, conninfo, seconds
        self._wake, self._over = threading.Event(), False
        threading.Thread(target=self._run, daemon=True).start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._over = True
        self._wake.set()

    def _run(self) -> None:
        while not self._over:
            self._wake.clear()
            try:
                with connected(self._conninfo) as connection:
                    looked = Looked(sight(connection))
            except FleetError as error:
                looked = Looked((), str(error))
            if not self._over:
                self._app.post_message(looked)
            self._wake.wait(self._seconds)


class Tailing:
    """Follows one builder. ``at`` counts how often another of its builds was asked for."""

    def __init__(self, app: App[int], place: Place) -> None:
        self._app, self._place = app, place
        self._over = threading.Event()
        self.at = 0
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        self._over.set()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with reached(self._place) as files:
                    self._follow(files)
            except FleetError as error:
                self._tell(Logged(self._place.builder, trouble=str(error)))
                self._over.wait(_AGAIN)

    def _follow(self, files: Files) -> None:
        following, followed, first = Following(files, self._place.state_dir), None, True
        while not self._over.is_set():
            running = following.running()
            chosen = self._choose(running, followed)
            if followed is not None and (chosen is None or chosen.name != followed.name):
                self._tell(Logged(self._place.builder, running, followed, following.last_lines()))
            anew = first or (chosen is not None and (followed is None or chosen.name != followed.name))
            lines = following.lines(chosen) if chosen is not None else ()
            if anew or lines or chosen != followed:
                self._tell(Logged(self._place.builder, running, chosen, lines, anew))
            followed, first = chosen, False
            self._over.wait(_TICK)

    def _choose(self, running: Sequence[Running], followed: Running | None) -> Running | None:
        """The build that is followed already, as long as it runs, unless another one is asked for."""
        if not running:
            return None
        names = [build.name for build in running]
        at = names.index(followed.name) if followed is not None and followed.name in names else 0
        steps, self.at = self.at, 0
        return running[(at + steps) % len(running)]

    def _tell(self, logged: Logged) -> None:
        if not self._over.is_set():
            self._app.post_message(logged)


def carry_out(app: App[int], place: Place, change: Callable[[Files], None], words: str) -> None:
    """Do something to a builder's files in a thread, and tell how it ended."""

    def run() -> None:
        try:
            with reached(place) as files:
                change(files)
        except FleetError as error:
            app.post_message(Done(str(error), failed=True))
        else:
            app.post_message(Done(words, failed=False))

    threading.Thread(target=run, daemon=True).start()


def run_command(app: App[int], command: Sequence[str]) -> None:
    """Run a command of piwheels-builder in a thread, and tell what it says."""

    def run() -> None:
        # Another process: what it prints, and what it logs, is none of this terminal's.
        done = subprocess.run(
            [sys.executable, "-m", "piwheels_builder.cli", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        app.post_message(Done(done.stdout.decode(errors="replace").strip(), failed=done.returncode != 0))

    threading.Thread(target=run, daemon=True).start()


def now() -> str:
    """The time of day on this host, as a clock beside the screen shows it."""
    return time.strftime("%H:%M:%S")

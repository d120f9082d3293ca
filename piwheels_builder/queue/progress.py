"""How far a run until drained is: what each builder's action tells, and what of it a person is shown.

The actions run in processes of their own, one for each builder; they send to a Unix socket that the process which talks with the
person listens at (plugins/callback/fleet_progress.py).
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

#: Where the socket's path is told to the actions.
SOCKET = "FLEET_PROGRESS_SOCKET"
#: Between two plain lines about one builder, in seconds.
SELDOM = 10.0
_LARGEST = 60_000
_LONGEST = 300
_SEND_SECONDS = 1


@dataclass(frozen=True)
class Progress:
    """What one builder's action knows. ``done`` of ``most`` builds are the whole fleet's; ``built`` and ``failed`` the builder's
    attempts since the run began; ``notes`` what a person should know besides; ``over``: it says nothing more.
    """

    builder: str
    done: int = 0
    most: int = 0
    built: int = 0
    failed: int = 0
    running: tuple[str, ...] = ()
    spool: int = 0
    notes: tuple[str, ...] = ()
    seconds_left: float | None = None
    over: bool = False

    def text(self) -> str:
        """A line without the builder's name and the forecast, which changes where nothing else does."""
        return "; ".join((f"{self.done} of {self.most} done" if self.most else "nothing to build", *self._its_own()))

    def _its_own(self) -> Iterator[str]:
        if self.running:
            yield "building " + ", ".join(self.running)
        if self.spool:
            yield f"{self.spool} in its spool"
        if self.built or self.failed:
            yield counts(self.built, self.failed)
        yield from self.notes

    @property
    def own_text(self) -> str:
        """What is this builder's alone, for a screen that shows the fleet in a line of its own."""
        return "; ".join(self._its_own()) or ("done" if self.over else "idle")

    @property
    def forecast(self) -> str:
        return f"; about {rounded(self.seconds_left)} left" if self.seconds_left is not None else ""

    def to_json(self) -> bytes:
        return json.dumps({"progress": asdict(self)}).encode()[:_LARGEST]


@dataclass
class Board:
    """The last of what each builder told. ``clock`` is monotonic."""

    clock: Callable[[], float] = time.monotonic
    latest: dict[str, Progress] = field(default_factory=dict)
    _newest: Progress | None = None
    _said: dict[str, tuple[float, str]] = field(default_factory=dict)

    def note(self, progress: Progress) -> None:
        self.latest[progress.builder] = progress
        self._newest = progress

    def plain(self, progress: Progress) -> Iterator[str]:
        """The lines to print where lines cannot be drawn anew: on a change only, not too often, the last one always."""
        self.note(progress)
        if self._is_news(progress.builder, progress.text(), last=progress.over):
            yield f"{progress.builder}: {progress.text()}{progress.forecast}"
        over = all(each.over for each in self.latest.values())
        if len(self.latest) > 1 and self._is_news("", self.fleet(), last=over):
            yield f"fleet: {self.fleet()}"

    def fleet(self) -> str:
        """The line of all builders together."""
        told = self.latest.values()
        newest = self._newest or Progress("")
        text = f"{newest.done} of {newest.most} done; {counts(sum(p.built for p in told), sum(p.failed for p in told))}"
        return f"{text}; {sum(p.spool for p in told)} in spools{newest.forecast}"

    def drawn(self, height: int) -> list[tuple[str, str]]:
        """Name and text of as many builders as fit into ``height`` lines, those at work first, and of the fleet in the last."""
        told = sorted(self.latest.values(), key=lambda each: (each.over, not each.running, each.builder))
        room = max(1, height - 1)
        shown = told if len(told) <= room else told[: room - 1]
        lines = [(each.builder, each.own_text) for each in sorted(shown, key=lambda each: each.builder)]
        if len(shown) < len(told):
            lines.append(("...", f"{len(told) - len(shown)} more, {sum(bool(p.running) for p in told[len(shown) :])} at work"))
        return [*lines, ("fleet", self.fleet())]

    def _is_news(self, name: str, text: str, *, last: bool) -> bool:
        at, before = self._said.get(name, (-SELDOM, ""))
        if text == before or (not last and self.clock() - at < SELDOM):
            return False
        self._said[name] = (self.clock(), text)
        return True


def parse(message: bytes) -> Progress | str | None:
    """What was sent: progress, words to print as they are, or None for neither."""
    try:
        told = json.loads(message)
        if "say" in told:
            return str(told["say"])
        fields = told["progress"]
        return Progress(**{**fields, "running": tuple(fields["running"]), "notes": tuple(fields["notes"])})
    except (ValueError, LookupError, TypeError):
        return None


@dataclass(frozen=True)
class Teller:
    """An action's end. ``otherwise`` is called with a line where nobody listens."""

    otherwise: Callable[[str], object]
    _board: Board = field(default_factory=Board)

    def show(self, progress: Progress) -> None:
        if not _send(progress.to_json()):
            for line in self._board.plain(progress):
                self.otherwise(line)

    def say(self, text: str) -> None:
        if not _send(json.dumps({"say": text}).encode()):
            self.otherwise(text)


def _send(message: bytes) -> bool:
    path = os.environ.get(SOCKET)
    if not path:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.settimeout(_SEND_SECONDS)
        try:
            channel.sendto(message, path)
        except OSError:
            return False
    return True


def printable(text: object, longest: int = _LONGEST) -> str:
    """A builder's words, short, and without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text)[:longest])


def counts(built: int, failed: int) -> str:
    return f"{built} built, {failed} failed"


def rounded(seconds: float) -> str:
    """So coarse that it changes as seldom as what it forecasts."""
    if seconds < 60:
        return f"{10 * round(seconds / 10 + 0.5)} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"

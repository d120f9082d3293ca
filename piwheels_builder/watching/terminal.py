"""The terminal of ``watch``: all builders, the log of the chosen one, and keys that run the operator's commands."""

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import DataTable, Footer, Header, Label, RichLog, Static

from piwheels_builder.watching.background import Done, Logged, Looked, Looking, Tailing, carry_out, now, run_command
from piwheels_builder.watching.files import Files
from piwheels_builder.watching.following import Running, drain, undrain
from piwheels_builder.watching.reach import Place
from piwheels_builder.watching.sight import COLUMNS, Watched
from piwheels_builder.watching.words import one_line

_STYLES = {"building": "green", "idle": "dim"}
_REASON = "said from watch"
#: Letters of what is built, so that the columns after it are seen.
_WIDEST = 26
#: Seconds that a builder must be chosen before it is asked for its log: who scrolls through two hundred means the last one.
_SETTLED = 0.3
_LINES = 5000


class Asked(ModalScreen[bool]):
    """Whether something shall be done: y, and nothing else, is a yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "do it"),
        Binding("n,escape", "dismiss(False)", "leave it"),
    ]
    CSS = "Asked { align: center middle; } Asked Label { border: round $accent; padding: 1 2; max-width: 90%; }"

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    def compose(self) -> ComposeResult:
        yield Label(Text(f"{self._words}\n\ny: do it    n: leave it"))


class Watch(App[int]):
    """All builders. The chosen one stays chosen while rows come and go."""

    TITLE = "piwheels-builder watch"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #trouble { background: $error; color: $text; display: none; max-height: 3; }
    DataTable { height: 1fr; min-height: 3; }
    #about { background: $panel; height: 1; }
    RichLog { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "pause"),
        Binding("r", "resume", "resume"),
        Binding("d", "drain", "drain"),
        Binding("u", "undrain", "undrain"),
        Binding("s", "skip", "skip"),
        Binding("a", "again", "requeue"),
        Binding("b", "next_build", "next log"),
        Binding("l", "log_alone", "log alone"),
        Binding("q", "quit", "leave"),
        Binding("ctrl+c", "exit_with(130)", "leave", show=False, priority=True),
    ]

    def __init__(self, conninfo: str, seconds: float, places: Mapping[str, Place]) -> None:
        super().__init__()
        self._conninfo, self._seconds, self._places = conninfo, seconds, places
        self.builders: dict[str, Watched] = {}
        self.followed: Running | None = None
        # Held, since a query would look on the screen in front, which may be a question.
        self.table = DataTable[Text](cursor_type="row", zebra_stripes=True)
        self.log_view = RichLog(max_lines=_LINES, wrap=True, min_width=1)
        self.about, self.trouble = Static(id="about", markup=False), Static(id="trouble", markup=False)
        self._looking: Looking | None = None
        self._tailing: Tailing | None = None
        self._settling: Timer | None = None
        self._tailed: str | None = None

    def on_load(self) -> None:
        # However this ends, the terminal is left as it was found.
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self.action_exit_with, 128 + number)

    def compose(self) -> ComposeResult:
        yield Header()
        yield self.trouble
        yield self.table
        yield self.about
        yield self.log_view
        yield Footer()

    def on_mount(self) -> None:
        for column in COLUMNS:
            self.table.add_column(column, key=column)
        self.table.focus()
        self._looking = Looking(self, self._conninfo, self._seconds)

    def on_unmount(self) -> None:
        for each in (self._looking, self._tailing):
            if each is not None:
                each.stop()

    def action_exit_with(self, code: int) -> None:
        self.exit(code, return_code=code)

    # What the database says.

    @on(Looked)
    def _renew(self, looked: Looked) -> None:
        self.trouble.display = looked.trouble is not None
        if looked.trouble is not None:
            self.trouble.update(f"{now()} {one_line(looked.trouble)}: shown is what was known before")
            return
        before, self.builders = self.builders, {each.name: each for each in looked.found}
        if before.keys() == self.builders.keys():
            for each in looked.found:
                self._write(each, before[each.name])
        else:
            self._fill(looked.found)
        self.sub_title = f"{len(looked.found)} builders, {sum(len(each.begun) for each in looked.found)} builds, {now()}"
        if self._settling is None:
            self._settle()

    def _fill(self, found: Sequence[Watched]) -> None:
        chosen = self.chosen
        self.table.clear()
        for each in found:
            self.table.add_row(*(_text(each, *named) for named in zip(COLUMNS, each.cells, strict=True)), key=each.name)
        if chosen is not None and chosen.name in self.builders:
            self.table.move_cursor(row=self.table.get_row_index(chosen.name))

    def _write(self, each: Watched, before: Watched) -> None:
        """Only what changed: a thousand rows are eleven thousand cells."""
        for column, cell, old in zip(COLUMNS, each.cells, before.cells, strict=True):
            if cell != old:
                self.table.update_cell(each.name, column, _text(each, column, cell), update_width=True)

    @property
    def chosen(self) -> Watched | None:
        if not self.table.row_count:
            return None
        key = self.table.coordinate_to_cell_key(self.table.cursor_coordinate).row_key.value
        return self.builders.get(str(key))

    # The log of the chosen builder.

    @on(DataTable.RowHighlighted)
    def _settle(self) -> None:
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(_SETTLED, self._tail_chosen)

    def _tail_chosen(self) -> None:
        chosen = self.chosen
        if chosen is None or chosen.name == self._tailed:
            return
        if self._tailing is not None:
            self._tailing.stop()
        self._tailed, self._tailing, self.followed = chosen.name, None, None
        self.log_view.clear()
        place = self._places.get(chosen.name)
        if place is None:
            self._say(f"{chosen.name}: this host was not told where it is: run `ansible-playbook provision.yml`")
            return
        self._say(f"{chosen.name}: asking for what it builds")
        self._tailing = Tailing(self, place)

    def _say(self, words: str) -> None:
        self.about.update(one_line(words))

    @on(Logged)
    def _grow(self, logged: Logged) -> None:
        if logged.builder != self._tailed:
            return
        if logged.trouble is not None:
            self._say(f"{now()} {logged.trouble}")
            return
        self.followed = logged.followed
        if logged.anew:
            self.log_view.clear()
        for line in logged.lines:
            self.log_view.write(Text(line))
        self._say(_about(logged))

    def action_next_build(self) -> None:
        if self._tailing is not None:
            self._tailing.at += 1

    def action_log_alone(self) -> None:
        self.table.display = not self.table.display
        (self.table if self.table.display else self.log_view).focus()

    # What the operator says.

    def action_pause(self) -> None:
        if (chosen := self.chosen) is not None:
            self.command("pause", chosen.name, "--reason", _REASON)

    def action_resume(self) -> None:
        if (chosen := self.chosen) is not None:
            self.command("resume", chosen.name)

    def action_skip(self) -> None:
        if (chosen := self.chosen) is None:
            return
        release = self.followed or next(iter(chosen.begun), None)
        if release is None or not release.project:
            self.notify(f"{one_line(chosen.name)} builds nothing", severity="warning", markup=False)
            return
        self.command("skip", f"{release.project}=={release.version}", "--reason", _REASON)

    def action_again(self) -> None:
        if (chosen := self.chosen) is not None:
            self.command("requeue", "--all", "--builder", chosen.name, "--yes", "--reason", _REASON)

    def action_drain(self) -> None:
        self._at_builder(
            lambda place, files: drain(files, place, _REASON), "drain {}: what it builds ends, and nothing more begins", "{} drains"
        )

    def action_undrain(self) -> None:
        self._at_builder(
            lambda place, files: undrain(files, place), "undrain {}: builds begin again", "{} drains no more, within a minute"
        )

    @work(group="said")
    async def _at_builder(self, change: Callable[[Place, Files], None], question: str, done: str) -> None:
        if (chosen := self.chosen) is None:
            return
        name, place = one_line(chosen.name), self._places.get(chosen.name)
        if place is None:
            self.notify(f"this host was not told where {name} is", severity="error", markup=False)
        elif await self.push_screen_wait(Asked(question.format(name))):
            carry_out(self, place, partial(change, place), done.format(name))

    @on(Done)
    def _tell(self, done: Done) -> None:
        words = "\n".join(map(one_line, done.words.splitlines()[-10:]))
        self.notify(words or "done", severity="error" if done.failed else "information", markup=False)
        if self._looking is not None:
            self._looking.wake()

    @work(group="said")
    async def command(self, *command: str) -> None:
        """Run a command of piwheels-builder, if the operator says so, and show what it says."""
        if not await self.push_screen_wait(Asked(one_line(f"piwheels-builder {' '.join(command)}"))):
            return
        run_command(self, command)


def _text(each: Watched, column: str, cell: str) -> Text:
    text = Text(cell, _style(each, column))
    if column == "builds":
        text.truncate(_WIDEST, overflow="ellipsis")
    return text


def _style(each: Watched, column: str) -> str:
    if column == "condition" and each.condition.trouble:
        return "red"
    return _STYLES.get(each.state, "red") if column == "state" else ""


def _about(logged: Logged) -> str:
    if logged.followed is None:
        return f"{logged.builder} builds nothing now"
    names = [build.name for build in logged.running]
    if logged.followed.name not in names:
        return f"{logged.builder}: {logged.followed} is over"
    which = f" ({names.index(logged.followed.name) + 1} of {len(names)}, b: the next)" if len(names) > 1 else ""
    return f"{logged.builder}: {logged.followed}{which}"


def watch(conninfo: str, seconds: float, places: Mapping[str, Place]) -> int:
    """Until the operator leaves. Returns an exit code: 0, or 128 and the number of the signal that ended it."""
    # A line on standard error would stand across the screen.
    logging.disable(logging.CRITICAL)
    return Watch(conninfo, seconds, places).run() or 0

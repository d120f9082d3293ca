"""What a builder writes while it builds, followed in its outbox before it is delivered. Who calls: the terminal's thread.

A build has a directory ``outbox/.<lease>-<build>`` while it runs (builder/outbox.py); ``spool/begun/<lease>-<build>`` says of what.
"""

import codecs
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from piwheels_builder.watching.files import Files, Unreached
from piwheels_builder.watching.reach import Place
from piwheels_builder.watching.words import one_line

_BUILD = re.compile(r"\.([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}-[0-9]{1,18})")
#: Bytes read at once. Of a log that grows faster the newest are shown.
_MOST = 64 * 1024
#: Letters of a line that are shown.
_LONGEST_LINE = 2000
#: A begun mark is smaller.
_MARK = 64 * 1024


@dataclass(frozen=True)
class Running:
    """A build that runs on a builder now. ``name`` is its lease's and its own id."""

    name: str
    project: str
    version: str

    def __str__(self) -> str:
        return one_line(f"{self.project} {self.version}".strip() or self.name)


class Following:
    """The builds of one builder, and the log of one of them. Its methods raise what Files do."""

    def __init__(self, files: Files, state_dir: str) -> None:
        self._files, self._state_dir = files, state_dir
        self._marks: dict[str, Running] = {}
        self._log: Log | None = None

    def running(self) -> list[Running]:
        """What runs now, always in the same order."""
        names = sorted(found[1] for name in self._files.names(f"{self._state_dir}/outbox") if (found := _BUILD.fullmatch(name)))
        self._marks = {name: self._marks.get(name) or self._mark(name) for name in names}
        return list(self._marks.values())

    def _mark(self, name: str) -> Running:
        with (
            suppress(FileNotFoundError, ValueError, RecursionError),
            self._files.open(f"{self._state_dir}/spool/begun/{name}") as file,
        ):
            said = json.loads(file.read(_MARK))
            if isinstance(said, dict):
                return Running(name, str(said.get("project", ""))[:200], str(said.get("version", ""))[:100])
        return Running(name, "", "")

    def lines(self, build: Running) -> Sequence[str]:
        """What its log has got since this was last asked; of a log not looked at before, its end."""
        if self._log is None or self._log.name != build.name:
            self.close()
            try:
                file = self._files.open(f"{self._state_dir}/outbox/.{build.name}/log.txt")
            except FileNotFoundError:
                # Not begun to write, or delivered since.
                return ()
            self._log = Log(build.name, file)
        return self._log.more()

    def last_lines(self) -> Sequence[str]:
        """What was written until a build was over: its file is still open, whatever it is called now."""
        lines = self._log.more() if self._log is not None else ()
        self.close()
        return lines

    def close(self) -> None:
        if self._log is not None:
            self._log.file.close()
        self._log = None


class Log:
    """A file that grows, line by line."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self.name, self.file = name, file
        self._at = 0
        self._rest = ""
        # A letter may have come in part.
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def more(self) -> list[str]:
        self.file.seek(0, 2)
        passed = max(0, self.file.tell() - self._at - _MOST)
        self._at += passed
        self.file.seek(self._at)
        data = self.file.read(_MOST)
        self._at += len(data)
        # Carriage returns draw progress bars: each is a line of its own.
        *whole, self._rest = re.split(r"\r\n|\n|\r", self._rest + self._decoder.decode(data))
        if len(self._rest) > _LONGEST_LINE:
            whole, self._rest = [*whole, self._rest], ""
        before = [f"({passed // 1024} KB before are not shown)"] if passed else []
        return before + [one_line(line)[:_LONGEST_LINE] for line in whole]


def drain(files: Files, place: Place, reason: str) -> None:
    """Have a builder begin nothing more (builder/draining.py). Raises what Files do."""
    files.write(_draining(place), f"{one_line(reason)}\n")


def undrain(files: Files, place: Place) -> None:
    """Take that back. Raises Unreached where it drains because somebody said so on the builder itself."""
    with suppress(FileNotFoundError):
        files.remove(_draining(place))
    if "draining" in files.names(place.state_dir):
        raise Unreached(f"{place.builder} was told on itself to drain: `piwheels-builder undrain` there")


def _draining(place: Place) -> str:
    return f"{place.state_dir}/spool/draining"

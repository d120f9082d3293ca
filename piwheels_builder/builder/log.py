"""A build's log file: the builder's own lines, and everything the release prints."""

import re
import time
from pathlib import Path
from types import TracebackType

#: How much of a log's end is read again to find out why a build failed, and kept in the attempt, in bytes.
READ_AGAIN = 512 * 1024
TAIL = 4096
#: Colours and cursor movements; and what PostgreSQL's text can't hold or a terminal shouldn't get from a stranger.
_ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class BuildLog:
    """Appends to a file, unbuffered. What a release printed is kept as it came. ``began``: the build's start, monotonic."""

    def __init__(self, path: Path, began: float | None = None) -> None:
        self.path = path
        self._file = path.open("ab", buffering=0)
        self._began = time.monotonic() if began is None else began

    def __enter__(self) -> "BuildLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def write(self, data: bytes, /) -> None:
        """Raises OSError when the disk is full."""
        self._file.write(data)

    def note(self, line: str) -> None:
        """A line of the builder's own, with the seconds since the build began."""
        self.write(f"== {time.monotonic() - self._began:.2f} s  {line}\n".encode(errors="replace"))

    def size(self) -> int:
        return self.path.stat().st_size

    def text(self, since: int = 0) -> str:
        """The last part of what was written after the byte ``since``, without escapes and control characters."""
        with self.path.open("rb") as file:
            file.seek(max(since, self.size() - READ_AGAIN))
            return plain(file.read(READ_AGAIN))

    def tail(self) -> str:
        return self.text()[-TAIL:]


def plain(data: bytes) -> str:
    """Printable text of whatever a program wrote; never fails."""
    text = data.decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", _ESCAPES.sub("", text))

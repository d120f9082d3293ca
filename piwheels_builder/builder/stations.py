"""Shows on stderr which station a build has reached, while it works."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def shown() -> Iterator[Callable[[str], None]]:
    """What to call with each station's name: on a terminal one line with a spinner and the seconds, else a line a station."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    with _on_a_terminal() as tell:
        yield tell


@contextmanager
def _on_a_terminal() -> Iterator[Callable[[str], None]]:
    # Importing it takes longer than many a build, and a script has no use for it.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        line = progress.add_task("starting", total=None)
        yield lambda station: progress.update(line, description=station)


def _lines() -> Callable[[str], None]:
    began = time.monotonic()
    return lambda station: print(f"{time.monotonic() - began:7.2f} s  {station}", file=sys.stderr, flush=True)

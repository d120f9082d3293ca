"""Write many pages with a process for each core (page_writer.py), as after a change of the rules or a restored disk."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from piwheels_builder import errors
from piwheels_builder.errors import FleetError
from piwheels_builder.index.contents import PageRules

_COMMAND = (sys.executable, "-P", "-m", "piwheels_builder.index.page_writer")


def write_in_processes(conninfo: str, root: Path, rules: PageRules, portions: Iterable[Sequence[int]]) -> int:
    """Have the pages of these projects written and booked, as ``Renderer.write`` does. Returns of how many a page changed.

    What one process stumbles over stops all of them after their portion. Raises StorageFault, DatabaseAway, DatabaseRefused.
    """
    waiting: SimpleQueue[Sequence[int]] = SimpleQueue()
    for portion in portions:
        waiting.put(portion)
    order = {
        "conninfo": conninfo,
        "root": str(root),
        "private": sorted(rules.private_projects),
        "upstream_wins": rules.upstream_wins,
    }
    processes = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(processes) as pool:
        return sum(pool.map(lambda _: _drive(order, waiting), range(processes)))


def _drive(order: dict[str, Any], waiting: "SimpleQueue[Sequence[int]]") -> int:
    """One process, until no portion is left. Returns how many projects changed."""
    changed = 0
    with _worker() as (orders, answers):
        _say(orders, order)
        try:
            while True:
                _say(orders, waiting.get_nowait())
                changed += _answer(answers.readline())
        except Empty:
            return changed
        except FleetError:
            _take_all(waiting)
            raise


@contextmanager
def _worker() -> Iterator[tuple[IO[str], IO[str]]]:
    process = subprocess.Popen(_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdin, process.stdout


def _say(orders: IO[str], what: object) -> None:
    try:
        orders.write(json.dumps(what) + "\n")
        orders.flush()
    except BrokenPipeError:
        # Its answer, or that there is none, says why.
        return


def _answer(line: str) -> int:
    said = json.loads(line or '{"fault": "StorageFault", "message": "a process that wrote pages was killed: run it again"}')
    if isinstance(said, dict):
        raise getattr(errors, said["fault"])(said["message"])
    return int(said)


def _take_all(waiting: "SimpleQueue[Sequence[int]]") -> None:
    while not waiting.empty():
        try:
            waiting.get_nowait()
        except Empty:
            return

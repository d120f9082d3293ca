"""The first fill by several processes: each fetches, decodes and writes projects of its own, since that is processor time.

A process is a command of this file, told on its standard input what to fill, chunk by chunk; it answers on its standard output.
So no process holds another's connections, and none outlives a sync that was killed: its input ends.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

from piwheels_builder.catalogue.facts import wanted_targets
from piwheels_builder.catalogue.fill import fill, queries
from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.sync_report import Filled
from piwheels_builder.catalogue.upstream import CONNECTIONS, UpstreamIndex
from piwheels_builder.db.connect import connected
from piwheels_builder.errors import DatabaseAway

#: Projects a transaction, and whose pages a process holds at once.
CHUNK = 25
#: With fewer new projects than this the visits are as good.
WORTHWHILE = 500
_MOST_PROCESSES = 4


@dataclass(frozen=True)
class Order:
    """What every process is told first. ``upstream`` may hold a password, and is never on a command line."""

    conninfo: str
    upstream: str
    per_second: float | None
    build: str
    newest: int | None


@dataclass(frozen=True)
class Filling:
    """How far it is: projects done of all, and seconds since it began."""

    done: int
    projects: int
    seconds: float

    @property
    def seconds_left(self) -> float | None:
        return self.seconds / self.done * (self.projects - self.done) if self.done else None


class Fill:
    """A fill of new projects: run it once, then ``filled`` says what was made, ``left`` names what is to be visited instead, and
    ``unseen`` counts what nobody looked at, since ``is_over`` said so or a process died.
    """

    def __init__(
        self, order: Order, names: Sequence[str], told: Callable[[Filling], None], is_over: Callable[[], bool] = lambda: False
    ) -> None:
        self._order = order
        self._names = names
        self._rest = iter(names)
        self._told = told
        self._is_over = is_over
        self._lock = threading.Lock()
        self._begun = time.monotonic()
        self._done = 0
        self._stopped = False
        self.filled = Filled()
        self.left: list[str] = []

    @property
    def unseen(self) -> int:
        return len(self._names) - self._done

    def run(self) -> None:
        """Fill. Raises DatabaseAway, and what else a process ended with."""
        processes = min(_MOST_PROCESSES, os.cpu_count() or 1)
        pace = self._order.per_second and self._order.per_second / processes
        own = replace(self._order, per_second=pace)
        with ThreadPoolExecutor(processes, thread_name_prefix="fill") as pool:
            try:
                for ended in as_completed([pool.submit(self._feed, own) for _ in range(processes)]):
                    ended.result()
            except BaseException:
                # The others end with the chunk that they are at.
                self._stopped = True
                raise

    def _feed(self, order: Order) -> None:
        """One process, from its order to its end."""
        command = [sys.executable, "-m", "piwheels_builder.catalogue.filling"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_frugal()) as process:
            try:
                _say(process, asdict(order))
                while chunk := self._next():
                    self._note(chunk, _asked(process, chunk))
            finally:
                if process.stdin:
                    process.stdin.close()

    def _next(self) -> list[str]:
        with self._lock:
            return [] if self._stopped or self._is_over() else list(islice(self._rest, CHUNK))

    def _note(self, chunk: list[str], answer: dict[str, Any]) -> None:
        with self._lock:
            self.filled += Filled(**answer["filled"])
            self.left.extend(answer["left"])
            self._done += len(chunk)
            self._told(Filling(self._done, len(self._names), time.monotonic() - self._begun))


def _frugal() -> dict[str, str]:
    # Else glibc gives each thread that fetches an arena of its own, and none gives back what pages took (mallopt(3)).
    return {**os.environ, "MALLOC_ARENA_MAX": "1"}


def _asked(process: "subprocess.Popen[str]", chunk: list[str]) -> dict[str, Any]:
    _say(process, chunk)
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        # It died over one of these; the visit that follows meets it alone.
        return {"filled": {}, "left": chunk}
    answer: dict[str, Any] = json.loads(line)
    if "away" in answer:
        raise DatabaseAway(answer["away"])
    return answer


def _say(process: "subprocess.Popen[str]", what: object) -> None:
    # One that died says so by the end of its output.
    with suppress(BrokenPipeError):
        print(json.dumps(what), file=process.stdin, flush=True)


def main() -> None:
    """What a process does: an order, then lists of names, each answered by what became of it."""
    order = Order(**json.loads(sys.stdin.readline()))
    try:
        _answer(order)
    except DatabaseAway as error:
        print(json.dumps({"away": str(error)}), flush=True)


def _answer(order: Order) -> None:
    policy = Policy(order.build, None, order.newest)
    with (
        UpstreamIndex(order.upstream, per_second=order.per_second, in_bulk=True) as upstream,
        connected(order.conninfo) as connection,
        ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="fetch") as pool,
    ):
        queries.let_commits_return_at_once(connection)
        targets = wanted_targets(connection)
        connection.commit()
        for line in sys.stdin:
            filled, left = fill(connection, upstream, pool, json.loads(line), (targets, policy))
            print(json.dumps({"filled": asdict(filled), "left": left}), flush=True)


if __name__ == "__main__":
    main()

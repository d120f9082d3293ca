"""Releases followed from upstream to a client, by what the database and the index say of them."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import aiosql
import requests

from piwheels_builder.db.connect import connected

_queries = aiosql.from_path(Path(__file__).with_name("followed.sql"), "psycopg2")
_LOOK_SECONDS = 0.5


@dataclass
class Followed:
    """A release and its moments, in seconds since 1970; None for what has not come about."""

    project: str
    version: str
    module: str
    appeared: float
    leased: float | None = None
    begun: float | None = None
    recorded: float | None = None
    published: float | None = None
    #: When our page named the wheel, and when pip had installed it.
    listed: float | None = None
    installed: float | None = None


@dataclass(frozen=True)
class Stage:
    """A part of the way, from one moment to another."""

    name: str
    since: Callable[[Followed], float | None]
    until: Callable[[Followed], float | None]

    def seconds(self, followed: Followed) -> float | None:
        """How long it took; None where it has not ended."""
        since, until = self.since(followed), self.until(followed)
        return None if since is None or until is None else until - since


STAGES = (
    Stage("upstream -> leased: the next round, its sync", lambda it: it.appeared, lambda it: it.leased),
    Stage("leased -> begun: delivery, a free slot", lambda it: it.leased, lambda it: it.begun),
    Stage("begun -> recorded: the build", lambda it: it.begun, lambda it: it.recorded),
    Stage("recorded -> published: the next publication", lambda it: it.recorded, lambda it: it.published),
    Stage("published -> on its page", lambda it: it.published, lambda it: it.listed),
    Stage("on its page -> installed by pip", lambda it: it.listed, lambda it: it.installed),
    Stage("upstream -> installed", lambda it: it.appeared, lambda it: it.installed),
)


class Follower:
    """Looks at our pages twice a second, in a thread of its own, and asks the database for the rest at the end."""

    def __init__(self, index_url: str, database: str, place: Path) -> None:
        self._index_url = index_url
        self._database = database
        self._place = place
        self._followed: list[Followed] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look_on)
        self._thread.start()

    def follow(self, project: str, version: str, module: str) -> None:
        """A release that appears upstream now."""
        self._followed.append(Followed(project, version, module, time.time()))

    def finished(self) -> bool:
        """Whether every release was installed."""
        return all(each.installed is not None for each in self._followed)

    def stop(self) -> list[Followed]:
        """End, and tell what became of each release."""
        self._stopped.set()
        self._thread.join()
        with connected(self._database) as connection:
            for each in self._followed:
                moments = _queries.moments(connection, project=each.project, version=each.version)
                each.leased, each.begun, each.recorded, each.published = moments or (None,) * 4
        return self._followed

    def _look_on(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            for each in [each for each in self._followed if each.installed is None]:
                self._look(each)

    def _look(self, each: Followed) -> None:
        # Where we hold nothing of a project its page redirects to upstream's.
        page = requests.get(f"{self._index_url}/simple/{each.project}/", timeout=10, allow_redirects=False)
        if page.status_code == 200 and f"/{each.module}-{each.version}-" in page.text:
            each.listed = each.listed or time.time()
            if self._install(each):
                each.installed = time.time()

    def _install(self, each: Followed) -> bool:
        options = ["--quiet", "--no-deps", "--no-cache-dir", "--only-binary", ":all:", "--index-url", f"{self._index_url}/simple/"]
        where = ["--target", str(self._place / f"{each.project}-{each.version}")]
        command = [sys.executable, "-m", "pip", "install", *options, *where, f"{each.project}=={each.version}"]
        return subprocess.run(command, capture_output=True, check=False, timeout=120).returncode == 0

"""What the clients meet: a small upstream, a fleet that follows it by the real sync, its published tree behind nginx.

Every project of the scene is of its own, so that one cell changes nothing for another one.
"""

import json
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.catalogue.sync import sync
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.index.contents import PageRules
from tests.support.database import embedded_server, fresh_database
from tests.support.fleet import Fleet
from tests.support.published import IndexHost, make_wheel, nginx_serving, public_directory
from tests.support.upstream import Upstream, serve_upstream

PRIVATE = "own-thing"
EARLY, LATE = "2026-01-02T00:00:00Z", "2026-06-02T00:00:00Z"


@dataclass(frozen=True)
class Scene:
    """``index`` is our URL, ``upstream.url`` the other one."""

    host: IndexHost
    upstream: Upstream
    index: str

    @property
    def access_log(self) -> Path:
        return self.host.place / "nginx-log/access.log"

    def offer_sdist(self, project: str, version: str = "1.0", upload_time: str = EARLY, **fields: Any) -> None:
        """Upstream has the sdist of a module."""
        self.upstream.add_sdist(project, version, **{"upload-time": upload_time, **fields})

    def offer_wheel(
        self,
        project: str,
        version: str = "1.0",
        *,
        upload_time: str = EARLY,
        text: str = "upstream's",
        requires_python: str = ">=3.8",
    ) -> str:
        """Upstream has a wheel, with its metadata beside it. Returns its filename."""
        needs: dict[str, Any] = {"requires_python": requires_python, "requires": _REQUIRES.get(project, ())}
        wheel = make_wheel(self.host.place / "upstream", project, version, text=text, **needs)
        told = {"upload-time": upload_time, "requires-python": requires_python}
        self.upstream.add_file(project, wheel.name, wheel.read_bytes(), **told)
        with zipfile.ZipFile(wheel) as archive:
            metadata = next(name for name in archive.namelist() if name.endswith("/METADATA"))
            self.upstream.add_metadata(project, wheel.name, archive.read(metadata))
        return wheel.name

    def asked(self) -> list[str]:
        """What our index was asked for so far; nginx writes that down every five seconds."""
        time.sleep(5.5)
        places = (json.loads(line)["uri"] for line in self.access_log.read_text().splitlines())
        return [place for place in places if place.startswith(("/simple/", "/wheels/"))]

    def publish(self, *projects: str, text: str = "ours") -> None:
        """Sync these projects, build all that is wanted of them, and publish it."""
        if projects:
            self.sync(*projects)
        for leased in self.host.fleet.lease_all("pi1"):
            place = self.host.outbox / f"{leased['lease_id']}-{leased['build_id']}"
            project, version = leased["project"], f"{leased['version']}.0"
            wheel = make_wheel(place, project, version, text=text, requires=_REQUIRES.get(project, ()))
            self.host.record(str(leased["lease_id"]), leased["build_id"], wheel.name, wheel.read_bytes())
        self.host.publish()

    def rebuild(self, project: str, text: str) -> None:
        """Build again what is published of it."""
        self.host.fleet.ask(
            "SELECT requeue_build(build_id, 'rebuild asked')"
            " FROM build JOIN release USING (release_id) JOIN project USING (project_id) WHERE name = %s",
            project,
            role="piwheels_dispatcher",
        )
        self.publish(text=text)

    def sync(self, *projects: str) -> None:
        conninfo = self.host.fleet.database.conninfo("piwheels_dispatcher")
        with UpstreamIndex(self.upstream.url) as upstream:
            report = sync(conninfo, upstream, Policy(choices=None, newest=None), projects)
        report.raise_failures()


_REQUIRES = {"plain": ("leaf",)}


@contextmanager
def scene() -> Iterator[Scene]:
    """For the length of a block."""
    with (
        embedded_server() as server,
        fresh_database(server) as database,
        public_directory() as place,
        serve_upstream() as upstream,
    ):
        fleet = Fleet(database)
        fleet.add_builder("pi1")
        (place / "outbox").mkdir()
        host = IndexHost(fleet, place, PageRules(frozenset({PRIVATE})))
        with nginx_serving(host.tree, place, upstream.url.rstrip("/"), (PRIVATE,)) as url:
            yield Scene(host, upstream, f"{url}/simple/")

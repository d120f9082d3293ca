"""What the rack's fleet did, asked of its database and its index from outside, and what must never have happened."""

import hashlib
import json
import ssl
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urldefrag, urljoin

from tests.rack.hosts import Host
from tests.rack.upstream import Release

_BUILDS = """
    SELECT coalesce(json_agg(told), '[]') FROM (
        SELECT project.name AS project, build.state, build.reason,
               (SELECT count(*) FROM attempt WHERE attempt.build_id = build.build_id) AS attempts,
               (SELECT count(*) FROM attempt JOIN outcome_meaning USING (outcome)
                WHERE attempt.build_id = build.build_id AND blame IN ('release', 'memory')) AS booked,
               (SELECT count(*) FROM wheel WHERE wheel.build_id = build.build_id AND published_at IS NOT NULL) AS published
        FROM build JOIN release USING (release_id) JOIN project USING (project_id)
        WHERE project.name = ANY ('{%s}')) AS told
"""


@dataclass(frozen=True)
class Fleet:
    """The fleet of a rack, by its index host."""

    index: Host

    def ask(self, statement: str) -> Any:
        """The one JSON value that a statement returns, asked as PostgreSQL's superuser."""
        command = ["runuser", "-u", "postgres", "--", "psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", "piwheels"]
        told = self.index.must(*command, stdin=statement, seconds=60).strip()
        return json.loads(told) if told else None

    def builds(self, projects: Sequence[str]) -> list[dict[str, Any]]:
        """Every build of these projects."""
        builds: list[dict[str, Any]] = self.ask(_BUILDS % ",".join(projects))
        return builds

    def attempts(self, projects: Sequence[str]) -> int:
        """How many attempts of them are recorded."""
        return sum(build["attempts"] for build in self.builds(projects))

    def get(self, path: str, accept: str = "application/vnd.pypi.simple.v1+json") -> bytes:
        """What the index answers, over TLS by its certificate authority. Raises OSError."""
        trusted = ssl.create_default_context(cadata=self.index.must("cat", "/etc/piwheels-builder/authority/ca.pem"))
        request = urllib.request.Request(urljoin(self.url, path), headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=20, context=trusted) as answer:
            body: bytes = answer.read()
        return body

    @property
    def url(self) -> str:
        """The index's root as clients reach it."""
        return f"https://{self.index.address.ipv4}/simple/"


def violations(fleet: Fleet, releases: Sequence[Release]) -> list[str]:
    """What must not be after the releases were wanted and the run ended: a line each, none where all is well."""
    return [*_of_builds(fleet, releases), *_of_pages(fleet, [release.project for release in releases if not release.fails])]


def _of_builds(fleet: Fleet, releases: Sequence[Release]) -> Iterator[str]:
    builds = fleet.builds([release.project for release in releases])
    for release in releases:
        mine = [build for build in builds if build["project"] == release.project]
        if not mine:
            yield f"lost: {release.project} has no build"
        for build in mine:
            if not release.fails and build["booked"]:
                yield f"booked against the release: {release.project}, {build['booked']} times"
            if build["state"] not in (("failed",) if release.fails else ("published", "skipped")):
                yield f"unfinished or wrong: {release.project} is {build['state']} ({build['reason']})"
            if build["published"] > 1:
                yield f"published {build['published']} times: {release.project}"


def _of_pages(fleet: Fleet, projects: Sequence[str]) -> Iterator[str]:
    for project in projects:
        try:
            page = json.loads(fleet.get(f"{project}/"))
        except (OSError, ValueError) as error:
            yield f"no page: {project}: {error}"
            continue
        ours = [file for file in page["files"] if file["filename"].endswith(".whl")]
        if not ours:
            yield f"no wheel on its page: {project}"
        yield from (f"{project}: {fault}" for file in ours for fault in _of_file(fleet, project, file))


def _of_file(fleet: Fleet, project: str, file: dict[str, Any]) -> Iterator[str]:
    url = urldefrag(urljoin(f"{fleet.url}{project}/", file["url"])).url
    try:
        found = hashlib.sha256(fleet.get(url, accept="*/*")).hexdigest()
    except OSError as error:
        yield f"{file['filename']} is on the page and cannot be had: {error}"
    else:
        if found != file["hashes"]["sha256"]:
            yield f"{file['filename']} has other bytes than its page says"

"""What the rack's fleet did, asked of its database and its index from outside."""

import json
import ssl
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urljoin

from tests.rack.hosts import Host

#: Whoever believes it believes the index.
AUTHORITY = "/etc/piwheels-builder/authority.pem"
_BUILDS = """
    SELECT coalesce(json_agg(told), '[]') FROM (
        SELECT project.name AS project, build.state, build.reason,
               (SELECT count(*) FROM attempt WHERE attempt.build_id = build.build_id) AS attempts,
               (SELECT count(*) FROM attempt JOIN outcome_meaning USING (outcome)
                WHERE attempt.build_id = build.build_id AND blame IN ('release', 'memory')) AS booked,
               (SELECT count(*) FROM wheel WHERE wheel.build_id = build.build_id AND published_at IS NOT NULL) AS published,
               (SELECT count(*) FROM queue WHERE queue.build_id = build.build_id) AS queued,
               (SELECT count(*) FROM lease WHERE build.build_id = ANY (lease.builds)) AS leases
        FROM build JOIN release USING (release_id) JOIN project USING (project_id)
        WHERE project.name = ANY ('{%s}')) AS told
"""
_BUILDERS = """
    SELECT coalesce(json_agg(told), '[]') FROM (
        SELECT name, standing, standing_reason AS reason,
               (SELECT count(*) FROM queue WHERE queue.builder_id = builder.builder_id AND lease_id IS NOT NULL) AS leases,
               (SELECT coalesce(json_agg(what), '[]') FROM incident WHERE incident.builder_id = builder.builder_id) AS incidents
        FROM builder WHERE standing <> 'retired') AS told
"""
#: What was tried and failed is tried again at once: minutes between two tries show nothing.
_HURRY = """
    UPDATE queue SET not_before = '-infinity' FROM build, release, project
    WHERE queue.build_id = build.build_id AND build.release_id = release.release_id AND release.project_id = project.project_id
      AND project.name = ANY ('{%s}') AND not_before > now()
"""
#: What earlier faults have left is no part of the next: rates, incidents, and the builds of a test that failed.
_FORGET = """
    DO $$ BEGIN
        PERFORM release_lease(lease_id, 'over') FROM (SELECT DISTINCT lease_id FROM queue WHERE lease_id IS NOT NULL) AS leased;
        PERFORM skip_build(build_id, 'over') FROM queue;
    END $$;
    DELETE FROM incident;
    DELETE FROM dispatch_pause;
    DELETE FROM builder_health;
    UPDATE builder SET standing = 'active', standing_reason = NULL WHERE standing = 'paused';
"""
#: As retiring does it, but with nothing unsaid that only provisioning says again.
_SET_ASIDE = """
    UPDATE builder SET standing = '%s', standing_reason = NULL WHERE name = ANY ('{%s}') AND standing IN (%s);
    SELECT to_json(want_targets())
"""


@dataclass(frozen=True)
class Fleet:
    """The fleet of a rack, by its index host."""

    index: Host

    def ask(self, statement: str) -> Any:
        """The one JSON value that a statement returns, asked as PostgreSQL's superuser. Raises RackError."""
        command = ["runuser", "-u", "postgres", "--", "psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", "piwheels"]
        told = self.index.must(*command, stdin=statement, seconds=60).strip()
        return json.loads(told) if told else None

    def builds(self, projects: Sequence[str]) -> list[dict[str, Any]]:
        """Every build of these projects."""
        builds: list[dict[str, Any]] = self.ask(_BUILDS % ",".join(projects))
        return builds

    def builders(self) -> list[dict[str, Any]]:
        """Every builder that is a member, how it stands, what it holds and what was noted of it."""
        builders: list[dict[str, Any]] = self.ask(_BUILDERS)
        return builders

    def attempts(self, projects: Sequence[str]) -> int:
        """How many attempts of them are recorded."""
        return sum(build["attempts"] for build in self.builds(projects))

    def hurry(self, projects: Sequence[str]) -> None:
        """Have what is to be tried again later tried at once."""
        self.ask(_HURRY % ",".join(projects))

    def forget(self) -> None:
        """As if no builder had ever been in trouble."""
        self.ask(_FORGET)

    @contextmanager
    def without(self, *builders: str) -> Iterator[None]:
        """For the length of a block these builders are no members: nothing is wanted for them, and nobody waits for them."""
        names = ",".join(builders)
        self.ask(_SET_ASIDE % ("retired", names, "'active', 'paused'"))
        try:
            yield
        finally:
            self.ask(_SET_ASIDE % ("active", names, "'retired'"))

    def get(self, path: str, accept: str = "application/vnd.pypi.simple.v1+json") -> bytes:
        """What the index answers, over TLS by its certificate authority. Raises OSError."""
        request = urllib.request.Request(urljoin(self.url, path), headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=20, context=_trusted(self.index)) as answer:
            body: bytes = answer.read()
        return body

    @property
    def url(self) -> str:
        """The index's root as clients reach it."""
        return f"https://{self.index.address.ipv4}/simple/"


@cache
def _trusted(index: Host) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=index.must("cat", AUTHORITY))

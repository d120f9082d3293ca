"""A small fleet in a real database: releases, targets and builders made by the same functions that the product uses."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from piwheels_builder.condition import UNKNOWN, Condition
from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.queue.batch import Batch
from piwheels_builder.queue.leasing import builder_loads, lease_batches
from piwheels_builder.queue.members import register_builder
from piwheels_builder.states import Outcome
from piwheels_builder.targets import Target
from tests.support.database import rows

BOOKWORM = Target("cp311", "armv7l", "bookworm")
TRIXIE = Target("cp313", "armv7l", "trixie")
ARM64 = Target("cp311", "aarch64", "bookworm")
TERM = timedelta(hours=4)


@dataclass
class Fleet:
    """Calls as each role would make them; every method is a transaction of its own."""

    database: EmbeddedDatabase
    releases: dict[str, int] = field(default_factory=dict)

    def add_builder(self, name: str, *targets: Target, memory_mb: int = 8192, slots: int = 1) -> None:
        with connected(self.database.conninfo("piwheels_owner")) as connection:
            register_builder(connection, name, memory_mb, slots, targets or (BOOKWORM,))

    def want(
        self, project: str, target: Target = BOOKWORM, *, seconds: float = 60, priority: int = 1, leader: int | None = None
    ) -> int:
        """A wanted build of version 1.0 of a project, which has one sdist. Returns the build's id."""
        if project not in self.releases:
            self.releases[project] = self._add_release(project)
        ((build_id,),) = self.ask(
            "SELECT want_build(%s, %s::smallint, %s, %s::real, %s)",
            self.releases[project],
            self._target_id(target),
            priority,
            seconds,
            leader,
            role="piwheels_dispatcher",
        )
        return int(build_id)

    def lease(self, builder: str, spool_seconds: float = 7200) -> Batch | None:
        """One round of dispatch for one builder."""
        with connected(self.database.conninfo("piwheels_dispatcher")) as connection:
            loads = builder_loads(connection, [builder])
            batches = lease_batches(connection, loads, spool_seconds, TERM)
        return batches[0] if batches else None

    def lease_all(self, builder: str) -> list[dict[str, Any]]:
        """Everything this builder can be given now."""
        ((lease_rows,),) = self.ask(
            "SELECT json_agg(row_to_json(leased)) FROM lease_batch(%s, 1e9, 10000, '4 hours') AS leased",
            builder,
            role="piwheels_dispatcher",
        )
        return lease_rows or []

    def record(
        self,
        builder: str,
        lease_id: UUID | str,
        build_id: int,
        outcome: Outcome = Outcome.BUILT,
        wheel: str | None = None,
        *,
        log_size: int | None = None,
    ) -> str:
        """What the database answers to a result."""
        if outcome is Outcome.BUILT and wheel is None:
            wheel = self.wheel_of(build_id)
        ((verdict,),) = self.ask(
            "SELECT record_attempt(%s, %s, %s, now(), 1.5, NULL, 'the error', 'the log', 'gcc', %s, %s, %s, NULL, NULL, %s)",
            lease_id,
            build_id,
            outcome,
            wheel,
            "a" * 64 if wheel else None,
            1000 if wheel else None,
            log_size,
            role=f"builder_{builder}",
        )
        return str(verdict)

    def wheel_of(self, build_id: int) -> str:
        """What a wheel of this build may be called."""
        named = self.ask(
            "SELECT name FROM build JOIN release USING (release_id) JOIN project USING (project_id) WHERE build_id = %s", build_id
        )
        return f"{named[0][0].replace('-', '_') if named else 'demo'}-1.0-py3-none-any.whl"

    def heartbeat(self, builder: str, begun: list[int], condition: Condition = UNKNOWN) -> None:
        """The builder holds everything it was leased, has begun some of it, and says how its machine fares."""
        held = [lease_id for (lease_id,) in self.ask("SELECT DISTINCT lease_id FROM queue WHERE lease_id IS NOT NULL")]
        told = [condition.temperature, condition.memory_free, condition.memory_total, condition.disk_free]
        flags = [condition.throttled, condition.under_voltage]
        beat = "SELECT heartbeat(%s::uuid[], %s, '1 hour', true, NULL, %s, %s, %s, %s, %s, %s)"
        self.ask(beat, held, begun, *told, *flags, role=f"builder_{builder}")

    def publish(self, wheel_id: int, *served: Target) -> None:
        """What publication says of a wheel it has verified."""
        self.ask(
            "SELECT publish_wheel(wheel_id, filename, sha256, size, NULL, NULL, NULL, %s::smallint[])"
            " FROM wheel WHERE wheel_id = %s",
            [self._target_id(target) for target in served],
            wheel_id,
            role="piwheels_publisher",
        )

    def expire(self, build_id: int) -> None:
        """Let the lease of a build run out, as four hours would."""
        self.ask("UPDATE queue SET expires_at = now() - interval '1 second' WHERE build_id = %s", build_id)

    def reclaim(self, term: str = "0 seconds") -> int:
        """Reclaim expired leases, by default as if the database had been up for ages."""
        ((count,),) = self.ask("SELECT reclaim_leases(%s::interval)", term, role="piwheels_dispatcher")
        return int(count)

    def state(self, build_id: int) -> str:
        return str(self.ask("SELECT state FROM build WHERE build_id = %s", build_id)[0][0])

    def queued(self, build_id: int) -> dict[str, Any] | None:
        found = self.ask("SELECT row_to_json(queue) FROM queue WHERE build_id = %s", build_id)
        return dict(found[0][0]) if found else None

    def ask(self, statement: str, *parameters: object, role: str = "piwheels_owner") -> list[Any]:
        return rows(self.database, statement, parameters, role)

    def _target_id(self, target: Target) -> int:
        ((target_id,),) = self.ask(
            "SELECT target_id FROM target WHERE (python, architecture, os_release) = (%s, %s, %s)",
            target.python,
            target.architecture,
            target.os_release,
        )
        return int(target_id)

    def _add_release(self, project: str) -> int:
        ((release_id,),) = self.ask(
            "WITH made AS (INSERT INTO project (name) VALUES (%s) RETURNING project_id)"
            " INSERT INTO release (project_id, version, spelling, newest_first) SELECT project_id, '1', '1.0', 1 FROM made"
            " RETURNING release_id",
            project,
            role="piwheels_dispatcher",
        )
        self.ask(
            "INSERT INTO upstream_file (project_id, filename, release_id, kind, url, sha256, size)"
            " SELECT project_id, %s || '-1.0.tar.gz', release_id, 'sdist', 'http://upstream.invalid/' || %s, repeat('a', 64), 1000"
            " FROM release WHERE release_id = %s",
            project,
            project,
            release_id,
            role="piwheels_dispatcher",
        )
        return int(release_id)

"""Somebody who has taken a builder over, with everything it holds, and the operator who looks on from the index host."""

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.rack.fleet import Fleet
from tests.rack.hosts import Host
from tests.rack.playbooks import Run, play

BUILDER = "/var/lib/piwheels-builder/builder"
OUTBOX = f"{BUILDER}/outbox"
PUBLISHED = "/var/lib/piwheels-builder/published"
SERVICE = "piwheels-builder.service"
PYTHON = "/opt/piwheels-builder/venv/bin/python"
#: Runs on the builder: statements one after another on one connection, each with its rows or what it was refused with.
_ASK = """
import json, sys
import psycopg2, yaml
asked = json.load(sys.stdin)
login = yaml.safe_load(open("/etc/piwheels-builder/builder.yml"))["database"]
answers = []
try:
    connection = psycopg2.connect(login, **asked["otherwise"])
    connection.autocommit = True
    cursor = connection.cursor()
except psycopg2.Error as error:
    answers, asked["statements"] = [f"no login: {error}"], []
for statement, *values in asked["statements"]:
    try:
        if connection.closed:
            connection = psycopg2.connect(login, **asked["otherwise"])
            connection.autocommit = True
            cursor = connection.cursor()
        cursor.execute(statement, values or None)
        answers.append(cursor.fetchall() if cursor.description else [])
    except (psycopg2.Error, MemoryError) as error:
        answers.append(f"refused: {error}")
print(json.dumps(answers, default=str))
"""
_RECORD = """
    SELECT record_attempt(%s::uuid, %s::bigint, %s::outcome, now(), 1, NULL, %s, 'the log', 'gcc', %s, %s, %s, NULL, NULL,
                          its_log_size => %s)
"""
_WANT = """
    WITH made AS (INSERT INTO project (name) VALUES ('{project}') RETURNING project_id), released AS (
        INSERT INTO release (project_id, version, spelling, newest_first) SELECT project_id, '1', '1.0', 1 FROM made
        RETURNING project_id, release_id)
    INSERT INTO upstream_file (project_id, filename, release_id, kind, url, sha256, size)
    SELECT project_id, '{project}-1.0.tar.gz', release_id, 'sdist', 'http://upstream.invalid/', repeat('a', 64), 1000 FROM released;
    SELECT want_build(release_id, target_id, 1, 1::real)
    FROM release JOIN project USING (project_id), target
    WHERE name = '{project}' AND target_id IN (
        SELECT target_id FROM builder_target JOIN builder USING (builder_id) WHERE builder.name = '{builder}')
"""
_LEASE = "SELECT json_agg(row_to_json(leased)) FROM lease_batch('{builder}', 1e9, 10000, '4 hours') AS leased"
#: Whether there is anything to make amends for: it is quarantined, holds leases, or its wheels wait.
_UNSETTLED = """
    SELECT count(*) FROM builder WHERE name = '{builder}' AND (standing <> 'active'
        OR EXISTS (SELECT FROM queue WHERE queue.builder_id = builder.builder_id)
        OR EXISTS (SELECT FROM wheel_awaiting WHERE wheel_awaiting.builder_id = builder.builder_id))
"""
#: What the trials left in the queue is nobody's work.
_CLEAR = """
    CREATE TEMPORARY TABLE trial AS
    SELECT build_id, lease_id FROM queue JOIN build USING (build_id) JOIN release USING (release_id) JOIN project USING (project_id)
    WHERE name LIKE 'hostile-%';
    SELECT count(release_lease(lease_id, 'the trial is over')) FROM (SELECT DISTINCT lease_id FROM trial) AS leased;
    SELECT count(skip_build(build_id, 'the trial is over')) FROM trial;
"""


@dataclass(frozen=True)
class Leased:
    """A build that the database leased."""

    lease_id: str
    build_id: int
    project: str

    @property
    def directory(self) -> str:
        """Its place in an outbox."""
        return f"{self.lease_id}-{self.build_id}"

    @property
    def wheel(self) -> str:
        """What an honest builder calls its wheel."""
        return f"{self.project.replace('-', '_')}-1.0-py3-none-any.whl"


@dataclass(frozen=True)
class Intruder:
    """Root on a builder, whose service is stopped: nobody but the intruder speaks in its name."""

    host: Host

    def ask(self, *statements: Sequence[Any] | str, otherwise: Mapping[str, str] | None = None, seconds: float = 120) -> list[Any]:
        """What the database answers to statements with the builder's own login; ``otherwise`` are other parts of it."""
        listed = [[each] if isinstance(each, str) else list(each) for each in statements]
        asked = json.dumps({"statements": listed, "otherwise": otherwise or {}})
        answers: list[Any] = json.loads(self.host.must(PYTHON, "-c", _ASK, stdin=asked, seconds=seconds))
        return answers

    def record(
        self,
        leased: Leased,
        content: bytes | None = None,
        wheel: str | None = None,
        *,
        outcome: str = "built",
        error: str | None = None,
        log_size: int | None = None,
    ) -> str:
        """What the database answers to a result. ``content`` is what the builder says that the wheel is."""
        name = (wheel or leased.wheel) if outcome == "built" else None
        said = (hashlib.sha256(content or b"x").hexdigest(), len(content or b"x")) if name else (None, None)
        ((answer,),) = self.ask([_RECORD, leased.lease_id, leased.build_id, outcome, error, name, *said, log_size])[0]
        return str(answer)

    def put(self, leased: Leased, content: bytes, name: str | None = None) -> str:
        """A file in the outbox, where the index host looks for it. Returns its path on the builder."""
        path = f"{OUTBOX}/{leased.directory}/{name or leased.wheel}"
        self.shell(f"mkdir -p {OUTBOX}/{leased.directory} && base64 -d > {path}", content)
        return path

    def shell(self, script: str, content: bytes = b"") -> str:
        """Run a script, with bytes as base64 on its input."""
        return self.host.must("sh", "-c", script, stdin=base64.b64encode(content).decode())


@dataclass(frozen=True)
class Operator:
    """The operator at the index host, about one builder."""

    fleet: Fleet
    builder: str

    @property
    def index(self) -> Host:
        return self.fleet.index

    def want(self, *labels: str, builder: str | None = None) -> list[str]:
        """A new project for each label, with a build for a builder's target. Returns their names."""
        names = [f"hostile-{label}-{uuid.uuid4().hex[:10]}" for label in labels]
        self.psql("\n".join(_WANT.format(project=name, builder=builder or self.builder) + ";" for name in names))
        return names

    def lease(self, builder: str | None = None) -> list[Leased]:
        """All that a builder is given now."""
        rows = self.fleet.ask(_LEASE.format(builder=builder or self.builder)) or []
        return [Leased(row["lease_id"], row["build_id"], row["project"]) for row in rows]

    def lease_new(self, *labels: str, builder: str | None = None) -> list[Leased]:
        """A new build for each label, leased."""
        names = self.want(*labels, builder=builder)
        leased = {each.project: each for each in self.lease(builder)}
        return [leased[name] for name in names]

    def psql(self, statement: str) -> str:
        """As PostgreSQL's superuser; whatever it prints."""
        words = ["runuser", "-u", "postgres", "--", "psql", "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", "piwheels"]
        return self.index.must(*words, stdin=statement, seconds=120)

    def publish(self) -> Run:
        """A round's collection and publication, by the playbook."""
        return play("playbooks/publish.yml", options=("--limit", "index"), seconds=300)

    def command(self, *words: str) -> str:
        """What a command of the operator's prints."""
        return self.index.must(f"{Path(PYTHON).parent}/piwheels-builder", *words, seconds=120)

    def try_command(self, *words: str) -> tuple[str, str]:
        """What a command of the operator's prints, and says besides, however it ends."""
        done = self.index.run(f"{Path(PYTHON).parent}/piwheels-builder", *words, seconds=120)
        return done.output, done.errors

    def state(self, leased: Leased) -> str:
        """What became of a build."""
        return self.psql(f"SELECT state FROM build WHERE build_id = {leased.build_id}").strip()

    def standing(self) -> str:
        return self.psql(f"SELECT standing FROM builder WHERE name = '{self.builder}'").strip()

    def incidents(self) -> list[str]:
        """What is noted of the builder since the last amends."""
        told: list[str] = self.fleet.ask(
            f"SELECT coalesce(json_agg(what ORDER BY incident_id), '[]') FROM incident JOIN builder USING (builder_id)"
            f" WHERE name = '{self.builder}'"
        )
        return told

    def files(self, project: str) -> list[str]:
        """Names of the wheels of a project that the index host keeps for everybody."""
        found = self.index.run("sh", "-c", f"cd {PUBLISHED}/wheels && find . -path './*/{project}/*.whl' -printf '%f\\n'")
        return sorted(found.output.split())

    def sha256(self, project: str, filename: str) -> str:
        """Of a published file, as the index serves it."""
        return hashlib.sha256(self.fleet.get(f"/wheels/{project[:2]}/{project}/{filename}", accept="*/*")).hexdigest()

    def make_amends(self) -> None:
        """Believe the builder nothing that it said in the trial, and give it work again."""
        if self.psql(_UNSETTLED.format(builder=self.builder)).strip() != "0":
            self.command("distrust", self.builder, "--since", "2000-01-01T00:00Z", "--reason", "trial")
            self.command("resume", self.builder)
        self.psql(f"DELETE FROM incident; {_CLEAR}")

"""A fleet of an index host and two builders on one machine: real database, services, sandbox and playbooks, no provisioning.

Groups ``west`` and ``east`` have a builder each; a controller is a process of ansible-playbook.
"""

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from piwheels_builder.builder.interpreter import describe
from piwheels_builder.builder.trial import this_target
from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.queue.members import register_builder
from piwheels_builder.settings import FIRST_BUILD_UID
from tests.rack.upstream import Release
from tests.support.builders import eventually
from tests.support.database import rows
from tests.support.trial import BIN, ROOT
from tests.support.upstream import Upstream

BUILDERS = {"west": "pi1", "east": "pi2"}


@dataclass(frozen=True)
class TwoBuilders:
    """``controller`` starts a run; ``ask`` asks the database as its owner."""

    place: Path
    database: EmbeddedDatabase
    upstream: Upstream

    def offer(self, *releases: Release) -> None:
        """What upstream has from now on."""
        for release in releases:
            self.upstream.add_file(release.project, release.filename, release.sdist())

    def controller(self, *options: str, **variables: object) -> "subprocess.Popen[str]":
        """A run of build.yml, in a process group of its own."""
        told = json.dumps({"fleet_projects": sorted(self.upstream.projects), **variables})
        command = [str(BIN / "ansible-playbook"), "-i", str(self.place / "inventory.yml"), "build.yml", "-e", told, *options]
        environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes)

    def ask(self, statement: str) -> list[Any]:
        return rows(self.database, statement)


@contextmanager
def two_builders(database: EmbeddedDatabase, upstream: Upstream, place: Path) -> Iterator[TwoBuilders]:
    """Both services run for the length of a block. ``place`` is one that every user can read."""
    target = this_target(describe(Path(sys.executable)))
    with ExitStack() as services:
        for name in BUILDERS.values():
            with connected(database.conninfo("piwheels_owner")) as connection:
                register_builder(connection, name, 8192, 1, [target])
            (place / name / "spool").mkdir(parents=True)
            (place / name / "outbox").mkdir()
            _write_settings(place / name, database.conninfo(f"builder_{name}"), upstream.url)
            services.enter_context(_serving(place / name))
        (place / "inventory.yml").write_text(yaml.safe_dump(_inventory(place, database, upstream.url)))
        yield TwoBuilders(place, database, upstream)


def _write_settings(state_dir: Path, database: str, upstream: str) -> None:
    target = this_target(describe(Path(sys.executable)))
    settings: dict[str, Any] = {
        "name": state_dir.name,
        "database": database,
        "state_dir": str(state_dir),
        "pythons": {target.python: sys.executable},
        "architecture": target.architecture,
        "os_release": target.os_release,
        "upstream": upstream,
        "first_build_uid": FIRST_BUILD_UID if getpass.getuser() == "root" else None,
    }
    (state_dir / "etc").mkdir()
    (state_dir / "etc/builder.yml").write_text(yaml.safe_dump(settings))


@contextmanager
def _serving(state_dir: Path) -> Iterator[None]:
    environment = {**os.environ, "PIWHEELS_BUILDER_ETC": str(state_dir / "etc")}
    with (state_dir / "log").open("w") as log:
        service = subprocess.Popen([BIN / "piwheels-builder", "serve"], env=environment, stdout=log, stderr=log)
    try:
        eventually(lambda: (state_dir / "status.json").exists() or service.poll() is not None, 60)
        assert service.poll() is None, (state_dir / "log").read_text()
        yield
    finally:
        service.terminate()
        service.wait(60)


def _inventory(place: Path, database: EmbeddedDatabase, upstream: str) -> dict[str, Any]:
    variables: dict[str, Any] = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "fleet_python": sys.executable,
        "fleet_become": False,
        "fleet_state_dir": str(place),
        "fleet_database": {role: database.conninfo(f"piwheels_{role}") for role in ("owner", "dispatcher", "publisher", "reader")},
        "fleet_incoming": {name: f"{place}/{name}/outbox" for name in BUILDERS.values()},
        "fleet_collection": {},
        "fleet_upstream": upstream,
        "fleet_build_policy": "all",
        "dispatch_builder_state_dir": f"{place}/{{{{ inventory_hostname }}}}",
    }
    parts: dict[str, Any] = {part: {"hosts": {name: None}} for part, name in BUILDERS.items()}
    groups = {"index": {"hosts": {"hub": None}}, "builders": {"hosts": dict.fromkeys(BUILDERS.values())}, **parts}
    return {"all": {"vars": variables, "children": groups}}

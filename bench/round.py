"""What one round of build.yml costs over a large fleet of which few builders are hungry.

    python -m bench.round [--hosts 1000] [--hungry 50]

Simulated hosts: each is this machine, over Ansible's local connection, with a spool of its own; database and playbook are the real
ones. Counts seconds of processor time, not of the clock: of Ansible, of the modules, and of PostgreSQL. Exit code 1 above 60.
"""

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.queue.members import register_builder
from tests.support.database import embedded_server, fresh_database, rows
from tests.support.fleet import BOOKWORM
from tests.support.published import public_directory
from tests.support.upstream import serve_upstream

ROOT = Path(__file__).parents[1]
GOAL = 60.0


def main() -> int:
    """One round, and a second one that finds nobody hungry."""
    options = _options()
    with embedded_server() as server, fresh_database(server) as database, public_directory() as place, serve_upstream() as upstream:
        names = [f"pi{number:04}" for number in range(options.hosts)]
        projects = [f"demo{number}" for number in range(8 * options.hungry)]
        for project in projects:
            upstream.add_sdist(project, "1.0")
        _register(database, names, options.hungry)
        inventory = _inventory(place, database, names, projects, upstream.url)
        spent = _measured(place, inventory, database, f"a round, {options.hungry} hungry")
        delivered = len(list(place.glob("pi*/spool/*.json")))
        rows(database, "UPDATE builder SET has_room = false")
        _measured(place, inventory, database, "a round, nobody hungry")
    if delivered != options.hungry:
        raise SystemExit(f"measured something else: {delivered} batches were delivered, not {options.hungry}")
    return 0 if spent <= GOAL else 1


def _register(database: EmbeddedDatabase, names: list[str], hungry: int) -> None:
    with connected(database.conninfo("piwheels_owner")) as connection:
        for name in names:
            register_builder(connection, name, 8192, 4, [BOOKWORM])
    rows(database, "UPDATE builder SET has_room = (builder_id <= %s)", [hungry])


def _inventory(place: Path, database: EmbeddedDatabase, names: list[str], projects: list[str], upstream: str) -> Path:
    for name in names:
        for directory in ("spool", "outbox"):
            (place / name / directory).mkdir(parents=True)
    variables: dict[str, Any] = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "fleet_python": sys.executable,
        "fleet_become": False,
        "fleet_state_dir": str(place),
        "fleet_database": {role: database.conninfo(f"piwheels_{role}") for role in ("owner", "dispatcher", "publisher", "reader")},
        "fleet_incoming": {name: f"{place}/{name}/outbox" for name in names},
        "fleet_collection": {},
        "fleet_projects": projects,
        "fleet_upstream": upstream,
        "fleet_build_policy": "all",
        "fleet_converge": "round",
        "dispatch_builder_state_dir": f"{place}/{{{{ inventory_hostname }}}}",
    }
    groups = {"index": {"hosts": {"hub": None}}, "builders": {"hosts": dict.fromkeys(names)}}
    path = place / "inventory.yml"
    path.write_text(yaml.safe_dump({"all": {"vars": variables, "children": groups}}))
    return path


def _measured(place: Path, inventory: Path, database: EmbeddedDatabase, what: str) -> float:
    steps = place / "steps"
    steps.unlink(missing_ok=True)
    with _database_time(database) as in_database:
        before = _children()
        _play(inventory, steps, place / "told")
        playing = _children() - before
    total = playing + in_database[0]
    print(f"{what}: {total:.1f} s of a core; Ansible and its modules {playing:.1f}, PostgreSQL {in_database[0]:.1f}")
    for line in steps.read_text().splitlines():
        seconds, _, step = line.partition("\t")
        if float(seconds) >= 0.1:
            print(f"  {float(seconds):6.1f}  {step}")
    return total


def _play(inventory: Path, steps: Path, told: Path) -> None:
    environment = {
        **os.environ,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_CALLBACK_PLUGINS": f"{ROOT}/plugins/callback:{ROOT}/bench/callback",
        "ANSIBLE_CALLBACKS_ENABLED": "fleet_progress,task_cpu",
        "TASK_CPU_FILE": str(steps),
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), "build.yml"]
    with told.open("w") as output:
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        raise SystemExit(told.read_text()[-5000:])


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@contextmanager
def _database_time(database: EmbeddedDatabase) -> Iterator[list[float]]:
    """The seconds that PostgreSQL used during the block."""
    postmaster = psutil.Process(int((database.data_dir / "postmaster.pid").read_text().split()[0]))

    def spent() -> float:
        living = [postmaster, *postmaster.children()]
        own = sum(times.user + times.system for times in (process.cpu_times() for process in living))
        ended = postmaster.cpu_times()
        return float(own + ended.children_user + ended.children_system)

    seconds, before = [0.0], spent()
    yield seconds
    seconds[0] = spent() - before


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--hungry", type=int, default=50)
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())

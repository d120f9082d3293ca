"""Roles keep what style asks of them: every variable documented, every default documented, every entry point described."""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from piwheels_builder.targets import GLIBC, Target

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def load(*parts: str) -> Any:
    return yaml.safe_load(ROOT.joinpath("roles", *parts).read_text())


def test_there_are_roles() -> None:
    assert {"database", "index", "builder", "catalogue", "dispatch", "publish", "client", "try_out"} <= set(ROLES)


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_documents_exactly_the_defaults(role: str) -> None:
    defaults = load(role, "defaults", "main.yml")
    for name, entry in load(role, "meta", "argument_specs.yml")["argument_specs"].items():
        assert set(entry["options"]) == set(defaults), f"{role}: {name}"


@pytest.mark.parametrize("role", ROLES)
def test_every_task_file_that_playbooks_enter_by_has_a_specification(role: str) -> None:
    entered = {
        task["ansible.builtin.import_role"].get("tasks_from", "main")
        for playbook in (ROOT / "playbooks").glob("*.yml")
        for play in yaml.safe_load(playbook.read_text())
        for task in play.get("tasks", ())
        if task.get("ansible.builtin.import_role", {}).get("name") == role
    }
    assert entered <= set(load(role, "meta", "argument_specs.yml")["argument_specs"])


def test_os_releases_are_the_ones_that_targets_know() -> None:
    assert load("builder", "vars", "main.yml")["builder_os_releases"] == list(GLIBC)
    assert load("index", "defaults", "main.yml")["index_os_releases"] == list(GLIBC)
    assert load("client", "defaults", "main.yml")["client_os_releases"] == list(GLIBC)


@pytest.mark.parametrize(
    ("configured", "told"),
    [
        ("https://some@one:p%40ss@index.invalid:8443/root/simple/", "https://index.invalid:8443/root/simple"),
        ("http://index.invalid/simple", "http://index.invalid/simple"),
    ],
)
def test_clients_are_not_told_how_to_log_in_upstream(configured: str, told: str) -> None:
    facts = [task.get("ansible.builtin.set_fact", {}) for task in load("index", "tasks", "configure.yml")]
    (expression,) = [fact["index_upstream"] for fact in facts if "index_upstream" in fact]
    command = [str(Path(sys.executable).with_name("ansible")), "-i", "localhost,", "-c", "local", "localhost", "-m", "debug"]
    arguments = ["-a", json.dumps({"msg": expression}), "-e", json.dumps({"fleet_upstream": configured})]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True, cwd=ROOT)
    assert f'"msg": "{told}"' in done.stdout


@pytest.mark.parametrize(
    ("model", "factor"),
    [
        ("Raspberry Pi Model B Plus Rev 1.2", 6),
        ("Raspberry Pi Zero W Rev 1.1", 6),
        ("Raspberry Pi Zero 2 W Rev 1.0", 2),
        ("Raspberry Pi 2 Model B Rev 1.1", 3),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", 2),
        ("Raspberry Pi Compute Module 3 Plus Rev 1.0", 2),
        ("Raspberry Pi 4 Model B Rev 1.4", 1),
        ("Raspberry Pi Compute Module 4 Rev 1.1", 1),
        ("Raspberry Pi 5 Model B Rev 1.0", 0.5),
        ("Raspberry Pi 500 Rev 1.0", 0.5),
        ("Raspberry Pi Compute Module 5 Rev 1.0", 0.5),
        ("", 1),
    ],
)
def test_a_model_says_how_slow_it_is(model: str, factor: float) -> None:
    assert runpy.run_path(str(ROOT / "roles/builder/files/describe.py"))["slowness"](model) == factor


@pytest.mark.parametrize(("slowness", "seconds"), [(6.0, 600), (1.0, 100), (0.5, 100)])
def test_slow_models_get_more_time_and_fast_ones_no_less(slowness: float, seconds: int) -> None:
    (line,) = [
        line for line in (ROOT / "roles/builder/templates/builder.yml.j2").read_text().splitlines() if "build_seconds" in line
    ]
    told = jinja2.Template(line).render(builder_build_seconds=100, builder_described=[{"slowness": slowness}])
    assert told == f"build_seconds: {seconds}"


def test_an_interpreter_describes_a_target() -> None:
    script = ROOT / "roles/builder/files/describe.py"
    told = json.loads(subprocess.run([sys.executable, script], capture_output=True, check=True).stdout)
    assert told["abi"] == f"cp{sys.version_info.major}{sys.version_info.minor}"
    assert told["interpreter"] == str(Path(sys.executable).resolve())
    assert told["memory_mb"] > 100
    assert told["slowness"] > 0
    assert Target(told["abi"], told["architecture"], next(iter(GLIBC)))

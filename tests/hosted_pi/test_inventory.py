"""The inventory plugin: the fleet's Pis as builders, reached as configured, cached as configured, and nobody else's."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.hosted_pi.fake import FakeApi

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "inventory/hosted.example"
BASE = {"plugin": "hosted_pi", "prefix": "wheels-"}


@pytest.fixture
def api(api: FakeApi) -> FakeApi:
    """Two Pis of the fleet, one that is not delivered yet, and one of somebody else."""
    orders: dict[str, dict[str, int]] = {
        "wheels-01": {"model": 4, "memory": 8192},
        "wheels-02": {"model": 3},
        "wheels-03": {"model": 4},
        "web-01": {"model": 4},
    }
    for name, specification in orders.items():
        api.faults.hangs.update({"wheels-03"})
        assert api.account.answer("POST", f"servers/{name}", specification).status == 202
    while any(pi.stage for name, pi in api.pis.items() if name != "wheels-03"):
        pass
    return api


def run(api: FakeApi, place: Path, **options: object) -> "subprocess.CompletedProcess[str]":
    path = place / "hosted_pi.yml"
    path.write_text(yaml.safe_dump({**BASE, **options}))
    command = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(path), "--list"]
    environment = {**os.environ, **api.environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=place)


def listed(api: FakeApi, place: Path, **options: object) -> dict[str, Any]:
    done = run(api, place, **options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def hosts(found: dict[str, Any]) -> dict[str, Any]:
    # What Ansible adds to every host, when facts are no variables.
    added = {"ansible_local"}
    return {
        name: {key: plain(value) for key, value in its(found, name).items() if key not in added}
        for name in found["builders"]["hosts"]
    }


def its(found: dict[str, Any], name: str) -> dict[str, Any]:
    known: dict[str, Any] = found["_meta"]["hostvars"][name]
    return known


def plain(value: object) -> object:
    """What the API said is marked as nothing that Ansible may take for a template."""
    return value.get("__ansible_unsafe", value) if isinstance(value, dict) else value


def test_the_fleets_pis_are_builders_by_name(api: FakeApi, tmp_path: Path) -> None:
    found = listed(
        api, tmp_path, keyed_groups=[{"key": "model | string", "prefix": "model"}], groups={"large": "memory > 4096"},
        compose={"slots": "memory // 2048"},
    )  # fmt: skip
    assert hosts(found) == {
        "wheels-01": {
            "ansible_host": "wheels-01.hostedpi.com",
            "ansible_user": "root",
            "cpu_speed": 1500,
            "hosted_pi_prefix": "wheels-",
            "memory": 8192,
            "model": 4,
            "slots": 4,
        },
        "wheels-02": {
            "ansible_host": "wheels-02.hostedpi.com",
            "ansible_user": "root",
            "cpu_speed": 1200,
            "hosted_pi_prefix": "wheels-",
            "memory": 1024,
            "model": 3,
            "slots": 0,
        },
    }
    assert (found["model_4"]["hosts"], found["large"]["hosts"]) == (["wheels-01"], ["wheels-01"])
    assert its(found, "wheels-01")["ansible_host"] == {"__ansible_unsafe": "wheels-01.hostedpi.com"}
    assert not any("web-01" in path for _, path in api.requests)


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("ipv6", {"ansible_host": "2a00:1098:8:1::1"}),
        ("ipv4", {"ansible_host": "ssh.wheels-01.hostedpi.com", "ansible_port": 5001}),
    ],
)
def test_they_are_reached_as_the_operator_can(api: FakeApi, tmp_path: Path, address: str, reached: dict[str, Any]) -> None:
    told = hosts(listed(api, tmp_path, address=address))["wheels-01"]
    assert {key: told[key] for key in told if key in ("ansible_host", "ansible_port")} == reached


def test_one_without_an_address_leaves_the_others_there(api: FakeApi, tmp_path: Path) -> None:
    api.pis["wheels-02"].told = {"ip": None}
    done = run(api, tmp_path, address="ipv6")
    assert set(hosts(json.loads(done.stdout))) == {"wheels-01"}
    assert "wheels-02 is left out" in " ".join(done.stderr.split())


def test_the_cache_is_asked_instead_and_holds_no_secret(api: FakeApi, tmp_path: Path) -> None:
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}
    first = listed(api, tmp_path, **cache)
    asked = len(api.requests)
    assert listed(api, tmp_path, **cache) == first
    assert len(api.requests) == asked
    assert all(api.secret not in path.read_text() for path in (tmp_path / "cache").iterdir())
    # Another prefix is another question.
    assert listed(api, tmp_path, **{**cache, "prefix": "web-"})["builders"]["hosts"] == ["web-01"]


@pytest.mark.parametrize(
    ("prefix", "forbidden", "words"),
    [("wheels", False, "end it with a dash"), ("", False, "end it with a dash"), ("wheels-", True, "not known")],
)
def test_what_cannot_be_answered_is_an_error_and_no_empty_fleet(
    api: FakeApi, tmp_path: Path, prefix: str, forbidden: bool, words: str
) -> None:
    api.faults.forbidden = forbidden
    done = run(api, tmp_path, prefix=prefix)
    assert done.returncode != 0
    assert words in " ".join(done.stderr.split())
    assert api.secret not in done.stdout + done.stderr


def test_the_example_sets_only_what_there_is() -> None:
    known = set(yaml.safe_load((ROOT / "playbooks/group_vars/all.yml").read_text()))
    for defaults in (ROOT / "roles").glob("*/defaults/main.yml"):
        known |= set(yaml.safe_load(defaults.read_text()) or ())
    chosen = {name for path in EXAMPLE.glob("group_vars/*.yml") for name in yaml.safe_load(path.read_text())}
    assert {name for name in chosen if not name.startswith("ansible_")} <= known


def test_the_example_is_an_index_host_and_the_accounts_pis(api: FakeApi, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(EXAMPLE), "--list", "--flush-cache"]
    # Its cache lies in the home directory.
    environment = {**os.environ, **api.environment, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "HOME": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    found = json.loads(done.stdout)
    assert found["index"]["hosts"] == ["hub"]
    assert set(hosts(found)) == {"wheels-01", "wheels-02"}
    assert found["_meta"]["hostvars"]["wheels-01"]["hosted_pi_other_models"] == [{"memory": 8192, "model": 4}]

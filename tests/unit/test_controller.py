"""What the index host's own rounds are told: the inventory that the fleet is provisioned with, as its dispatcher sees it."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
INVENTORY = {
    "all": {
        "vars": {"ansible_user": "root", "fleet_projects": ["spidev"], "fleet_upstream": "https://index.invalid/simple"},
        "children": {
            "index": {"hosts": {"hub": {"ansible_host": "192.0.2.1", "dispatch_spool_seconds": 60}}},
            "builders": {
                "hosts": {
                    "pi1": {"ansible_host": "192.0.2.2"},
                    "pi2": {"ansible_host": "2001:db8::2", "ansible_port": 2222, "fleet_state_dir": "/srv/fleet"},
                }
            },
            "attic": {"hosts": {"pi2": {}, "hub": {}}},
        },
    }
}
KNOWN = "192.0.2.2 ssh-ed25519 AAAA\n[2001:db8::2]:2222 ssh-ed25519 BBBB\n198.51.100.1 ssh-ed25519 CCCC\n"


def rendered(place: Path, template: str, inventory: object = INVENTORY, known: str = KNOWN, **told: object) -> str:
    """A template of the role, by Ansible itself, for the index host, with these variables besides."""
    (place / "inventory.yml").write_text(yaml.safe_dump(inventory))
    (place / "known_hosts").write_text(known)
    path = ROOT / "roles/controller/templates" / template
    arguments = {"msg": "{{ lookup('ansible.builtin.template', '%s') }}" % path}  # noqa: UP031
    variables = ["-e", f"@{ROOT}/roles/controller/vars/main.yml", "--playbook-dir", str(ROOT / "playbooks")]
    command = [
        str(BIN / "ansible"),
        "-i",
        str(place / "inventory.yml"),
        "hub",
        "-m",
        "debug",
        "-a",
        json.dumps(arguments),
        *variables,
        "-e",
        json.dumps(told),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(json.loads(done.stdout.partition("=>")[2])["msg"])


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load(rendered(tmp_path_factory.mktemp("fleet"), "inventory.yml.j2"))["all"]
    return told


def test_it_has_what_the_operator_said_and_what_is_usual(inventory: dict[str, Any]) -> None:
    assert inventory["vars"]["fleet_projects"] == ["spidev"]
    assert inventory["vars"]["fleet_index_names"] == ["192.0.2.1"]
    assert inventory["vars"]["dispatch_spool_seconds"] == 60
    assert inventory["vars"]["fleet_incoming"]["pi1"].endswith("/incoming/pi1")


def test_it_has_nothing_of_the_controller_that_provisions(inventory: dict[str, Any]) -> None:
    assert inventory["vars"]["fleet_controller_known_hosts"] == "/etc/piwheels-builder/ssh/known_hosts"
    assert inventory["vars"]["ansible_ssh_private_key_file"] == "/etc/piwheels-builder/ssh/dispatcher"
    assert "fleet_host_keys" not in inventory["vars"]
    assert "fleet_converge" not in inventory["vars"]


def test_builders_are_logged_in_to_as_their_own_user_where_they_are(inventory: dict[str, Any]) -> None:
    builders = inventory["children"]["builders"]["hosts"]
    assert builders["pi1"] == {"ansible_host": "192.0.2.2", "ansible_port": 22, "ansible_user": "piwheels-fleet"}
    assert builders["pi2"]["ansible_port"] == 2222
    assert builders["pi2"]["fleet_state_dir"] == "/srv/fleet"
    assert inventory["children"]["index"]["hosts"]["hub"] == {"ansible_connection": "local", "ansible_user": "piwheels-dispatcher"}


def test_groups_of_builders_stay_groups(inventory: dict[str, Any]) -> None:
    assert inventory["children"]["attic"] == {"hosts": {"pi2": {}}}


def test_only_builders_keys_are_believed(tmp_path: Path) -> None:
    lines = rendered(tmp_path, "known_hosts.j2").splitlines()
    assert [line for line in lines if not line.startswith("#")] == KNOWN.splitlines()[:2]


def test_what_this_run_pinned_is_believed_however_the_file_writes_a_name(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"host_keys_asked": {"host_keys": {"pi2": "ssh-ed25519 DDDD", "elsewhere": "ssh-ed25519 EEEE"}}}
    lines = rendered(tmp_path, "known_hosts.j2", **asked).splitlines()
    assert lines[-2:] == ["[2001:db8::2]:2222 ssh-ed25519 DDDD", "192.0.2.2 ssh-ed25519 AAAA"]


def test_a_name_is_the_same_in_capitals(tmp_path: Path) -> None:
    inventory = json.loads(json.dumps(INVENTORY).replace("192.0.2.2", "Pi1.Local"))
    lines = rendered(tmp_path, "known_hosts.j2", inventory, "pi1.local ssh-ed25519 AAAA\n").splitlines()
    assert lines[-1] == "pi1.local ssh-ed25519 AAAA"


def test_a_rounds_variables_are_in_no_unit_that_anybody_reads(tmp_path: Path) -> None:
    told: dict[str, Any] = {"controller_environment": {"https_proxy": "http://u:a$b'c d%@proxy.invalid:3128", "PLAIN": 1}}
    where: dict[str, Any] = {"controller_etc_dir": "/etc/here", "controller_forks": 1, "controller_round_seconds": 1}
    unit = rendered(tmp_path, "piwheels-build.service.j2", **told, **where)
    assert "EnvironmentFile=/etc/here/environment\n" in unit
    assert "proxy.invalid" not in unit
    lines = rendered(tmp_path, "environment.j2", **told).splitlines()[1:]
    assert [shlex.split(line) for line in lines] == [[f"{name}={value}"] for name, value in told["controller_environment"].items()]


def test_nobody_becomes_root_by_it(tmp_path: Path) -> None:
    rules = [line for line in rendered(tmp_path, "sudoers.j2").splitlines() if not line.startswith("#")]
    assert rules == ["piwheels-dispatcher ALL=(piwheels-publisher) NOPASSWD: ALL"]

"""What provision.yml refuses of an inventory, before it asks any host anything."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def provision(place: Path, index: dict[str, str], builders: dict[str, str], *more: str) -> str:
    """What it says of a fleet of hosts that don't answer: name and address."""
    groups = {
        group: {"hosts": {name: {"ansible_host": address, "ansible_port": 1} for name, address in hosts.items()}}
        for group, hosts in {"index": index, "builders": builders}.items()
    }
    (place / "hosts.yml").write_text(yaml.safe_dump(groups))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(place / "hosts.yml"), "provision.yml", *more]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_one_host_in_two_places_is_refused_before_any_is_asked(tmp_path: Path) -> None:
    builders = {"shelf": "127.0.0.3", "pi1": "127.0.0.4", "pi2": "127.0.0.2"}
    told = provision(tmp_path, {"attic": "127.0.0.2", "shelf": "127.0.0.3"}, builders)
    assert "The group index has attic, shelf: name one" in told
    assert "shelf is index host and builder" in told
    assert "pi2 and the index host have the same ansible_host" in told
    assert "Pin the host keys on first contact" not in told


@pytest.mark.parametrize("more", ["--limit=pi1", "--extra-vars=fleet_supervisor=supervisord"], ids=["one builder", "fleet of one"])
def test_a_sound_inventory_gets_as_far_as_its_hosts(tmp_path: Path, more: str) -> None:
    builders = {"pi1": "127.0.0.4"} if more.startswith("--limit") else {"shelf": "127.0.0.2"}
    assert "Pin the host keys on first contact" in provision(tmp_path, {"shelf": "127.0.0.2"}, builders, more)

"""The inventory that docs/rack-at-home.md copies is one, and sets nothing that does not exist."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "inventory/rack.example"
PAGE = ROOT / "docs/rack-at-home.md"


def listed(inventory: Path) -> dict[str, Any]:
    command = [str(Path(sys.executable).with_name("ansible-inventory")), "-i", str(inventory), "--list"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_example_is_an_index_host_and_five_pis(tmp_path: Path) -> None:
    own = tmp_path / "rack"
    shutil.copytree(EXAMPLE, own)
    # Pinned keys lie beside it, and are no inventory.
    (own / "known_hosts").write_text("pi1 ssh-ed25519 AAAA\n")
    for inventory in (own, own / "hosts.yml"):
        found = listed(inventory)
        assert found["index"]["hosts"] == ["shelf"]
        assert found["builders"]["hosts"] == [f"pi{number}" for number in range(1, 6)]
        hosts = found["_meta"]["hostvars"]
        assert set(hosts) == {"shelf", *found["builders"]["hosts"]}
        assert hosts["pi5"]["builder_toolchain"] == "full"
        assert hosts["shelf"]["ansible_host"] in hosts["pi1"]["fleet_index_names"]


def test_it_sets_only_what_there_is() -> None:
    known = set(yaml.safe_load((ROOT / "playbooks/group_vars/all.yml").read_text()))
    for defaults in (ROOT / "roles").glob("*/defaults/main.yml"):
        known |= set(yaml.safe_load(defaults.read_text()) or ())
    chosen = {name for path in EXAMPLE.glob("group_vars/*.yml") for name in yaml.safe_load(path.read_text())}
    assert {name for name in chosen if not name.startswith("ansible_")} <= known


def test_every_playbook_and_target_that_the_page_names_exists() -> None:
    page = PAGE.read_text()
    playbooks = set(re.findall(r"ansible-playbook (?:-i \S+ )?((?:playbooks/)?[a-z_]+\.yml)", page))
    assert {"provision.yml", "build.yml"} <= playbooks
    assert [name for name in playbooks if not (ROOT / name).exists() and not (ROOT / "playbooks" / name).exists()] == []
    targets = set(re.findall(r"make ([a-z][a-z-]+)", page))
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

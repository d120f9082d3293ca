"""The role host_keys pins beside the inventory, and Ansible's ssh believes what it pinned and nothing else."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ssh_server import SSHD, directory, fingerprint, free_port, make_key, public, running

pytestmark = pytest.mark.skipif(SSHD is None, reason="needs sshd (apt-get install openssh-server)")

ROOT = Path(__file__).parents[2]
PLAYBOOK = """
- name: Pin host keys
  hosts: all
  gather_facts: false
  roles:
    - role: host_keys
  post_tasks:
    - name: Show what the other roles are told
      ansible.builtin.debug:
        msg: >-
          told {{ inventory_hostname }}: {{ fleet_host_keys[inventory_hostname] | default("") }} of {{ fleet_host_keys | length }}
    - name: Log in
      ansible.builtin.raw: "true"
"""


@pytest.fixture
def place() -> Iterator[Path]:
    with directory() as found:
        yield found


def play(place: Path, ports: dict[str, int], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the role from a directory whose name has a space, with the fleet's own variables."""
    here = place / "an inventory"
    (here / "group_vars").mkdir(parents=True, exist_ok=True)
    (here / "play.yml").write_text(PLAYBOOK)
    # The module runs here, whatever interpreter the hosts have.
    theirs = {"ansible_host": "127.0.0.1", "ansible_user": "nobody", "ansible_python_interpreter": "/nowhere/python3"}
    hosts = {name: {**theirs, "ansible_port": port} for name, port in ports.items()}
    hosts["here"] = {"ansible_connection": "local"}
    (here / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    if not (here / "group_vars/all.yml").exists():
        (here / "group_vars/all.yml").symlink_to(ROOT / "playbooks/group_vars/all.yml")
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(here / "hosts.yml"), str(here / "play.yml")]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT, check=False)


def test_hosts_are_pinned_beside_the_inventory_and_a_changed_one_is_refused(place: Path) -> None:
    first, second, ports = make_key(place, "first"), make_key(place, "second"), {"pi1": free_port(), "pi2": free_port()}
    known = place / "an inventory/known_hosts"
    with running([first], ports["pi1"]), running([second], ports["pi2"]):
        done = play(place, ports, "--check")
        assert not known.exists(), done.stdout
        done = play(place, ports)
        assert known.read_text() == "".join(
            f"[127.0.0.1]:{ports[name]} {public(key)}\n" for name, key in (("pi1", first), ("pi2", second))
        )
        assert fingerprint(first) in done.stderr.replace("\n", "")
        assert f"told pi1: {public(first)} of 2" in done.stdout
        assert f"told pi2: {public(second)} of 2" in done.stdout
        assert "told here:  of 2" in done.stdout
        # The server is believed, and then lets nobody in.
        assert "Host key verification failed" not in done.stdout
        assert "Permission denied" in done.stdout
        assert done.stdout.count("unreachable=1") == 2
        assert "changed=0" in play(place, ports, "--limit", "here,pi1").stdout
    with running([first], ports["pi1"]), running([first], ports["pi2"]):
        done = play(place, ports)
        assert fingerprint(second) in done.stdout + done.stderr
        assert "told" not in done.stdout
        play(place, ports, "-e", "host_keys_forget=pi2")
        assert known.read_text().count(public(first)) == 2
        # Nothing but this file is believed, and nobody is asked at a terminal.
        known.write_text("")
        skipped = play(place, ports, "-e", '{"host_keys_hosts": []}')
        assert "Host key verification failed" in skipped.stdout
        assert skipped.stdout.count("unreachable=1") == 2

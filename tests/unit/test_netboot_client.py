"""A host whose root is on the network: how that is found from its mounts, and what role netboot_client makes of it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.test_builder_templates import rendered

ROOT = Path(__file__).parents[2]
STATE = "/var/lib/piwheels-builder/builder"
NFS_ROOT = "20 1 0:19 / / rw,noatime - nfs4 10.0.0.1:/srv/hosts/pi1/root rw,vers=4.1"
OVERLAY = "20 1 0:19 / / rw - overlay piwheels rw,lowerdir=layer:/,upperdir=upper,workdir=work"
KEPT = "21 20 0:20 / /var/lib/piwheels-builder rw - nfs4 10.0.0.1:/srv/hosts/pi1/state/lib rw"
CARD = "20 1 179:2 / / rw,noatime - ext4 /dev/mmcblk0p2 rw"
TOLD = "console=tty1 root=/dev/nfs nfsroot=10.0.0.1:/srv"
WORDS = {"cgroup_enable=memory": "memory in /sys/fs/cgroup/cgroup.controllers", "psi=1": "/proc/pressure"}


def network(mounts: list[str], files: Mapping[str, str] | None = None, state_dir: str = STATE) -> dict[str, Any] | None:
    """What survey.py says, with these mounts, and these files beside those there really are."""
    source = (ROOT / "roles/builder/files/survey.py").read_text().rpartition("\nprint(")[0]
    names: dict[str, Any] = {}
    exec(compile(source, "survey.py", "exec"), names)
    there = {"/proc/self/mountinfo": "\n".join(mounts), "/proc/cmdline": "", "/proc/swaps": "", **(files or {})}
    real = names["lines_of"]
    names["lines_of"] = lambda path: there[str(path)].splitlines() if str(path) in there else real(path)
    names["COMMAND_LINES"] = tuple(name for name in there if name.endswith("cmdline.txt"))
    found: dict[str, Any] | None = names["network"](state_dir, WORDS)
    return found


def test_a_host_with_a_card_or_a_container_is_none() -> None:
    assert network([CARD]) is None
    assert network(["20 1 0:19 / / rw - overlay overlay rw,lowerdir=/base,upperdir=/up,workdir=/work"]) is None


@pytest.mark.parametrize(
    ("mounts", "told", "places", "state"),
    [
        ([NFS_ROOT], TOLD, ["/"], "network"),
        ([OVERLAY, KEPT], "piwheels.host=10.0.0.1:/srv/hosts/pi1", ["/", "/var/lib/piwheels-builder"], "network"),
        ([OVERLAY], TOLD, ["/"], "memory"),
        ([NFS_ROOT, f"21 20 0:20 / {STATE} rw - tmpfs tmpfs rw"], TOLD, ["/"], "memory"),
        ([NFS_ROOT, "21 20 8:1 / /var/lib/piwheels-builder rw - ext4 /dev/sda1 rw"], TOLD, ["/"], "disk"),
        ([CARD, KEPT], "", ["/var/lib/piwheels-builder"], "network"),
        (
            ["20 1 0:19 / / rw - overlay o rw,lowerdir=/lower/root,upperdir=/up", "21 20 0:20 / /lower rw - nfs4 s:/ rw", KEPT],
            "",
            ["/", "/var/lib/piwheels-builder"],
            "network",
        ),
    ],
)
def test_a_network_root_is_found_from_the_mounts(mounts: list[str], told: str, places: list[str], state: str) -> None:
    found = network(mounts, {"/proc/cmdline": told})
    assert found is not None
    assert (found["places"], found["state_is_on"]) == (places, state)


def test_a_state_directory_beside_a_mounted_one_is_not_in_it() -> None:
    assert network([CARD, "21 20 0:20 / /var/lib/piwheels rw - nfs4 s:/ rw"]) is None


@pytest.mark.parametrize(
    ("file", "booted", "text"),
    [
        ("root=/dev/nfs ip=dhcp\n", "coherent_pool=1M root=/dev/nfs ip=dhcp", "root=/dev/nfs ip=dhcp"),
        # Completed, and not restarted since.
        ("root=/dev/nfs ip=dhcp psi=1\n", "coherent_pool=1M root=/dev/nfs ip=dhcp", "root=/dev/nfs ip=dhcp"),
        ("root=/dev/nfs ip=dhcp psi=1\n", "coherent_pool=1M root=/dev/nfs ip=dhcp psi=1", "root=/dev/nfs ip=dhcp"),
        # Another one than this kernel was started with: the real one is on the file server.
        ("root=/dev/mmcblk0p2 rootwait\n", "coherent_pool=1M root=/dev/nfs ip=dhcp", None),
        ("", "root=/dev/nfs", None),
    ],
)
def test_the_command_line_is_ours_where_the_kernel_was_started_with_it(
    tmp_path: Path, file: str, booted: str, text: str | None
) -> None:
    path = tmp_path / "cmdline.txt"
    path.write_text(file)
    path.chmod(0o755)
    found = network([NFS_ROOT], {"/proc/cmdline": booted, str(path): file})
    assert found is not None
    has = ["psi=1"] if "psi=1" in file else []
    assert found["command_line"] == (text and {"path": str(path), "text": text, "has": has, "mode": "0755"})


def test_what_the_kernel_lacks_and_what_it_swaps_to_is_told() -> None:
    swaps = "Filename Type Size\n/dev/zram0 partition 1 0 100\n/var/swap file 102396 0 -2\n"
    found = network([NFS_ROOT], {"/sys/fs/cgroup/cgroup.controllers": "cpuset cpu pids", "/proc/swaps": swaps})
    assert found is not None
    assert "cgroup_enable=memory" in found["missing_words"]
    assert found["swap_files"] == ["/var/swap"]
    there = network([NFS_ROOT], {"/sys/fs/cgroup/cgroup.controllers": "cpuset memory"})
    assert there is not None
    assert "cgroup_enable=memory" not in there["missing_words"]


def decided(tmp_path: Path, **host: Any) -> tuple[int, dict[str, Any], str]:
    """The role's placement on a Pi with 8 GB, with the exit code and the output of Ansible."""
    found = {"places": ["/"], "state_is_on": "network", "missing_words": [], "command_line": None, "swap_files": []}
    told = {"netboot_client_host": {**found, "makes_swap_files": False, **host}, "netboot_client_memory_mb": 7800}
    include = {"ansible.builtin.include_role": {"name": "netboot_client"}, "vars": {**told, "netboot_client_state_dir": STATE}}
    write = {"ansible.builtin.copy": {"content": "{{ netboot_client_placement | to_json }}", "dest": str(tmp_path / "said")}}
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    play = [{"hosts": "localhost", "gather_facts": False, "vars": here, "tasks": [include, write]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", str(tmp_path / "play.yml")]
    environment = {**os.environ, "ANSIBLE_ROLES_PATH": str(ROOT / "roles"), "ANSIBLE_STDOUT_CALLBACK": "default"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    said = tmp_path / "said"
    return done.returncode, json.loads(said.read_text()) if said.exists() else {}, done.stdout + done.stderr


def test_what_builds_need_goes_to_memory_and_large_builds_to_large_pis(tmp_path: Path) -> None:
    code, placed, output = decided(tmp_path, makes_swap_files=True)
    assert code == 0, output
    assert placed["caches_dir"] == "/run/piwheels"
    assert (placed["build_memory_mb"], placed["memory_mb"], placed["large_build_mb"]) == (1950, 6630, 4680)
    files = {entry["path"]: entry.get("content", "") for entry in placed["files"]}
    assert "size=1170M" in files["/etc/systemd/system/run-piwheels.mount"]
    assert "noatime" in files["/etc/systemd/system/run-piwheels.mount"]
    assert "Storage=volatile" in files["/etc/systemd/journald.conf.d/90-piwheels-builder.conf"]
    services = {service["name"]: service for service in placed["services"]}
    assert services["run-piwheels.mount"]["enabled"] is True
    assert services["dphys-swapfile.service"]["state"] == "stopped"
    assert placed["file_server"] == ["/"]
    assert "Name the limits" not in output or "skipping" in output


def test_what_is_on_a_disk_stays_there(tmp_path: Path) -> None:
    code, placed, output = decided(tmp_path, state_is_on="disk")
    assert code == 0, output
    assert "caches_dir" not in placed
    assert [entry["path"] for entry in placed["files"]] == [
        "/etc/systemd/journald.conf.d",
        "/etc/systemd/journald.conf.d/90-piwheels-builder.conf",
    ]


def test_a_state_directory_in_memory_is_refused_with_the_remedy(tmp_path: Path) -> None:
    code, _, output = decided(tmp_path, state_is_on="memory")
    assert code != 0
    assert f"Mount a directory of the file server's, or a disk, at {STATE}" in " ".join(output.split())


def test_our_own_command_line_is_completed_and_what_is_not_ours_is_named(tmp_path: Path) -> None:
    line = {"path": "/boot/firmware/cmdline.txt", "text": "root=/dev/nfs ip=dhcp", "has": ["psi=1"], "mode": "0755"}
    code, placed, output = decided(tmp_path, command_line=line, missing_words=["cgroup_enable=memory"])
    assert code == 0, output
    assert placed["files"][-1] == {
        "path": "/boot/firmware/cmdline.txt",
        "content": "root=/dev/nfs ip=dhcp psi=1 cgroup_enable=memory\n",
        "mode": "0755",
    }
    assert "restart it, its command line has the word" in output
    code, placed, output = decided(tmp_path, missing_words=["cgroup_enable=memory", "psi=1"], swap_files=["/var/swap"])
    assert code == 0, output
    assert not any("cmdline" in entry["path"] for entry in placed["files"])
    said = " ".join(output.split())
    assert "add cgroup_enable=memory to its command line where that is kept" in said
    assert "swapoff /var/swap" in said


def unit(placement: Mapping[str, Any]) -> str:
    return rendered(
        "piwheels-builder.service.j2",
        builder_netbooted=placement,
        builder_sandbox=True,
        builder_state_dir=STATE,
        builder_build_memory_mb=1950,
        builder_described=[{"memory_mb": 7800}],
    )


def test_the_service_may_write_there_waits_for_it_and_outlives_a_file_server_that_hangs() -> None:
    remote = unit({"caches_dir": "/run/piwheels", "file_server": ["/"]})
    assert f"ReadWritePaths={STATE} /run/piwheels\n" in remote
    assert "RequiresMountsFor=/run/piwheels\n" in remote
    assert "Environment=TMPDIR=/run/piwheels\n" in remote
    assert "WatchdogSec=3600\n" in remote
    assert "size=1950M" in remote
    local = unit({})
    assert "WatchdogSec=120\n" in local
    assert "/run/piwheels" not in local


def test_nothing_that_provisioning_does_needs_file_capabilities() -> None:
    roles = [path for path in (ROOT / "roles").rglob("*") if path.is_file()]
    assert not [path for path in roles if "setcap" in path.read_text(errors="replace")]

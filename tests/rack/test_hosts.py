"""The rack itself: what a fault test breaks is really broken, and mended again."""

import socket
import subprocess
import sys
import time
from collections.abc import Mapping

import pytest

from tests.rack import rack as racks
from tests.rack.hosts import Host
from tests.rack.playbooks import INVENTORY, ROOT

pytestmark = pytest.mark.usefixtures("rack")


@pytest.fixture
def builder(rack: Mapping[str, Host]) -> Host:
    return rack["bookworm"]


def test_emulated_hosts_are_armv7l_and_say_nothing_is_wrong(rack: Mapping[str, Host]) -> None:
    for name in ("pi1", "pi2"):
        assert rack[name].must("uname", "-m").strip() == "armv7l"
        assert rack[name].run("systemctl", "is-system-running", "--wait").output.strip() == "running"


def test_a_host_without_ipv4_reaches_it_by_translation(rack: Mapping[str, Host]) -> None:
    assert "inet " not in rack["pi2"].must("ip", "-4", "address", "show", "dev", "eth0")
    assert rack["pi2"].run("apt-get", "update", "-o", "APT::Update::Error-Mode=any").status == 0


def test_hosts_reach_one_another_by_name(rack: Mapping[str, Host]) -> None:
    said = "import socket; print(socket.create_connection(('index', 22), 10).recv(4))"
    for host in rack.values():
        assert "SSH-" in host.must("python3", "-c", said), host.name


def test_ansible_reaches_all_of_them(rack: Mapping[str, Host]) -> None:
    known = next(iter(rack.values())).directory.parent / "ssh/known_hosts"
    before = known.read_text() if known.exists() else ""
    known.write_text("".join(host.known_host() for host in rack.values()))
    ansible = [sys.executable.replace("python", "ansible"), "-i", INVENTORY, "all", "-m", "ansible.builtin.ping", "-o"]
    try:
        done = subprocess.run(ansible, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    finally:
        known.write_text(before)
    assert done.stdout.count("SUCCESS") == len(rack), done.stdout + done.stderr


def test_up_again_changes_nothing(rack: Mapping[str, Host]) -> None:
    before, began = [host.leader() for host in rack.values()], time.monotonic()
    racks.up(next(iter(rack.values())).address.number)
    assert [host.leader() for host in rack.values()] == before
    assert time.monotonic() - began < 20


def test_a_plug_pulled_leaves_the_neighbours_waiting_and_the_disk_as_it_was(builder: Host) -> None:
    builder.must("sh", "-c", "echo kept > /root/written; echo kept > /var/lib/piwheels-builder/written")
    with socket.create_connection((builder.address.reached_at, 22), 5) as connection:
        connection.recv(64)
        builder.kill()
        connection.settimeout(2)
        # Neither an end nor a reset: a host without power says nothing.
        with pytest.raises(TimeoutError):
            connection.recv(1)
    assert not builder.is_running()
    builder.start()
    builder.wait()
    assert builder.must("cat", "/root/written", "/var/lib/piwheels-builder/written").split() == ["kept", "kept"]


def test_an_orderly_stop_stops_the_services(builder: Host) -> None:
    unit = "[Service]\nExecStart=/bin/sleep inf\nExecStop=/bin/touch /root/stopped\n"
    builder.must("sh", "-c", "rm -f /root/stopped; cat > /run/systemd/system/witness.service; systemctl start witness", stdin=unit)
    builder.stop()
    builder.start()
    builder.wait()
    builder.must("test", "-e", "/root/stopped")


def test_a_cable_cut_is_a_host_unheard_and_mended_is_as_before(rack: Mapping[str, Host]) -> None:
    for name in ("bookworm", "pi2"):
        host = rack[name]
        host.cut()
        assert not host.answers()
        assert host.must("echo", "alive").strip() == "alive"
        host.mend()
        host.wait(20)
        assert host.ssh("echo", "here").output.strip() == "here"


def test_a_full_disk_takes_no_byte_of_anybody_else(builder: Host) -> None:
    builder.fill_disk()
    refused = builder.run("sh", "-c", "head -c 4096 /dev/zero > /var/lib/piwheels-builder/more")
    builder.must("sh", "-c", "head -c 4096 /dev/zero > /root/more")
    builder.free_disk()
    assert "No space left" in refused.errors
    builder.must("sh", "-c", "head -c 4096 /dev/zero > /var/lib/piwheels-builder/more")


def test_an_old_image_is_an_old_host(builder: Host) -> None:
    builder.must("sh", "-c", "echo old > /root/age; echo old > /var/lib/piwheels-builder/age")
    builder.keep_image()
    builder.start()
    builder.wait()
    builder.must("sh", "-c", "echo new > /root/age; echo new > /var/lib/piwheels-builder/age")
    builder.restore_image()
    builder.start()
    builder.wait()
    assert builder.must("cat", "/root/age", "/var/lib/piwheels-builder/age").split() == ["old", "old"]


def test_a_service_restarted_is_another_process(builder: Host) -> None:
    asked = ("systemctl", "show", "--property=MainPID", "ssh")
    before = builder.must(*asked)
    builder.restart_service("ssh")
    assert builder.must(*asked) != before

"""The rack's plans, without a rack: addresses, the inventory, what is chosen and written. Needs no root."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rack import furnish, images, machine, nat64, network
from tests.rack.addresses import KINDS, addresses, rack_number
from tests.rack.commands import RackError
from tests.rack.hosts import host
from tests.rack.rack import chosen

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("number", range(10))
def test_addresses_of_all_racks_differ_and_links_have_names_that_linux_takes(number: int) -> None:
    mine = addresses(number).values()
    others = {each.reached_at for other in range(10) if other != number for each in addresses(other).values()}
    assert len({each.ipv6 for each in mine} | {each.reached_at for each in mine}) == 2 * len(KINDS) - 1
    assert not others & {each.reached_at for each in mine}
    assert all(len(each.link) <= 15 for each in mine)
    assert len(nat64.device(number)) <= 15


def test_a_host_of_a_rack_is_where_it_is_said_to_be() -> None:
    pi1, pi2 = addresses(3)["pi1"], addresses(3)["pi2"]
    assert (pi1.ipv4, pi1.ipv6, pi1.gateway_ipv4, pi1.gateway_ipv6) == ("10.93.2.2", "fd90:3:2::2", "10.93.2.1", "fd90:3:2::1")
    assert (pi2.ipv4, pi2.gateway_ipv4, pi2.reached_at) == (None, None, "fd90:3:3::2")


@pytest.mark.parametrize("given", ["10", "-1", "one", "\u0663", "1 "])
def test_a_rack_number_that_is_none_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACK_NUMBER", given)
    with pytest.raises(RackError, match="racks 0 to 9"):
        rack_number()


def test_the_inventory_agrees_with_the_addresses(tmp_path: Path) -> None:
    play = tmp_path / "told.yml"
    told = "{{ [ansible_host, builder_sandbox | default(true), fleet_is_a_test, ansible_control_path_dir] | to_json }}"
    play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.debug": {"msg": told}}]}]))
    words = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "tests/rack/inventory.yml", str(play)]
    environment = {
        **os.environ,
        "RACK_NUMBER": "7",
        "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
    }
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    hosts = json.loads(done.stdout[done.stdout.index("{") :])["plays"][0]["tasks"][0]["hosts"]
    assert {name: json.loads(said["msg"]) if isinstance(said["msg"], str) else said["msg"] for name, said in hosts.items()} == {
        name: [each.reached_at, each.kind.architecture == "native", True, "/var/lib/piwheels-rack/7/connections"]
        for name, each in addresses(7).items()
    }


def test_a_host_that_no_rack_has_is_refused_with_those_it_has() -> None:
    with pytest.raises(RackError, match="no host 'pi3' in a rack; there are index, pi1"):
        host("pi3", 0)


def test_emulated_hosts_come_last() -> None:
    assert [each.name for each in chosen(0, ())] == ["index", "bookworm", "trixie", "pi1", "pi2"]
    assert [each.name for each in chosen(0, ["pi2", "trixie"])] == ["trixie", "pi2"]


def test_the_mirror_is_that_of_the_machines_own_release() -> None:
    targets = "http://other/ stable main\nhttp://here/debian/ bookworm contrib\nhttp://here/debian/ bookworm main\n"
    assert machine.chosen_mirror(targets, "bookworm") == machine.Mirror("http://here/debian", "http://here/debian-security")
    security = targets + "http://safe/ bookworm-security main\n"
    assert machine.chosen_mirror(security, "bookworm").security == "http://safe"
    with pytest.raises(RackError, match="no source of Debian jammy main"):
        machine.chosen_mirror(targets, "jammy")


def test_an_ipv6_only_host_asks_the_rack_and_knows_no_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "nameservers", lambda: ["192.0.2.53"])
    there = addresses(2)
    assert furnish.resolver(there["pi2"]) == "nameserver fd90:2:3::1\n"
    assert furnish.resolver(there["pi1"]) == "nameserver 192.0.2.53\n"
    assert "10.92." not in furnish.hosts_file(there["pi2"])
    assert "10.92.1.2 index\n" in furnish.hosts_file(there["pi1"])
    assert "fd90:2:1::2 index\n" in furnish.hosts_file(there["pi2"])


def test_names_are_translated_for_the_rack_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "nameservers", lambda: ["192.0.2.53"])
    conf = nat64.unbound_conf(2, [addresses(2)["pi2"]])
    assert [line.split()[1] for line in conf.splitlines() if "interface:" in line] == ["fd90:2:3::1"]
    assert "access-control: fd90:2::/32 allow" in conf
    assert f"dns64-prefix: {network.translated(2)}" in conf


def test_certificates_of_a_bundle_are_taken_without_the_words_between() -> None:
    one, two = (f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n" for body in ("QUE=", "QkI="))
    assert images.certificates(f"# One\n{one}\n# Two\n{two}") == [one, two]

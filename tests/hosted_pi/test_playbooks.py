"""The playbooks over hosted Pis against the fake API: what is ordered, waited for, written down, cancelled, and what is not."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
import yaml

from tests.hosted_pi.fake import FakeApi
from tests.hosted_pi.playing import ROOT, Controller, greeting, kill, wait_until
from tests.support.fleet import Fleet
from tests.support.ssh_server import SSHD, free_port

pytestmark = pytest.mark.skipif(SSHD is None, reason="needs sshd (apt-get install openssh-server)")


class Incurable(set[str]):
    """Names of Pis that no power cycle helps."""

    def discard(self, name: object) -> None:
        pass


@pytest.fixture
def controller(tmp_path: Path, api: FakeApi, fleet: Fleet) -> Iterator[Controller]:
    found = Controller(tmp_path / "hosted", api, fleet, free_port())
    found.write_inventory()
    with greeting(found.port):
        yield found


def test_twenty_are_ordered_before_the_first_one_is_there(controller: Controller) -> None:
    everybody = Barrier(20)

    def provision(*_: object) -> None:
        everybody.wait(120)

    controller.api.account._provision = provision
    began = time.monotonic()
    played = controller.order(20)
    print(f"20 Pis were ordered, waited for and answered in {time.monotonic() - began:.1f} s")
    assert played.exit_code == 0, played.output
    assert set(controller.builders()) == {f"wheels-{number:02}" for number in range(1, 21)}
    assert all(row["delivered_at"] and not row["failure"] for row in controller.written().values())


def test_a_dry_run_orders_and_writes_nothing(controller: Controller) -> None:
    played = controller.order(2, "--check", "--diff")
    assert played.exit_code == 0, played.output
    assert "wheels-02 would be ordered" in played.output
    assert controller.api.asked("POST", "servers") == 0
    assert controller.written() == {}


def test_a_fleet_that_asks_for_none_runs_no_task(controller: Controller) -> None:
    played = controller.play("playbooks/order.yml")
    assert played.exit_code == 0, played.output
    assert "TASK" not in played.output


@pytest.mark.parametrize("moment", ["written down", "first ordered", "all ordered"])
def test_whoever_is_killed_goes_on_and_orders_none_too_many(controller: Controller, moment: str) -> None:
    api = controller.api
    api.account.seconds = 600
    reached = {
        "written down": lambda: bool(controller.written()),
        "first ordered": lambda: bool(api.pis),
        "all ordered": lambda: len(api.pis) == 3,
    }
    running = controller.start("playbooks/order.yml", count=3)
    wait_until(reached[moment])
    kill(running)
    assert set(api.pis) <= set(controller.written())
    api.account.seconds = 0.1
    for pi in api.pis.values():
        pi.stage = None
    played = controller.order(3)
    assert played.exit_code == 0, played.output
    written = controller.written()
    assert set(api.pis) == set(written) == {"wheels-01", "wheels-02", "wheels-03"}
    assert all(row["delivered_at"] for row in written.values())
    # Whatever the inventory's cache said.
    assert set(controller.builders()) == set(written)
    # And a third time nothing is missing.
    assert "Nothing is ordered" in controller.order(3).output
    assert len(api.pis) == 3


def test_a_pi_that_fails_stops_no_other_one(controller: Controller) -> None:
    faults = controller.api.faults
    faults.fails.add("wheels-01")
    faults.hangs.add("wheels-02")
    faults.taken.add("wheels-03")
    faults.out_of_stock.add(4)
    others = [{"model": 3}]
    rule = {"hosted_pi_wait_seconds": 6, "hosted_pi_silent_minutes": 30, "hosted_pi_other_models": others}
    played = controller.order(4, **rule)
    assert played.exit_code == 0, played.output
    assert {name: pi.specification["model"] for name, pi in controller.api.pis.items()} == {"wheels-02": 3, "wheels-04": 3}
    written = controller.written()
    assert {name: bool(row["delivered_at"]) for name, row in written.items()} == dict(
        zip(sorted(written), (False, True, False, True), strict=True)
    )
    assert written["wheels-02"]["power_cycles"] == 1
    assert controller.api.pis["wheels-02"].boots == 1
    # These cost nothing any more, and are ordered under other names.
    assert "could not be provisioned" in written["wheels-01"]["failure"]
    assert "is taken" in written["wheels-03"]["failure"]
    assert controller.order(4, **rule).exit_code == 0
    assert set(controller.api.pis) == {"wheels-02", "wheels-04", "wheels-05", "wheels-06"}


def test_one_that_hangs_for_ever_is_given_up_by_the_rule(controller: Controller) -> None:
    controller.api.faults.hangs = Incurable({"wheels-01"})
    played = controller.order(1, hosted_pi_wait_seconds=2, hosted_pi_silent_minutes=30, hosted_pi_power_cycles=1)
    assert played.exit_code == 0, played.output
    (row,) = controller.written().values()
    assert row["power_cycles"] == 1
    assert "was waited for" in row["failure"]
    assert row["delivered_at"] is None


def test_one_whose_ssh_server_is_silent_is_power_cycled_too(controller: Controller) -> None:
    controller.write_inventory(compose={"ansible_host": "'127.0.0.1'", "ansible_port": str(free_port())})
    played = controller.order(1, hosted_pi_wait_seconds=5, hosted_pi_silent_minutes=30, hosted_pi_power_cycles=1)
    assert played.exit_code == 0, played.output
    (row,) = controller.written().values()
    assert (row["power_cycles"], controller.api.pis["wheels-01"].boots) == (1, 1)
    assert "ssh server does not answer" in row["failure"]
    assert row["delivered_at"]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"fleet_supervisor": "supervisord"}, "A fleet of one takes no hosted Pis"),
        ({"hosted_pi_prefix": ""}, "set prefix in it"),
        ({"hosted_pi_ssh_keys": []}, "no public key"),
    ],
)
def test_what_would_come_to_nothing_is_refused_before_it_costs(controller: Controller, told: dict[str, Any], words: str) -> None:
    played = controller.order(1, **told)
    assert played.exit_code != 0
    assert words in played.output
    assert controller.written() == {}


def test_keep_drains_retires_and_cancels(controller: Controller, tmp_path: Path) -> None:
    assert controller.order(3).exit_code == 0
    controller.fleet.add_builder("wheels-03")
    with controller.api.lock:
        controller.api.account.answer("POST", "servers/web-01", {})
    quiet = {"fleet_dispatcher_user": "", "fleet_publisher_user": "", "fleet_published_dir": str(tmp_path), "fleet_collection": {}}
    owner = controller.fleet.database.conninfo
    roles = {role: owner(f"piwheels_{role}") for role in ("owner", "dispatcher", "publisher", "reader")}
    told = {**quiet, "fleet_database": roles, "fleet_state_dir": str(tmp_path), "fleet_incoming": {}}
    checked = controller.play("retire.yml", "--check", keep=1, **told)
    assert "Would be cancelled: wheels-02, wheels-03" in checked.output
    assert controller.api.asked("DELETE") == 0
    played = controller.play("retire.yml", keep=1, **told)
    assert played.exit_code == 0, played.output
    assert set(controller.api.pis) == {"wheels-01", "web-01"}
    assert {name for name, row in controller.written().items() if row["cancelled_at"]} == {"wheels-02", "wheels-03"}
    assert controller.fleet.ask("SELECT standing::text FROM builder WHERE name = 'wheels-03'") == [("retired",)]
    assert set(controller.builders()) == {"wheels-01"}
    assert "nobody, there are no more than that" in controller.play("retire.yml", keep=1, **told).output


def test_what_costs_money_and_builds_nothing_is_told(controller: Controller) -> None:
    assert controller.order(1).exit_code == 0
    with controller.api.lock:
        controller.api.account.answer("POST", "servers/web-01", {})
    played = controller.play("hosted_pis.yml")
    assert played.exit_code == 0, played.output
    assert "wheels-01: model 4, 4096 MB, 1500 MHz, 20 GB disk; since" in played.output
    assert "is no builder: `provision.yml` makes it one" in played.output
    assert "1 other Pis" in played.output
    assert "web-01" not in played.output
    assert not any("web-01" in path for _, path in controller.api.requests)


def without_roles(place: Path) -> str:
    """provision.yml as it is, with what changes hosts replaced: each only tells who it is, and wheels-02 cannot be provisioned."""
    tell = {
        "name": "Tell",
        "ansible.builtin.debug": {"msg": "{{ inventory_hostname }} in {{ ansible_play_name }} of {{ inventory_dir }}"},
    }
    refuse = {"name": "Refuse", "ansible.builtin.fail": {"msg": "a bad card"}, "when": "inventory_hostname == 'wheels-02'"}
    plays = []
    for entry in yaml.safe_load((ROOT / "playbooks/provision.yml").read_text()):
        play = {**entry}
        if play.get("ansible.builtin.import_playbook") == "members.yml":
            del play["ansible.builtin.import_playbook"]
            play = {**play, "hosts": "{{ members }}", "gather_facts": False, "tasks": [tell]}
        elif "roles" in play:
            del play["roles"]
            play["tasks"] = [tell, refuse]
        else:
            play = {**play, **{key: str(ROOT / "playbooks" / play[key]) for key in play if key.endswith("import_playbook")}}
        plays.append({**play, **({} if "ansible.builtin.import_playbook" in play else {"connection": "local"})})
    path = place / "provision.yml"
    path.write_text(yaml.safe_dump(plays, sort_keys=False))
    return str(path)


def test_new_ones_are_provisioned_and_told_one_by_one(controller: Controller, tmp_path: Path) -> None:
    controller.api.faults.fails.add("wheels-03")
    played = controller.play(without_roles(tmp_path), count=3, hosted_pi_wait_seconds=10)
    for new in ("Pin and install those that are new", "Provision the builders"):
        # Its host key is pinned beside the inventory that it came from.
        assert f"wheels-01 in {new} of {controller.place}" in played.output
        assert f"wheels-03 in {new}" not in played.output
    assert "hub in Have the rounds of the index host know those that are new" in played.output
    assert re.search(r"wheels-01: a builder, [0-9.]+ minutes after it was written down \(waited [0-9]+ s", played.output)
    assert "wheels-02: it was not made a builder" in played.output
    assert "wheels-03: wheels-03 could not be provisioned" in played.output
    assert "2 of 3 Pis are no builders" in played.output
    assert played.exit_code != 0
    assert "not made a builder" in controller.written()["wheels-02"]["failure"]
    # Nobody asks for a Pi, and nothing of all this runs.
    played = controller.play(without_roles(tmp_path))
    assert "wheels-01 in Provision the builders" in played.output
    assert "hosted_pi :" not in played.output

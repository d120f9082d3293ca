"""What module hosted_pi makes of a Pi, in each state that it may find it in."""

import time

import pytest

from plugins.module_utils.hosted_pi import Differs, TimedOut, Wanted, difference
from plugins.module_utils.mythic_beasts import (
    NotFound,
    NotReady,
    OutOfStock,
    Refused,
    Specification,
)
from tests.hosted_pi.fake import FakeApi
from tests.hosted_pi.support import KEY, NAME, OTHER_KEY, WANTED, hosted_pi, later, present, when

PI4 = WANTED.choices[0]


def test_a_pi_is_ordered_once_and_then_left_alone(api: FakeApi) -> None:
    first = present(api)
    assert first.outcome.changed and first.outcome.ordered
    assert first.outcome.after and first.outcome.after.ready and first.outcome.after.disk == 20
    api.requests.clear()
    second = present(api)
    assert not second.outcome.changed and not second.outcome.ordered
    assert second.outcome.after == first.outcome.after
    assert {method for method, _ in api.requests} == {"GET", "POST"} and api.asked("POST") == 0
    assert len(api.requests) == 3  # The login, the Pi, its keys.


def test_a_dry_run_changes_nothing_and_says_what_would(api: FakeApi) -> None:
    dry = present(api, check=True)
    assert dry.outcome.changed and not dry.outcome.ordered and not api.pis
    assert difference(dry.outcome, absent=False) == {
        "before": {},
        "after": {"model": 4, "memory": 8192, "disk": 20, "ssh_keys": [KEY], "power": True},
    }
    present(api)
    dry = present(api, Wanted(NAME, (PI4,), keys=(OTHER_KEY,), power=False), check=True)
    assert dry.outcome.changed and api.pis[NAME].keys == KEY and api.pis[NAME].power
    told = difference(dry.outcome, absent=False)
    assert (told["before"]["ssh_keys"], told["after"]["ssh_keys"]) == ([KEY], [OTHER_KEY])
    assert (told["before"]["power"], told["after"]["power"]) == (True, False)
    dry = hosted_pi(api, WANTED, check=True)
    dry.absent()
    assert dry.outcome.changed and NAME in api.pis
    for method in ("rebooted", "power_cycled"):
        dry = hosted_pi(api, WANTED, check=True)
        getattr(dry, method)()
        assert dry.outcome.changed and api.pis[NAME].boots == 0


@pytest.mark.parametrize(
    "asked",
    [
        Specification(model=3),
        Specification(model=4, memory=4096),
        Specification(model=4, cpu_speed=2000),
        Specification(model=4, memory=8192, disk=30),
    ],
)
def test_no_pi_becomes_another(api: FakeApi, asked: Specification) -> None:
    present(api)
    for check in (True, False):
        with pytest.raises(Differs, match=r"wheels-01 is model 4, 8192 MB, 1500 MHz, 20 GB disk, asked for is .*state: absent"):
            present(api, Wanted(NAME, (asked,), keys=(OTHER_KEY,), power=False), check=check)
    assert api.pis[NAME].keys == KEY and api.pis[NAME].power


def test_what_is_not_asked_for_may_be_anything(api: FakeApi) -> None:
    present(api)
    assert not present(api, Wanted(NAME)).outcome.changed


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Specification(model=5), "no Pi like model 5; there are: model 3, 1024 MB"),
        (Specification(model=4, memory=2048), "no Pi like model 4, 2048 MB"),
        (Specification(model=4, os_image="bookworm"), "no image bookworm for model 4; there are: rpi-bookworm-arm64"),
        (Specification(os_image="bookworm"), "no image bookworm for model 3"),
    ],
)
def test_what_cannot_be_had_is_refused_before_anything_is_ordered(api: FakeApi, asked: Specification, said: str) -> None:
    for check in (True, False):
        with pytest.raises(Refused, match=said):
            present(api, Wanted(NAME, (asked,)), check=check)
    assert api.asked("POST", "servers") == 0


def test_other_models_are_tried_in_their_order(api: FakeApi) -> None:
    api.faults.out_of_stock = {4}
    choices = (PI4, Specification(4, 4096, disk=20), Specification(3, disk=20))
    pi = present(api, Wanted(NAME, choices))
    assert pi.outcome.after and pi.outcome.after.model == 3
    assert api.asked("POST", "servers") == 3
    assert not present(api, Wanted(NAME, choices)).outcome.changed


def test_out_of_stock_fails_or_is_waited_for_as_asked(api: FakeApi) -> None:
    api.faults.out_of_stock = {4}
    with pytest.raises(OutOfStock, match="Out of stock: name other_models, or wait_for_stock"):
        present(api)
    assert api.asked("POST", "servers") == 1
    patient = Wanted(NAME, (PI4,), wait_for_stock=True)
    with pytest.raises(OutOfStock):
        present(api, patient, seconds=0.2)
    later(0.3, api.faults.out_of_stock.clear)
    pi = present(api, patient)
    assert pi.outcome.after and pi.outcome.after.ready


def test_keys_are_a_set(api: FakeApi) -> None:
    present(api, Wanted(NAME, (PI4,), keys=(KEY, OTHER_KEY)))
    api.requests.clear()
    assert not present(api, Wanted(NAME, (PI4,), keys=(OTHER_KEY, KEY))).outcome.changed
    assert api.asked("PUT") == 0
    assert present(api, Wanted(NAME, (PI4,), keys=(OTHER_KEY,))).outcome.changed
    assert api.pis[NAME].keys == OTHER_KEY
    assert not present(api, Wanted(NAME, (PI4,))).outcome.changed
    assert present(api, Wanted(NAME, (PI4,), keys=())).outcome.changed
    assert api.pis[NAME].keys == ""


def test_power(api: FakeApi) -> None:
    present(api)
    off = present(api, Wanted(NAME, power=False))
    assert off.outcome.changed and off.outcome.after and off.outcome.after.power is False
    assert not present(api, Wanted(NAME, power=False)).outcome.changed
    # One that is off does not boot, and is not waited for.
    assert not present(api, Wanted(NAME)).outcome.changed
    with pytest.raises(Refused, match="power: true"):
        hosted_pi(api, Wanted(NAME)).rebooted()
    on = present(api, Wanted(NAME, power=True))
    assert on.outcome.changed and on.outcome.after and on.outcome.after.ready


def test_without_waiting_it_is_found_again_and_waited_for_then(api: FakeApi) -> None:
    api.account.seconds = 0.3
    first = present(api, wait=False)
    assert first.outcome.ordered and first.outcome.after is None
    again = present(api, wait=False)
    assert not again.outcome.changed and again.outcome.after and again.outcome.after.status != "live"
    assert not present(api, check=True).outcome.changed
    second = present(api)
    assert not second.outcome.ordered and second.outcome.after and second.outcome.after.ready
    assert api.asked("POST", "servers") == 1


def test_a_pi_that_is_installed_is_power_cycled_when_it_may_be(api: FakeApi) -> None:
    api.account.seconds = 0.4
    present(api, wait=False)
    pi = hosted_pi(api, WANTED)
    pi.power_cycled()
    assert pi.outcome.after and pi.outcome.after.ready and api.pis[NAME].boots == 1


def test_reboot(api: FakeApi) -> None:
    present(api)
    api.account.seconds = 99
    path = f"servers/{NAME}/reboot"
    when(lambda: api.asked("POST", path) == 1 and api.requests[-1][0] == "GET", lambda: setattr(api.pis[NAME], "boots_until", 0.0))
    pi = hosted_pi(api, WANTED)
    pi.rebooted()
    assert pi.outcome.changed and pi.outcome.after and pi.outcome.after.ready
    assert api.pis[NAME].boots == 1 and not api.pis[NAME].is_booting
    # It is rebooting already, and is waited for.
    api.pis[NAME].boots_until = time.monotonic() + 99
    when(lambda: api.asked("POST", path) == 2 and api.requests[-1][0] == "GET", lambda: setattr(api.pis[NAME], "boots_until", 0.0))
    pi = hosted_pi(api, WANTED)
    pi.rebooted()
    assert pi.outcome.after and pi.outcome.after.ready
    assert api.asked("POST", path) == 2 and api.pis[NAME].boots == 1 and not api.pis[NAME].is_booting


def test_a_pi_that_is_being_provisioned_is_not_rebooted(api: FakeApi) -> None:
    api.account.seconds = 0.4
    present(api, wait=False)
    with pytest.raises(NotReady, match="still being provisioned"):
        hosted_pi(api, WANTED, wait=False).rebooted()


@pytest.mark.parametrize("method", ["rebooted", "power_cycled"])
def test_a_pi_that_is_not_there(api: FakeApi, method: str) -> None:
    with pytest.raises(NotFound, match="order it with state: present"):
        getattr(hosted_pi(api, WANTED), method)()


def test_absent(api: FakeApi) -> None:
    present(api)
    api.faults.lingers = 0.2
    api.faults.delete_status = 202
    gone = hosted_pi(api, WANTED)
    gone.absent()
    assert gone.outcome.changed and gone.outcome.after is None and not api.pis
    assert difference(gone.outcome, absent=True)["after"] == {}
    again = hosted_pi(api, WANTED)
    again.absent()
    assert not again.outcome.changed and api.asked("DELETE") == 1


def test_what_is_provisioned_is_cancelled_as_soon_as_it_may_be(api: FakeApi) -> None:
    api.account.seconds = 0.4
    present(api, wait=False)
    with pytest.raises(TimedOut, match=r"still being provisioned .*costs money"):
        hosted_pi(api, WANTED, wait=False).absent()
    hosted_pi(api, WANTED).absent()
    assert not api.pis and api.asked("DELETE") >= 2

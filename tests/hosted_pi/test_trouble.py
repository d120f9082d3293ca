"""What module hosted_pi makes of a Pi, with each fault of the API and of the Pi: it comes to be, or it is told what costs money."""

import time

import pytest

from plugins.module_utils.hosted_pi import NameTaken, TimedOut, Wanted
from plugins.module_utils.mythic_beasts import (
    ApiError,
    ProvisioningFailed,
    Unreachable,
)
from tests.hosted_pi.account import STAGES
from tests.hosted_pi.fake import FakeApi
from tests.hosted_pi.support import KEY, NAME, WANTED, hosted_pi, present, wait_until, when

PI4 = WANTED.choices[0]


def test_an_order_whose_answer_is_lost_is_found_and_not_repeated(api: FakeApi) -> None:
    api.faults.lost_orders = 1
    pi = present(api)
    assert pi.outcome.ordered and pi.outcome.after and pi.outcome.after.ready
    assert api.asked("POST", "servers") == 1


def test_an_order_whose_answer_is_lost_at_the_end_may_cost_money_and_is_said_so(api: FakeApi) -> None:
    api.faults.lost_orders = 1
    pi = hosted_pi(api, WANTED, wait=False)
    with pytest.raises(Unreachable, match="may have been ordered"):
        pi.present()
    assert pi.outcome.ordered


def test_the_queues_address_may_be_none_of_ours(api: FakeApi) -> None:
    api.faults.elsewhere = "http://127.0.0.1:9"
    pi = present(api)
    assert pi.outcome.after and pi.outcome.after.ready


def test_a_name_that_another_account_has(api: FakeApi) -> None:
    api.faults.taken = {NAME}
    with pytest.raises(NameTaken, match="choose another"):
        present(api)


def test_a_token_that_ends_while_it_waits(api: FakeApi) -> None:
    api.account.seconds = 0.6
    when(lambda: api.asked("GET", "queue/") > 0, api.expire_tokens)
    pi = present(api)
    assert pi.outcome.after and pi.outcome.after.ready
    assert api.logins == 2


@pytest.mark.parametrize("fault", ["busy", "garbage", "unavailable"])
def test_an_api_that_fails_while_it_waits(api: FakeApi, fault: str) -> None:
    api.account.seconds = 0.5
    when(lambda: api.asked("GET", "queue/") > 0, lambda: setattr(api.faults, fault, 4))
    pi = present(api)
    assert pi.outcome.after and pi.outcome.after.ready


def test_an_api_that_fails_for_longer_than_a_request_is_repeated(api: FakeApi) -> None:
    api.faults.answers["/queue/pi/1"] = b"nonsense"
    when(lambda: api.asked("GET", "queue/") >= 3, api.faults.answers.clear)
    pi = present(api, patience=0)
    assert pi.outcome.after and pi.outcome.after.ready


def test_an_order_that_cannot_be_looked_at_is_an_order_all_the_same(api: FakeApi) -> None:
    api.faults.answers["/queue/pi/1"] = b"nonsense"
    pi = hosted_pi(api, WANTED, wait=False, patience=0)
    with pytest.raises(Unreachable):
        pi.present()
    assert pi.outcome.ordered and pi.outcome.changed


def test_a_queue_that_forgets(api: FakeApi) -> None:
    api.account.seconds = 0.3
    when(lambda: api.asked("GET", "queue/") > 0, api.account.forget_queue)
    pi = present(api)
    assert pi.outcome.after and pi.outcome.after.ready


@pytest.mark.parametrize("every", [4, 5])
def test_connections_that_break_all_the_time(api: FakeApi, every: int) -> None:
    """Whether it is a login, a look, an order or its answer that they take along."""
    api.faults.drop_every = every
    pi = present(api, Wanted(NAME, (PI4,), keys=(KEY,), power=False))
    assert pi.outcome.after and pi.outcome.after.power is False
    hosted_pi(api, WANTED).absent()
    assert not api.pis and api.asked("DELETE") >= 1


def test_a_pi_that_hangs_is_told_and_comes_by_being_power_cycled(api: FakeApi) -> None:
    api.faults.hangs = {NAME}
    with pytest.raises(TimedOut, match=r"waited for \d+ s: it is not provisioned yet \([BIP].*\).*costs money"):
        present(api, seconds=0.3)
    wait_until(api, STAGES[2])
    with pytest.raises(TimedOut, match="Waiting for initial DHCP"):
        present(api, seconds=0.2)
    pi = hosted_pi(api, WANTED)
    pi.power_cycled()
    assert pi.outcome.changed and pi.outcome.after and pi.outcome.after.ready
    assert not present(api).outcome.changed


def test_a_pi_that_boots_for_ever(api: FakeApi) -> None:
    present(api)
    api.pis[NAME].boots_until = time.monotonic() + 99
    with pytest.raises(TimedOut, match=r"not booted yet .Waiting for initial DHCP.: power-cycle it"):
        present(api, seconds=0.2)


def test_a_pi_that_comes_to_nothing_is_cancelled(api: FakeApi) -> None:
    api.faults.fails = {NAME}
    failing = hosted_pi(api, WANTED)
    with pytest.raises(ProvisioningFailed, match="cancel it with state: absent"):
        failing.present()
    assert failing.outcome.ordered and NAME in api.pis
    hosted_pi(api, WANTED).absent()
    assert NAME not in api.pis


def test_a_pi_that_is_cancelled_and_stays_is_no_success(api: FakeApi) -> None:
    present(api)
    api.faults.lingers = 99
    with pytest.raises(TimedOut, match="still listed"):
        hosted_pi(api, WANTED, seconds=0.2).absent()


def test_a_pi_that_hangs_cannot_be_cancelled_and_that_is_no_success(api: FakeApi) -> None:
    api.faults.hangs = {NAME}
    present(api, wait=False)
    wait_until(api, STAGES[2])
    with pytest.raises(TimedOut, match="costs money"):
        hosted_pi(api, WANTED, seconds=0.2).absent()
    assert NAME in api.pis


@pytest.mark.parametrize("method", ["present", "absent", "rebooted", "power_cycled"])
def test_an_api_that_is_away_is_no_success(api: FakeApi, method: str) -> None:
    present(api)
    api.faults.drop_every = 1
    with pytest.raises(ApiError, match="cannot be reached") as caught:
        getattr(hosted_pi(api, WANTED, seconds=0.1), method)()
    assert caught.value.reason == "unreachable"

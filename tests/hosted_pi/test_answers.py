"""What the client believes of the API's answers: each spelling that was seen, and nothing that cannot be."""

from typing import Any

import pytest

from plugins.module_utils.mythic_beasts import Unreachable
from tests.hosted_pi.fake import FakeApi
from tests.hosted_pi.support import client

LIVE = {"model": 4, "memory": 8192, "cpu_speed": 1500, "status": "live", "power": True, "is_booting": False}


@pytest.mark.parametrize(
    ("told", "seen"),
    [
        ({}, {"status": "live", "power": True, "disk": None}),
        (
            {"disk_size": "10.00", "ssh_port": "5022", "initialized_keys": True},
            {"disk": 10, "ssh_port": 5022, "initialised_keys": True},
        ),
        ({"disk_size": 20, "ssh_port": 22, "initialised_keys": False}, {"disk": 20, "ssh_port": 22, "initialised_keys": False}),
        ({"boot_progress": None, "what_is_new": [1]}, {"boot_progress": None}),
        ({"is_booting": True}, {"ready": False}),
        ({"status": "installing"}, {"ready": False}),
        ({"status": None}, {"status": "live"}),
    ],
)
def test_the_spellings_of_a_pi(api: FakeApi, told: dict[str, Any], seen: dict[str, Any]) -> None:
    api.faults.answers["/servers/wheels-01"] = {**LIVE, **told}
    pi = client(api).find("wheels-01")
    assert {key: getattr(pi, key) for key in seen} == seen


@pytest.mark.parametrize(
    "told",
    [
        {"model": True},
        {"model": "four"},
        {"memory": -1},
        {"memory": 10**30},
        {"memory": "NaN"},
        {"memory": float("nan")},
        {"memory": float("inf")},
        {"cpu_speed": 1.5},
        {"ssh_port": "1" * 5000},
        {"ip": "-oProxyCommand=sh"},
        {"ip": 5},
        {"ip_routed": "2a00::/500"},
        {"power": "yes"},
        {"is_booting": 1},
        {"location": "two\nlines"},
        {"location": "x" * 300},
        {"boot_progress": {}},
        {"status": []},
    ],
)
def test_a_pi_that_cannot_be_is_not_believed(api: FakeApi, told: dict[str, Any]) -> None:
    api.faults.answers["/servers/wheels-01"] = {**LIVE, **told}
    with pytest.raises(Unreachable, match="is this the API"):
        client(api).find("wheels-01")


@pytest.mark.parametrize(
    "told",
    [
        [],
        {},
        {"servers": []},
        {"servers": {"../../etc": LIVE}},
        {"servers": {"{{ 7 * 7 }}": LIVE}},
        {"servers": {"wheels-01": {}}},
        {"servers": {"wheels-01": [4, 8192, 1500]}},
    ],
)
def test_a_list_that_cannot_be_is_not_believed(api: FakeApi, told: object) -> None:
    api.faults.answers["/servers"] = told
    with pytest.raises(Unreachable, match="is this the API"):
        client(api).servers()


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b'{"servers": NaN}', b"\xff\xfe", b'"text"', b"9" * 9999])
def test_what_is_no_answer_at_all(api: FakeApi, content: bytes) -> None:
    api.faults.answers["/servers"] = content
    with pytest.raises(Unreachable, match="is this the API"):
        client(api).servers()


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"access_token": "x"},
        {"access_token": "x", "expires_in": 0},
        {"access_token": "a\r\nX: b", "expires_in": 9},
        {"access_token": 5},
    ],
)
def test_a_login_that_gives_no_token(api: FakeApi, told: object) -> None:
    api.faults.answers["/login"] = told
    with pytest.raises(Unreachable, match="is this the API"):
        client(api).servers()

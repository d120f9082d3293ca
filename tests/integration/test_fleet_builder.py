"""The module fleet_builder: registers, pins, retires, and shows what it would do."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from piwheels_builder.db.connect import connected
from piwheels_builder.queue.members import register_builder
from piwheels_builder.targets import Target
from tests.support.fleet import BOOKWORM, Fleet
from tests.support.modules import run_module

KNOWN: dict[str, Any] = {"name": "pi1", "memory_mb": 8192, "targets": [str(BOOKWORM)]}


def fleet_builder(fleet: Fleet, arguments: dict[str, Any], *, check: bool = False) -> dict[str, object]:
    return run_module("fleet_builder", {"database": fleet.database.conninfo("piwheels_owner"), **arguments}, check=check)


@pytest.fixture
def certificate(tmp_path: Path) -> str:
    """One with the serial number 0x1234567890abcdef1234."""
    command: list[str | Path] = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ed25519",
        "-nodes",
        "-keyout",
        tmp_path / "key",
        "-subj",
        "/CN=builder_pi1",
    ]
    command += ["-set_serial", "0x1234567890abcdef1234", "-out", tmp_path / "pem"]
    subprocess.run(command, check=True, capture_output=True)
    return (tmp_path / "pem").read_text()


def test_who_a_builder_is_is_kept_until_something_else_is_said(fleet: Fleet, certificate: str) -> None:
    identity = {"certificate": certificate, "host_keys": ["ssh-ed25519 AAAA"], "address": "2001:db8::1"}
    checked = fleet_builder(fleet, {**KNOWN, **identity}, check=True)
    assert checked["changed"]
    told = "SELECT certificate_serial, host_keys, address FROM builder"
    assert fleet.ask(told) == [(None, None, None)]
    registered = fleet_builder(fleet, {**KNOWN, **identity})
    assert (registered["changed"], registered["memory_class"]) == (True, 2)
    assert registered["diff"] == checked["diff"]
    assert "address: null\n" in registered["diff"]["before"]  # type: ignore[index]
    assert 'address: "2001:db8::1"\n' in registered["diff"]["after"]  # type: ignore[index]
    assert not fleet_builder(fleet, KNOWN)["changed"]
    assert fleet.ask(told) == [(0x1234567890ABCDEF1234, ["ssh-ed25519 AAAA"], "2001:db8::1")]


def test_it_retires_a_builder_once(fleet: Fleet) -> None:
    build_id = fleet.want("demo")
    fleet.lease("pi1")
    leave = {"name": "pi1", "state": "retired", "reason": "worn out"}
    checked = fleet_builder(fleet, leave, check=True)
    assert (checked["changed"], fleet.state(build_id)) == (True, "leased")
    retired = fleet_builder(fleet, leave)
    assert retired["changed"]
    assert 'standing: "retired"\n' in retired["diff"]["after"]  # type: ignore[index]
    assert fleet.ask("SELECT reason FROM build") == [("pi1 was retired: worn out",)]
    assert not fleet_builder(fleet, leave)["changed"]
    assert not fleet_builder(fleet, {"name": "unheard-of", "state": "retired"})["changed"]
    assert fleet_builder(fleet, KNOWN)["changed"]


def test_bad_arguments_are_named(fleet: Fleet) -> None:
    assert "none in PEM" in str(fleet_builder(fleet, {**KNOWN, "certificate": "x"})["msg"])
    assert "memory_mb" in str(fleet_builder(fleet, {"name": "pi1"})["msg"])
    assert "cannot name a builder" in str(fleet_builder(fleet, {**KNOWN, "name": "Pi 1"})["msg"])


def test_two_builders_of_one_new_target_register_at_the_same_time(fleet: Fleet) -> None:
    login, new = fleet.database.conninfo("piwheels_owner"), Target("cp312", "aarch64", "trixie")
    with connected(login) as first, connected(login) as second, ThreadPoolExecutor() as pool:
        register_builder(first, "early", 8192, 1, [new])
        late = pool.submit(register_builder, second, "late", 8192, 1, [new])
        with pytest.raises(TimeoutError):
            # It waits for the first, whose target it is to have, too.
            late.result(timeout=0.5)
        first.commit()
        assert late.result(timeout=10)
        second.commit()
    targets = "SELECT target_id FROM builder_target JOIN builder USING (builder_id) WHERE name = %s"
    assert fleet.ask(targets, "early") == fleet.ask(targets, "late") != []

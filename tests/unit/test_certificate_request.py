"""The module certificate_request: a key that stays, a request that fits it, and no more than openssl and Python."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from library.certificate_request import Refused, run
from tests.support.modules import run_module


def through_ansible(directory: Path) -> dict[str, Any]:
    files = {"key": "client.key", "request": "client.csr", "certificate": "client.pem"}
    arguments = {option: str(directory / file) for option, file in files.items()}
    return run_module("certificate_request", {**arguments, "common_name": "builder_pi3"})


def ask(directory: Path, name: str = "builder_pi3", *, check: bool = False) -> dict[str, Any]:
    files = {"key": directory / "client.key", "request": directory / "client.csr", "certificate": directory / "client.pem"}
    return run({**files, "common_name": name, "owner": None}, check_mode=check)


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """Not there yet, as on a new host."""
    return tmp_path / "etc"


def test_it_makes_a_key_for_its_owner_alone_and_a_request_of_it(etc: Path) -> None:
    done = through_ansible(etc)
    assert done["changed"]
    assert (etc / "client.key").stat().st_mode & 0o777 == 0o600
    assert openssl("req", "-in", etc / "client.csr", "-noout", "-verify", "-subject").strip() == "subject=CN = builder_pi3"
    assert done["csr"] == (etc / "client.csr").read_text()
    assert "PRIVATE" not in str(done)
    assert sorted(path.name for path in etc.iterdir()) == ["client.csr", "client.key"]


def test_a_second_run_makes_nothing(etc: Path) -> None:
    first = ask(etc)
    again = ask(etc)
    assert not again["changed"]
    assert again["csr"] == first["csr"]


def test_a_dry_run_makes_nothing_and_says_so(etc: Path) -> None:
    done = ask(etc, check=True)
    assert done["changed"]
    assert done["csr"] == ""
    assert not etc.exists()


def test_another_name_asks_anew_with_the_same_key(etc: Path) -> None:
    ask(etc)
    key = (etc / "client.key").read_text()
    assert ask(etc, "builder_pi4")["changed"]
    assert (etc / "client.key").read_text() == key
    assert "CN = builder_pi4" in openssl("req", "-in", etc / "client.csr", "-noout", "-subject")


@pytest.mark.parametrize("damage", ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_damaged_key_is_made_anew(etc: Path, damage: str) -> None:
    ask(etc)
    (etc / "client.key").write_text(damage)
    assert ask(etc)["changed"]
    assert not ask(etc)["changed"]
    openssl("pkey", "-in", etc / "client.key", "-noout")


def test_a_key_that_others_could_read_is_not_kept(etc: Path) -> None:
    ask(etc)
    seen = (etc / "client.key").read_text()
    (etc / "client.key").chmod(0o644)
    assert ask(etc)["changed"]
    assert (etc / "client.key").read_text() != seen


def certify(etc: Path) -> str:
    openssl("req", "-x509", "-key", etc / "client.key", "-subj", "/CN=builder_pi3", "-days", "1", "-out", etc / "client.pem")
    return (etc / "client.pem").read_text()


def test_the_certificate_is_told_while_it_is_of_this_key(etc: Path) -> None:
    assert ask(etc)["certificate"] == ""
    certificate = certify(etc)
    assert ask(etc)["certificate"] == certificate
    (etc / "client.key").unlink()
    assert ask(etc)["certificate"] == ""


@pytest.mark.parametrize("name", ["", "pi 3", "pi3/O=others", "x" * 64])
def test_a_name_that_would_mean_something_else_is_refused(etc: Path, name: str) -> None:
    with pytest.raises(Refused, match="cannot stand in a certificate"):
        ask(etc, name)
    assert not etc.exists()

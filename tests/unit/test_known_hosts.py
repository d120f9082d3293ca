"""known_hosts lines are read as ssh reads them, and only what is meant is changed."""

import base64
from pathlib import Path

import pytest

from piwheels_builder.errors import BadInput
from piwheels_builder.host_keys.known_hosts import HostKey, KnownHosts, known_as

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@pytest.mark.parametrize(
    ("address", "port", "name"),
    [
        ("Pi1.Local", 22, "pi1.local"),
        ("pi1", 2222, "[pi1]:2222"),
        ("2001:DB8::1", 22, "2001:db8::1"),
        ("2001:db8::1", 2222, "[2001:db8::1]:2222"),
    ],
)
def test_a_server_is_called_as_ssh_calls_it(address: str, port: int, name: str) -> None:
    assert known_as(address, port) == name


@pytest.mark.parametrize(
    ("names", "known"),
    [
        ("pi1", True),
        ("other,pi1", True),
        ("pi?", True),
        ("*", True),
        ("*,!pi1", False),
        ("PI1", True),
        ("pi10", False),
        ("[pi1]:22", False),
        ("p[i]1", False),
        ("|1|broken", False),
        ("|1|AAAA|AAAA", False),
    ],
)
def test_whom_a_line_is_about(names: str, known: bool) -> None:
    assert bool(KnownHosts((f"{names} {KEY} a comment",)).keys_of("pi1")) is known


@pytest.mark.parametrize(
    "line", ["", "#", f"# pi1 {KEY}", "pi1", "pi1 ssh-ed25519", "pi1 ssh-rsa " + KEY.split()[1], f"@cert-authority pi1 {KEY}"]
)
def test_other_lines_say_nothing_and_stay(line: str) -> None:
    known = KnownHosts((line,))
    assert known.keys_of("pi1") == []
    assert known.without("pi1") == known


def test_forgetting_takes_a_name_out_of_a_line_and_leaves_the_rest() -> None:
    known = KnownHosts((f"pi1,pi2 {KEY} here", f"pi1 {OTHER}", f"* {OTHER}", f"@revoked pi1 {KEY}"))
    assert known.without("pi1").lines == (f"pi2 {KEY} here", f"* {OTHER}", f"@revoked pi1 {KEY}")


def test_a_file_that_is_not_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    path.write_bytes(b"# \xff no newline")
    KnownHosts.read(path).with_key("pi1", HostKey.parse(KEY)).write(path)
    assert path.read_bytes() == b"# \xff no newline\n" + f"pi1 {KEY}\n".encode()


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("")
    (tmp_path / "known_hosts").symlink_to("real")
    KnownHosts(("x",)).write(tmp_path / "known_hosts")
    assert (tmp_path / "known_hosts").is_symlink()
    assert (tmp_path / "real").read_text() == "x\n"


@pytest.mark.parametrize(
    "text", ["", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-ed25519 *", KEY.replace("ed25519 ", "ed448 "), "ssh-ed25519 \n" + KEY]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        HostKey.parse(text)


def test_a_type_cannot_hold_a_line_of_its_own() -> None:
    kind = f"x\n*\t{KEY.replace(' ', chr(9))}\t#"
    name = kind.encode()
    with pytest.raises(BadInput):
        HostKey.parse(f"{kind} {base64.b64encode(len(name).to_bytes(4) + name).decode()}")

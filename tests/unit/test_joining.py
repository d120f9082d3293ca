"""`make add-builder`: what it is told, what it refuses, and what it leaves in the inventory. Commands are stand-ins."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from piwheels_builder import joining
from piwheels_builder.errors import BadInput
from piwheels_builder.host_keys.pinning import Report
from piwheels_builder.joining import CannotJoin, Fleet, Newcomer

PI3 = Newcomer("pi3", "pi", "192.168.1.20")


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path, "shelf", tmp_path / "known_hosts", str(tmp_path / "id"), {"pi1": {"ansible_host": "192.168.1.11"}})


class Commands:
    """Stands for the commands that are run: those with one of the words in ``fail`` end with 1."""

    def __init__(self, *fail: str) -> None:
        self.fail = fail
        self.run: list[str] = []

    def __call__(self, command: Sequence[str]) -> int:
        self.run.append(" ".join(command))
        return any(word in command for word in self.fail)


@pytest.mark.parametrize(
    ("text", "name", "newcomer"),
    [
        ("pi@192.168.1.20", "pi3", PI3),
        ("192.168.1.20", "pi3", PI3),
        ("root@Pi7.local:2222", "", Newcomer("pi7", "root", "Pi7.local", 2222)),
        ("pi@[fd90::7]:2222", "pi7", Newcomer("pi7", "pi", "fd90::7", 2222)),
        ("pi@fd90::7", "pi7", Newcomer("pi7", "pi", "fd90::7")),
    ],
)
def test_hosts_are_written_as_for_ssh(text: str, name: str, newcomer: Newcomer) -> None:
    assert Newcomer.parse(text, name) == newcomer


@pytest.mark.parametrize(
    ("text", "name"),
    [("192.168.1.20", ""), ("pi@", "pi3"), ("-oProxyCommand=x@pi3", ""), ("pi@-oX", ""), ("pi@pi3", "Pi 3"), ("p;i@pi3", "")],
)
def test_what_is_no_host_is_refused(text: str, name: str) -> None:
    with pytest.raises(BadInput):
        Newcomer.parse(text, name)


def test_a_newcomer_gets_a_file_of_its_own_that_ansible_reads(fleet: Fleet) -> None:
    path = joining.write_down(Newcomer("pi7", "pi", "fd90::7", 2222), fleet)
    assert path == fleet.inventory / "pi7.yml"
    variables = {"ansible_host": "fd90::7", "ansible_user": "pi", "ansible_port": 2222}
    assert yaml.safe_load(path.read_text()) == {"builders": {"hosts": {"pi7": variables}}}
    assert [entry.name for entry in fleet.inventory.iterdir()] == ["pi7.yml"]


@pytest.mark.parametrize("name", ["on", "3", "1e3", "0x1f"])
def test_a_name_that_yaml_would_take_for_something_else_stays_a_name(fleet: Fleet, name: str) -> None:
    path = joining.write_down(Newcomer(name, "pi", "192.168.1.20"), fleet)
    assert path is not None
    assert list(yaml.safe_load(path.read_text())["builders"]["hosts"]) == [name]


def test_a_host_of_another_key_is_told_how_to_be_believed_again(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report(refused={"pi3": "another key"})
    monkeypatch.setattr(joining, "pin", lambda *_, **__: report)
    host = Newcomer("pi3", "pi", "192.168.1.20", 2222)
    with pytest.raises(CannotJoin) as refused:
        joining.meet(host, fleet)
    assert f"ssh-keygen -R '[192.168.1.20]:2222' -f {fleet.known_hosts}" in str(refused.value)


def test_the_key_of_the_inventory_may_be_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts.yml").write_text("index: {hosts: {shelf: {ansible_ssh_private_key_file: ~/.ssh/fleet}}}")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert joining.read_fleet(tmp_path).identity == str(tmp_path / ".ssh/fleet")


def test_one_that_is_known_already_changes_nothing(fleet: Fleet) -> None:
    assert joining.write_down(Newcomer("pi1", "pi", "192.168.1.11"), fleet) is None
    assert not list(fleet.inventory.iterdir())


@pytest.mark.parametrize(
    "newcomer", [Newcomer("pi1", "pi", "192.168.1.99"), Newcomer("pi9", "pi", "192.168.1.11")], ids=["name taken", "address taken"]
)
def test_another_host_of_that_name_or_address_is_refused(fleet: Fleet, newcomer: Newcomer) -> None:
    with pytest.raises(BadInput, match="pi1"):
        joining.write_down(newcomer, fleet)


def test_a_file_of_somebody_else_is_left_alone(fleet: Fleet) -> None:
    (fleet.inventory / "pi3.yml").write_text("mine")
    with pytest.raises(BadInput, match="move it away"):
        joining.write_down(PI3, fleet)
    assert (fleet.inventory / "pi3.yml").read_text() == "mine"


def test_a_key_that_opens_the_host_is_not_brought_again(fleet: Fleet) -> None:
    commands = Commands()
    joining.let_in(PI3, fleet, commands)
    assert not [command for command in commands.run if command.startswith("ssh-copy-id")]
    assert all(
        f'UserKnownHostsFile="{fleet.known_hosts}"' in command and "StrictHostKeyChecking=yes" in command
        for command in commands.run
    )


def test_a_host_that_wants_a_password_is_brought_the_key(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    commands = Commands("true")
    # sudo fails as well, since its command ends in the same word.
    with pytest.raises(CannotJoin, match=r"sudoers\.d"):
        joining.let_in(PI3, fleet, commands)
    assert commands.run[1].startswith("ssh-copy-id ")


def test_a_key_that_cannot_be_brought_is_told(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    with pytest.raises(CannotJoin, match="write your key into its card"):
        joining.let_in(PI3, fleet, Commands("true", "ssh-copy-id"))


def test_it_provisions_the_index_host_and_the_newcomer_alone(fleet: Fleet) -> None:
    commands = Commands()
    joining.provision(PI3, fleet, commands)
    assert commands.run[0].endswith(f"-i {fleet.inventory} provision.yml --limit shelf,pi3")
    with pytest.raises(CannotJoin, match="run this again"):
        joining.provision(PI3, fleet, Commands("provision.yml"))


def test_a_fleet_of_one_is_refused_with_the_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert joining.main(["pi@pi3", "--inventory", str(joining.CHECKOUT / "inventory/local.yml")], Commands()) == 64
    assert "make move-database" in capsys.readouterr().err


def test_an_inventory_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert joining.main(["pi@pi3", "--inventory", str(tmp_path / "none")], Commands()) == 64
    assert "docs/rack-at-home.md" in capsys.readouterr().err

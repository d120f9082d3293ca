"""A builder's security upgrades: drained before, building again after, whatever comes between. The programs are stand-ins."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest

TEMPLATES = Path(__file__).parents[2] / "roles/builder/templates"
#: Each says that it was called; what more they do stands for what the real one does.
PROGRAMS = {
    "apt-get": "",
    "dpkg": "exit $(cat $HERE/dpkg-ends)",
    "systemctl": "",
    "unattended-upgrade": """case $1 in --dry-run) cat $HERE/found; exit;; esac
        cp $HERE/orders $HERE/draining 2>/dev/null; cp $HERE/asks $HERE/reboot-required 2>/dev/null; exit $(cat $HERE/ends)""",
    "piwheels-builder": """case $1 in drain) echo "$3" >$HERE/draining; exit $(cat $HERE/drains);;
        undrain) rm -f $HERE/draining;; esac""",
}


@pytest.fixture
def upgrade(tmp_path: Path) -> Callable[..., tuple[int, list[str]]]:
    """Runs the script; returns its exit code and what it called."""
    text = jinja2.Template((TEMPLATES / "piwheels-upgrade.j2").read_text()).render(
        ansible_managed="",
        fleet_state_dir=tmp_path,
        builder_build_seconds=60,
        builder_described=[{"slowness": 2.0}],
        builder_state_dir=tmp_path,
        builder_configuration="builder.yml",
    )
    (tmp_path / "upgrade").write_text(text.replace("/run/reboot-required", str(tmp_path / "reboot-required")))
    (tmp_path / "bin").mkdir()
    for name, more in PROGRAMS.items():
        program = tmp_path / "bin" / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >> $HERE/calls\n{more}\n')
        program.chmod(0o755)
    (tmp_path / "found").write_text("Packages that will be upgraded: libc6\n")
    (tmp_path / "ends").write_text("0")
    (tmp_path / "drains").write_text("0")
    (tmp_path / "dpkg-ends").write_text("0")

    def run(*arguments: str) -> tuple[int, list[str]]:
        (tmp_path / "calls").write_text("")
        environment = {"HERE": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", tmp_path / "upgrade", *arguments], env=environment, check=False)
        return done.returncode, [line.split(" --settings")[0] for line in (tmp_path / "calls").read_text().splitlines()]

    return run


Upgrade = Callable[..., tuple[int, list[str]]]


def test_it_upgrades_between_drain_and_undrain(upgrade: Upgrade, tmp_path: Path) -> None:
    code, calls = upgrade()
    assert code == 0
    assert calls == [
        "apt-get -q update",
        "unattended-upgrade --dry-run -v",
        "piwheels-builder drain --reason security upgrades --wait 3720",
        "unattended-upgrade -v",
        "systemctl try-restart piwheels-builder.service",
        "dpkg --configure -a",
        "piwheels-builder undrain",
    ]
    assert not (tmp_path / "upgrading").exists()


def test_nothing_to_upgrade_drains_nobody(upgrade: Upgrade, tmp_path: Path) -> None:
    (tmp_path / "found").write_text("No packages found that can be upgraded unattended and no pending auto-removals\n")
    assert upgrade() == (0, ["apt-get -q update", "unattended-upgrade --dry-run -v"])
    assert not (tmp_path / "upgrading").exists()


def test_a_failed_upgrade_is_told_and_builds_go_on(upgrade: Upgrade, tmp_path: Path) -> None:
    (tmp_path / "ends").write_text("1")
    code, calls = upgrade()
    assert code == 1
    assert calls[-1] == "piwheels-builder undrain"
    assert not (tmp_path / "draining").exists()


def test_what_cannot_be_drained_is_not_upgraded(upgrade: Upgrade, tmp_path: Path) -> None:
    (tmp_path / "drains").write_text("75")
    code, calls = upgrade()
    assert code == 75
    assert "unattended-upgrade -v" not in calls
    assert not (tmp_path / "draining").exists()


def test_a_reboot_keeps_it_drained_until_it_is_back(upgrade: Upgrade, tmp_path: Path) -> None:
    (tmp_path / "asks").write_text("")
    code, calls = upgrade()
    assert code == 0
    assert calls[-1] == "systemctl reboot"
    assert (tmp_path / "draining").exists()
    (tmp_path / "reboot-required").unlink()
    assert upgrade("--finish") == (0, ["dpkg --configure -a", "piwheels-builder undrain"])
    assert not (tmp_path / "upgrading").exists()


def test_a_reboot_that_is_already_due_is_made(upgrade: Upgrade, tmp_path: Path) -> None:
    (tmp_path / "reboot-required").write_text("")
    (tmp_path / "found").write_text("No packages found that can be upgraded unattended and no pending auto-removals\n")
    assert upgrade()[1][-1] == "systemctl reboot"


def test_the_drain_of_an_operator_stays(upgrade: Upgrade, tmp_path: Path) -> None:
    (tmp_path / "draining").write_text("a new card")
    code, calls = upgrade()
    assert code == 0
    assert "unattended-upgrade -v" in calls
    assert "piwheels-builder drain --reason a new card --wait 3720" in calls
    assert "piwheels-builder undrain" not in calls
    assert (tmp_path / "draining").exists()


def test_one_that_was_cut_off_takes_its_own_drain_back(upgrade: Upgrade, tmp_path: Path) -> None:
    (tmp_path / "draining").write_text("security upgrades\n")
    (tmp_path / "upgrading").write_text("1")
    assert upgrade()[1][-1] == "piwheels-builder undrain"


@pytest.mark.parametrize("arguments", [[], ["--finish"]])
def test_what_dpkg_cannot_mend_keeps_no_builder_drained(upgrade: Upgrade, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "draining").write_text("security upgrades\n")
    (tmp_path / "upgrading").write_text("1")
    (tmp_path / "dpkg-ends").write_text("1")
    assert upgrade(*arguments)[1][-1] == "piwheels-builder undrain"
    assert not (tmp_path / "draining").exists()


def test_the_drain_that_an_operator_orders_meanwhile_stays(upgrade: Upgrade, tmp_path: Path) -> None:
    (tmp_path / "orders").write_text("a new card\n")
    assert "piwheels-builder undrain" not in upgrade()[1]
    assert (tmp_path / "draining").read_text() == "a new card\n"
    # Nor is it taken for the upgrade's own after the next boot.
    assert not (tmp_path / "upgrading").exists()


def test_a_boot_leaves_the_operators_drain(upgrade: Upgrade, tmp_path: Path) -> None:
    (tmp_path / "draining").write_text("a new card\n")
    (tmp_path / "upgrading").write_text("1")
    assert upgrade("--finish") == (0, ["dpkg --configure -a"])
    assert not (tmp_path / "upgrading").exists()

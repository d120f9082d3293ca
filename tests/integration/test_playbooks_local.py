"""The real playbooks on a fleet of one: they converge, say what is wrong, and lose nothing when they are killed."""

import glob
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.trial import Played, Trial, trial_fleet


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    with trial_fleet(fleet_projects=["docopt==0.6.2"]) as fleet:
        succeeded(fleet.play("provision.yml"))
        yield fleet


def succeeded(played: Played) -> Played:
    assert played.exit_code == 0, played.output
    return played


def states(trial: Trial, *projects: str) -> list[str]:
    return [build["state"] for build in trial.report(*projects)]


@pytest.fixture(scope="module")
def built(trial: Trial) -> Trial:
    """The same fleet, after its first run."""
    assert "1 of 1 done" in succeeded(trial.play("build.yml")).output
    return trial


def test_a_second_provisioning_and_a_dry_run_change_nothing(trial: Trial) -> None:
    assert succeeded(trial.play("provision.yml")).changed == 0
    dry = succeeded(trial.play("provision.yml", "--check", "--diff"))
    assert dry.changed == 0
    assert "+++" not in dry.output


def test_a_dry_run_on_a_new_machine_makes_nothing() -> None:
    with trial_fleet() as new:
        dry = succeeded(new.play("provision.yml", "--check"))
        assert dry.changed > 0
        assert list(new.state_dir.iterdir()) == []


def test_a_run_builds_and_publishes_and_a_second_one_has_nothing_to_do(built: Trial) -> None:
    assert states(built, "docopt") == ["published"]
    page = requests.get(f"{built.index_url}/simple/docopt/", timeout=10)
    assert "docopt-0.6.2-" in page.text
    told = requests.get(f"{built.index_url}/project/docopt/json", timeout=10).json()
    assert [cell["state"] for cell in told["releases"][0]["targets"]] == ["published"]
    home = requests.get(f"{built.index_url}/", timeout=10)
    assert "docopt-0.6.2-" in home.text
    assert "script-src 'self';" in home.headers["Content-Security-Policy"]
    assert succeeded(built.play("build.yml")).changed == 0


def test_a_dry_run_tells_the_plan_and_leaves_it(built: Trial) -> None:
    dry = succeeded(built.play("build.yml", "--check", fleet_build_policy="missing"))
    assert "in all: 0 builds, 0.0 hours of one slot" in dry.output
    assert "upstream's wheels save 0 builds" in dry.output
    assert "of the latest 1 attempts half were off by" in dry.output
    assert dry.changed == 0


def test_a_client_installs_from_that_index_alone(built: Trial) -> None:
    told = succeeded(built.play("playbooks/try_out.yml")).output
    assert f"docopt 0.6.2 from {built.index_url}/wheels/" in told
    assert "import docopt: ok" in told
    missing = built.play("playbooks/try_out.yml", try_out_projects=["docopt==0.6.2", "docopt==99"])
    assert missing.exit_code != 0
    assert "import docopt: ok" in missing.output
    assert "docopt==99 is not installed" in missing.output


def test_the_settings_of_pip_and_uv_are_there_to_copy(trial: Trial) -> None:
    for root in ("", "/bookworm"):
        told = requests.get(f"{trial.index_url}{root}/pip.conf", timeout=10)
        assert told.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert f"index-url = {trial.index_url}{root}/simple/\n" in told.text
        assert f'url = "{trial.index_url}{root}/simple/"' in requests.get(f"{trial.index_url}{root}/uv.toml", timeout=10).text


def test_rounds_hand_out_then_publish_and_count_what_was_taken(built: Trial) -> None:
    (wheel,) = requests.get(f"{built.index_url}/project/docopt/json", timeout=10).json()["files"][:1]
    taken = requests.get(built.index_url + wheel["url"], headers={"User-Agent": "pip/26.3 {}"}, timeout=10)
    assert taken.status_code == 200
    again = built.command("piwheels-builder", "requeue", "docopt")
    assert again.returncode == 0, again.stderr
    succeeded(built.play("build.yml", fleet_converge="round"))
    deadline = time.monotonic() + 60
    while states(built, "docopt") not in (["built"], ["published"]):
        assert time.monotonic() < deadline, built.report("docopt")
        time.sleep(0.5)
    succeeded(built.play("build.yml", fleet_converge="round"))
    assert states(built, "docopt") == ["published"]
    counted = built.command("piwheels-builder", "downloads", "show", "docopt", "--json").stdout
    assert '"number": 1' in counted or '"repeated": 1' in counted


def test_a_batch_that_cannot_be_delivered_is_given_back(built: Trial) -> None:
    built.command("piwheels-builder", "requeue", "docopt")
    played = built.play("build.yml", fleet_converge="round", dispatch_builder_state_dir="/nonexistent")
    assert "cannot be written into /nonexistent" in played.output
    assert states(built, "docopt") == ["pending"]
    succeeded(built.play("build.yml"))
    assert states(built, "docopt") == ["published"]


@pytest.mark.parametrize("moment", ["Bring the catalogue", "localhost: 0 of"])
def test_a_run_killed_anywhere_is_made_good_by_the_next(built: Trial, moment: str) -> None:
    built.command("piwheels-builder", "requeue", "docopt")
    running = built.start("build.yml")
    assert running.stdout is not None
    assert any(moment in line for line in running.stdout), "the run ended first"
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    succeeded(built.play("build.yml"))
    assert states(built, "docopt") == ["published"]


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"fleet_projects": "docopt"}, "write a list of names or name==version"),
        ({"fleet_projects": ["docopt>=0.6"]}, "docopt>=0.6: write each as a name, or as name==version"),
        ({"fleet_releases": "some"}, "write latest, all, or a number from 1 up"),
        ({"fleet_build_policy": "most"}, "value of catalogue_build_policy must be one of: missing, all, got: most"),
        ({"fleet_converge": "sometimes"}, "value of dispatch_converge must be one of: round, drained, got: sometimes"),
    ],
)
def test_wishes_that_cannot_be_understood_are_refused(trial: Trial, variables: dict[str, object], told: str) -> None:
    played = trial.play("build.yml", **variables)
    assert played.exit_code != 0
    assert told in played.output


def test_what_a_machine_cannot_be_is_refused_before_anything_is_made() -> None:
    with trial_fleet() as new, socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        played = new.play("provision.yml", index_listen=listen)
        assert played.exit_code != 0
        assert f"Something else listens at {listen}" in played.output
        assert "-e index_listen=" in played.output
        assert "write an address and a port" in new.play("provision.yml", index_listen="8080").output
        assert "call themselves" in new.play("provision.yml", fleet_pythons={"cp34": sys.executable}).output


def test_a_malformed_inventory_is_an_error(trial: Trial, tmp_path: Path) -> None:
    inventory = tmp_path / "rack.yml"
    inventory.write_text("index:\n  - hosts: [")
    played = trial.play("build.yml", "-i", str(inventory))
    assert played.exit_code != 0
    assert "rack.yml" in played.output


def second_python() -> tuple[str, str]:
    """ABI and path of an interpreter other than ours, with headers; skips the test where this machine has none."""
    places = [*os.environ["PATH"].split(":"), *glob.glob(str(Path.home() / ".pyenv/versions/*/bin"))]  # noqa: PTH207
    names = ("python3.13", "python3.12", "python3.11", "python3.10", "pypy3")
    say = (
        "import os, sys, sysconfig; os.stat(sysconfig.get_path('include') + '/Python.h');"
        "print({'cpython': 'cp', 'pypy': 'pp'}[sys.implementation.name] + '%d%d' % sys.version_info[:2])"
    )
    for path in (Path(place, name) for name in names for place in places):
        if path.exists() and not path.name.endswith(f"{sys.version_info[0]}.{sys.version_info[1]}"):
            told = subprocess.run([path, "-c", say], capture_output=True, text=True, check=False)
            if told.returncode == 0:
                return told.stdout.strip(), str(path)
    pytest.skip("no second Python here: apt-get install pypy3 pypy3-dev")


def test_two_abis_on_one_machine() -> None:
    own = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    other, path = second_python()
    pythons = {own: sys.executable, other: path}
    with trial_fleet(fleet_pythons=pythons, fleet_projects=["docopt==0.6.2", "spidev"], index_nginx="/nonexistent") as fleet:
        # Where nginx is missing, Python serves the same tree.
        assert "Python serves the same tree" in succeeded(fleet.play("provision.yml")).output
        succeeded(fleet.play("build.yml"))
        made = {(build["project"], build["target"].split("-")[0]): build["state"] for build in fleet.report()}
        # A pure wheel serves both; what is compiled is built for each.
        assert made["spidev", own] == made["spidev", other] == "published"
        assert sorted([made["docopt", own], made["docopt", other]]) == ["published", "skipped"]
        page = requests.get(f"{fleet.index_url}/simple/spidev/", timeout=10).text
        assert f"-{own}-{own}" in page
        assert f"-{other}-" in page
        assert "spidev" in requests.get(f"{fleet.index_url}/project/spidev/", timeout=10).text

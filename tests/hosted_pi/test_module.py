"""Module hosted_pi as Ansible runs it: a process of its own, its arguments on stdin, its result on stdout."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from library.hosted_pi import ARGUMENTS, DOCUMENTATION, refusal
from tests.hosted_pi.fake import FakeApi
from tests.hosted_pi.support import KEY, OTHER_KEY

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "library" / "hosted_pi.py"
#: As the archive does that Ansible sends, which holds ours beside its own.
START = f"""
import runpy, ansible.module_utils
ansible.module_utils.__path__.append({str(ROOT / "plugins" / "module_utils")!r})
runpy.run_path({str(MODULE)!r}, run_name="__main__")
"""
NAME = "wheels-01"


def run(api: FakeApi, /, *, check: bool = False, environment: dict[str, str] | None = None, **arguments: Any) -> dict[str, Any]:
    asked = {
        "name": NAME,
        "poll_seconds": 0.05,
        "wait_seconds": 20,
        "_ansible_check_mode": check,
        "_ansible_diff": True,
        **arguments,
    }
    own = {key: value for key, value in os.environ.items() if not key.startswith("HOSTEDPI_")}
    given = api.environment if environment is None else environment
    done = subprocess.run(
        [sys.executable, "-c", START],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": asked}),
        env={**own, **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert api.secret not in done.stdout + done.stderr
    assert not any(token in done.stdout + done.stderr for token in api._tokens)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_from_its_order_to_its_end(api: FakeApi) -> None:
    asked: dict[str, Any] = {
        "model": 4,
        "memory": 8192,
        "disk": 20,
        "os_image": "rpi-bookworm-arm64",
        "ssh_keys": [f"  {KEY}\n", OTHER_KEY, KEY],
    }
    dry = run(api, check=True, **asked)
    assert dry["changed"] and not dry["ordered"] and dry["pi"] == {} and not api.pis
    assert dry["diff"]["before"] == {} and dry["diff"]["after"]["memory"] == 8192

    began = time.monotonic()
    told = run(api, **asked)
    assert told["changed"] and told["ordered"] and 0 < told["waited"] <= time.monotonic() - began
    assert told["pi"] == {
        "name": NAME,
        "status": "live",
        "host": "wheels-01.hostedpi.com",
        "ipv4_host": "ssh.wheels-01.hostedpi.com",
        "ip": "2a00:1098:8:1::1",
        "ip_routed": "2a00:1098:8:100::/56",
        "ssh_port": 5001,
        "model": 4,
        "model_full": "4B",
        "memory": 8192,
        "cpu_speed": 1500,
        "nic_speed": 1000,
        "disk": 20,
        "location": "MER",
        "power": True,
        "is_booting": False,
        "boot_progress": None,
        "initialised_keys": True,
    }
    assert api.pis[NAME].keys == f"{KEY}\r\n{OTHER_KEY}"

    again = run(api, **asked)
    assert not again["changed"] and not again["ordered"] and again["pi"] == told["pi"]
    assert again["diff"]["before"] == again["diff"]["after"]

    assert run(api, state="power_cycled")["changed"] and api.pis[NAME].boots == 1

    gone = run(api, state="absent")
    assert gone["changed"] and gone["pi"] == {} and not api.pis
    assert gone["diff"]["before"]["model"] == 4 and gone["diff"]["after"] == {}


def test_other_models_with_an_image_of_their_own(api: FakeApi) -> None:
    api.faults.out_of_stock = {4}
    others: list[dict[str, Any]] = [{"model": 4, "memory": 4096}, {"model": 3, "os_image": "rpi-bookworm-armhf"}]
    told = run(api, model=4, os_image="rpi-bookworm-arm64", other_models=others)
    assert told["pi"]["model"] == 3
    assert api.pis[NAME].os_image == "rpi-bookworm-armhf"


def test_a_failure_says_why_and_whether_it_costs_money(api: FakeApi) -> None:
    api.faults.out_of_stock = {4}
    told = run(api, model=4)
    assert (told["failed"], told["reason"], told["ordered"]) == (True, "out_of_stock", False)
    api.faults.hangs = {NAME}
    told = run(api, model=3, wait_seconds=0.2)
    assert (told["failed"], told["reason"], told["ordered"]) == (True, "timed_out", True)
    assert "run again" in told["msg"] and told["waited"] >= 0.2
    api.faults.hangs.clear()
    told = run(api, model=4)
    assert (told["failed"], told["reason"], told["ordered"]) == (True, "differs", False)
    assert "model 3, 1024 MB" in told["msg"] and told["pi"]["model"] == 3


def test_the_key_comes_from_options_or_from_the_environment(api: FakeApi) -> None:
    told = run(api, environment={}, auth_url=f"{api.url}/login", api_url=f"{api.url}/beta/pi", key_id=api.key_id, secret=api.secret)
    assert told["changed"] and NAME in api.pis
    asked = len(api.requests)
    told = run(api, environment={})
    assert told["failed"] and told["reason"] == "not_authorised" and "HOSTEDPI_ID" in told["msg"]
    assert len(api.requests) == asked


def test_what_the_api_repeats_of_the_key_is_not_told(api: FakeApi) -> None:
    api.faults.echo = 9
    told = run(api)  # Which looks for the secret.
    assert told["failed"] and "I do not like Basic ***" in told["msg"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"name": "Wheels"}, "no name of a Pi"),
        ({"name": "wheels-"}, "no name of a Pi"),
        ({"name": "w" * 21}, "no name of a Pi"),
        ({"name": "../login"}, "no name of a Pi"),
        ({"disk": 15}, "multiple of 10"),
        ({"disk": 0}, "multiple of 10"),
        ({"ssh_keys": ["ssh-ed25519"]}, "one of ssh_keys is none"),
        ({"ssh_keys": [f"{KEY}\n{OTHER_KEY}"]}, "one of ssh_keys is none"),
        ({"poll_seconds": 0}, "greater than 0"),
        ({"timeout": -1}, "greater than 0"),
    ],
)
def test_what_needs_no_api_to_be_refused(asked: dict[str, Any], said: str) -> None:
    right = {"name": NAME, "disk": 10, "ssh_keys": [KEY], "poll_seconds": 1, "timeout": 1}
    assert refusal(right) is None
    assert said in (refusal({**right, **asked}) or "")


def test_a_refusal_asks_the_api_nothing(api: FakeApi) -> None:
    told = run(api, name="../login")
    assert told["failed"] and told["reason"] == "refused" and "no name of a Pi" in told["msg"]
    assert api.requests == []


def test_through_ansible_itself(api: FakeApi, tmp_path: Path) -> None:
    """With its archive, its templating and its verbosity; neither the command lines nor the output know the secret."""
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [{"hosted_pi": {"name": NAME, "model": 4, "poll_seconds": 0.05, "ssh_keys": [KEY]}, "register": "told"}],
    }
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        "localhost,",
        "-vvv",
        "--diff",
        str(tmp_path / "play.yml"),
    ]
    environment = {
        **os.environ,
        **api.environment,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=1" in done.stdout and "2a00:1098:8:1::1" in done.stdout
    assert api.pis[NAME].keys == KEY
    assert not any(secret in done.stdout + done.stderr for secret in [api.secret, *api._tokens])


def test_every_option_is_documented_as_it_is() -> None:
    documented = yaml.safe_load(DOCUMENTATION)["options"]
    assert {name: shape(option) for name, option in documented.items()} == {
        name: shape(option) for name, option in ARGUMENTS.items()
    }


def shape(option: dict[str, Any]) -> dict[str, Any]:
    inner = option.get("suboptions") or option.get("options") or {}
    told = {key: option.get(key) for key in ("type", "default", "choices", "elements", "required")}
    return {**told, "inner": {name: shape(suboption) for name, suboption in inner.items()}}

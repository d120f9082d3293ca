"""The playbook for users' Pis: pip and uv take the index, what was there before comes back, and a second run changes nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.trial import BIN, ROOT, Played

URL = "http://shelf:8080/bookworm/simple/"
BEFORE = "[global]\nextra-index-url = http://elsewhere.invalid/simple\n"


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Of the two hosts, one has a password in its URL."""
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "fleet_become": False}
    desk = {**host, "client_pip_conf": f"{tmp_path}/pip.conf", "client_uv_toml": f"{tmp_path}/uv/uv.toml", "client_index_url": URL}
    told = {**host, "client_index_url": "http://me:s3cret@shelf/simple/"}
    children = {"clients": {"hosts": {"desk": desk, "told": told}}, "index": {"hosts": {"shelf": {}}}}
    path = tmp_path / "hosts.json"
    path.write_text(json.dumps({"all": {"children": children}}))
    return path


def play(inventory: Path, *options: str) -> Played:
    command = [str(BIN / "ansible-playbook"), "-i", str(inventory), "client.yml", *options]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    return Played(done.returncode, done.stdout + done.stderr)


def configured(place: Path) -> str:
    """What pip makes of it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment["PIP_CONFIG_FILE"] = str(place / "pip.conf")
    command = [sys.executable, "-m", "pip", "config", "list"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_it_is_written_once_and_undone(inventory: Path, tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text(BEFORE)
    # Twice in one run, since each takes seconds: what was there is kept, two files are written, and nothing the second time.
    played = play(inventory, "client.yml", "--diff")
    assert f"+index-url = {URL}" in played.output, played.output
    assert played.changed == 2, played.output
    # Every user of the host could read it.
    assert "goes into the ~/.netrc" in played.output.replace("\n", " ")
    assert "s3cret" not in played.output
    said = configured(tmp_path)
    assert f"global.index-url='{URL}'" in said
    assert "global.trusted-host='shelf:8080'" in said
    assert "elsewhere.invalid" not in said
    asked = [f"{BIN}/uv", "pip", "compile", "--config-file", f"{tmp_path}/uv/uv.toml", "--offline", "--no-cache", "-v", "-"]
    uv = subprocess.run(asked, input="demo\n", capture_output=True, text=True, check=False)
    assert f"{URL}demo/" in uv.stderr

    assert play(inventory, "-e", "client_state=absent", "--limit", "desk").exit_code == 0
    assert (tmp_path / "pip.conf").read_text() == BEFORE
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "hosts.json") == ["pip.conf", "uv"]
    assert not list((tmp_path / "uv").iterdir())

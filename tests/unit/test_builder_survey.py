"""What survey.py tells of a host, with stand-ins for dpkg and apt; and the list of what builders have installed."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

FILES = Path(__file__).parents[2] / "roles/builder/files"
#: What the stand-in for apt has; dpkg has gcc installed.
KNOWN = ("cmake", "rustc", "rustc-web", "libtiff-dev", "zram-tools")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A directory with both."""
    (tmp_path / "dpkg-query").write_text("#!/bin/sh\necho 'gcc installed'\necho 'rustc config-files'\nexit 1\n")
    policies = "".join(f"echo '{name}:'\necho '  Installed: (none)'\necho '  Candidate: 1.0'\n" for name in KNOWN)
    german = '[ "$LC_ALL$LANGUAGE" = CC ] || { echo "cmake:"; echo "  Installationskandidat: 1.0"; exit; }'
    (tmp_path / "apt-cache").write_text(f"#!/bin/sh\n{german}\n{policies}echo 'gone:'\necho '  Candidate: (none)'\n")
    for program in tmp_path.iterdir():
        program.chmod(0o755)
    return tmp_path


def survey(programs: Path, swaps: str = "", **wanted: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "describe": 'print(\'{"abi": "cp311"}\')',
        "pythons": [],
        "packages": [],
        "machine_packages": [],
        "accounts": [],
    }
    asked |= {"state_dir": "/var/lib/state", "kernel_words": {}}
    (programs / "swaps").write_text(swaps)
    source = (FILES / "survey.py").read_text()
    places = {"/proc/swaps": "swaps", "/etc/default/zramswap": "zramswap", "/run/systemd/container": "container"}
    for place, name in places.items():
        assert place in source
        source = source.replace(place, str(programs / name))
    command = ["/usr/bin/python3", "-c", source]
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de"}
    done = subprocess.run(
        command, input=json.dumps({**asked, **wanted}), capture_output=True, text=True, check=True, env=environment
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_of_several_names_the_first_that_apt_knows_is_lacking(programs: Path) -> None:
    told = survey(programs, packages=["gcc", "cmake", ["rustc-web", "rustc"], ["libtiff6-dev", "libtiff-dev"]])
    assert told["missing"] == ["cmake", "libtiff-dev", "rustc-web"]
    assert told["unknown"] == []


def test_what_was_removed_is_not_installed_and_what_is_installed_serves(programs: Path) -> None:
    assert survey(programs, packages=[["rustc", "rustc-web"]])["missing"] == ["rustc"]
    assert survey(programs, packages=[["cmake", "gcc"]])["missing"] == []


def test_what_apt_does_not_know_is_told_apart(programs: Path) -> None:
    told = survey(programs, packages=["gone", ["atlas", "gone"], "cmake"])
    assert told["missing"] == ["cmake"]
    assert told["unknown"] == ["gone", "atlas or gone"]


def test_zram_is_lacking_only_where_this_host_has_none(programs: Path) -> None:
    zram: dict[str, Any] = {"machine_packages": ["zram-tools"]}
    assert survey(programs, **zram)["missing"] == ["zram-tools"]
    assert survey(programs, "Filename Type\n/dev/zram0 partition\n", **zram)["missing"] == []
    (programs / "container").touch()
    assert survey(programs, **zram)["missing"] == []


def test_an_interpreter_that_is_not_there_is_told_and_ends_nothing(programs: Path) -> None:
    broken = programs / "python"
    broken.write_text("#!/bin/sh\necho 'no such machine' >&2\nexit 3\n")
    broken.chmod(0o755)
    told = survey(programs, pythons=["/usr/bin/python3", str(broken), "/nonexistent"])["described"]
    assert told[0] == {"abi": "cp311"}
    assert told[1]["refused"].endswith("no such machine")
    assert told[2]["refused"] == "/nonexistent: No such file or directory"


def test_accounts_are_told_with_what_they_are(programs: Path) -> None:
    root, stranger = survey(programs, accounts=["root", "no-such-user"])["accounts"]
    assert root == {"name": "root", "home": "/root", "shell": root["shell"]}
    assert stranger == {"name": "no-such-user"}


def test_the_toolchain_is_names_each_once() -> None:
    toolchain = yaml.safe_load((FILES / "toolchain.yml").read_text())
    assert set(toolchain) == {"minimal", "full"}
    first = [entry if isinstance(entry, str) else entry[0] for entry in toolchain["minimal"] + toolchain["full"]]
    assert len(first) == len(set(first))
    assert {"bubblewrap", "build-essential", "rsync", "openssl", "python3-dev"} <= set(toolchain["minimal"])

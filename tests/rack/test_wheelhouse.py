"""A bundle installs on a Pi (armv7l, emulated) whose network cable is pulled, and refuses to where it is damaged."""

import base64
import os
import shlex
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pip
import pytest

from piwheels_builder.cli import main
from piwheels_builder.targets import Target
from tests.rack.hosts import Host
from tests.support.upstream import serve_upstream
from tests.support.wheelhouse import offer, wheelhouse

pytestmark = pytest.mark.skipif(os.environ.get("ACCEPTANCE") != "full", reason="slow under emulation: make acceptance-full")
PI = Target("cp311", "armv7l", "bookworm")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """One wheel for any machine, which requires one for this kind of Pi only."""
    with serve_upstream() as upstream:
        offer(upstream, tmp_path, "app", requires=["lib; platform_machine == 'armv7l'"])
        offer(upstream, tmp_path, "lib", tag="cp311-cp311-linux_armv7l")
        main(["wheelhouse", "key", str(tmp_path / "key")])
        options = ["--key", f"{tmp_path}/key", "-o", f"{tmp_path}/station.tar"]
        assert wheelhouse("bundle", tmp_path, "app\n", PI, upstream.url, *options) == 0
    return tmp_path / "station.tar"


@pytest.fixture
def pi(rack: Mapping[str, Host], tmp_path: Path) -> Iterator[Host]:
    """With Debian's Python and a pip, as every Raspberry Pi OS has one; and without a network."""
    with tarfile.open(tmp_path / "pip.tar.gz", "w:gz") as archive:
        archive.add(Path(pip.__file__).parent, "pip", filter=lambda member: None if "__pycache__" in member.name else member)
    put(rack["pi1"], tmp_path / "pip.tar.gz")
    rack["pi1"].must("tar", "-xzf", "pip.tar.gz", "-C", "/usr/lib/python3/dist-packages")
    rack["pi1"].cut()
    yield rack["pi1"]
    rack["pi1"].mend()


def put(pi: Host, file: Path) -> None:
    content = base64.b64encode(file.read_bytes()).decode()
    pi.must("sh", "-c", f"base64 -d > /root/{shlex.quote(file.name)}", stdin=content)


def test_a_bundle_installs_on_a_pi_without_a_network(pi: Host, bundle: Path) -> None:
    put(pi, bundle)
    put(pi, bundle.with_name("key.pub"))
    pi.must("tar", "-xf", "station.tar")
    install = ["python3", "station/install.py", "/root/environment", "--key", "key.pub"]
    pi.must("sh", "-c", "cp -r station whole && printf damaged > station/requirements.txt")
    damaged = pi.run(*install)
    assert (damaged.status, "requirements.txt is another file: 7 bytes" in damaged.errors) == (65, True), damaged
    pi.must("sh", "-c", "rm -r station && mv whole station")
    told = pi.must(*install)
    assert "installed; run /root/environment/bin/python" in told
    pi.must("/root/environment/bin/python", "-c", "import app, lib")

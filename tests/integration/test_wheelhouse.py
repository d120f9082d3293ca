"""From requirements to a bundle that real pip installs where no network is, resolved for a target that is not this machine."""

import json
import os
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator
from pathlib import Path

import pip
import pytest

from piwheels_builder.builder.interpreter import describe
from piwheels_builder.builder.sandbox import find_bwrap
from piwheels_builder.builder.trial import this_target
from piwheels_builder.cli import main
from piwheels_builder.targets import Target
from tests.support.upstream import Upstream, serve_upstream
from tests.support.wheelhouse import offer, wheelhouse

PI1 = Target("cp311", "armv6l", "bookworm")
HERE = this_target(describe(Path(sys.executable)))


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with serve_upstream() as index:
        yield index


def pins(text: str) -> list[str]:
    return [line.removesuffix(" \\") for line in text.splitlines() if "==" in line and not line.startswith("#")]


def test_the_closure_is_the_targets(upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offer(upstream, tmp_path, "app", requires=[
        "arm; platform_machine == 'armv6l'", "windows; sys_platform == 'win32'", "backport; python_full_version < '3.11.3'",
        "lib[fast]>=1", "pinned<2",
    ])  # fmt: skip
    offer(upstream, tmp_path, "arm", tag="cp311-cp311-linux_armv7l")
    arm = offer(upstream, tmp_path, "arm", tag="cp311-cp311-linux_armv6l")
    offer(upstream, tmp_path, "backport", described=False)
    offer(upstream, tmp_path, "lib", "1.5", requires=["speed; extra == 'fast'", "slow; extra == 'other'", "pinned==1.0"])
    offer(upstream, tmp_path, "lib", "2.0b1")
    offer(upstream, tmp_path, "lib", "1.9", yanked="broken")
    offer(upstream, tmp_path, "speed", "3")
    for version in ("1.0", "1.1", "2.0"):
        offer(upstream, tmp_path, "pinned", version)
    assert wheelhouse("lock", tmp_path, "app\n", PI1, upstream.url) == 0
    printed = capsys.readouterr().out
    assert pins(printed) == ["app==1.0", "arm==1.0", "backport==1.0", "lib==1.5", "pinned==1.0", "speed==3"]
    listed = {file["filename"]: file["hashes"]["sha256"] for file in upstream.projects["arm"]["files"]}
    assert f"--hash=sha256:{listed[arm.name]}\n" in printed


def test_older_releases_are_tried_where_the_newest_do_not_go_together(
    upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(upstream, tmp_path, "a", "2", requires=["c>=2"])
    offer(upstream, tmp_path, "a", "1", requires=["c>=1"])
    offer(upstream, tmp_path, "b", "1", requires=["c<2"])
    for version in ("1", "2"):
        offer(upstream, tmp_path, "c", version)
    assert wheelhouse("lock", tmp_path, "a\nb\n", PI1, upstream.url) == 0
    assert pins(capsys.readouterr().out) == ["a==1", "b==1", "c==1"]
    assert wheelhouse("lock", tmp_path, "a==2\nb\n", PI1, upstream.url) == 65
    told = capsys.readouterr().err
    assert "a==2 requires c>=2" in told
    assert "b==1 requires c<2" in told
    assert wheelhouse("lock", tmp_path, "nothing-of-this-name\n", PI1, upstream.url) == 65
    assert "the index has no nothing-of-this-name" in capsys.readouterr().err


def test_what_has_no_wheel_is_named_with_what_to_do(upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offer(upstream, tmp_path, "app", requires=["other", "spi>=1"])
    offer(upstream, tmp_path, "other", tag="cp311-cp311-linux_x86_64")
    upstream.add_sdist("other", "1.0")
    offer(upstream, tmp_path, "spi", "1.0", tag="cp311-cp311-linux_armv6l")
    upstream.add_sdist("spi", "2.0")
    assert wheelhouse("lock", tmp_path, "app\n", PI1, upstream.url) == 66
    told = capsys.readouterr().err
    # Of spi an older release will do.
    assert "no wheel for cp311-armv6l-bookworm of other==1.0, and" in told
    assert f"piwheels-builder wheelhouse want {tmp_path}/requirements.txt --target cp311-armv6l-bookworm --wait" in told


def test_hashes_that_are_given_are_kept_to(upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offer(upstream, tmp_path, "demo", "1.0")
    offer(upstream, tmp_path, "demo", "2.0")
    upstream.add_sdist("demo", "1.0")
    hashes = {file["filename"]: file["hashes"]["sha256"] for file in upstream.projects["demo"]["files"]}
    # Of the sdist: a wheel of it is what the fleet builds.
    assert wheelhouse("lock", tmp_path, f"demo --hash=sha256:{hashes['demo-1.0.tar.gz']}\n", PI1, upstream.url) == 0
    assert pins(capsys.readouterr().out) == ["demo==1.0"]
    assert wheelhouse("lock", tmp_path, f"demo --hash=sha256:{'0' * 64}\n", PI1, upstream.url) == 65


def test_an_indexs_password_goes_to_its_own_host_alone(
    upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_upstream() as elsewhere:
        for name, index in (("ours", upstream), ("theirs", elsewhere)):
            offer(index, tmp_path, name)
        (file,) = elsewhere.projects["theirs"]["files"]
        upstream.projects["theirs"] = {
            **elsewhere.projects["theirs"],
            "files": [{**file, "url": elsewhere.url + ".." + file["url"]}],
        }
        secret_url = upstream.url.replace("//", "//reader:s3cret@")
        assert wheelhouse("bundle", tmp_path, "ours\ntheirs\n", HERE, secret_url, "-o", f"{tmp_path}/b.tar") == 0
        assert {"Authorization" in headers for _, headers in upstream.requests} == {True}
        assert elsewhere.requests
        assert not any("Authorization" in headers for _, headers in elsewhere.requests)
    assert "s3cret" not in "".join(capsys.readouterr())
    assert b"s3cret" not in (tmp_path / "b.tar").read_bytes()


@pytest.fixture
def bundle(upstream: Upstream, tmp_path: Path) -> Path:
    """A signed bundle for this machine, unpacked; the key is beside it."""
    offer(upstream, tmp_path, "app", requires=["lib>=1", "pytest"])
    offer(upstream, tmp_path, "lib", tag=f"{HERE.python}-{HERE.python}-linux_{HERE.architecture}")
    (tmp_path / "have.txt").write_text(f"pytest=={pytest.__version__}\n")
    assert main(["wheelhouse", "key", str(tmp_path / "key")]) == 0
    version = ["--python-version", sys.version.split()[0]]
    options = [*version, "--have", f"{tmp_path}/have.txt", "--key", f"{tmp_path}/key", "-o", f"{tmp_path}/station.tar"]
    assert wheelhouse("bundle", tmp_path, "app\n", HERE, upstream.url, *options) == 0
    with tarfile.open(tmp_path / "station.tar") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "station"


def verify(bundle: Path, key: Path) -> int:
    return main(["wheelhouse", "verify", str(bundle), "--key", str(key)])


def test_a_bundle_is_verified_and_what_differs_is_said(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = bundle.with_name("key.pub")
    for place in (bundle, bundle.with_suffix(".tar")):
        assert verify(place, key) == 0
    assert (bundle.with_name("key").stat().st_mode & 0o777) == 0o600
    wheel = next(bundle.glob("wheels/app-*.whl"))
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"!")
    next(bundle.glob("wheels/lib-*.whl")).unlink()
    (bundle / "wheels/more.whl").touch()
    assert verify(bundle, key) == 65
    told = capsys.readouterr().err
    for line in (f"wheels/{wheel.name} is another file", "is missing", "wheels/more.whl is not listed"):
        assert line in told
    main(["wheelhouse", "key", str(bundle.with_name("other"))])
    assert verify(bundle.with_suffix(".tar"), bundle.with_name("other.pub")) == 65
    assert "was not signed by the key" in capsys.readouterr().err
    assert main(["wheelhouse", "key", str(bundle.with_name("key"))]) == 64


def test_the_same_wheels_make_the_same_archive(bundle: Path, upstream: Upstream, tmp_path: Path) -> None:
    first = bundle.with_suffix(".tar").read_bytes()
    options = ["--python-version", sys.version.split()[0], "--have", f"{tmp_path}/have.txt", "--key", f"{tmp_path}/key"]
    assert wheelhouse("bundle", tmp_path, "app\n", HERE, upstream.url, *options, "-o", f"{tmp_path}/station.tar") == 0
    assert bundle.with_suffix(".tar").read_bytes() == first


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment with this one's pip and nothing else."""
    venv.create(tmp_path / "environment", with_pip=False, symlinks=True)
    (packages,) = (tmp_path / "environment/lib").glob("python*/site-packages")
    (packages / "pip").symlink_to(Path(pip.__file__).parent)
    return tmp_path / "environment"


def install(bundle: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """As on the space station: no network, and pip's settings name an index."""
    command = [os.fspath(find_bwrap()), "--dev-bind", "/", "/", "--unshare-net", "--die-with-parent", "--"]
    settings = {**os.environ, "PIP_INDEX_URL": "http://unreachable.invalid/simple/"}
    script = [sys.executable, str(bundle / "install.py"), *arguments]
    return subprocess.run([*command, *script], env=settings, capture_output=True, text=True, timeout=120, check=False)


def test_it_installs_where_no_network_is(bundle: Path, environment: Path) -> None:
    done = install(bundle, str(environment), "--key", f"{bundle.parent}/key.pub")
    # pip finds that app requires pytest, which this environment does not see: said, though the wheels are in.
    assert "installed, but: app 1.0 requires pytest" in done.stderr
    imported = subprocess.run([environment / "bin/python", "-c", "import app, lib"], capture_output=True, check=False)
    assert imported.returncode == 0, imported.stderr
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "pytest-9.dist-info").mkdir()
    (packages / "pytest-9.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: pytest\nVersion: 9\n")
    again = install(bundle, str(environment))
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, f"installed; run {environment}/bin/python")


def test_nothing_is_installed_of_what_is_damaged_or_anothers(bundle: Path, environment: Path) -> None:
    unsigned = bundle.with_name("key.pub").read_text().replace("A", "B")
    bundle.with_name("wrong.pub").write_text(unsigned)
    for key in ("wrong.pub", "key"):
        assert install(bundle, str(environment), "--key", f"{bundle.parent}/{key}").returncode == 65
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**manifest, "expects": {"unheard-of": "1"}}))
    assert "changed since" in install(bundle, str(environment), "--key", f"{bundle.parent}/key.pub").stderr
    lacking = install(bundle, str(environment))
    assert lacking.returncode == 69
    assert "unheard-of 1 was left out" in lacking.stderr
    wheel = next(bundle.glob("wheels/app-*.whl"))
    wheel.write_bytes(b"damaged")
    damaged = install(bundle, str(environment))
    assert damaged.returncode == 65
    assert f"wheels/{wheel.name} is another file: 7 bytes" in damaged.stderr
    assert not list(environment.glob("lib/python*/site-packages/app*"))

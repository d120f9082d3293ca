"""Real pip and real uv install from the published tree: from JSON and HTML, through nginx and the trial server."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from piwheels_builder.index.serve import Handler
from tests.support.fleet import Fleet
from tests.support.published import IndexHost, make_wheel, nginx_serving, public_directory, trial_serving
from tests.support.upstream import Upstream, serve_upstream


class HtmlOnly(Handler):
    """An index as it was before PEP 691."""

    def do_GET(self) -> None:  # noqa: N802 - the name is http.server's
        del self.headers["Accept"]
        super().do_GET()


@pytest.fixture
def host(fleet: Fleet) -> Iterator[IndexHost]:
    with public_directory() as place:
        (place / "outbox").mkdir()
        yield IndexHost(fleet, place)


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    """Has one project that the fleet knows nothing of."""
    with serve_upstream() as index:
        index.add_file("elsewhere", "elsewhere-3.0-py3-none-any.whl", make_wheel(tmp_path, "elsewhere", "3.0").read_bytes())
        yield index


@pytest.fixture(params=["nginx", "trial", "html"])
def url(request: pytest.FixtureRequest, host: IndexHost, upstream: Upstream) -> Iterator[str]:
    base = upstream.url.rstrip("/")
    if request.param == "nginx":
        serving = nginx_serving(host.tree, host.place, base)
    else:
        serving = trial_serving(host.tree, base, handler=HtmlOnly if request.param == "html" else Handler)
    with serving as address:
        yield address


def clean_environment() -> dict[str, str]:
    """Nothing of this machine's own settings for pip, uv and proxies."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(("PIP_", "UV_", "HTTP"))}
    return {**kept, "PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "127.0.0.1"}


def pip_install(index: str, requirement: str, target: Path) -> None:
    options = [
        "--isolated",
        "--index-url",
        index,
        "--no-deps",
        "--only-binary=:all:",
        "--no-cache-dir",
        "--disable-pip-version-check",
    ]
    _run([sys.executable, "-m", "pip", "install", *options, "--target", str(target), requirement])


def uv_install(index: str, requirement: str, target: Path) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    options = ["--no-config", "--default-index", index, "--no-deps", "--no-build", "--cache-dir", f"{target}.cache"]
    _run([uv, "pip", "install", *options, "--python", sys.executable, "--target", str(target), requirement])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("install", [pip_install, uv_install])
def test_ours_and_upstreams_install_from_one_index(
    host: IndexHost, upstream: Upstream, url: str, install: Callable[[str, str, Path], None], tmp_path: Path
) -> None:
    host.build("demo-a", text="from the fleet")
    host.publish()
    upstream.requests.clear()
    for number, root in enumerate(("simple", "bookworm/simple")):
        target = tmp_path / f"ours{number}"
        install(f"{url}/{root}/", "demo.a==1.0", target)
        said = subprocess.run([sys.executable, "-m", "demo_a"], cwd=target, capture_output=True, text=True, check=True)
        assert said.stdout == "from the fleet\n"
    assert upstream.requests == []
    install(f"{url}/simple/", "elsewhere", tmp_path / "theirs")
    assert (tmp_path / "theirs/elsewhere.py").exists()


@pytest.mark.parametrize("install", [pip_install, uv_install])
def test_a_rebuild_is_preferred_and_the_first_wheel_stays(
    host: IndexHost, url: str, install: Callable[[str, str, Path], None], tmp_path: Path
) -> None:
    host.build("demo", text="first")
    host.publish()
    host.rebuild("demo", text="second")
    host.publish()
    install(f"{url}/simple/", "demo", tmp_path / "new")
    assert "second" in (tmp_path / "new/demo.py").read_text()
    install(f"{url}/simple/", f"demo @ {url}/wheels/de/demo/demo-1.0-py3-none-any.whl", tmp_path / "old")
    assert "first" in (tmp_path / "old/demo.py").read_text()

"""Who may read the index must log in, for everything: real nginx, real pip with its netrc."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from piwheels_builder.index.layout import SimpleRoot, wheel_path, wheel_url
from piwheels_builder.index.pages import PageFile, ProjectPage, page_html, page_json
from piwheels_builder.index.tree import open_tree
from tests.support.published import make_wheel, nginx_serving, public_directory


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with public_directory() as place:
        wheel = make_wheel(place, "demo")
        page = ProjectPage("demo", (PageFile(wheel.name, wheel_url("demo", wheel.name), None, wheel.stat().st_size),), ("1.0",))
        with open_tree(place / "published") as writer:
            writer.write({SimpleRoot().page("demo", "json"): page_json(page), SimpleRoot().page("demo", "html"): page_html(page)})
            (writer.workshop / "wheel").write_bytes(wheel.read_bytes())
            writer.put([(writer.workshop / "wheel", wheel_path("demo", wheel.name))])
        hashed = subprocess.run(["openssl", "passwd", "-apr1", "s3cret"], capture_output=True, text=True, check=True).stdout.strip()
        (place / "readers").write_text(f"reader:{hashed}\n")
        with nginx_serving(
            place / "published", place, "http://upstream.invalid/simple", private=("our-own",), index_readers_file=place / "readers"
        ) as at:
            yield at


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/simple/demo/", 200),
        (f"/{wheel_path('demo', 'demo-1.0-py3-none-any.whl')}", 200),
        ("/simple/elsewhere/", 302),
        ("/pip.conf", 404),
    ],
)
def test_nothing_is_told_without_a_login(url: str, path: str, status: int) -> None:
    def asked(login: tuple[str, str] | None) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(url + path, auth=login, allow_redirects=False, timeout=10)

    for login in (None, ("reader", "wrong"), ("nobody", "s3cret")):
        refused = asked(login)
        assert refused.status_code == 401
        assert "Location" not in refused.headers
        assert b"demo-1.0" not in refused.content
    assert asked(("reader", "s3cret")).status_code == status


@pytest.mark.parametrize("spelled", ["Elsewhere", "Our-Own", "Demo"])
def test_another_spelling_says_no_more_than_the_question(url: str, spelled: str) -> None:
    answer = requests.get(f"{url}/simple/{spelled}/", allow_redirects=False, timeout=10)
    assert answer.status_code == 301
    assert answer.headers["Location"].endswith(f"/simple/{spelled.lower()}/")


def test_pip_logs_in_by_netrc(url: str, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login reader password s3cret\n")
    (tmp_path / ".netrc").chmod(0o600)
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith(("PIP_", "HTTP"))}
    environment |= {"HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "127.0.0.1"}
    options = [
        "--index-url",
        f"{url}/simple/",
        "--no-cache-dir",
        "--no-deps",
        "--no-input",
        "--target",
        str(tmp_path / "installed"),
    ]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", *options, "demo"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "installed/demo.py").exists()
    assert "s3cret" not in done.stdout + done.stderr

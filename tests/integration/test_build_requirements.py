"""Environments made by the real uv from an index of the test's own, whose wheels are hostile."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from piwheels_builder.states import Outcome
from tests.support.sdists import Yard, make_sdist, make_yard, setup_py
from tests.support.wheelmaking import make_wheel

BACKEND = b"""
import os, shutil
def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = 'demo-1.0-py3-none-any.whl'
    shutil.copy(os.path.join(os.path.dirname(__file__), 'ready.whl'), os.path.join(directory, name))
    return name
"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves a directory's files."""

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple/"
        finally:
            server.shutdown()
            thread.join()


def offer(index: Path, *files: Path) -> None:
    """Put files of one project onto the index."""
    project = index / "simple" / files[0].name.partition("-")[0]
    project.mkdir(parents=True)
    links = (f'<a href="{file.name}#sha256={hashlib.sha256(file.read_bytes()).hexdigest()}">{file.name}</a>' for file in files)
    (project / "index.html").write_text("<!DOCTYPE html>" + "".join(links))
    for file in files:
        file.rename(project / file.name)


def asking_for(requirement: str, backend: str = "evil") -> dict[str, str]:
    return {"demo-1.0/pyproject.toml": f'[build-system]\nrequires = ["{requirement}"]\nbuild-backend = "{backend}"\n'}


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return make_yard(tmp_path)


def test_code_in_a_build_requirement_runs_in_the_sandbox_only(yard: Yard, tmp_path: Path) -> None:
    """A .pth file runs whenever the environment's Python starts: which uv and the builder must never do outside."""
    marker = tmp_path / "escaped"
    pth = f"import sys, os; print('PTH RUNS'); os.path.isdir({str(tmp_path)!r}) and open({str(marker)!r}, 'w').close()\n"
    ready = make_wheel(tmp_path).read_bytes()
    content = {"evil.py": BACKEND, "ready.whl": ready, "evil.pth": pth.encode(), "sitecustomize.py": pth.encode()}
    offer(tmp_path / "index", make_wheel(tmp_path, "evil", "1.0", content=content))
    with serving(tmp_path / "index") as upstream:
        first = yard.build(asking_for("evil"), upstream=upstream)
        second = yard.build(asking_for("evil"), upstream=upstream)
    assert first.wheel
    assert second.wheel
    assert "PTH RUNS" in first.log
    assert not marker.exists()


def test_programs_of_a_requirement_do_not_stand_in_for_ours(yard: Yard, tmp_path: Path) -> None:
    """On the build's PATH they come first, and what runs before the driver still has root's rights."""
    content = {"evil.py": BACKEND, "ready.whl": make_wheel(tmp_path).read_bytes()}
    for program in ("setpriv", "prlimit", "setarch", "env", "sh"):
        content[f"evil-1.0.data/scripts/{program}"] = b"#!/bin/sh\necho HIJACKED $(id -u)\n"
    offer(tmp_path / "index", make_wheel(tmp_path, "evil", "1.0", content=content))
    with serving(tmp_path / "index") as upstream:
        built = yard.build(asking_for("evil"), upstream=upstream)
    assert list(yard.workshop.state_dir.glob("environments/*/bin/setpriv"))
    assert built.wheel
    assert "HIJACKED" not in built.log


def test_an_environment_is_the_same_for_the_next_build(yard: Yard) -> None:
    """What a build tries to leave in its environment."""
    body = "import glob, os; print('ENV', [p for p in glob.glob('/env/**', recursive=True) if os.access(p, os.W_OK)])"
    assert "ENV []" in yard.build(setup_py(body)).log


def test_an_sdist_of_a_requirement_is_not_run(yard: Yard, tmp_path: Path) -> None:
    marker = tmp_path / "escaped"
    sdist = make_sdist(
        tmp_path / "evil-1.0.tar.gz", {"evil-1.0/setup.py": f"open({str(marker)!r}, 'w')", "evil-1.0/PKG-INFO": "Name: evil\n"}
    )
    offer(tmp_path / "index", sdist)
    with serving(tmp_path / "index") as upstream:
        built = yard.build(asking_for("evil"), upstream=upstream)
    assert built.attempt.outcome is Outcome.REQUIREMENT_WITHOUT_WHEEL
    assert "evil" in (built.attempt.error_line or "")
    assert not marker.exists()


def test_a_requirement_whose_bytes_are_others(yard: Yard, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "evil", "1.0")
    offer(tmp_path / "index", wheel)
    make_wheel(tmp_path / "index/simple/evil", "evil", "1.0", content={"evil.py": b"other"})
    with serving(tmp_path / "index") as upstream:
        built = yard.build(asking_for("evil"), upstream=upstream)
    assert built.attempt.outcome.blame != "release", built.log

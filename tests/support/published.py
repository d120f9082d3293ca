"""What the tests of the index share: real wheels, an outbox, a published tree, and servers of it."""

import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import zipfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from packaging.utils import canonicalize_name

from piwheels_builder.db.connect import connected
from piwheels_builder.index.contents import PageRules
from piwheels_builder.index.publication import Report, publish
from piwheels_builder.index.serve import Handler, Site, server
from piwheels_builder.targets import Target
from tests.support.fleet import BOOKWORM, Fleet

TEMPLATES = Path(__file__).parents[2] / "roles/index/templates"


def make_wheel(
    directory: Path,
    project: str,
    version: str = "1.0",
    *,
    tag: str = "py3-none-any",
    text: str = "",
    requires_python: str = ">=3.8",
    requires: Sequence[str] = (),
) -> Path:
    """A whole wheel of one module that prints ``text``; ``requires`` are requirements of its own."""
    stem = f"{project.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    tags = [f"{python}-{abi}-{platform}" for python, abi, platform in [tag.split("-")]]
    files = {
        f"{project.replace('-', '_')}.py": f"print({text!r})\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nRequires-Python: {requires_python}\n"
        + "".join(f"Requires-Dist: {line}\n" for line in requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n" + "".join(f"Tag: {tag}\n" for tag in tags),
    }
    record = [f"{name},sha256={_record_hash(body)},{len(body)}" for name, body in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,"]) + "\n"
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), body)
    return path


def _record_hash(body: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(body.encode()).digest()).rstrip(b"=").decode()


@dataclass
class IndexHost:
    """A database, the outbox of the builder pi1, and a published tree."""

    fleet: Fleet
    place: Path
    rules: PageRules = field(default_factory=PageRules)

    @property
    def tree(self) -> Path:
        return self.place / "published"

    @property
    def outbox(self) -> Path:
        return self.place / "outbox"

    @property
    def conninfo(self) -> str:
        return self.fleet.database.conninfo("piwheels_publisher")

    def build(self, project: str, target: Target = BOOKWORM, **wheel: Any) -> Path:
        """The way of a release until its wheel lies in the outbox and is recorded. Returns where it lies."""
        build_id = self.fleet.want(project, target)
        return self.finish(build_id, project, **wheel)

    def rebuild(self, project: str, **wheel: Any) -> Path:
        """Build a finished release again."""
        ((build_id,),) = self.fleet.ask(
            "SELECT build_id FROM build JOIN release USING (release_id) JOIN project USING (project_id) WHERE name = %s", project
        )
        self.fleet.ask("SELECT requeue_build(%s, 'rebuild asked')", build_id, role="piwheels_dispatcher")
        return self.finish(build_id, project, **wheel)

    def finish(self, build_id: int, project: str, **wheel: Any) -> Path:
        batch = self.fleet.lease("pi1")
        assert batch is not None
        assert build_id in [build.build_id for build in batch.builds]
        path = make_wheel(self.outbox / f"{batch.lease_id}-{build_id}", project, **wheel)
        self.record(str(batch.lease_id), build_id, path.name, path.read_bytes())
        return path

    def record(self, lease_id: str, build_id: int, filename: str, content: bytes) -> None:
        self.fleet.ask(
            "SELECT record_attempt(%s, %s, 'built', now(), 1.5, NULL, NULL, NULL, 'gcc', %s, %s, %s)",
            lease_id,
            build_id,
            filename,
            hashlib.sha256(content).hexdigest(),
            len(content),
            role="builder_pi1",
        )

    def publish(self, **options: Any) -> Report:
        with connected(self.conninfo) as connection:
            return publish(connection, self.tree, {"pi1": self.outbox}, self.rules, **options)

    def upstream_offers(self, project: str, filename: str, kind: str = "wheel", **fields: Any) -> None:
        """Upstream has this file of version 1.0, too; the page is due, as after a sync."""
        columns = {"url": f"http://upstream.invalid/{filename}", "sha256": "b" * 64, "size": 7, **fields}
        self.fleet.ask(
            f"INSERT INTO upstream_file (project_id, release_id, filename, kind, {', '.join(columns)})"
            f" SELECT project_id, release_id, %s, %s, {', '.join(['%s'] * len(columns))} FROM release WHERE release_id = %s",
            filename,
            kind,
            *columns.values(),
            self.fleet.releases[project],
            role="piwheels_dispatcher",
        )
        self.page_changed(project)

    def page_changed(self, project: str) -> None:
        self.fleet.ask("SELECT page_changed(project_id) FROM project WHERE name = %s", project, role="piwheels_dispatcher")


@contextmanager
def public_directory() -> Iterator[Path]:
    """A temporary directory that every user can enter: as root, nginx serves as another."""
    place = Path(tempfile.mkdtemp(prefix="fleet-index-", dir="/tmp"))
    place.chmod(0o755)
    try:
        yield place
    finally:
        shutil.rmtree(place)


@contextmanager
def nginx_serving(tree: Path, place: Path, upstream: str, private: tuple[str, ...] = (), **variables: object) -> Iterator[str]:
    """nginx with the template of roles/index, and its other variables. Yields its URL, without a slash at the end."""
    run_dir, log_dir, port = place / "nginx", place / "nginx-log", free_port()
    text = _configuration(tree, run_dir, log_dir, port=port, upstream=upstream, private=private, **variables)
    with nginx_running(text, run_dir, log_dir, port) as url:
        yield url


@contextmanager
def nginx_running(configuration: str, run_dir: Path, log_dir: Path, port: int) -> Iterator[str]:
    """nginx with a configuration that listens on this port and stays in the foreground. Yields its URL, without a last slash."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None and os.geteuid() != 0:
        pytest.skip("nginx is missing, and only root can install it: apt-get install nginx-light")
    assert program is not None, "nginx is missing, and the tests need it: apt-get install nginx-light"
    for directory in (run_dir, log_dir):
        directory.mkdir(exist_ok=True)
    file = run_dir / "nginx.conf"
    file.write_text(configuration)
    command = [program, "-p", f"{run_dir}/", "-e", f"{log_dir}/error.log", "-c", str(file)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=30)


@contextmanager
def trial_serving(tree: Path, upstream: str, private: tuple[str, ...] = (), handler: type[Handler] = Handler) -> Iterator[str]:
    """The trial server on the same tree."""
    with server(Site(tree, upstream, frozenset(map(canonicalize_name, private))), "127.0.0.1", 0, handler) as listening:
        thread = Thread(target=listening.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_address[1]}"
        finally:
            listening.shutdown()
            thread.join()


def _configuration(
    tree: Path, run_dir: Path, log_dir: Path, *, port: int, upstream: str, private: tuple[str, ...], **variables: object
) -> str:
    # Ansible's own settings of Jinja2.
    templates = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, autoescape=False)
    usual = {
        "ansible_managed": "a test",
        "index_root": tree,
        "index_listen": [f"127.0.0.1:{port}"],
        "index_listen_tls": [],
        "index_tls": "off",
        "index_run_dir": run_dir,
        "index_log_dir": log_dir,
        "index_user": "www-data" if os.geteuid() == 0 else None,
        "index_upstream": upstream,
        "index_os_releases": ["bookworm", "trixie"],
        "index_private_projects": private,
        "index_own_sdists": "",
        "index_readers_file": "",
        "index_metrics_from": ["127.0.0.1", "::1"],
    }
    return templates.get_template("nginx.conf.j2").render({**usual, **variables})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"nginx does not start: {process.communicate()[1].decode()}")
        time.sleep(0.02)

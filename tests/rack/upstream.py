"""An upstream index of the rack's own: as many small releases as a fault needs, each with a build of a known length.

Asking the public index for that would be rude, and would make each cell of the fault matrix as slow as the network. A release has
one sdist with its backend inside: a wheel after ``seconds``, or a failure. Real releases are built by test_build.py.
"""

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_BACKEND = """
import base64, hashlib, mmap, sys, sysconfig, time, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    # Shared: no limit of a process counts it, its control group does.
    held = mmap.mmap(-1, ({megabytes} << 20) + 1)
    for page in range(0, len(held), mmap.PAGESIZE):
        held[page] = 1
    time.sleep({seconds})
    if {fails}:
        raise SystemExit("this release never builds")
    abi = "cp%d%d" % sys.version_info[:2]
    tag = "-".join((abi, abi, sysconfig.get_platform().replace("-", "_"))) if {platform} else "py3-none-any"
    info = "{module}-{version}.dist-info/"
    files = {{
        "{module}.py": "BUILT = True\\n",
        info + "METADATA": "Metadata-Version: 2.1\\nName: {project}\\nVersion: {version}\\n",
        info + "WHEEL": "Wheel-Version: 1.0\\nGenerator: rack\\nRoot-Is-Purelib: true\\nTag: " + tag + "\\n",
    }}
    record = "".join("%s,sha256=%s,%d\\n" % (name, digest(text), len(text)) for name, text in files.items())
    files[info + "RECORD"] = record + info + "RECORD,,\\n"
    wheel_name = "{module}-{version}-" + tag + ".whl"
    with zipfile.ZipFile(wheel_directory + "/" + wheel_name, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), text)
    return wheel_name

def digest(text):
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
"""
_PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@dataclass(frozen=True)
class Release:
    """A release that the upstream offers.

    ``seconds`` is how long its backend takes, ``megabytes`` (MiB) what it holds meanwhile; ``platform``: its wheel is for one ABI.
    """

    project: str
    version: str = "1.0"
    seconds: float = 0.5
    fails: bool = False
    platform: bool = False
    requires_python: str = ">=3.8"
    megabytes: int = 0

    @property
    def filename(self) -> str:
        return f"{self.module}-{self.version}.tar.gz"

    @property
    def module(self) -> str:
        return self.project.replace("-", "_")

    def sdist(self) -> bytes:
        """The same bytes each time."""
        backend = _BACKEND.format(
            seconds=self.seconds,
            megabytes=self.megabytes,
            fails=self.fails,
            platform=self.platform,
            module=self.module,
            project=self.project,
            version=self.version,
        )
        metadata = f"Metadata-Version: 2.1\nName: {self.project}\nVersion: {self.version}\n"
        files = {"PKG-INFO": metadata, "pyproject.toml": _PYPROJECT, "backend.py": backend}
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, text in files.items():
                member = tarfile.TarInfo(f"{self.module}-{self.version}/{name}")
                member.size = len(text.encode())
                archive.addfile(member, io.BytesIO(text.encode()))
        return gzip.compress(packed.getvalue(), mtime=0)


class Upstream:
    """What is offered; releases may be added while it serves."""

    def __init__(self, address: str) -> None:
        self._address = address
        #: "user:password", without which nothing is told; None: to anybody.
        self.login: str | None = None
        self._releases: dict[str, list[Release]] = {}
        self._files: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"{self._address}/simple/"

    @property
    def secret_url(self) -> str:
        """With the login."""
        return self.url.replace("://", f"://{self.login}@")

    def lets_in(self, authorization: str) -> bool:
        """Whether who says this may read."""
        return self.login is None or base64.b64decode(authorization.removeprefix("Basic ")).decode() == self.login

    def offer(self, *releases: Release) -> None:
        for release in releases:
            self._files[release.filename] = release.sdist()
            self._releases.setdefault(release.project, []).append(release)

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Content type and body of a GET; None where there is nothing."""
        match path.strip("/").split("/"):
            case ["files", name] if name in self._files:
                return "application/gzip", self._files[name]
            case ["simple", project] if project in self._releases:
                return "application/vnd.pypi.simple.v1+json", json.dumps(self._page(project)).encode()
        return None

    def _page(self, project: str) -> dict[str, object]:
        releases = self._releases[project]
        files = [
            {
                "filename": release.filename,
                "url": f"{self._address}/files/{release.filename}",
                "hashes": {"sha256": hashlib.sha256(self._files[release.filename]).hexdigest()},
                "size": len(self._files[release.filename]),
                "requires-python": release.requires_python,
                "upload-time": "2024-01-01T00:00:00Z",
            }
            for release in releases
        ]
        versions = [release.version for release in releases]
        return {"meta": {"api-version": "1.1"}, "name": project, "versions": versions, "files": files}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_GET(self) -> None:
        let_in = self.server.upstream.lets_in(self.headers.get("Authorization", ""))
        kind, body = (self.server.upstream.answer(self.path) if let_in else None) or ("text/plain", b"")
        self.send_response(200 if body else 404 if let_in else 401)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: str, port: int) -> None:
        super().__init__((address, port), _Handler)
        self.upstream = Upstream(f"http://{address}:{self.server_port}")


@contextmanager
def serving(address: str, port: int = 0) -> Iterator[Upstream]:
    """An upstream that listens on one of the rack's gateways for the length of a block."""
    with _Server(address, port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield server.upstream
        finally:
            server.shutdown()
            thread.join()

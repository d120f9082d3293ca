"""A small upstream index for the tests: real HTTP on 127.0.0.1, project pages (PEP 691, PEP 700) and files, and faults on demand.

with serve_upstream() as upstream:
    upstream.add_sdist("demo", "1.0", setup_py="from setuptools import setup; setup(name='demo', version='1.0')")
    upstream.add_file("demo", "demo-1.0-py3-none-any.whl", b"...")
    upstream.fail("/simple/demo/", status=429, times=2, headers={"Retry-After": "0"})
    fetch(upstream.url)     # http://127.0.0.1:PORT/simple/
"""

import base64
import gzip
import hashlib
import html
import io
import json
import socket
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any

from packaging.utils import canonicalize_name

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "text/html"
#: What an sdist's setup.py says unless a test says otherwise.
SETUP_PY = "from setuptools import setup\nsetup(name={name!r}, version={version!r}, py_modules=[])\n"


@dataclass
class Fault:
    """What the next ``times`` requests of one path get instead of the answer, or done to it."""

    times: int = 1
    #: Answer with this status; with ``body`` as it is, else an empty one.
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Answer 200 with these bytes, whatever they are.
    body: bytes | None = None
    content_type: str = JSON
    #: Seconds to wait before the answer.
    delay: float = 0
    #: Close the connection without an answer (reset), or after half of the body (truncated).
    reset: bool = False
    truncated: bool = False


class Upstream:
    """The index's content and faults; change it at any time. ``requests`` holds path and headers of everything asked."""

    def __init__(self) -> None:
        self.url = ""
        #: Whether pages carry ``meta._last-serial``, an ETag, and whether they are HTML (without sizes and upload times).
        self.serials = True
        self.etags = False
        self.html = False
        #: "user:password", which every request must name; None: nobody is asked.
        self.login: str | None = None
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.projects: dict[str, dict[str, Any]] = {}
        self._contents: dict[str, bytes] = {}
        self._faults: dict[str, list[Fault]] = {}
        self._lock = Lock()

    def add_project(self, name: str, **fields: Any) -> dict[str, Any]:
        """Make a project without files, or change top-level fields of its page: ``**{"project-status": {...}}``."""
        page = self.projects.setdefault(canonicalize_name(name), {"name": canonicalize_name(name), "files": [], "serial": 0})
        page["serial"] += 1
        page.update(fields)
        return page

    def add_sdist(
        self, name: str, version: str, setup_py: str | None = None, files: Mapping[str, str] | None = None, **fields: Any
    ) -> str:
        """Offer a tar.gz of a setup.py, PKG-INFO and further ``files`` (text by path). Returns its file name."""
        stem = f"{canonicalize_name(name).replace('-', '_')}-{version}"
        contents = {"setup.py": setup_py or SETUP_PY.format(name=name, version=version), **(files or {})}
        contents.setdefault("PKG-INFO", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        return self.add_file(name, f"{stem}.tar.gz", tar_gz({f"{stem}/{path}": text for path, text in contents.items()}), **fields)

    def add_file(self, name: str, filename: str, content: bytes = b"not a real file", **fields: Any) -> str:
        """Offer a file; ``fields`` are what its page says: ``yanked="broken"``, ``hashes={"sha256": "0" * 64}`` (a wrong one)."""
        page = self.add_project(name)
        page["files"] = [known for known in page["files"] if known["filename"] != filename]
        page["files"].append(
            {
                "filename": filename,
                "url": f"/files/{page['name']}/{filename}",
                "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
                "size": len(content),
                "requires-python": None,
                "upload-time": "2026-01-02T03:04:05.678901Z",
                "yanked": False,
                **fields,
            }
        )
        self._contents[f"/files/{page['name']}/{filename}"] = content
        return filename

    def add_metadata(self, name: str, filename: str, content: bytes) -> None:
        """Offer the METADATA of a wheel beside it (PEP 658)."""
        self.change_file(name, filename, **{"core-metadata": {"sha256": hashlib.sha256(content).hexdigest()}})
        self._contents[f"/files/{canonicalize_name(name)}/{filename}.metadata"] = content

    def change_file(self, name: str, filename: str, **fields: Any) -> None:
        """Change what the page says of a file."""
        page = self.add_project(name)
        next(known for known in page["files"] if known["filename"] == filename).update(fields)

    def remove_file(self, name: str, filename: str) -> None:
        page = self.add_project(name)
        page["files"] = [known for known in page["files"] if known["filename"] != filename]

    def remove_project(self, name: str) -> None:
        del self.projects[canonicalize_name(name)]

    def fail(self, path: str, **fault: Any) -> None:
        """Script a Fault for a path: ``/simple/demo/``, ``/files/demo/demo-1.0.tar.gz``. Faults of a path happen in order."""
        with self._lock:
            self._faults.setdefault(path, []).append(Fault(**fault))

    def next_fault(self, path: str) -> Fault | None:
        with self._lock:
            waiting = self._faults.get(path, [])
            while waiting and waiting[0].times <= 0:
                waiting.pop(0)
            if not waiting:
                return None
            waiting[0].times -= 1
            return waiting[0]

    def content(self, path: str) -> tuple[bytes, str] | None:
        """Body and content type of a path; None for 404."""
        if path in self._contents:
            return self._contents[path], "application/octet-stream"
        if path == "/simple/":
            names = [self._listed(name) for name in sorted(self.projects)]
            serial = sum(page["serial"] for page in self.projects.values())
            return self._page({"projects": names}, [f'<a href="{name["name"]}/">{name["name"]}</a>' for name in names], serial)
        page = self.projects.get(path.removeprefix("/simple/").rstrip("/"))
        return None if page is None else self._project_page(page)

    def _listed(self, name: str) -> dict[str, Any]:
        return {"_last-serial": self.projects[name]["serial"], "name": name} if self.serials else {"name": name}

    def _project_page(self, page: Mapping[str, Any]) -> tuple[bytes, str]:
        fields = {key: value for key, value in page.items() if key != "serial"}
        fields.setdefault("versions", [])
        return self._page(fields, [_anchor(file) for file in page["files"]], page["serial"])

    def _page(self, fields: Mapping[str, Any], anchors: list[str], serial: int = 0) -> tuple[bytes, str]:
        if self.html:
            return f"<!DOCTYPE html><html><body>{'<br>'.join(anchors)}</body></html>".encode(), HTML
        meta: dict[str, Any] = {"api-version": "1.1"}
        if self.serials:
            meta["_last-serial"] = serial
        return json.dumps({"meta": meta, **fields}).encode(), JSON


@contextmanager
def serve_upstream() -> Iterator[Upstream]:
    """An empty index on a free port, for the length of a block."""
    upstream = Upstream()
    handler = type("UpstreamHandler", (_Handler,), {"upstream": upstream})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        upstream.url = f"http://127.0.0.1:{server.server_address[1]}/simple/"
        thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield upstream
        finally:
            server.shutdown()
            thread.join()


def tar_gz(files: Mapping[str, str]) -> bytes:
    """A tar.gz of text by path, the same bytes for the same files."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return gzip.compress(raw.getvalue(), mtime=0)


def _anchor(file: Mapping[str, Any]) -> str:
    says = {"data-requires-python": file["requires-python"], "data-yanked": file["yanked"] or None}
    attributes = "".join(f' {name}="{html.escape(str(value))}"' for name, value in says.items() if value is not None)
    return f'<a href="{file["url"]}#sha256={file["hashes"].get("sha256", "")}"{attributes}>{file["filename"]}</a>'


class _Handler(BaseHTTPRequestHandler):
    upstream: Upstream
    protocol_version = "HTTP/1.1"
    # A body in a segment of its own would wait for the acknowledgement of the headers.
    wbufsize = -1

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.upstream.requests.append((path, dict(self.headers)))
        fault = self.upstream.next_fault(path) or Fault()
        if not self._is_let_in():
            fault = Fault(status=401, headers={"WWW-Authenticate": "Basic"})
        time.sleep(fault.delay)
        if fault.reset:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault.status is not None:
            self._answer(fault.status, fault.body or b"", fault.content_type, fault.headers)
        elif fault.body is not None:
            self._answer(200, fault.body, fault.content_type, fault.headers)
        else:
            self._answer_content(path, fault.truncated)

    def _is_let_in(self) -> bool:
        said = self.headers.get("Authorization", "").removeprefix("Basic ")
        return self.upstream.login is None or base64.b64decode(said).decode() == self.upstream.login

    def _answer_content(self, path: str, truncated: bool) -> None:
        content = self.upstream.content(path)
        if content is None:
            return self._answer(404, b"", "text/plain", {})
        body, content_type = content
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"ETag": etag} if self.upstream.etags else {}
        if self.upstream.etags and self.headers.get("If-None-Match") == etag:
            return self._answer(304, b"", content_type, headers)
        return self._answer(200, body, content_type, headers, truncated)

    def _answer(self, status: int, body: bytes, content_type: str, headers: Mapping[str, str], truncated: bool = False) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = self.close_connection or truncated
        try:
            self.wfile.write(body[: len(body) // 2] if truncated else body)
        except (BrokenPipeError, ConnectionResetError):
            # A client that has seen enough, or gave up waiting.
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing; ``Upstream.requests`` remembers."""

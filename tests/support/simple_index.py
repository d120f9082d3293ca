"""An index of plain files (PEP 503), for what uv installs: its file server answers HEAD and ranges as real ones do."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    """Serves a directory's files."""

    def log_message(self, *_: object) -> None:
        pass


class _Timed(_Quiet):
    """Answers project pages in JSON (PEP 691) where they are there as page.json, as an upstream does that tells upload times."""

    def do_GET(self) -> None:
        page = Path(self.translate_path(self.path)) / "page.json"
        if not page.is_file():
            super().do_GET()
            return
        content = page.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Yields the URL of the index below ``directory``."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Timed, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
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


def offer_timed(index: Path, uploads: Mapping[Path, datetime]) -> None:
    """Put files of one project onto the index, each with the time of its upload (PEP 700)."""
    name = next(iter(uploads)).name.partition("-")[0]
    project = index / "simple" / name
    project.mkdir(parents=True)
    files = []
    for file, uploaded in uploads.items():
        told = {
            "filename": file.name,
            "url": file.name,
            "upload-time": f"{uploaded:%Y-%m-%dT%H:%M:%SZ}",
            "size": file.stat().st_size,
        }
        files.append({**told, "hashes": {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}})
        file.rename(project / file.name)
    versions = sorted({file.name.split("-")[1] for file in uploads})
    (project / "page.json").write_text(
        json.dumps({"meta": {"api-version": "1.1"}, "name": name, "versions": versions, "files": files})
    )

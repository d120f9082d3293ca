"""An index of plain files (PEP 503), for what uv installs: its file server answers HEAD and ranges as real ones do."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Quiet(SimpleHTTPRequestHandler):
    """Serves a directory's files."""

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Yields the URL of the index below ``directory``."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory))) as server:
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

"""What a page costs through our nginx configuration, beside a bare one: wrk on both in turn, one run.

Run: .venv/bin/python -m bench.index_serving [--seconds 4] [--rounds 5]. Needs wrk and nginx (Debian's packages). Both have the
same pages, compressed on the disk, and an access log that is written in pieces of 32 kB; what ours does besides is to choose a
representation, and its headers. The cost is processor time of the workers for a request: a rate would be wrk's too. Ends with 1
where ours is more than 5 % above the bare one.
"""

import argparse
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from piwheels_builder.index.layout import SimpleRoot, wheel_url
from piwheels_builder.index.pages import PageFile, ProjectPage, page_html, page_json
from piwheels_builder.index.tree import open_tree
from tests.support.published import free_port, nginx_running, nginx_serving, public_directory

MOST_OVER = 0.05
JSON = "application/vnd.pypi.simple.v1+json"
#: What clients send, as they do.
ACCEPTS = {
    "pip": f"{JSON}, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
    "uv": f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01",
    "a browser": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
}
_FILES = 100
_CONNECTIONS = 8
_BARE = """
daemon off;
worker_processes auto;
pid {run}/nginx.pid;
error_log {log}/error.log;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {run}/client_body;
    proxy_temp_path {run}/proxy;
    fastcgi_temp_path {run}/fastcgi;
    uwsgi_temp_path {run}/uwsgi;
    scgi_temp_path {run}/scgi;
    access_log {log}/access.log combined buffer=32k flush=5s;
    sendfile on;
    server {{
        listen 127.0.0.1:{port};
        root {tree};
        gzip_static always;
        types {{ application/vnd.pypi.simple.v1+json json; text/html html; }}
    }}
}}
"""


@dataclass
class Cost:
    """Of one client's requests: microseconds of processor time for each, in each round."""

    bare: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)

    @property
    def over(self) -> float:
        """How much more ours is: of pairs measured one after the other, since a machine is never the same for long."""
        return statistics.median(ours / bare for ours, bare in zip(self.ours, self.bare, strict=True)) - 1


@dataclass(frozen=True)
class Server:
    """nginx at ``url``; its pid file is in ``run_dir``."""

    url: str
    run_dir: Path

    def microseconds(self, path: str, accept: str, seconds: int) -> float:
        """Processor time of its workers for a request. Raises SystemExit where anything but 200 was answered."""
        wrk = shutil.which("wrk")
        if wrk is None:
            raise SystemExit("wrk is missing: apt-get install wrk")
        before = self._spent()
        headers = ["-H", f"Accept: {accept}", "-H", "Accept-Encoding: gzip"]
        command = [wrk, "-t1", f"-c{_CONNECTIONS}", f"-d{seconds}", *headers, self.url + path]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = re.search(r"(\d+) requests in", told)
        if found is None or "Non-2xx" in told or "Socket errors" in told:
            raise SystemExit(f"{self.url}{path} was not answered as it should be:\n{told}")
        return (self._spent() - before) / int(found[1]) * 1e6

    def _spent(self) -> float:
        """Seconds, as the scheduler counted them: /proc/PID/stat has hundredths only."""
        workers = psutil.Process(int((self.run_dir / "nginx.pid").read_text())).children()
        return sum(int(Path(f"/proc/{each.pid}/schedstat").read_text().split()[0]) for each in workers) / 1e9


def main() -> int:
    """Measure each client in turn, print a table."""
    options = _options()
    with public_directory() as place, _servers(place) as (bare, ours):
        costs = {client: Cost() for client in ACCEPTS}
        for _ in range(options.rounds):
            for client, accept in ACCEPTS.items():
                page = "json" if JSON in accept else "html"
                costs[client].bare.append(bare.microseconds(f"/{SimpleRoot().page('demo', page)}", accept, options.seconds))
                costs[client].ours.append(ours.microseconds("/simple/demo/", accept, options.seconds))
    print("| a page of 100 files, compressed | bare | ours | more |\n|---|--:|--:|--:|")
    for client, cost in costs.items():
        print(f"| {client} | {statistics.median(cost.bare):.1f} us | {statistics.median(cost.ours):.1f} us | {cost.over:+.1%} |")
    missed = [client for client, cost in costs.items() if cost.over > MOST_OVER]
    print(f"missed: {', '.join(missed)}" if missed else "every goal is reached")
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


@contextmanager
def _servers(place: Path) -> Iterator[tuple[Server, Server]]:
    """A bare one and ours, on one tree."""
    tree = place / "published"
    names = [f"demo-1.{number}-py3-none-any.whl" for number in range(_FILES)]
    files = tuple(PageFile(name, wheel_url("demo", name), f"{number:064x}", 50_000) for number, name in enumerate(names))
    page, root = ProjectPage("demo", files, tuple(f"1.{number}" for number in range(_FILES))), SimpleRoot()
    with open_tree(tree) as writer:
        writer.write({root.page("demo", "json"): page_json(page), root.page("demo", "html"): page_html(page)})
    run, log = place / "bare", place / "bare-log"
    port = free_port()
    text = _BARE.format(run=run, log=log, port=port, tree=tree)
    with nginx_running(text, run, log, port) as bare, nginx_serving(tree, place, "http://upstream.invalid/simple") as ours:
        yield Server(bare, run), Server(ours, place / "nginx")


if __name__ == "__main__":
    sys.exit(main())

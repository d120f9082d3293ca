"""What a page costs through our nginx configuration, beside a bare one: wrk on both in turn, one run.

Run: .venv/bin/python -m bench.index_serving [--seconds 2] [--rounds 10] [--sendfile off]. Needs wrk and nginx (Debian's packages).
Both send the same bytes of the same compressed files with the same types, which is checked, and write the same log by the same
lines; what ours does besides is to find the page by its name, to choose a representation, its headers and its limits. The bare one
has sendfile on, as Debian's nginx.conf does; ``--sendfile off`` takes that from it, as ours does for pages. The cost is processor
time of the workers for a request: a rate would be wrk's too. Ends with 1 where ours is more than 5 % above the bare one.
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
import urllib3

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
    "a browser that is not known": "text/html,application/xhtml+xml,application/xml;q=0.9,image/of-tomorrow,*/*;q=0.7",
}
_FILES, _PAGE = 100, "/simple/demo/"
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
{logging}
    sendfile {sendfile};
    server {{
        listen 127.0.0.1:{port};
        root {tree};
        gzip_static always;
        types {{ application/vnd.pypi.simple.v1+json json; "text/html; charset=utf-8" html; }}
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
    with public_directory() as place, _servers(place, options.sendfile) as (bare, ours):
        costs = _measured(bare, ours, options.rounds, options.seconds)
    print("| a page of 100 files, compressed | bare | ours | more |\n|---|--:|--:|--:|")
    for client, cost in costs.items():
        print(f"| {client} | {statistics.median(cost.bare):.1f} us | {statistics.median(cost.ours):.1f} us | {cost.over:+.1%} |")
    missed = [client for client, cost in costs.items() if cost.over > MOST_OVER]
    print(f"missed: {', '.join(missed)}" if missed else "every goal is reached")
    return 1 if missed else 0


def _measured(bare: Server, ours: Server, rounds: int, seconds: int) -> dict[str, Cost]:
    """Of each client; who begins changes with every round."""
    costs = {client: Cost() for client in ACCEPTS}
    for number in range(rounds):
        for client, accept in ACCEPTS.items():
            cost, file = costs[client], "/" + SimpleRoot().page("demo", "json" if JSON in accept else "html")
            _check_same(bare.url + file, ours.url + _PAGE, accept)
            sides = [(cost.bare, bare, file), (cost.ours, ours, _PAGE)]
            for taken, server, path in sides if number % 2 else reversed(sides):
                taken.append(server.microseconds(path, accept, seconds))
    return costs


def _check_same(bare: str, ours: str, accept: str) -> None:
    """Raises SystemExit where two URLs do not answer with the same bytes under the same type and encoding."""
    headers = {"Accept": accept, "Accept-Encoding": "gzip"}
    replies = [urllib3.request("GET", url, headers=headers, decode_content=False) for url in (bare, ours)]
    said = {(reply.data, reply.headers["content-type"], reply.headers["content-encoding"]) for reply in replies}
    if len(said) != 1:
        raise SystemExit(f"{bare} and {ours} are not the same")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=2, help="of each measurement (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--sendfile", choices=("on", "off"), default="on", help="of the bare one (default: %(default)s)")
    return parser.parse_args()


@contextmanager
def _servers(place: Path, sendfile: str) -> Iterator[tuple[Server, Server]]:
    """A bare one and ours, on one tree."""
    tree = place / "published"
    names = [f"demo-1.{number}-py3-none-any.whl" for number in range(_FILES)]
    files = tuple(PageFile(name, wheel_url("demo", name), f"{number:064x}", 50_000) for number, name in enumerate(names))
    page, root = ProjectPage("demo", files, tuple(f"1.{number}" for number in range(_FILES))), SimpleRoot()
    with open_tree(tree) as writer:
        writer.write({root.page("demo", "json"): page_json(page), root.page("demo", "html"): page_html(page)})
    run, log, port = place / "bare", place / "bare-log", free_port()
    with nginx_serving(tree, place, "http://upstream.invalid/simple") as ours:
        logging = _logging((place / "nginx/nginx.conf").read_text()).replace(f"{place}/nginx-log", str(log))
        text = _BARE.format(run=run, log=log, port=port, tree=tree, logging=logging, sendfile=sendfile)
        with nginx_running(text, run, log, port) as bare:
            yield Server(bare, run), Server(ours, place / "nginx")


def _logging(configuration: str) -> str:
    """The lines that say what is logged, and how."""
    found = re.search(r"^ *map \$remote_addr .*?^ *access_log [^\n]*", configuration, re.MULTILINE | re.DOTALL)
    if found is None:
        raise SystemExit("our configuration logs in another way than this benchmark knows")
    return found[0]


if __name__ == "__main__":
    sys.exit(main())

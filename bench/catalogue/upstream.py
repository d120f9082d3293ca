"""A local upstream index that serves a generated catalogue, so that a sync can be measured without asking the public one for bulk.

    with serving("first") as upstream:
        UpstreamIndex(upstream.url)          # http://127.0.0.1:PORT/simple/
        upstream.change(500)                 # what happened to whom
        upstream.requests()                  # {"names": 1, "pages": 500, "not modified": 0, "missing": 0}

A process of its own, HTTP/1.1 on loopback, one thread. It makes each page when it is asked for it, or reads prepared
ones (shelf.py).
"""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests

from bench.catalogue.changes import LivingIndex
from bench.catalogue.generate import Catalogue
from bench.catalogue.names import name_of, spelling_of
from bench.catalogue.pages import HTML_TYPE, JSON_TYPE, etag, html_page, json_page
from bench.catalogue.shelf import Shelf

_LONGEST_HEAD = 64 * 1024
_REASONS = {200: "OK", 304: "Not Modified", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


@dataclass(frozen=True)
class LocalUpstream:
    """A server that runs. ``url`` is the index, with its last slash. Methods raise ValueError for what the server refuses."""

    url: str

    def change(self, projects: int) -> list[dict[str, Any]]:
        """Change so many projects. Returns project, kind, serial and version of each (changes.Changed)."""
        return list(self._ask(f"change?projects={projects}", "POST"))

    def requests(self) -> dict[str, int]:
        """How many requests were answered so far, by kind."""
        return dict(self._ask("requests", "GET"))

    def _ask(self, path: str, method: str) -> Any:
        answer = requests.request(method, f"{self.url.removesuffix('simple/')}{path}", timeout=300)
        if answer.status_code != requests.codes.ok:
            raise ValueError(f"the server refused: {answer.text}")
        return answer.json()


@contextmanager
def serving(size: str, *, html: bool = False, prepared: bool = False) -> Iterator[LocalUpstream]:
    """A server of a catalogue, for the length of a block; ``html``: without JSON, serials and ETags; ``prepared``: see shelf.py."""
    options = [*(["--html"] if html else []), *(["--prepared"] if prepared else [])]
    command = [sys.executable, "-m", "bench.catalogue", "serve", "--size", size, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield LocalUpstream(process.stdout.readline().split()[-1])
        finally:
            process.terminate()


def serve(catalogue: Catalogue, port: int = 0, *, html: bool = False, shelf: Shelf | None = None) -> None:
    """Serve on 127.0.0.1 until the process ends; says its URL once it listens. Port 0 is any free one."""
    asyncio.run(_serve(Site(LivingIndex(catalogue), html=html, shelf=shelf), port))


async def _serve(site: "Site", port: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(site), "127.0.0.1", port)
    site.names_page()
    print(f"serving at http://127.0.0.1:{server.sockets[0].getsockname()[1]}/simple/", flush=True)
    await server.serve_forever()


@dataclass
class Answer:
    """``tag`` is the ETag, None for none."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"
    tag: str | None = None


@dataclass
class Site:
    """Answers requests; ``counts`` says how many of which kind."""

    index: LivingIndex
    html: bool = False
    shelf: Shelf | None = None
    counts: Counter[str] = field(default_factory=Counter)
    _entries: dict[int, bytes] = field(default_factory=dict)
    _names: tuple[int, bytes] | None = None

    def answer(self, method: str, target: str, headers: Mapping[str, str]) -> Answer:
        path, _, query = target.partition("?")
        if (method, path) == ("POST", "/change"):
            return self._change(query)
        if method != "GET":
            return Answer(405)
        if path == "/requests":
            kinds = ("names", "pages", "not modified", "missing")
            return Answer(200, json.dumps({kind: self.counts[kind] for kind in kinds}).encode(), "application/json")
        if path == "/simple/":
            return self._conditional("names", headers, f'"{self.index.serial}"', self.names_page)
        return self._page(path, headers)

    def names_page(self) -> bytes:
        """The page of all projects, made anew after a change."""
        if self._names is None or self._names[0] != self.index.serial:
            if not self._entries:
                catalogue = self.index.catalogue
                self._entries = {
                    number: self._entry(number, catalogue.serial_of(number)) for number in range(catalogue.size.projects)
                }
            self._names = (self.index.serial, self._joined())
        return self._names[1]

    def _joined(self) -> bytes:
        if self.html:
            return b"<!DOCTYPE html>\n<html><body>\n" + b"\n".join(self._entries.values()) + b"\n</body></html>\n"
        meta = json.dumps({"_last-serial": self.index.serial, "api-version": "1.4"}).encode()
        return b'{"meta":' + meta + b',"projects":[' + b",".join(self._entries.values()) + b"]}"

    def _entry(self, number: int, serial: int) -> bytes:
        if self.html:
            return f'<a href="/simple/{name_of(number)}/">{spelling_of(number)}</a>'.encode()
        return f'{{"_last-serial":{serial},"name":"{spelling_of(number)}"}}'.encode()

    def _page(self, path: str, headers: Mapping[str, str]) -> Answer:
        name = path.removeprefix("/simple/").removesuffix("/")
        number = self.index.catalogue.find(name) if path == f"/simple/{name}/" else None
        serial = None if number is None else self.index.serial_of(number)
        if number is None or serial is None:
            self.counts["missing"] += 1
            return Answer(404)
        return self._conditional("pages", headers, etag(self.index.catalogue, number, serial), lambda: self._project_page(number))

    def _project_page(self, number: int) -> bytes:
        if self.shelf and not self.html and not self.index.has_changed(number):
            return self.shelf.page(number)
        project = self.index.project(number)
        assert project is not None
        return html_page(project) if self.html else json_page(project)

    def _conditional(self, kind: str, headers: Mapping[str, str], tag: str, make: Callable[[], bytes]) -> Answer:
        if self.html:
            self.counts[kind] += 1
            return Answer(200, make(), HTML_TYPE)
        if headers.get("if-none-match") == tag:
            self.counts["not modified"] += 1
            return Answer(304, tag=tag)
        self.counts[kind] += 1
        return Answer(200, make(), JSON_TYPE, tag)

    def _change(self, query: str) -> Answer:
        self.names_page()
        try:
            changes = self.index.change(int(query.removeprefix("projects=")))
        except ValueError as error:
            return Answer(400, f"change?projects=N: {error}\n".encode())
        for change in changes:
            number = self.index.catalogue.find(change.project)
            assert number is not None
            if self.index.serial_of(number) is None:
                del self._entries[number]
            else:
                self._entries[number] = self._entry(number, change.serial)
        return Answer(200, json.dumps([change.as_dict() for change in changes]).encode(), "application/json")


class _Connection(asyncio.Protocol):
    """HTTP/1.1 as far as a polite client needs it: no bodies in requests, connections kept alive."""

    def __init__(self, site: Site) -> None:
        self._site, self._received = site, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            self._respond(head.decode("latin-1").split("\r\n"))
        if len(self._received) > _LONGEST_HEAD:
            self._transport.abort()

    def _respond(self, lines: list[str]) -> None:
        words = lines[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        answer = self._site.answer(words[0], words[1], headers) if len(words) == 3 else Answer(400)
        tag = f"ETag: {answer.tag}\r\n" if answer.tag else ""
        kind = f"Content-Type: {answer.content_type}\r\nContent-Length: {len(answer.body)}\r\n"
        self._transport.write(f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n{tag}{kind}\r\n".encode() + answer.body)
        if headers.get("connection", "").lower() == "close" or len(words) != 3:
            self._transport.close()

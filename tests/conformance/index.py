"""An index as its clients see it."""

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

import pytest

from tests.support.http_client import Client, Reply

JSON = "application/vnd.pypi.simple.v1+json"
HTML_V1 = "application/vnd.pypi.simple.v1+html"
HTML = "text/html"
PIP = f"{JSON}, {HTML_V1}; q=0.1, {HTML}; q=0.01"
REDIRECTS = (301, 302, 303, 307, 308)
#: A file that is larger is not fetched.
LARGEST = 20_000_000


class HtmlPage(HTMLParser):
    """``anchors`` with their text as "text"; ``metas`` by their names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.anchors: list[dict[str, str]] = []
        self.metas: dict[str, str] = {}
        self._open = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "meta" and "name" in said:
            self.metas[said["name"]] = said.get("content", "")
        if tag == "a":
            self.anchors.append({**said, "text": ""})
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag != "a"

    def handle_data(self, data: str) -> None:
        if self._open:
            self.anchors[-1]["text"] += data


@dataclass(frozen=True)
class Index:
    """``url`` is that of its page of all projects and ends with a slash; ``projects`` are some that it has, by normalized names."""

    url: str
    projects: tuple[str, ...]
    is_ours: bool = False
    _json: dict[str, dict[str, Any]] = field(default_factory=dict)
    _files: dict[str, bytes] = field(default_factory=dict)

    @staticmethod
    def normalized(name: str) -> str:
        """PEP 503."""
        return re.sub(r"[-_.]+", "-", name).lower()

    def path(self, project: str) -> str:
        return f"{urlsplit(self.url).path}{project}/"

    def ask(self, path: str, method: str = "GET", **headers: str) -> Reply:
        return Client(self.url).get(path, method, **headers)

    def lacks(self, case: str) -> NoReturn:
        """There is no case to look at."""
        if self.is_ours:
            pytest.fail(f"no case of this among our own projects: {case}")
        pytest.skip(f"no case of this: {case}")

    def json(self, project: str) -> dict[str, Any]:
        """The page of a project. Skips where this index speaks no JSON; that it should has a test of its own."""
        if project not in self._json:
            reply = self.ask(self.path(project), Accept=JSON)
            if reply.media_type != JSON:
                self.lacks("a page in JSON")
            self._json[project] = json.loads(reply.body)
        return self._json[project]

    def listing(self) -> HtmlPage:
        return self._html(urlsplit(self.url).path)

    def html(self, project: str) -> HtmlPage:
        return self._html(self.path(project))

    def _html(self, path: str) -> HtmlPage:
        reply = self.ask(path, Accept=HTML)
        assert reply.status == 200, f"{path}: {reply.status}"
        body = gzip.decompress(reply.body) if reply.headers.get("content-encoding") == "gzip" else reply.body
        return HtmlPage(body.decode())

    def json_files(self) -> Iterator[dict[str, Any]]:
        """Every file of every project."""
        return (file for project in self.projects for file in self.json(project)["files"])

    def anchors(self) -> Iterator[dict[str, str]]:
        """Every file of every project, from HTML, with the URL it leads to as "url" and its fragment apart."""
        for project in self.projects:
            for anchor in self.html(project).anchors:
                url, _, fragment = urljoin(urljoin(self.url, f"{project}/"), anchor["href"]).partition("#")
                yield {**anchor, "url": url, "fragment": fragment}

    def own_anchors(self) -> list[dict[str, str]]:
        """Those of files that this server has itself, no more than six."""
        here = urlsplit(self.url).netloc
        return [anchor for anchor in self.anchors() if urlsplit(anchor["url"]).netloc == here][:6]

    def a_wheel(self) -> str:
        """The path of a wheel that this server has itself."""
        found = [anchor["url"] for anchor in self.own_anchors() if urlsplit(anchor["url"]).path.endswith(".whl")]
        return urlsplit(found[0]).path if found else self.lacks("a wheel that the server has itself")

    def fetch(self, path: str) -> bytes:
        """A file's content, once."""
        if path not in self._files:
            reply = self.ask(path)
            assert reply.status == 200, f"{path}: {reply.status}"
            assert len(reply.body) <= LARGEST
            self._files[path] = reply.body
        return self._files[path]

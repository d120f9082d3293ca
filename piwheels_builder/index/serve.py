"""Serve the published tree without nginx. For a trial on one machine only: it answers as roles/index/templates/nginx.conf.j2 does,
a hundred times slower.

    python -m piwheels_builder.index.serve --root DIRECTORY --listen 127.0.0.1:8080 --upstream URL
"""

import argparse
import gzip
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from piwheels_builder.index.layout import PROJECT_NAME, SimpleRoot, packed
from piwheels_builder.index.negotiation import HTML, JSON, preferred
from piwheels_builder.site.serving import content_type, place_of
from piwheels_builder.targets import GLIBC

_SIMPLE = re.compile(rf"(?:/(?P<os_release>{'|'.join(GLIBC)}))?/simple(?:/(?P<project>[A-Za-z0-9._-]+))?(?P<slash>/?)")
_WHEEL = re.compile(rf"/wheels/[a-z0-9-]{{1,2}}/{PROJECT_NAME}/[A-Za-z0-9_][A-Za-z0-9_.+!-]*")
_SETTINGS = re.compile(rf"(?:/(?:{'|'.join(GLIBC)}))?/(?:pip\.conf|uv\.toml)")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_FOR_A_MINUTE = "public, max-age=60"
_FOR_EVER = "public, max-age=31536000, immutable"
#: What is served as it lies there.
_SDIST = re.compile(r"/sdists/(?P<name>[A-Za-z0-9][A-Za-z0-9_.+!-]*\.(?:tar\.gz|zip))")
_PLAIN_FILES = ((_WHEEL, "application/octet-stream", _FOR_EVER), (_SETTINGS, "text/plain; charset=utf-8", _FOR_A_MINUTE))


@dataclass(frozen=True)
class Site:
    """What is served. ``upstream`` ends without a slash; ``private_projects`` are normalized names never looked up there."""

    root: Path
    upstream: str
    private_projects: frozenset[str] = frozenset()
    #: The fleet's own sdists, for its builders; None where it has none.
    sdists: Path | None = None


@dataclass(frozen=True)
class Answer:
    """``file`` is the body, else ``body`` is."""

    status: HTTPStatus
    headers: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
    body: bytes = b""


def answer(site: Site, path: str, accept: str) -> Answer:
    """What a GET of a URL's path with this Accept header gets."""
    if (place := place_of(path)) is not None:
        return _page_of_site(site, place, path)
    for name, kind, kept in _PLAIN_FILES:
        if name.fullmatch(path):
            return _file(site.root / path[1:], {"Content-Type": kind, "Cache-Control": kept})
    simple = _SIMPLE.fullmatch(path)
    if simple is None:
        return _own_sdist(site, path) or _missing(accept)
    root, spelling = SimpleRoot(simple["os_release"]), simple["project"]
    project = canonicalize_name(spelling or "")
    if not re.fullmatch(PROJECT_NAME, project or "-") and spelling:
        return _missing(accept)
    if project != (spelling or "") or not simple["slash"]:
        return _redirect(HTTPStatus.MOVED_PERMANENTLY, "/" + "/".join((root.directory, *filter(None, [project]))) + "/")
    return _page(site, root, project, accept)


def _own_sdist(site: Site, path: str) -> Answer | None:
    name = _SDIST.fullmatch(path)
    return _file(site.sdists / name["name"], {"Content-Type": "application/octet-stream"}) if site.sdists and name else None


def _page_of_site(site: Site, place: PurePosixPath, path: str) -> Answer:
    """Before the site's first refresh there is the index alone."""
    found = _file(site.root / packed(place), {"Content-Type": content_type(place), "Cache-Control": _FOR_A_MINUTE})
    return _redirect(HTTPStatus.FOUND, "/simple/") if found.file is None and path == "/" else found


def _page(site: Site, root: SimpleRoot, project: str, accept: str) -> Answer:
    """A project's page, or the listing where the project is ""."""
    representation = preferred(accept)
    if representation is None:
        return Answer(HTTPStatus.NOT_ACCEPTABLE, {"Vary": "Accept"})
    headers = {"Content-Type": representation.content_type, "Vary": "Accept, Accept-Encoding", "Cache-Control": _FOR_A_MINUTE}
    # A page of all OS releases is one of each that the fleet builds for.
    listed = (site.root / packed(root.listing("json"))).is_file()
    for place in (root, SimpleRoot()) if project and listed else (root,):
        page = place.page(project, representation.kind) if project else place.listing(representation.kind)
        found = _file(site.root / packed(page), headers)
        if found.file is not None:
            return found
    if not project or project in site.private_projects:
        return _missing(accept)
    return _redirect(HTTPStatus.FOUND, f"{site.upstream}/{project}/")


def _file(path: Path, headers: Mapping[str, str]) -> Answer:
    if path.is_file():
        return Answer(HTTPStatus.OK, headers, path)
    return Answer(HTTPStatus.NOT_FOUND, {"Vary": "Accept"} if "Vary" in headers else {})


def _missing(accept: str) -> Answer:
    """In the form asked for, else HTML."""
    form = preferred(accept) or HTML
    body = b'{"meta":{"api-version":"1.4"},"message":"Not Found"}' if form == JSON else b"<!DOCTYPE html><title>Not Found</title>"
    return Answer(HTTPStatus.NOT_FOUND, {"Content-Type": form.content_type, "Vary": "Accept"}, body=body)


def _redirect(status: HTTPStatus, location: str) -> Answer:
    return Answer(status, {"Location": location, "Vary": "Accept", "Cache-Control": _FOR_A_MINUTE})


class Handler(BaseHTTPRequestHandler):
    """One connection. ``site`` is set by ``serve``."""

    site: Site
    protocol_version = "HTTP/1.1"
    server_version = "trial"
    sys_version = ""
    # A body in a segment of its own would wait for the acknowledgement of the headers.
    wbufsize = -1

    def do_GET(self) -> None:
        answered = answer(self.site, unquote(urlsplit(self.path).path), self.headers.get("Accept", ""))
        if answered.file is None:
            self._send_bytes(answered)
        else:
            self._send_file(answered.file, answered.headers)

    def do_HEAD(self) -> None:
        self.do_GET()

    def _send_empty(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        self._send_headers(status, {**headers, "Content-Length": "0"})

    def _send_bytes(self, answered: Answer) -> None:
        self._send_headers(answered.status, {**answered.headers, "Content-Length": str(len(answered.body))})
        if self.command != "HEAD":
            self.wfile.write(answered.body)

    def _send_file(self, path: Path, headers: Mapping[str, str]) -> None:
        sent = dict(headers)
        packed_page = path.suffix == ".gz"
        plain = packed_page and "gzip" not in self.headers.get("Accept-Encoding", "")
        if packed_page and not plain:
            sent["Content-Encoding"] = "gzip"
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            etag = f'"{int(found.st_mtime):x}-{found.st_size:x}"'
            sent |= {"ETag": f"W/{etag}" if plain else etag, "Last-Modified": formatdate(found.st_mtime, usegmt=True)}
            if self.headers.get("If-None-Match") == sent["ETag"]:
                self._send_headers(HTTPStatus.NOT_MODIFIED, sent)
            elif plain:
                body = gzip.decompress(file.read())
                self._send_body(BytesIO(body), len(body), sent)
            else:
                self._send_body(file, found.st_size, sent)

    def _send_body(self, file: IO[bytes], size: int, headers: Mapping[str, str]) -> None:
        start, end = 0, size
        status = HTTPStatus.OK
        sent = {**headers, "Accept-Ranges": "bytes"}
        if (wanted := _RANGE.fullmatch(self.headers.get("Range", ""))) and any(wanted.groups()):
            start, end = _bounds(wanted[1], wanted[2], size)
            if start >= size:
                return self._send_empty(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{size}"})
            status = HTTPStatus.PARTIAL_CONTENT
            sent["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._send_headers(status, {**sent, "Content-Length": str(end - start)})
        if self.command != "HEAD":
            file.seek(start)
            if end == size:
                shutil.copyfileobj(file, self.wfile)
            else:
                self.wfile.write(file.read(end - start))
        return None

    def _send_headers(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Say nothing: nobody reads the log of a trial."""


def _bounds(first: str, last: str, size: int) -> tuple[int, int]:
    """Where a range of bytes starts, and where the first byte after it is (RFC 9110, 14.1.2)."""
    if not first:
        return max(size - int(last), 0) if int(last) else size, size
    return int(first), min(int(last) + 1, size) if last else size


def server(site: Site, host: str, port: int, handler: type[Handler] = Handler) -> ThreadingHTTPServer:
    """A server that listens; port 0 takes a free one."""
    return ThreadingHTTPServer((host, port), type("SiteHandler", (handler,), {"site": site}))


def main() -> None:
    options = _parser().parse_args()
    host, _, port = options.listen.rpartition(":")
    site = Site(options.root, options.upstream.rstrip("/"), frozenset(map(canonicalize_name, options.private)), options.sdists)
    with server(site, host, int(port)) as listening:
        listening.serve_forever()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Serve a published tree for a trial, where nginx cannot be had.")
    parser.add_argument("--root", type=Path, required=True, help="the published tree")
    parser.add_argument("--listen", default="127.0.0.1:8080", help="host and port (default: %(default)s)")
    parser.add_argument("--upstream", required=True, help="the upstream simple index, for what the tree does not have")
    parser.add_argument("--private", action="append", default=[], metavar="PROJECT", help="never look this one up upstream")
    parser.add_argument("--sdists", type=Path, metavar="DIRECTORY", help="serve the sdists in it at /sdists/")
    return parser


if __name__ == "__main__":
    main()

"""A client that sends exactly the headers a test names, follows no redirect and unpacks nothing."""

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Reply:
    """An answer; ``headers`` by their names in small letters, of one sent several times all values."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def vary(self) -> set[str]:
        return {name.strip().lower() for name in self.headers.get("vary", "").split(",")}


@dataclass
class Client:
    """Of the server at ``url``, of which only scheme and host count: paths are whole."""

    url: str

    def get(self, path: str, method: str = "GET", **headers: str) -> Reply:
        """``headers`` by their names with _ for -."""
        made = http.client.HTTPSConnection if urlsplit(self.url).scheme == "https" else http.client.HTTPConnection
        connection = made(urlsplit(self.url).netloc, timeout=30)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            answer = connection.getresponse()
            values: dict[str, str] = {}
            for name, value in answer.getheaders():
                values[name.lower()] = f"{values[name.lower()]}, {value}" if name.lower() in values else value
            return Reply(answer.status, values, answer.read())
        finally:
            connection.close()

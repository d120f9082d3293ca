"""HTTP whose connections can be cut: a server that sends a byte a second stays within every timeout of each single wait."""

import socket
from contextlib import suppress
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from piwheels_builder.certificates import trusted_bundle


class _Adapter(HTTPAdapter):
    """Remembers the sockets that it connects."""

    def __init__(self) -> None:
        self.made: list[socket.socket] = []
        self.is_cut = False
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **options)
        self._watch(manager)
        return manager

    def _watch(self, manager: Any) -> None:
        manager.pool_classes_by_scheme = {
            scheme: type("WatchedPool", (pool,), {"ConnectionCls": self._watched(pool.ConnectionCls)})
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }

    def _watched(self, connection: Any) -> Any:
        adapter = self

        def connect(self: Any) -> None:
            if adapter.is_cut:
                raise TimeoutError("the time is over")
            connection.connect(self)
            # The socket: a connection lets go of it where the server will close it, long before the answer is read.
            adapter.made.append(self.sock)

        return type("WatchedConnection", (connection,), {"connect": connect})


class CuttableSession(requests.Session):
    """A session; ``cut``, called in another thread, breaks every connection it has, and lets it make no more."""

    def __init__(self) -> None:
        super().__init__()
        self.verify = trusted_bundle() or True
        self._adapter = _Adapter()
        self.mount("https://", self._adapter)
        self.mount("http://", self._adapter)

    def cut(self) -> None:
        self._adapter.is_cut = True
        for made in self._adapter.made:
            # Not TLS's own shutdown, which would disturb the thread that reads.
            with suppress(OSError):
                socket.socket.shutdown(made, socket.SHUT_RDWR)

"""Debian's Chromium without a window, driven by its own remote debugging protocol over two pipes."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from select import select
from typing import Any

import pytest

_SECONDS = 20.0


@dataclass
class Page:
    """A tab. ``complaints`` are what its console said and what was thrown; ``requested`` the URLs it asked for."""

    reading: int
    writing: int
    session: str = ""
    complaints: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    received: float = 0
    _number: int = 0
    _events: list[dict[str, Any]] = field(default_factory=list)
    _rest: bytes = b""

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        order: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self.session:
            order["sessionId"] = self.session
        os.write(self.writing, json.dumps(order).encode() + b"\0")
        while True:
            said = self._read()
            if said.get("id") == self._number:
                assert "error" not in said, f"{method}: {said['error']}"
                return dict(said["result"])
            self._note(said)

    def open(self, url: str) -> None:
        """Go there and wait until it is loaded, and nothing more is asked for."""
        self._events.clear()
        self.send("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && performance.getEntriesByType('navigation')[0]?.loadEventEnd > 0")
        self.until("document.fonts.status === 'loaded'")

    def run(self, expression: str) -> Any:
        """The value of an expression of JavaScript, awaited."""
        said = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait for an expression to become true."""
        deadline = time.monotonic() + _SECONDS
        while not self.run(f"!!({expression})"):
            assert time.monotonic() < deadline, f"never true within {_SECONDS} s: {expression}"
            time.sleep(0.02)

    def size(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def shot(self, place: Path) -> None:
        """A picture of the whole page."""
        image = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        place.write_bytes(b64decode(image))

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def press(self, key: str) -> None:
        codes = {"Enter": 13, "ArrowDown": 40, "Escape": 27, "Tab": 9, "/": 191}
        told: dict[str, Any] = {"key": key, "windowsVirtualKeyCode": codes[key]}
        text = {"Enter": "\r", "/": "/"}.get(key)
        self.send("Input.dispatchKeyEvent", type="keyDown", **told, **({"text": text} if text else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **told)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select([self.reading], [], [], _SECONDS)[0], "Chromium says nothing more"
            piece = os.read(self.reading, 1 << 20)
            assert piece, "Chromium has ended"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(line))

    def _note(self, said: dict[str, Any]) -> None:
        method, told = said.get("method"), said.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requested.append(told["request"]["url"])
        elif method == "Network.loadingFinished":
            self.received += told["encodedDataLength"]
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(told["args"])[:500])
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")


@contextmanager
def chromium() -> Iterator[Page]:
    """A tab of a browser of its own. Skips where Chromium is missing."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is missing: apt-get install chromium")
    profile = tempfile.mkdtemp(prefix="fleet-chromium-", dir="/tmp")
    to_browser, from_us = os.pipe()
    from_browser, to_us = os.pipe()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run", "--hide-scrollbars"]
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]
    # It reads at 3 and writes at 4.
    script = f'exec "$@" 3<&{to_browser} 4>&{to_us}'
    process = subprocess.Popen(
        ["bash", "-c", script, "chromium", program, *options, *quiet, f"--user-data-dir={profile}", "about:blank"],
        pass_fds=(to_browser, to_us),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": profile},
    )
    os.close(to_browser)
    os.close(to_us)
    try:
        yield _tab(Page(from_browser, from_us))
    finally:
        os.close(from_us)
        os.close(from_browser)
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        shutil.rmtree(profile, ignore_errors=True)


def _tab(page: Page) -> Page:
    target = page.send("Target.createTarget", url="about:blank")["targetId"]
    page.session = page.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Runtime", "Log", "Network"):
        page.send(f"{domain}.enable")
    return page

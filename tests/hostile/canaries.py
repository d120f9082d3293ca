"""A world around the builder in which every touch shows: files, sockets and a process that no build may reach, full of secrets.

Everything in it may be read and written by everybody: nothing but the sandbox stands between it and an attack.
"""

import os
import secrets
import selectors
import shutil
import socket
import subprocess
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.hostile.attack import Places

CHECKOUT = Path(__file__).parents[2]
#: Where an attack could leave something on the host. Their entries are looked at, not what lies in these.
_HOST = ("/", "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run", "/etc", "/usr", "/usr/local/bin", "/home", "/root", "/var/lib")
#: The variables of the builder itself that an attack would like to see.
VARIABLES = ("PGPASSWORD", "PIWHEELS_DATABASE_PASSWORD", "AWS_SECRET_ACCESS_KEY")


class Listeners:
    """Sockets of the host. ``touched`` names each one that anybody connected to, or sent something."""

    def __init__(self, mark: str, place: Path) -> None:
        self.touched: list[str] = []
        self._stack = ExitStack()
        self._selector = self._stack.enter_context(selectors.DefaultSelector())
        self._end, self._ended = socket.socketpair()
        self._selector.register(self._ended, selectors.EVENT_READ, "end")
        self.abstract, self.unix = f"hostile-{mark}", os.fspath(place / "socket")
        self.tcp = self._listen("tcp", socket.AF_INET, ("127.0.0.1", 0))
        self.database = self._listen("database", socket.AF_INET, ("127.0.0.1", 0))
        self.tcp6 = self._listen("tcp6", socket.AF_INET6, ("::1", 0)) if socket.has_ipv6 else 0
        self.udp = self._listen("udp", socket.AF_INET, ("127.0.0.1", 0), socket.SOCK_DGRAM)
        self._listen("abstract", socket.AF_UNIX, f"\0{self.abstract}")
        self._listen("unix", socket.AF_UNIX, self.unix)
        Path(self.unix).chmod(0o777)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._end.close()
        self._thread.join()
        self._ended.close()
        self._stack.close()

    def _listen(self, name: str, family: int, address: object, kind: int = socket.SOCK_STREAM) -> int:
        bound = self._stack.enter_context(socket.socket(family, kind))
        with suppress(OSError):  # a machine without IPv6
            bound.bind(address)  # type: ignore[arg-type]
            if kind == socket.SOCK_STREAM:
                bound.listen()
            self._selector.register(bound, selectors.EVENT_READ, name)
            return 0 if family == socket.AF_UNIX else int(bound.getsockname()[1])
        return 0

    def _watch(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.data == "end":
                    return
                self.touched.append(key.data)
                touched = key.fileobj
                assert isinstance(touched, socket.socket)
                if touched.type == socket.SOCK_DGRAM:
                    touched.recv(100)
                else:
                    touched.accept()[0].close()


@dataclass
class World:
    """``secrets`` by where they lie. ``state`` is laid out as a service's, with another slot's build in it."""

    place: Path
    places: Places
    secrets: dict[str, str]
    listeners: Listeners
    process: "subprocess.Popen[bytes]"
    before: dict[str, str] = field(default_factory=dict)
    environments: set[str] = field(default_factory=set)

    @property
    def state(self) -> Path:
        return Path(self.places.state)

    def remember(self) -> None:
        """From here on nothing of it may change, but for environments that are new."""
        self.environments = {entry.name for entry in (self.state / "environments").iterdir()}
        self.before = self._picture()

    def check(self) -> None:
        """Raises AssertionError for anything that was touched since ``remember``."""
        assert self.listeners.touched == []
        assert self.process.poll() is None, "the process outside is dead"
        assert psutil.Process(self.process.pid).status() != psutil.STATUS_STOPPED, "the process outside is stopped"
        assert {name for name in _names(self.places.state + "/area") if not name.startswith("warm-")} == {"other-build"}
        now = self._picture()
        assert now == self.before, {name for name in now.keys() | self.before.keys() if now.get(name) != self.before.get(name)}
        assert self._left_on_the_host() == []

    def leaks(self, data: bytes) -> list[str]:
        """The names of the secrets in it."""
        return [name for name, secret in self.secrets.items() if secret.encode() in data]

    def leaks_of_wheel(self, wheel: Path) -> list[str]:
        with zipfile.ZipFile(wheel) as archive:
            return [name for member in archive.namelist() for name in self.leaks(archive.read(member))]

    def _picture(self) -> dict[str, str]:
        """Every file of the world by its path, with what it is."""
        parts = ["home", "checkout", "outside", "state/spool", "state/outbox", "state/area/other-build"]
        parts += [f"state/environments/{name}" for name in self.environments]
        return {os.fspath(entry): _picture_of(entry) for part in parts for entry in (self.place / part).rglob("*")}

    def _left_on_the_host(self) -> list[str]:
        mark = self.places.mark
        left = [f"{place}/{name}" for place in _HOST for name in _names(place) if mark in name and name != self.place.name]
        left += [name for name in _names(os.fspath(CHECKOUT)) if mark in name]
        for kind in ("shm", "sem", "msg"):
            if any(line.split()[0] == str(self.places.key) for line in _lines(f"/proc/sysvipc/{kind}")[1:]):
                left.append(f"SysV {kind}")
        return left


@contextmanager
def world(uid: int | None) -> Iterator[World]:
    """A world, whose process outside runs as the user of the builds (None: as ourselves)."""
    mark = secrets.token_hex(8)
    place = Path(tempfile.mkdtemp(prefix="hostile-"))
    listeners = None
    process = None
    try:
        kept = {
            name: secrets.token_hex(16)
            for name in ("home", "ssh", "database", "checkout", "other", "spool", "process", "environment")
        }
        _write_files(place, kept)
        listeners = Listeners(mark, place)
        process = _process(mark, kept["process"], uid)
        yield World(place, _places(place, mark, listeners, process.pid), kept, listeners, process)
    finally:
        if listeners is not None:
            listeners.close()
        if process is not None:
            process.kill()
            process.wait()
        shutil.rmtree(place)


def _write_files(place: Path, kept: dict[str, str]) -> None:
    contents = {
        "home/.bashrc": f"export TOKEN={kept['home']}\n",
        "home/.profile": "true\n",
        "home/.ssh/id_ed25519": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{kept['ssh']}\n",
        "home/.ssh/authorized_keys": "ssh-ed25519 nobody\n",
        "home/.pgpass": f"127.0.0.1:5432:fleet:builder:{kept['database']}\n",
        "home/.netrc": f"machine index.invalid login builder password {kept['home']}\n",
        "home/.config/piwheels/builder.yml": f"database: postgresql://builder:{kept['database']}@127.0.0.1/fleet\n",
        "checkout/token": kept["checkout"],
        "outside/beside": "untouched",
        "state/spool/lease.json": kept["spool"],
        "state/outbox/1/attempt.json": kept["spool"],
        "state/area/other-build/opened/build/src/secret.py": f"PASSWORD = {kept['other']!r}\n",
        "state/area/other-build/opened/build/wheels/other-1.0-py3-none-any.whl": kept["other"],
        "state/area/other-build/opened/tmp/cc1.o": kept["other"],
    }
    for name, text in contents.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    shutil.copytree(CHECKOUT / "piwheels_builder/builder", place / "checkout/builder", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "state/environments").mkdir()
    for entry in (place, *place.rglob("*")):
        entry.chmod(0o777 if entry.is_dir() else 0o666)


def _process(mark: str, secret: str, uid: int | None) -> "subprocess.Popen[bytes]":
    command = [f"outside-{mark}-{secret}", "1000000"]
    return subprocess.Popen(command, executable="/bin/sleep", env={"SECRET": secret}, user=uid, cwd="/", start_new_session=True)


def _places(place: Path, mark: str, listeners: Listeners, process: int) -> Places:
    return Places(
        mark=mark,
        key=int(mark[:7], 16),
        home=os.fspath(place / "home"),
        checkout=os.fspath(place / "checkout"),
        real_checkout=os.fspath(CHECKOUT),
        state=os.fspath(place / "state"),
        other_build=os.fspath(place / "state/area/other-build"),
        outside=os.fspath(place / "outside"),
        tcp=listeners.tcp,
        tcp6=listeners.tcp6,
        udp=listeners.udp,
        database=listeners.database,
        abstract=listeners.abstract,
        unix=listeners.unix,
        process=process,
    )


def _picture_of(path: Path) -> str:
    """What a change of a file, of its mode or of its links would change: nobody can set the time of the last one."""
    facts = path.lstat()
    changed = facts.st_ctime_ns if path.is_file() else 0
    return f"{facts.st_mode:o} {facts.st_uid} {facts.st_ino} {facts.st_nlink} {facts.st_size} {changed}"


def _names(place: str) -> list[str]:
    try:
        return [entry.name for entry in Path(place).iterdir()]
    except OSError:
        return []


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return ["none"]

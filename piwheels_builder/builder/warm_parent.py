"""One warm parent, seen from the builder: how it is started, shown a build's directories, and asked for a child."""

import fcntl
import json
import os
import re
import select
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from piwheels_builder.builder.area import Area, discard
from piwheels_builder.builder.bubblewrap import Sandbox, parent_command
from piwheels_builder.builder.hooks import Request, write_inside
from piwheels_builder.builder.inside.apart import SHOWN
from piwheels_builder.builder.inside.words import CHILD, GO, READY
from piwheels_builder.builder.sandbox import PATH, write_etc

#: A parent without an order for so many seconds ends: an idle builder holds no memory for builds.
IDLE_SECONDS = 60
_START_SECONDS = 60
#: Once a build is dead, the kernel takes its processes away, and the outermost of them says so.
_END_SECONDS = 30
#: Of a parent; a child gets all of its build's.
_VARIABLES = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/build/home"}


class NotWarm(Exception):
    """No child could be had, and nothing of the source has been run: a fresh interpreter may do it."""


@dataclass(frozen=True)
class Order:
    """One build for a parent's child. ``environment``: all its variables; ``limits``: each process's, by names of ``resource``."""

    area: Area
    request: Request
    environment: Mapping[str, str]
    limits: Mapping[str, int]

    @property
    def name(self) -> str:
        return self.area.root.name

    def to_json(self) -> bytes:
        fields = {"name": self.name, "request": asdict(self.request), "environment": self.environment, "limits": self.limits}
        return json.dumps(fields).encode()


class WarmParent:
    """One that runs. ``proven``: it has borne a child, so that this machine lets it. Raises NotWarm where it can't be started."""

    def __init__(self, place: Path, sandbox: Sandbox, modules: Sequence[str]) -> None:
        self._place = place
        self._shown = place / "shown"
        self._ready = self.proven = False
        self._owned = ExitStack()
        try:
            self._furnish(sandbox.uid)
            self._owned.callback(os.close, _held(sandbox.environment))
            self._start(replace(sandbox, driver=place / "driver", etc=place / "etc", opened={SHOWN: self._shown}), modules)
        except OSError as error:
            self.close()
            raise NotWarm(f"no warm parent: {error}") from error

    def _furnish(self, uid: int | None) -> None:
        self._place.mkdir()
        self._owned.callback(discard, self._place)
        for directory in (self._shown, self._place / "driver", self._place / "etc"):
            directory.mkdir()
        for directory in (self._place, *self._place.iterdir()):
            directory.chmod(0o755)
        write_inside(self._place / "driver")
        write_etc(self._place / "etc", uid)

    def _start(self, sandbox: Sandbox, modules: Sequence[str]) -> None:
        self._channel, its_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._owned.enter_context(self._channel)
        with its_end, (self._place / "said.txt").open("wb") as said:
            program = ("/env/bin/python", "-u", "/driver/parent.py", str(its_end.fileno()), str(IDLE_SECONDS), *modules)
            self._process = subprocess.Popen(
                parent_command(sandbox, program),
                env=_VARIABLES,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                pass_fds=[its_end.fileno()],
                start_new_session=True,
            )
        self._owned.callback(self._process.wait)
        self._owned.callback(self._process.kill)

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        # Whoever has said that it is ready says nothing more by itself: what can be read is the end.
        return self._process.poll() is None and not (self._ready and select.select([self._channel], [], [], 0)[0])

    @contextmanager
    def lent(self, area: Area) -> Iterator[None]:
        """Show it a build's directories for the length of a block. Nothing is unpacked or prepared where a parent can see it."""
        shown = self._shown / area.root.name
        area.opened.rename(shown)
        try:
            yield
        finally:
            shown.rename(area.opened)

    def bear(self, order: Order) -> "Child":
        """A child for this order. Raises NotWarm."""
        with ExitStack() as ours, ExitStack() as its:
            log_end, its_log = os.pipe()
            ours.callback(os.close, log_end)
            its.callback(os.close, its_log)
            control, its_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.enter_context(control)
            its.enter_context(its_control)
            try:
                self._await_ready()
                socket.send_fds(self._channel, [order.to_json()], [its_log, its_control.fileno()])
                its.close()
                child = Child(log_end, control, ours)
            except OSError as error:
                raise NotWarm(f"{error}; the parent said: {self._said()}") from error
            child.owns(ours.pop_all())
        self.proven = True
        return child

    def close(self) -> None:
        """End it, with whatever it still runs. Raises OSError where its directory can't be removed."""
        self._owned.close()

    def _await_ready(self) -> None:
        if not self._ready:
            self._channel.settimeout(_START_SECONDS)
            if self._channel.recv(100) != READY:
                raise NotWarm(f"the parent did not start: {self._said()}")
            self._ready = True

    def _said(self) -> str:
        with suppress(OSError):
            return (self._place / "said.txt").read_text(errors="replace")[-500:]
        return ""


def _held(environment: Path) -> int:
    """Locked as by every build in it: an environment must not be dropped under its parent. Goes with the descriptor."""
    descriptor = os.open(environment, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


class Child:
    """A build that waits for ``go`` in namespaces of its own (process.Running). At the end of its block nothing of it is left."""

    def __init__(self, log_end: int, control: socket.socket, ours: ExitStack) -> None:
        """Takes the child's word that it is there. ``ours`` takes what has to be closed. Raises NotWarm, OSError."""
        control.settimeout(_START_SECONDS)
        message, descriptors, _, _ = socket.recv_fds(control, 2000, 1)
        if message != CHILD or not descriptors:
            raise NotWarm(message.decode(errors="replace") or "the parent is gone")
        self.pipe = log_end
        self.pidfd = descriptors[0]
        ours.callback(os.close, self.pidfd)
        self.pid = _pid_of(self.pidfd)
        self._control = control
        self._owned = ExitStack()
        self._exit_code: int | None = None

    def owns(self, owned: ExitStack) -> None:
        """What is to be closed with it."""
        self._owned = owned

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._owned.close()

    def go(self) -> None:
        """Let it run. Raises OSError where it is gone."""
        self._control.send(GO)

    def kill(self) -> int:
        """Kill the first process of its pid namespace, and with it all others, if it has not ended. Returns its exit code."""
        if self._exit_code is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            self._exit_code = self._last_word()
        return self._exit_code

    def _last_word(self) -> int:
        self._control.settimeout(_END_SECONDS)
        try:
            return int(self._control.recv(16))
        except (OSError, ValueError):
            # Its parent was killed with it.
            return -signal.SIGKILL


def _pid_of(pidfd: int) -> int:
    """Its number in our pid namespace (proc(5), fdinfo)."""
    fields = Path(f"/proc/self/fdinfo/{pidfd}").read_text()
    found = re.search(r"^Pid:\s*(\d+)$", fields, re.MULTILINE)
    if found is None:
        raise NotWarm("the child is gone")
    return int(found[1])

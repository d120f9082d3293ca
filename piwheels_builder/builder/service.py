"""The builder service: takes builds from the spool, builds several at once, leaves results in the outbox and has them recorded.

One thread per slot builds; one speaks with the database; the main thread watches the spool. What must survive is on disk before
it is acted upon, so the service may be killed at any moment:

- A begun mark is written before a build starts. Found again at the next start without an outbox entry, it is delivered as an
  attempt that ended `killed`, and the database decides whether the build is tried again.
- An orderly stop books nothing: running builds are killed, their marks removed, and they are still in the spool at the next start.
  A wheel that was finished at that moment is delivered all the same.
- A disk that takes no results pauses all building until it does; that is never held against a release. So does a machine without
  memory. A build that was given up for others that run goes back to the spool.
- While the builder is draining, or the database will have nothing of it, those that run may end and none begins.
"""

import contextlib
import logging
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar
from uuid import UUID

from piwheels_builder.builder.admission import Admission
from piwheels_builder.builder.attempt import Attempt
from piwheels_builder.builder.disk import free_bytes
from piwheels_builder.builder.draining import reason_to_drain
from piwheels_builder.builder.notify import notify
from piwheels_builder.builder.outbox import Outbox, check_delivery
from piwheels_builder.builder.record import FIRST_PAUSE, Recorder
from piwheels_builder.builder.recovery import recover, sole_use
from piwheels_builder.builder.room import Room
from piwheels_builder.builder.spool import Spool, SpooledBuild
from piwheels_builder.builder.status import Running, Status, StatusFile
from piwheels_builder.builder.trouble import DiskTrouble
from piwheels_builder.queue.batch import LeasedBuild
from piwheels_builder.settings import BuilderSettings
from piwheels_builder.states import Outcome

log = logging.getLogger(__name__)

#: Builds one release: what, under which lease, in which slot (from 0), and the empty directory that its log and wheel go into.
Build = Callable[[LeasedBuild, UUID, int, Path], Attempt]
Written = TypeVar("Written")

#: Seconds between two looks at the spool.
_TICK = 1.0
#: Seconds an orderly stop gives the slots to notice that their builds are dead.
_STOP_SECONDS = 10.0


class _Stopped(Exception):
    """The service stops while a slot waits for the disk."""


class Service:
    """Runs once. ``interrupt`` kills the processes of all running builds; it may be called several times while stopping.

    ``admission`` says which of the waiting builds starts next, as far as memory goes. ``first_pause`` is how many seconds pass
    before a disk that refused, or a database that is away, is tried again.
    """

    def __init__(
        self,
        settings: BuilderSettings,
        build: Build,
        *,
        interrupt: Callable[[], None] = lambda: None,
        space: Callable[[Path], int] = free_bytes,
        admission: Admission | None = None,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._settings = settings
        self._build = build
        self._interrupt = interrupt
        self._pause = first_pause
        self._spool = Spool(settings.state_dir / "spool", settings)
        self._outbox = Outbox(settings.state_dir / "outbox")
        self._room = Room(settings, self._outbox.directory, space)
        self._recorder = Recorder(settings, self._spool, self._outbox, first_pause=first_pause, has_room=self._has_room)
        self._status = StatusFile(settings.state_dir / "status.json")
        self._asked: SimpleQueue[None] = SimpleQueue()
        self._stop = threading.Event()
        self._speak = threading.Event()
        # Guards everything below; slots wait on it for work.
        self._work = threading.Condition()
        self._waiting: list[SpooledBuild] = []
        self._running: dict[str, Running] = {}
        self._disk_trouble = DiskTrouble(self._work)
        self._admission = admission or Admission()
        self._draining: str | None = None
        self._counts = (0, 0)
        self._counted_version: tuple[int, datetime | None] | None = None

    def ask_to_stop(self) -> None:
        """Let ``run`` return soon. Safe in a signal handler."""
        # An Event would not be: the handler may interrupt the very thread that holds its lock.
        self._asked.put(None)

    def run(self) -> None:
        """Serve until asked to stop. Raises BuilderRunning where another service has the same state directory."""
        with sole_use(self._settings.state_dir):
            notify("READY=1")
            if not self._recovered():
                return
            threads = [threading.Thread(target=self._serve_slot, args=(slot,), daemon=True) for slot in range(self._settings.slots)]
            threads.append(threading.Thread(target=self._keep_in_touch, daemon=True))
            for thread in threads:
                thread.start()
            self._look()
            while not self._asked_to_stop():
                self._look()
            notify("STOPPING=1")
            self._wind_down(threads)

    def _asked_to_stop(self) -> bool:
        notify("WATCHDOG=1")
        try:
            self._asked.get(timeout=_TICK)
        except Empty:
            return False
        return True

    # Starting: what the last service left.

    def _recovered(self) -> bool:
        """Tidy up, however long the disk refuses. Returns False when asked to stop before that."""
        while True:
            try:
                recover(self._settings, self._spool, self._outbox)
            except OSError as error:
                self._disk_trouble.refused("recovery", error)
                self._show_status()
            else:
                self._disk_trouble.obeyed("recovery")
                return True
            if self._asked_to_stop():
                return False

    # The main thread: watching the spool and the disk.

    def _look(self) -> None:
        try:
            self._check_space()
            self._check_draining()
            with self._work:
                if self._spool.changed() or "spool" in self._disk_trouble:
                    self._refresh()
                if self._waiting and not self._disk_trouble:
                    self._work.notify_all()
            self._show_status()
        except OSError as error:
            self._disk_trouble.refused("state", error)
        else:
            self._disk_trouble.obeyed("state")

    def _check_space(self) -> None:
        if self._room.look():
            self._say_soon()
        if self._room.trouble:
            self._disk_trouble.refused("space", self._room.trouble)
        else:
            self._disk_trouble.obeyed("space")

    def _check_draining(self) -> None:
        # Under the lock: whoever chose a build before is running by now, and whoever chooses after sees the file.
        with self._work:
            before, self._draining = self._draining, reason_to_drain(self._settings.state_dir)
        if bool(before) != bool(self._draining):
            log.info("draining: %s", self._draining or "no more")
            self._say_soon()

    def _say_soon(self) -> None:
        self._recorder.hurry()
        self._speak.set()

    def _refresh(self) -> None:
        try:
            left = self._spool.remaining(self._outbox.names())
        except OSError as error:
            self._disk_trouble.refused("spool", error)
            return
        self._disk_trouble.obeyed("spool")
        self._waiting = [build for build in left if build.name not in self._running]

    def _show_status(self) -> None:
        recorder = self._recorder
        with self._work:
            running, spool = tuple(self._running.values()), len(self._waiting)
            disk, memory = self._disk_trouble.said(), self._admission.trouble if self._waiting else None
        try:
            outbox, recorded = self._outbox_counts()
        except OSError:
            # Told of already: every look asks this disk for its space first.
            return
        self._status.show(
            Status(
                builder=self._settings.name,
                running=running,
                spool=spool,
                outbox=outbox,
                recorded=recorded,
                disk_trouble=disk,
                memory_trouble=memory,
                leasing_trouble=self._room.leasing_trouble,
                draining=self._draining,
                last_database_contact=recorder.last_contact.isoformat() if recorder.last_contact else None,
                database_trouble=recorder.trouble,
            )
        )

    def _outbox_counts(self) -> tuple[int, int]:
        # Counted anew only when it may have changed: hundreds of wheels may wait there for hours.
        version = (self._outbox.directory.stat().st_mtime_ns, self._recorder.last_contact)
        if version != self._counted_version:
            self._counts, self._counted_version = self._outbox.counts(), version
        return self._counts

    # A slot: one build after the other.

    def _serve_slot(self, slot: int) -> None:
        while (build := self._next()) is not None:
            try:
                self._carry_out(build, slot)
            except _Stopped:
                self._take_back(build)
            except Exception:
                log.exception("%s: its result could not be kept", build.name)
                self._stop.wait(self._pause)
            finally:
                self._leave(build)

    def _next(self) -> SpooledBuild | None:
        with self._work:
            while not self._stop.is_set():
                place = self._choose()
                if place is not None:
                    build = self._waiting.pop(place)
                    self._running[build.name] = Running.of(build)
                    return build
                self._work.wait()
        return None

    def _choose(self) -> int | None:
        if not self._waiting or self._disk_trouble or self._recorder.barred or reason_to_drain(self._settings.state_dir):
            return None
        running = {name: build.memory_class for name, build in self._running.items()}
        return self._admission.choose([(build.name, build.leased.memory_class) for build in self._waiting], running)

    def _has_room(self) -> bool:
        return not (self._disk_trouble or self._room.leasing_trouble or self._draining) and self._admission.has_room()

    def _leave(self, build: SpooledBuild) -> None:
        with self._work:
            del self._running[build.name]
            self._refresh()
        self._speak.set()

    def _carry_out(self, build: SpooledBuild, slot: int) -> None:
        if_it_never_ends = build.interrupted()
        self._until_written(build, lambda: self._spool.begin(if_it_never_ends))
        delivery = self._until_written(build, lambda: self._outbox.prepare(build.name))
        attempt = self._attempt(build, slot, delivery, if_it_never_ends)
        if self._says_nothing(attempt):
            self._take_back(build)
        else:
            self._until_written(build, lambda: self._outbox.deliver(attempt))
            log.info("%s %s for %s: %s", attempt.project, attempt.version, build.leased.target, attempt.outcome)

    def _attempt(self, build: SpooledBuild, slot: int, delivery: Path, if_it_never_ends: Attempt) -> Attempt:
        begun = time.monotonic()
        try:
            attempt = self._build(build.leased, build.lease_id, slot, delivery)
            check_delivery(attempt, build.name, delivery)
        except (Exception, SystemExit) as error:
            log.exception("%s: the builder itself failed", build.name)
            return replace(
                if_it_never_ends,
                outcome=Outcome.BUILDER_FAULT,
                seconds=time.monotonic() - begun,
                error_line=f"{type(error).__name__}: {error}",
                log_tail=traceback.format_exc(),
            )
        return attempt

    def _says_nothing(self, attempt: Attempt) -> bool:
        """Whether the attempt tells of our stopping, our full disk or our small memory only, and not of the release."""
        if attempt.outcome is Outcome.DISK_FULL:
            self._check_space()
            return "space" in self._disk_trouble
        if attempt.outcome is Outcome.KILLED and attempt.mechanism == "watcher":
            with self._work:
                self._admission.was_crowded(self._running.keys() - {attempt.directory_name})
            return True
        return self._stop.is_set() and attempt.outcome is not Outcome.BUILT

    def _take_back(self, build: SpooledBuild) -> None:
        """As if it had never begun: it stays in the spool."""
        log.info("%s %s goes back to the spool", build.leased.project, build.leased.version)
        try:
            self._outbox.abandon(build.name)
            self._spool.end(build.name)
        except OSError as error:
            log.warning("%s: counts as killed, since the disk keeps its begun mark: %s", build.name, error)

    def _until_written(self, build: SpooledBuild, write: Callable[[], Written]) -> Written:
        """Do ``write`` until the disk takes it, with all building paused meanwhile. Raises _Stopped."""
        while True:
            try:
                written = write()
            except OSError as error:
                self._disk_trouble.refused(build.name, error)
            else:
                self._disk_trouble.obeyed(build.name)
                return written
            if self._stop.wait(self._pause):
                raise _Stopped

    # The thread that speaks with the database.

    def _keep_in_touch(self) -> None:
        while not self._stop.is_set():
            self._speak.wait(self._recorder.attend())
            self._speak.clear()

    # Stopping.

    def _wind_down(self, threads: list[threading.Thread]) -> None:
        self._stop.set()
        self._speak.set()
        with self._work:
            self._work.notify_all()
        deadline = time.monotonic() + _STOP_SECONDS
        for thread in threads:
            while thread.is_alive() and time.monotonic() < deadline:
                self._interrupt()
                thread.join(0.1)
        for name in list(self._running):
            # A slot that still does not notice ends with the process; nothing is to be said of its build.
            with contextlib.suppress(OSError):
                self._spool.end(name)
        self._show_status()

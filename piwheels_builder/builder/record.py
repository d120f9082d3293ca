"""Telling the database: that this builder lives, how its attempts ended, and asking which of them it may forget.

It connects as the builder's own login role, only when there is something to say or a heartbeat is due, and leaves again. While the
database is away everything waits in the outbox.
"""

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiosql
import psycopg2

from piwheels_builder.builder.attempt import Attempt
from piwheels_builder.builder.machine import condition
from piwheels_builder.builder.outbox import Entry, Outbox
from piwheels_builder.builder.spool import Spool
from piwheels_builder.db.connect import Connection, connected, translated_errors
from piwheels_builder.db.text import storable
from piwheels_builder.errors import BadInput, DatabaseAway, DatabaseRefused
from piwheels_builder.settings import BuilderSettings

log = logging.getLogger(__name__)

#: Seconds until the next try after the first failure; each further one doubles it.
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 120.0
_queries = aiosql.from_path(Path(__file__).with_name("record.sql"), "psycopg2")
#: SQLSTATE classes (PostgreSQL appendix A) that blame the data: bad values, broken constraints.
_BAD_DATA = ("22", "23")
#: insufficient_privilege
_NO_RIGHT = "42501"


class Quarantined(DatabaseRefused):
    """The database believes this builder nothing until a person has looked."""


class Recorder:
    """Speaks for one builder. Used by one thread; the two public attributes are for others to read.

    ``has_room`` is asked before each heartbeat: while it says no, the builder is given nothing more. ``root`` is
    where sys and proc are.
    """

    def __init__(
        self,
        settings: BuilderSettings,
        spool: Spool,
        outbox: Outbox,
        *,
        first_pause: float = FIRST_PAUSE,
        has_room: Callable[[], bool] = lambda: True,
        root: Path = Path("/"),
    ) -> None:
        self._has_room, self._root = has_room, root
        self._settings = settings
        self._spool = spool
        self._outbox = outbox
        self._first_pause = self._pause = first_pause
        self._not_before = self._heartbeat_due = time.monotonic()
        # Of this start: the same name on two hosts, or a host restored from an old image, shows by two of them taking turns.
        self._session = uuid4()
        #: When the database last heard of us (UTC).
        self.last_contact: datetime | None = None
        #: What keeps us from speaking, in the words of the error; None while all is well.
        self.trouble: str | None = None
        #: Why the database will have nothing of us, as far as is known: no build is worth beginning then.
        self.barred: str | None = None

    def attend(self) -> float:
        """Do what is due. Returns the seconds after which to call again; call earlier when an attempt was delivered.

        Raises nothing for what the database or the disk does.
        """
        if time.monotonic() >= self._not_before:
            self._speak_if_due()
        return max(0.0, (self._not_before if self.trouble else self._heartbeat_due) - time.monotonic())

    def hurry(self) -> None:
        """Have the next ``attend`` say at once that we live. From any thread."""
        self._heartbeat_due = time.monotonic()

    def speak(self) -> None:
        """Heartbeat, every unrecorded attempt, then what may be forgotten. Raises DatabaseAway, DatabaseRefused, OSError."""
        with connected(self._settings.database, autocommit=True) as connection:
            self._say_alive(connection)
            for entry in self._outbox.unrecorded():
                self._record(connection, entry)
            self._forget_settled(connection)

    def _speak_if_due(self) -> None:
        try:
            if time.monotonic() < self._heartbeat_due and not self._outbox.unrecorded():
                return
            self.speak()
        except (DatabaseAway, OSError) as error:
            self._wait_a_while(error, loud=False)
        except Exception as error:
            # A refusal, or a fault of ours: a person must act, so asking often would help nobody.
            self._pause = LONGEST_PAUSE
            self._wait_a_while(error, loud=True)
            self.barred = self.trouble if _bars(error) else self.barred
        else:
            self._note_success()

    def _note_success(self) -> None:
        if self.trouble is not None:
            log.info("database: back again")
        self.trouble, self.barred, self._pause = None, None, self._first_pause
        self.last_contact = datetime.now(UTC)
        self._heartbeat_due = time.monotonic() + self._settings.heartbeat_seconds

    def _wait_a_while(self, error: Exception, *, loud: bool) -> None:
        told, self.trouble = self.trouble, str(error) or repr(error)
        self._not_before = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if told != self.trouble:
            known = isinstance(error, DatabaseRefused | DatabaseAway)
            log.log(
                logging.ERROR if loud else logging.WARNING,
                "results wait in the outbox: %s",
                self.trouble,
                exc_info=None if known else error,
            )

    def _say_alive(self, connection: Connection) -> None:
        leases, begun = self._spool.held()
        with translated_errors():
            answer = _queries.say_alive(
                connection,
                held=list(map(str, leases)),
                begun=begun,
                term_seconds=self._settings.lease_seconds,
                has_room=self._has_room(),
                session=str(self._session),
                **asdict(condition(self._settings.state_dir, self._root)),
            )
        if answer == "quarantined":
            raise Quarantined(
                f"{self._settings.name} is quarantined: `piwheels-builder status` on the index host says why, `resume` ends it"
            )

    def _record(self, connection: Connection, entry: Entry) -> None:
        try:
            answer = _record(connection, entry.attempt())
        except BadInput as error:
            self._set_aside(entry, str(error))
        except DatabaseRefused as error:
            if not _blames_data(error):
                raise
            self._set_aside(entry, str(error))
        else:
            self._obey(answer, entry)

    def _obey(self, answer: str, entry: Entry) -> None:
        if answer == "refused":
            self._set_aside(entry, "the database refused it as a deed of no honest builder, and quarantined this one")
            return
        if answer == "lease lost":
            log.warning("%s: its lease was taken back, so the result is dropped", entry.name)
            self._drop(entry)
        else:
            self._outbox.mark_recorded(entry)
        self._spool.end(entry.name)

    def _set_aside(self, entry: Entry, why: str) -> None:
        self._spool.finish(entry.name)
        self._outbox.set_aside(entry, why)
        self._spool.end(entry.name)

    def _forget_settled(self, connection: Connection) -> None:
        self._outbox.clear_dropped()
        kept = {entry.name: entry for entry in self._outbox.entries() if entry.recorded}
        if not kept:
            return
        leases, builds = [str(entry.lease_id) for entry in kept.values()], [entry.build_id for entry in kept.values()]
        with translated_errors():
            droppable = list(_queries.settled(connection, leases=leases, builds=builds))
        for lease_id, build_id in droppable:
            self._drop(kept[f"{lease_id}-{build_id}"])

    def _drop(self, entry: Entry) -> None:
        # The finished mark first: until the entry is gone the build must not look like one still to do. The begun mark has gone
        # already, unless the disk refused just after the entry was marked as recorded.
        for step in (self._spool.finish, self._spool.end):
            try:
                step(entry.name)
            except OSError as error:
                # A full disk must not keep us from making room: at worst it is built again, and the database knows it already.
                log.warning("%s: its marks are not as they should be: %s", entry.name, error)
        self._outbox.drop(entry)


def database_clock(settings: BuilderSettings) -> datetime:
    """What time it is at the database. Raises DatabaseAway, DatabaseRefused."""
    with connected(settings.database) as connection, translated_errors():
        answer: datetime = _queries.database_clock(connection)
    return answer


def _record(connection: Connection, attempt: Attempt) -> str:
    wheel = attempt.wheel
    imported = wheel.imported if wheel else None
    with translated_errors():
        answer: Any = _queries.record_attempt(
            connection,
            lease_id=str(attempt.lease_id),
            build_id=attempt.build_id,
            outcome=attempt.outcome.value,
            started_at=attempt.started_at,
            seconds=attempt.seconds,
            peak_memory=attempt.peak_memory,
            error_line=storable(attempt.error_line),
            log_tail=storable(attempt.log_tail),
            toolchain=storable(attempt.toolchain),
            wheel_filename=wheel and wheel.filename,
            wheel_sha256=wheel and wheel.sha256,
            wheel_size=wheel and wheel.size,
            mechanism=storable(attempt.mechanism),
            missing=storable(attempt.missing),
            log_size=attempt.log_size,
            import_result=imported and imported.result.value,
            import_detail=storable(imported.detail if imported else None),
            libraries=wheel and json.dumps(dict(wheel.libraries)),
        )
    return str(answer)


def _bars(error: Exception) -> bool:
    """Whether it says that this builder has no standing: retired, quarantined, superseded."""
    return isinstance(error, Quarantined) or getattr(error.__cause__, "pgcode", None) == _NO_RIGHT


def _blames_data(error: DatabaseRefused) -> bool:
    cause = error.__cause__
    return isinstance(cause, psycopg2.Error) and (cause.pgcode or "").startswith(_BAD_DATA)

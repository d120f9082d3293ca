"""Connections to the fleet's database, with its errors in the fleet's words."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import psycopg2.extensions

from piwheels_builder.errors import DatabaseAway, DatabaseRefused

Connection = psycopg2.extensions.connection
Cursor = psycopg2.extensions.cursor

CONNECT_SECONDS = 10
#: SQLSTATE classes and codes (PostgreSQL appendix A) that mean the server, not the request, is at fault.
_AWAY = ("08", "53", "57P", "58")


@contextmanager
def connected(conninfo: str, *, autocommit: bool = False) -> Iterator[Connection]:
    """A connection for the length of a block: committed at its end, rolled back when it raises, closed either way.

    ``conninfo`` is a libpq connection string without a password. Raises DatabaseAway, DatabaseRefused.
    """
    with translated_errors():
        # A server that vanished without a word (power, a cable) must not hold its client for ever.
        connection = psycopg2.connect(conninfo, connect_timeout=CONNECT_SECONDS, keepalives_idle=30, tcp_user_timeout=60_000)
    connection.autocommit = autocommit
    try:
        with translated_errors():
            yield connection
            if not autocommit:
                connection.commit()
    finally:
        connection.close()


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn psycopg2's errors into DatabaseAway (try again) and DatabaseRefused (do not)."""
    try:
        yield
    except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
        raise DatabaseAway(f"the database cannot be reached: {_words(error)}") from error
    except psycopg2.Error as error:
        state = error.pgcode or ""
        if state.startswith(_AWAY):
            raise DatabaseAway(f"the database went away: {_words(error)}") from error
        raise DatabaseRefused(f"the database refused: {_words(error)}") from error


def _words(error: Exception) -> str:
    # The server's own words without the statement that it quotes.
    message = getattr(getattr(error, "diag", None), "message_primary", None) or str(error).strip()
    return " ".join(message.split()) or type(error).__name__

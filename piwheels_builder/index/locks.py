"""The lock that keeps two publications from working on one project at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import Connection

_queries = aiosql.from_path(Path(__file__).with_name("rendering.sql"), "psycopg2")


@contextmanager
def project_locked(connection: Connection, project_id: int) -> Iterator[None]:
    """Hold a project for the length of a block, over as many transactions as it takes; the last one is committed.

    It belongs to the connection: a publisher that is killed lets go of it.
    """
    _queries.lock_project(connection, project_id=project_id)
    connection.commit()
    try:
        yield
        connection.commit()
    except BaseException:
        # Whoever raised this is about to close the connection, and with it the lock.
        connection.rollback()
        raise
    _queries.unlock_project(connection, project_id=project_id)
    connection.commit()

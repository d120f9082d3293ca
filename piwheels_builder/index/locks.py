"""The locks that keep two publications from working on one project at once."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import aiosql

from piwheels_builder.db.connect import Connection

_queries = aiosql.from_path(Path(__file__).with_name("rendering.sql"), "psycopg2")


def project_locked(connection: Connection, project_id: int) -> AbstractContextManager[None]:
    """``projects_locked`` for a single one."""
    return projects_locked(connection, [project_id])


@contextmanager
def projects_locked(connection: Connection, project_ids: Sequence[int]) -> Iterator[None]:
    """Hold projects for the length of a block, over as many transactions as it takes; the last one is committed.

    The locks belong to the connection: a publisher that is killed lets go of them. At most a thousand at once, since the server has
    room for some six thousand.
    """
    # In one order everywhere, so that nobody waits in a circle.
    ids = sorted(project_ids)
    _queries.lock_projects(connection, project_ids=ids)
    connection.commit()
    try:
        yield
        connection.commit()
    except BaseException:
        # Whoever raised this is about to close the connection, and with it the locks.
        connection.rollback()
        raise
    _queries.unlock_projects(connection, project_ids=ids)
    connection.commit()

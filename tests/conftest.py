"""Fixtures that more than one room's tests use."""

from collections.abc import Iterator

import pytest

from piwheels_builder.db.embedded import EmbeddedDatabase
from tests.support.database import embedded_server, fresh_database
from tests.support.fleet import Fleet


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are no part of a test's name: what was compressed tells the time, and each test process must give the same names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def database_server() -> Iterator[EmbeddedDatabase]:
    """One PostgreSQL per test process."""
    with embedded_server() as server:
        yield server


@pytest.fixture
def database(database_server: EmbeddedDatabase) -> Iterator[EmbeddedDatabase]:
    """A fresh migrated database; ``database.conninfo(role)`` connects to it."""
    with fresh_database(database_server) as fresh:
        yield fresh


@pytest.fixture
def fleet(database: EmbeddedDatabase) -> Fleet:
    """A fleet with one builder, ``pi1``, of bookworm's cp311 on armv7l."""
    fleet = Fleet(database)
    fleet.add_builder("pi1")
    return fleet

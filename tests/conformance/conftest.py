"""The index that is looked at: the one given, else ours, by a publication into a tree of its own behind nginx."""

from collections.abc import Iterator

import pytest

from piwheels_builder.db.embedded import EmbeddedDatabase
from tests.conformance.index import Index
from tests.conformance.ours import PROJECTS, serving_ours


def pytest_addoption(parser: pytest.Parser) -> None:
    options = parser.getgroup("conformance", "the index that tests/conformance looks at")
    options.addoption("--index-url", metavar="URL", help="its page of all projects (default: our own index is made and looked at)")
    options.addoption("--project", action="append", default=[], metavar="NAME", help="one it has; several show more")


def pytest_configure(config: pytest.Config) -> None:
    for level, meaning in (
        ("must", "its PEP or RFC requires it"),
        ("should", "its PEP or RFC recommends it"),
        ("house", "this fleet's own standards ask for it"),
    ):
        config.addinivalue_line("markers", f"{level}: {meaning}")


@pytest.fixture(scope="session")
def index(request: pytest.FixtureRequest) -> Iterator[Index]:
    url = request.config.getoption("--index-url", default=None)
    if url:
        yield Index(url.rstrip("/") + "/", tuple(request.config.getoption("--project")))
        return
    server: EmbeddedDatabase = request.getfixturevalue("database_server")
    with serving_ours(server) as url:
        yield Index(url, PROJECTS, is_ours=True)

"""Tables in docs/ that the database knows better are the database's."""

import re
from pathlib import Path

import pytest

from piwheels_builder.cli import main  # noqa: F401 - brings every room's errors in
from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.errors import FleetError
from tests.support.database import rows

REFERENCE = Path(__file__).parents[2] / "docs/reference.md"


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("outcomes", "SELECT outcome::text, blame::text, meaning FROM outcome_meaning ORDER BY outcome"),
        ("transitions", "SELECT before::text, after::text, reason FROM build_transition ORDER BY before, after"),
    ],
)
def test_a_table_of_the_reference_is_the_databases(database: EmbeddedDatabase, name: str, statement: str) -> None:
    table = re.search(rf"<!-- {name}:.*?-->\n\|.*?\n\|[-|]+\n(.*?)\n<!-- end -->", REFERENCE.read_text(), re.DOTALL)
    assert table is not None
    expected = "\n".join("| {} | {} | {} |".format(*row) for row in rows(database, statement))
    assert table[1] == expected


def test_every_exit_code_is_in_the_reference() -> None:
    codes = {FleetError.exit_code, *(error.exit_code for error in FleetError.__subclasses__())}
    documented = set(map(int, re.findall(r"^\| (\d+) \|", REFERENCE.read_text(), re.MULTILINE)))
    assert codes <= documented

"""What the queue reads grows with its answer, not with catalogue or history: bench.queue_shape, small and without a clock."""

import pytest

from bench.queue_churn import churn
from bench.queue_crowd import crowd
from bench.queue_filled import fill
from bench.queue_touched import touched
from piwheels_builder.db.connect import connected
from piwheels_builder.db.embedded import EmbeddedDatabase
from tests.support.database import fresh_database, rows

SMALL, LARGE = 4_000, 16_000
#: Rows that a question may read, each several times what it needs.
MOST = {"lease 10 builds": 300, "record a wheel": 100, "totals of the queue": 150, "statistics": 100}


@pytest.fixture(scope="module")
def read(database_server: EmbeddedDatabase) -> dict[str, list[int]]:
    """What each question reads at two sizes, a tenth of all builds queued."""
    found: dict[str, list[int]] = {}
    for releases in (SMALL, LARGE):
        with fresh_database(database_server) as database:
            fill(database, releases, one_in=10)
            for question, number in touched(database).items():
                found.setdefault(question, []).append(number)
    return found


def test_no_question_reads_more_where_there_is_more(read: dict[str, list[int]]) -> None:
    grown = {question: numbers for question, numbers in read.items() if numbers[1] > 1.2 * numbers[0] + 20}
    assert grown == {}


def test_questions_read_little(read: dict[str, list[int]]) -> None:
    assert {question: read[question][1] for question, most in MOST.items() if read[question][1] > most} == {}


def test_a_paused_head_of_the_queue_is_not_read(read: dict[str, list[int]]) -> None:
    assert read["lease 10 builds behind 200 paused ones"][1] <= 1.2 * read["lease 10 builds"][1] + 20


def test_the_guard_sees_an_index_that_is_gone(database: EmbeddedDatabase) -> None:
    fill(database, SMALL, one_in=10)
    rows(database, "DROP INDEX queue_leasable")
    assert touched(database)["lease 10 builds"] > MOST["lease 10 builds"]


def test_sixty_four_leasers_get_every_build_once(database: EmbeddedDatabase) -> None:
    fill(database, 2_000, one_in=3)
    found = crowd(database, 64, 1_280)
    assert (found.twice, found.builds >= 1_280) == (0, True)
    assert rows(database, "SELECT count(*) FROM queue WHERE lease_id IS NOT NULL") == [(0,)]


def test_results_leave_counts_that_are_right_and_a_table_that_does_not_grow(database: EmbeddedDatabase) -> None:
    fill(database, 1_000, one_in=3)
    tenths = churn(database, 2_000)
    assert sum(len(tenth.records) for tenth in tenths) >= 2_000
    assert tenths[-1].sizes["queue"][0] < 3 * tenths[0].sizes["queue"][0]
    counted = rows(database, "SELECT * FROM statistics ORDER BY what, target_id")
    with connected(database.conninfo("piwheels_owner")) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT recount_statistics()")
    exact = rows(database, "SELECT * FROM statistics ORDER BY what, target_id")
    assert [row[:3] for row in counted] == [row[:3] for row in exact]
    assert [row[3] for row in counted] == pytest.approx([row[3] for row in exact], rel=1e-6)

"""The measurement of publication, at a hundredth of its size: how much is written, never how fast."""

import pytest

from bench.catalogue.databases import database
from bench.publish_pages import measure
from piwheels_builder.db.connect import connected
from piwheels_builder.index import contents
from tests.support.fleet import Fleet
from tests.support.published import IndexHost, public_directory

#: What no reading of a page may read whole.
LARGE = ("release", "upstream_file", "build", "attempt", "wheel", "queue")


def test_the_whole_index_of_a_hundredth() -> None:
    with database("percent") as catalogue, public_directory() as place:
        host = IndexHost(Fleet(catalogue), place)
        figures = measure(host, wheels=2)
        with connected(catalogue.conninfo("piwheels_publisher")) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM page_due")
            assert cursor.fetchone() == (0,)
        pages = len(list(host.tree.glob("simple/*/*.json.gz")))
        # Two for each, and the shards; of the OS release only what differs.
        assert figures.inodes < 3 * pages
        assert pages > 500


@pytest.mark.parametrize("query", ["projects_on_pages", "upstream_files_on_pages", "own_wheels_on_pages"])
def test_pages_are_read_without_reading_whole_tables(query: str) -> None:
    with database("percent") as catalogue, connected(catalogue.conninfo("piwheels_publisher")) as connection:
        contents.queries.see_one_moment(connection)
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {getattr(contents.queries, query).sql}", {"project_ids": list(range(1, 21))})
            plan = [line for (line,) in cursor.fetchall()]
    assert not [line for line in plan for table in LARGE if f"Seq Scan on {table}" in line], plan

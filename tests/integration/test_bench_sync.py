"""The benchmark of sync at one hundredth of the first run's size: what is asked for and written, not how fast."""

from bench.catalogue.shape import SIZES
from bench.catalogue.upstream import serving
from bench.sync import MEGABYTES, add_targets, measured
from piwheels_builder.db.embedded import EmbeddedDatabase
from tests.support.database import rows

PERCENT = SIZES["percent"]


def test_a_fill_and_what_follows_ask_for_nothing_twice(database: EmbeddedDatabase) -> None:
    add_targets(database)
    with serving("percent") as upstream:
        first = measured(database, upstream, "latest")
        # A request for each project and one for the page of all names; nothing was left to the slower visits.
        assert (first.filled, first.requests) == (PERCENT.projects, PERCENT.projects + 1)
        assert (first.releases, first.behind) == (PERCENT.releases, 0)
        assert first.megabytes <= MEGABYTES
        assert rows(database, "SELECT count(*) FROM queue") == [(first.wanted,)]
        # How much was left alone is what is not on the page of all names, or whose serial there is the known one.
        changes = upstream.change(20)
        changed = measured(database, upstream, "latest")
        assert (changed.visited, changed.requests, changed.behind) == (20, 21, 0)
        newest = [change["serial"] for change in changes if change["kind"] != "removed project"]
        assert rows(database, "SELECT count(*) FROM project WHERE serial >= %s", [min(newest)]) == [(len(newest),)]
        assert measured(database, upstream, "latest").requests == 1

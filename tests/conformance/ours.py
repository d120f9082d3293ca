"""Our own index with a case of everything that the suite looks at, made by a publication and served by the nginx of roles/index."""

from collections.abc import Iterator
from contextlib import contextmanager

from piwheels_builder.db.embedded import EmbeddedDatabase
from piwheels_builder.index.contents import PageRules
from tests.support.database import fresh_database
from tests.support.fleet import Fleet
from tests.support.published import IndexHost, nginx_serving, public_directory

PROJECTS = ("demo-a", "broken", "old", "bad")
_STATUSES = (("old", "archived", "done & over"), ("bad", "quarantined", "malware"))


@contextmanager
def serving_ours(server: EmbeddedDatabase) -> Iterator[str]:
    """Yields its URL. What it has nothing of is upstream's, which nobody can reach."""
    with fresh_database(server) as database, public_directory() as place:
        fleet = Fleet(database)
        fleet.add_builder("pi1")
        (place / "outbox").mkdir()
        host = IndexHost(fleet, place, PageRules(frozenset({"our-own"})))
        _publish(host)
        with nginx_serving(host.tree, place, "http://upstream.invalid/simple", ("our-own",)) as url:
            yield f"{url}/simple/"


def _publish(host: IndexHost) -> None:
    for project in PROJECTS:
        host.build(project, requires_python=">=3.8,<4", text=project)
    host.upstream_offers(
        "demo-a",
        "demo_a-1.0-cp312-cp312-win32.whl",
        requires_python="<4,>=3.12",
        upload_time="2026-01-02T03:04:05Z",
        provenance="http://upstream.invalid/provenance?a=1&b=2",
        metadata_sha256="c" * 64,
    )
    host.fleet.ask("UPDATE upstream_file SET url = 'http://upstream.invalid/files/' || filename")
    host.fleet.ask(
        "UPDATE upstream_file SET yanked = true, yanked_reason = 'it \"breaks\" <everything>' WHERE filename LIKE 'broken%%'"
    )
    for project, status, reason in _STATUSES:
        host.fleet.ask("UPDATE project SET status = %s, status_reason = %s WHERE name = %s", status, reason, project)
    host.publish()

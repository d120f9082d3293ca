"""What differs between upstream's page of all names and the catalogue: found with one request, in one pass, in some 200 MB.

The serials that the catalogue has are held by name, and let go as the page names them; what is left was not on it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from packaging.utils import canonicalize_name

from piwheels_builder.catalogue.freshness import queries as freshness_queries
from piwheels_builder.catalogue.listing import Listed
from piwheels_builder.catalogue.take_over import queries
from piwheels_builder.db.connect import Connection
from piwheels_builder.db.text import storable

#: Rows of the catalogue fetched at a time.
_ROWS = 20_000
#: Of the longest serial (json_page.said_serial).
_DIGITS = 18


@dataclass
class Survey:
    """Projects to visit, the one whose serial is the highest (that changed last) first: ``changed`` are known, ``new`` are not.

    ``missing`` are known, and upstream does not name them; ``forgotten`` failed before, and nobody knows them any more.
    ``serials`` is what the page says of those that failed before and are visited; of those that wait for another try, ``behind``
    count as not followed. ``listed`` is how many projects upstream names, ``known`` how many the catalogue has.
    """

    changed: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    serials: dict[str, int | None] = field(default_factory=dict)
    behind: int = 0
    listed: int = 0
    known: int = 0

    def without(self, own: frozenset[str]) -> "Survey":
        """The same without projects that do not come from upstream."""

        def others(names: list[str]) -> list[str]:
            return [name for name in names if name not in own] if own else names

        return replace(self, changed=others(self.changed), new=others(self.new), missing=others(self.missing))


@dataclass(frozen=True)
class _Failing:
    """A row of unfollowed_project: tried again when it is due, or its serial is another."""

    serial: int | None
    due: bool
    behind: bool


def survey(connection: Connection, listed: Iterable[Listed] | None) -> Survey:
    """Compare the page of all names with the catalogue; None: it is the page that was followed, and only what failed is due."""
    failing = {name: _Failing(*fields) for name, *fields in freshness_queries.pages_that_fail(connection)}
    if listed is None:
        due = [name for name, each in failing.items() if each.due]
        behind = sum(each.behind for each in failing.values() if not each.due)
        return Survey(changed=due, serials={name: failing[name].serial for name in due}, behind=behind)
    known = dict(_known_serials(connection))
    found = Survey(known=len(known))
    changed, new = _Latest(), _Latest()
    for project in listed:
        found.listed += 1
        if not failing and project.serial is not None and known.get(project.name) == project.serial:
            # Nothing to say, as of nearly all of 736,344.
            del known[project.name]
            continue
        name = project.name if project.name in known else storable(canonicalize_name(project.name))
        is_known = name in known
        serial = known.pop(name, None)
        failed = failing.pop(name, None)
        if failed and not failed.due and failed.serial in (None, project.serial):
            found.behind += failed.behind
        elif failed or not is_known or serial is None or serial != project.serial:
            if failed:
                found.serials[name] = project.serial
            (changed if is_known else new).add(project.serial or 0, name)
    found.missing = list(known)
    found.forgotten = [name for name in failing if name not in known]
    found.changed, found.new = changed.names(), new.names()
    return found


class _Latest(list[str]):
    """Names to be sorted by serial. Each is one text until then, half of what a pair would take."""

    def add(self, serial: int, name: str) -> None:
        self.append(f"{serial:0{_DIGITS}d}{name}")

    def names(self) -> list[str]:
        """By serial, the highest first: while a first fill goes on, the projects that live are read before those that rest."""
        self.sort(reverse=True)
        for place, key in enumerate(self):
            self[place] = key[_DIGITS:]
        return self


def _known_serials(connection: Connection) -> Iterator[tuple[str, int | None]]:
    with connection.cursor("known_serials") as cursor:
        cursor.itersize = _ROWS
        cursor.execute(queries.known_serials.sql)
        yield from cursor

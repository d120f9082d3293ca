"""The site as a part of publication: the pages of what is due before the index's are booked, then what moves.

Who calls: library/wheel_publication.py. Wheels are what the index is for: a fault of the site's own never keeps one from its pages.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg2

from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.db.connect import Connection
from piwheels_builder.errors import FleetError
from piwheels_builder.index.tree import Tree
from piwheels_builder.site.layout import STATE
from piwheels_builder.site.projects import queries
from piwheels_builder.site.refresh import SiteRules, refresh_overview, refresh_projects


def site_rules(told: Mapping[str, Any], private_projects: Collection[str]) -> SiteRules:
    """From the module's argument. Raises BadInput, naming the setting that is wrong."""
    policy = Policy.read(told["build_policy"], told["projects"], told["releases"])
    return SiteRules(policy, frozenset(private_projects))


@dataclass
class SiteInPublication:
    """What publication calls once wheels are booked. ``fault`` is what kept the site from being written; None where nothing did."""

    connection: Connection
    rules: SiteRules
    fault: str | None = None

    def before_pages(self, tree: Tree) -> None:
        """Write the site's pages of whatever the index is about to write the pages of, and what moves. Raises DatabaseAway,
        DatabaseRefused, StorageFault.
        """
        try:
            self._write(tree)
        except (FleetError, OSError, psycopg2.Error):
            raise
        except Exception as error:
            self.fault = f"{type(error).__name__}: {error}"
            self.connection.rollback()
            # What is due will be booked without its pages: without the state all are written anew.
            tree.write({STATE: None})

    def _write(self, tree: Tree) -> None:
        due = [project_id for (project_id,) in queries.due(self.connection)]
        self.connection.commit()
        refresh_projects(self.connection, tree, self.rules, due)
        refresh_overview(self.connection, tree, self.rules)

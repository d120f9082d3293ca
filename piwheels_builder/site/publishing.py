"""The site as a part of publication: the pages of what is due before the index's are booked, then what moves.

Who calls: library/wheel_publication.py.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.db.connect import Connection
from piwheels_builder.index.tree import Tree
from piwheels_builder.site.projects import queries
from piwheels_builder.site.refresh import SiteRules, refresh_overview, refresh_projects


def site_rules(told: Mapping[str, Any], private_projects: Collection[str]) -> SiteRules:
    """From the module's argument. Raises BadInput, naming the setting that is wrong."""
    policy = Policy.read(told["build_policy"], told["projects"], told["releases"])
    return SiteRules(policy, frozenset(private_projects))


@dataclass(frozen=True)
class SiteInPublication:
    """What publication calls once wheels are booked."""

    connection: Connection
    rules: SiteRules

    def before_pages(self, tree: Tree) -> None:
        """Write the site's pages of whatever the index is about to write the pages of, and what moves."""
        due = [project_id for (project_id,) in queries.due(self.connection)]
        self.connection.commit()
        refresh_projects(self.connection, tree, self.rules, due)
        refresh_overview(self.connection, tree, self.rules)

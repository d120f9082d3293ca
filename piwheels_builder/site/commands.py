"""The command ``site``."""

import argparse
import json
import os
from pathlib import Path

from packaging.utils import canonicalize_name
from rich.console import Console
from rich.progress import Progress

from piwheels_builder.catalogue.policy import Policy
from piwheels_builder.db.connect import connected
from piwheels_builder.errors import BadInput, UnknownProject
from piwheels_builder.index.tree import open_tree
from piwheels_builder.settings import FleetSettings, load_fleet
from piwheels_builder.site.projects import queries
from piwheels_builder.site.refresh import Refresh, SiteRules, refreshing


def run_site(options: argparse.Namespace) -> int:
    settings = load_fleet()
    if options.all and options.project:
        raise BadInput("name projects, or say --all, and not both")
    published = _published(settings)
    rules = SiteRules(Policy.of(settings), frozenset(map(canonicalize_name, settings.private_projects)))
    _become_owner(published)
    with (
        connected(settings.conninfo("publisher")) as connection,
        open_tree(published) as tree,
        refreshing(connection, tree, rules) as refresh,
    ):
        changed = _all(refresh) if options.all else refresh.projects(_ids(refresh, options.project))
        refresh.overview()
    told = {"pages_written": changed, "site": str(published / "site")}
    print(json.dumps(told) if options.json else f"{changed} projects' pages changed, in {told['site']}")
    return 0


def _all(refresh: Refresh) -> int:
    with Progress(console=Console(stderr=True)) as progress:
        line = progress.add_task("projects", total=queries.count_projects(refresh.connection))
        return refresh.all(lambda more: progress.advance(line, more))


def _ids(refresh: Refresh, names: list[str]) -> list[int]:
    wanted = sorted({canonicalize_name(name) for name in names})
    known = dict(queries.projects_named(refresh.connection, names=wanted))
    if missing := [name for name in wanted if name not in known]:
        raise UnknownProject(f"{', '.join(missing)}: not in the catalogue; `piwheels-builder sync {missing[0]}` reads it")
    return list(known.values())


def _published(settings: FleetSettings) -> Path:
    if settings.published_dir is None:
        raise BadInput("fleet.yml does not say where the published tree is: run `ansible-playbook provision.yml`")
    return Path(settings.published_dir)


def _become_owner(tree: Path) -> None:
    """As root, work as whom the tree belongs to, whom the database knows: what root wrote, that user could not replace."""
    if os.geteuid() == 0 and tree.exists() and (owner := tree.stat()).st_uid:
        os.setgroups([])
        os.setgid(owner.st_gid)
        os.setuid(owner.st_uid)

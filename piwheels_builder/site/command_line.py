"""The command line of the site's command. What it does is in commands.py, which is imported when it is asked for."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_SITE = """Bring the site up to date: the pages of named projects, or of those tried since the last time, and what moves.

Every publication does so by itself. With --all the page of every project is looked at, which takes some milliseconds each: after
files of the tree were lost, say. It runs on the index host, as the user that publishes or as root.
"""


def add_commands(commands: "Subparsers") -> None:
    """Register this room's command."""
    site = commands.add_parser("site", help="bring the site's pages up to date", description=_SITE)
    site.add_argument("project", nargs="*", metavar="PROJECT", help="these ones")
    site.add_argument("--all", action="store_true", help="every project")
    site.add_argument("--json", action="store_true", help="tell what was done as one object")
    site.set_defaults(run="piwheels_builder.site.commands:run_site")

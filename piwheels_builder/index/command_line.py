"""The command line of the index's commands. What they do is in commands.py, which is imported when one is asked for."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from piwheels_builder.index.word_command_line import add_words

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_MOVE = """Move wheels that hardly anybody asks for to larger, slower disks, and tell what lies where.

What goes is withdrawn, or of a release that is not among its project's newest, and that for a while. No URL changes: a symbolic
link takes the place of the file, so lock files go on finding it. Nothing is ever deleted. Safe to interrupt, and to run while the
fleet builds; run it as the user who publishes. Exit code 74 where a wheel is not there or has other bytes than were published (it
is named, and left alone), or where the cold disks have no room for what should go.

Example:  piwheels-builder move-wheels --check --published /var/lib/piwheels-builder/published /mnt/cold/wheels
"""


def add_commands(commands: "Subparsers") -> None:
    """Register this room's commands."""
    add_words(commands)
    _add_move(commands)


def _add_move(commands: "Subparsers") -> None:
    move = commands.add_parser(
        "move-wheels",
        help="move old wheels to a cold disk",
        description=_MOVE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    move.add_argument(
        "cold", type=Path, nargs="*", metavar="COLD_DIR", help="on the cold disks, filled in this order; none: only tell"
    )
    move.add_argument("--published", type=Path, required=True, metavar="DIR", help="the published tree (fleet_published_dir)")
    move.add_argument("--days", type=int, default=365, help="for how long a wheel stays at least (default: %(default)s)")
    move.add_argument("--releases", type=int, default=1, help="so many of a project's newest stay (default: %(default)s)")
    move.add_argument("--check", action="store_true", help="tell what would move, and move nothing")
    move.add_argument("--json", action="store_true", help="one object")
    move.set_defaults(run="piwheels_builder.index.commands:run_move_wheels")

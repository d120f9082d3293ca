"""The command line of the catalogue's commands. What they do is in commands.py, which is imported when one is asked for."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_CHOICE = "PROJECT[==VERSION]"
_FORCE = (
    "Build a release, or without a version all of a project, first and whatever fleet.yml says. A word on a version beats one on "
    "its project; a maintainer's opt-out beats both. Needs an sdist whose requires-python admits the target."
)
#: The words by which somebody says something about a project: name, brief and description.
_WORDS = (
    (
        "skip",
        "never build a project or release",
        "Never build a release, or without a version any of a project. Builds that nobody has leased yet leave the queue at once.",
    ),
    (
        "force",
        "build a project or release first, and whatever the policy says",
        _FORCE,
    ),
    (
        "opt-out",
        "honour a maintainer's wish that their project is not built",
        "Honour a maintainer's wish that their project is not built. Stronger than force. Wheels that are published stay.",
    ),
)


def add_commands(commands: "Subparsers") -> None:
    """Register this room's commands."""
    _add_sync(commands)
    _add_freshness(commands)
    _add_explain(commands)
    _add_sweep(commands)
    for name, brief, description in _WORDS:
        _add_word(commands.add_parser(name, help=brief, description=description))


def _add_sync(commands: "Subparsers") -> None:
    command = commands.add_parser(
        "sync",
        help="read projects from the upstream index and queue what is wanted of them",
        description="Read projects from the upstream index into the catalogue and queue what fleet.yml wants of them. "
        "A second sync of unchanged projects changes nothing. Exit code 0 only if every project could be read.",
    )
    command.add_argument("projects", metavar="PROJECT", nargs="*", help="default: all that fleet.yml lists")
    command.add_argument("--check", action="store_true", help="say what would change and change nothing")
    command.add_argument(
        "--accept-deletions", action="store_true", help="believe upstream that so many projects lost everything at once"
    )
    command.add_argument("--seconds", type=float, metavar="N", help="where all of upstream is followed: stop after so long")
    command.set_defaults(run="piwheels_builder.catalogue.commands:run_sync")


def _add_freshness(commands: "Subparsers") -> None:
    command = commands.add_parser(
        "freshness",
        help="say how far the catalogue is behind upstream",
        description="Say as of when the catalogue has everything that upstream has, how many projects are known to differ, and "
        "which cannot be read. Ends with an error where that is too long ago, for whatever raises alarms.",
    )
    command.add_argument("--alarm-after", type=float, metavar="MINUTES", default=60, help="too long ago (default: 60)")
    command.add_argument("--json", action="store_true", help="print an object")
    command.set_defaults(run="piwheels_builder.catalogue.commands:run_freshness")


def _add_explain(commands: "Subparsers") -> None:
    command = commands.add_parser(
        "explain",
        help="say why a release is built or not, and how far its build is",
        description="Say for every target why a release is wanted or not, by the catalogue as of the last sync, and where a build "
        "exists how far it is. Without a version: the newest release.",
    )
    command.add_argument("choice", metavar=_CHOICE)
    command.add_argument("--json", action="store_true", help="print a list of objects")
    command.set_defaults(run="piwheels_builder.catalogue.commands:run_explain")


def _add_sweep(commands: "Subparsers") -> None:
    command = commands.add_parser(
        "sweep",
        help="look through the whole catalogue for what a new target needs",
        description="Look through the whole catalogue for what targets need that were added since, or are wanted again. Builders "
        "go on meanwhile; interrupted, the next one goes on where it stopped.",
    )
    command.add_argument("--again", action="store_true", help="from the beginning, for every target: fleet.yml wants more")
    command.add_argument("--seconds", type=float, metavar="N", help="stop after so long (default: when all is looked at)")
    command.set_defaults(run="piwheels_builder.catalogue.sweep_commands:run_sweep")


def _add_word(command: argparse.ArgumentParser) -> None:
    command.add_argument("choice", metavar=_CHOICE)
    either = command.add_mutually_exclusive_group(required=True)
    either.add_argument("--reason", help="why; whoever asks for an explanation reads it")
    either.add_argument("--undo", action="store_true", help="take it back")
    command.set_defaults(run="piwheels_builder.catalogue.commands:run_word", word=command.prog.rpartition(" ")[2])

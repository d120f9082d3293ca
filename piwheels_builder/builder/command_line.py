"""The command line of the builder's commands. What they do is in commands.py, which is imported when one is asked for."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Subparsers") -> None:
    """Register this room's commands."""
    _add_build(commands)
    _add_serve(commands)
    _add_drain(commands)


def _add_build(commands: "Subparsers") -> None:
    about = "Build one release in the sandbox, for this machine, without fleet or database."
    command = commands.add_parser("build", help="build one release, to try it", description=about)
    command.add_argument("release", metavar="RELEASE", help="PROJECT==VERSION, PROJECT for its newest release, or an sdist's file")
    command.add_argument("--wheel-dir", type=Path, default=Path(), metavar="DIR", help="where the wheel goes (default: here)")
    command.add_argument("--json", action="store_true", help="print the attempt as JSON, also when it failed")
    command.add_argument(
        "--python", type=Path, metavar="FILE", help="the interpreter to build for (default: the one that runs this)"
    )
    command.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="where environments, sdists and logs are kept (default: the user's cache)"
    )
    command.set_defaults(run="piwheels_builder.builder.commands:run_build")


def _add_serve(commands: "Subparsers") -> None:
    serve = commands.add_parser("serve", help="run the builder service", description="Build what dispatch puts into the spool.")
    _add_settings(serve)
    serve.add_argument("--check", action="store_true", help="only say whether builds can run here, and what is in the way")
    serve.add_argument("--json", action="store_true", help="with --check: print all checks as JSON")
    serve.set_defaults(run="piwheels_builder.builder.commands:run_serve")


def _add_drain(commands: "Subparsers") -> None:
    about = "Have this builder begin no more builds; those that run end, and their results are recorded."
    drain = commands.add_parser("drain", help="let this builder run dry, before an upgrade", description=about)
    drain.add_argument("--reason", required=True, metavar="WHY", help="shown in its status")
    drain.add_argument(
        "--wait",
        type=float,
        metavar="SECONDS",
        help="wait until all has ended and is recorded; after so long end with 75, still draining",
    )
    _add_settings(drain)
    drain.set_defaults(run="piwheels_builder.builder.commands:run_drain")
    undrain = commands.add_parser("undrain", help="let this builder build again", description="Takes drain back.")
    _add_settings(undrain)
    undrain.set_defaults(run="piwheels_builder.builder.commands:run_undrain")


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument("--settings", type=Path, metavar="FILE", help="builder.yml, where it is not where provisioning puts it")

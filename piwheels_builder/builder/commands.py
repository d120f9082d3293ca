"""Commands of the builder."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from piwheels_builder.builder.serve import check_workshop, serve
from piwheels_builder.builder.stations import shown
from piwheels_builder.builder.trial import Trial, try_release
from piwheels_builder.errors import BuildFailed
from piwheels_builder.settings import load_builder

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_commands(commands: "Subparsers") -> None:
    _add_build(commands)
    _add_serve(commands)


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
    command.set_defaults(run=_build)


def _build(options: argparse.Namespace) -> int:
    with shown() as progress:
        trial = try_release(options.release, options.wheel_dir, options.python, options.state_dir, progress)
    if options.json:
        print(_as_json(trial))
    elif trial.wheel:
        print(trial.wheel)
    else:
        print(f"{trial.attempt.outcome}: {trial.attempt.error_line}\nThe log is {trial.log}", file=sys.stderr)
    return 0 if trial.wheel else BuildFailed.exit_code


def _as_json(trial: Trial) -> str:
    places = {"wheel_path": str(trial.wheel) if trial.wheel else None, "log_path": str(trial.log)}
    return json.dumps({**json.loads(trial.attempt.to_json()), **places}, indent=1)


def _add_serve(commands: "Subparsers") -> None:
    serve = commands.add_parser("serve", help="run the builder service", description="Build what dispatch puts into the spool.")
    serve.add_argument("--settings", type=Path, metavar="FILE", help="builder.yml, where it is not where provisioning puts it")
    serve.add_argument("--check", action="store_true", help="only say whether builds can run here: interpreters and sandbox")
    serve.set_defaults(run=_serve)


def _serve(options: argparse.Namespace) -> int:
    settings = load_builder(options.settings)
    if options.check:
        check_workshop(settings)
    else:
        serve(settings)
    return 0

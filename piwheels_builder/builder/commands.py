"""What the builder's commands do, each given the options that command_line.py reads. They return exit codes."""

import argparse
import json
import sys

from piwheels_builder.builder.stations import shown
from piwheels_builder.builder.trial import Trial, try_release
from piwheels_builder.errors import BuildFailed


def run_build(options: argparse.Namespace) -> int:
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


def run_serve(options: argparse.Namespace) -> int:
    # A single build needs neither the service nor what it speaks with the database through.
    from piwheels_builder.builder.serve import check_workshop, serve  # noqa: PLC0415
    from piwheels_builder.settings import load_builder  # noqa: PLC0415

    settings = load_builder(options.settings)
    if options.check:
        check_workshop(settings)
    else:
        serve(settings)
    return 0

"""What the builder's commands do, each given the options that command_line.py reads. They return exit codes."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from piwheels_builder.builder.stations import shown
from piwheels_builder.builder.trial import Trial, try_release
from piwheels_builder.errors import BuildFailed, NotReady

if TYPE_CHECKING:
    from piwheels_builder.settings import BuilderSettings


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
    from piwheels_builder.builder.serve import serve  # noqa: PLC0415
    from piwheels_builder.settings import load_builder  # noqa: PLC0415

    settings = load_builder(options.settings)
    if options.check:
        return _check(settings, as_json=options.json)
    serve(settings)
    return 0


def _check(settings: "BuilderSettings", *, as_json: bool) -> int:
    from piwheels_builder.builder import checks  # noqa: PLC0415

    found = checks.run_checks(settings)
    if as_json:
        print(checks.as_json(found))
    else:
        for check in found:
            print(f"{check.state:8}{check.name:14}{check.says}")
    return 0 if checks.is_ready(found) else NotReady.exit_code


def run_drain(options: argparse.Namespace) -> int:
    from piwheels_builder.builder.draining import drain, wait_until_drained  # noqa: PLC0415
    from piwheels_builder.settings import load_builder  # noqa: PLC0415

    state_dir = load_builder(options.settings).state_dir
    drain(state_dir, options.reason)
    if options.wait is not None:
        wait_until_drained(state_dir, options.wait, lambda line: print(line, file=sys.stderr, flush=True))
        print("drained")
    return 0


def run_undrain(options: argparse.Namespace) -> int:
    from piwheels_builder.builder.draining import undrain  # noqa: PLC0415
    from piwheels_builder.settings import load_builder  # noqa: PLC0415

    print("draining no more" if undrain(load_builder(options.settings).state_dir) else "it was not draining")
    return 0

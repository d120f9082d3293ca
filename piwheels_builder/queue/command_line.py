"""The command line of the queue's commands. What they do is in commands.py, which is imported when one is asked for."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_REPORT = """A table of builds: release, target, outcome, seconds, wheel; and what was asked for without a build, with the reason.

Exit code 2 if a build has failed, 66 if something asked for is not in the catalogue.
"""
_STATUS = """Every builder with its spool and outbox, and the unfinished builds by what holds them up.

Then the quarantined builders, with what may be done, and what builders did in the last week that no honest one does.
"""
_PLAN = """What is queued for each target, the days of one slot that it takes, when the fleet is done with it, what disk it takes.

Estimates come from the project's history, else from the size of the sdist, and are corrected by what the latest attempts took.
With build_policy missing also what upstream's wheels save, of a large catalogue by a sample of its projects.
"""
_REQUEUE = """Build again what has failed, is published, skipped or parked. Unfinished builds stay as they are.

With --all, every failed or parked build of the kind that the options name: once the header is installed that they lacked, say.
"""
_FAILURES = """What has failed or is parked, by outcome and by what was missing: how often, and the latest example.

It is the list of what to install or to mend; `requeue --all` with the same options then builds all of it again.
"""
_PAUSE = "Hand out no work to a builder, or to anybody. What it has in its spool it still builds."
_RESUME = """Hand out work again. The present rate of failure becomes the history that the breaker judges by.

A quarantined builder is believed again, and what it built is published.

After `resume --all`, builders that are paused by themselves stay so.
"""

_DISTRUST = """Believe nothing that a builder said since a moment. It is quarantined and stays so.

What it built since and is not published, and what it said had failed, is built again by others. What is published is listed; with
--withdraw it leaves its pages.
"""

_DEMAND = """What users asked for and could not get: it is built before everything else, for all targets.

It orders what is wanted, and makes nothing wanted that fleet.yml does not want; `force` does that. It is forgotten once nobody has
asked for two months.
"""
_DOWNLOADS = """
Downloads of the published wheels, by wheel and day, from the index's access logs: each client once a day, its further downloads and
those of bots apart. No address is kept.
"""
_DOWNLOADS_COUNT = """
Each line counts once, however logs are rotated and wherever this is killed. Pages that had to be redirected to
upstream become demand.
"""
_DEMAND_ADD = """Let a release go first, or without a version the newest release of a project, also the next ones.

From an access log of the index (nginx's combined format; - is standard input): the projects whose pages it had to redirect to
upstream, those asked for from the most addresses first.
"""


def add_commands(commands: "Subparsers") -> None:
    """Register this room's commands."""
    report = commands.add_parser("report", help="what became of builds", description=_REPORT)
    report.add_argument("project", nargs="*", metavar="PROJECT[==VERSION]", help="default: the projects the fleet is told to build")
    report.add_argument("--json", action="store_true", help="one object a line")
    report.set_defaults(run="piwheels_builder.queue.commands:run_report")

    status = commands.add_parser("status", help="builders, and what is unfinished", description=_STATUS)
    status.add_argument("--json", action="store_true", help="one object")
    status.set_defaults(run="piwheels_builder.queue.commands:run_status")

    plan = commands.add_parser("plan", help="what is queued, when it will be over, what disk it takes", description=_PLAN)
    plan.add_argument("--json", action="store_true", help="one object")
    plan.set_defaults(run="piwheels_builder.queue.forecast_commands:run_plan")

    again = commands.add_parser("requeue", help="build again what is finished or parked", description=_REQUEUE)
    again.add_argument("project", nargs="*", metavar="PROJECT[==VERSION]")
    again.add_argument("--all", action="store_true", help="of whatever project")
    _add_kind(again)
    again.add_argument("--reason", default="rebuild asked by the operator", help="it stands with each build (default: %(default)s)")
    again.add_argument("--dry-run", action="store_true", help="with --all: only count them")
    again.add_argument("--yes", action="store_true", help="with --all: do not ask, however many there are")
    again.set_defaults(run="piwheels_builder.queue.commands:run_requeue")

    failures = commands.add_parser("failures", help="what failed, by what was missing", description=_FAILURES)
    _add_kind(failures)
    failures.add_argument("--by", metavar="PART", help="divide by a part of the toolchain, for example gcc, glibc or setuptools")
    failures.add_argument("--json", action="store_true", help="one object a line")
    failures.set_defaults(run="piwheels_builder.queue.failure_commands:run_failures")

    pause = commands.add_parser("pause", help="hand out no work for a while", description=_PAUSE)
    _add_whom(pause)
    pause.add_argument("--reason", required=True)
    pause.set_defaults(run="piwheels_builder.queue.commands:run_pause")

    resume = commands.add_parser("resume", help="hand out work again", description=_RESUME)
    _add_whom(resume)
    resume.set_defaults(run="piwheels_builder.queue.commands:run_resume")

    distrust = commands.add_parser("distrust", help="unsay what a builder said", description=_DISTRUST)
    distrust.add_argument("builder", metavar="BUILDER")
    distrust.add_argument("--since", required=True, metavar="TIME", help="with its zone, for example 2026-01-31T12:00Z")
    distrust.add_argument("--reason", required=True, help="it stands with each build")
    distrust.add_argument("--withdraw", action="store_true", help="take what is published off its pages")
    distrust.set_defaults(run="piwheels_builder.queue.trust_commands:run_distrust")

    numbers = commands.add_parser("statistics", help="how many there are of everything")
    numbers.add_argument("--json", action="store_true", help="one object a line, for each target")
    numbers.set_defaults(run="piwheels_builder.queue.statistics_commands:run_statistics")

    _add_demand(commands.add_parser("demand", help="what users asked for and could not get", description=_DEMAND))
    _add_downloads(commands.add_parser("downloads", help="what users got from the index", description=_DOWNLOADS))


def _add_downloads(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(metavar="ACTION", required=True)
    count = actions.add_parser("count", help="count what is new in its access logs", description=_DOWNLOADS_COUNT)
    count.add_argument("--log-dir", default="/var/log/piwheels-index", metavar="DIR", help="where they lie (default: %(default)s)")
    count.set_defaults(run="piwheels_builder.queue.download_commands:run_downloads_count")
    show = actions.add_parser("show", help="the most downloaded projects, or the wheels of some by day")
    show.add_argument("project", nargs="*", metavar="PROJECT")
    show.add_argument("--days", type=int, default=30, metavar="N", help="no older ones (default: %(default)s)")
    show.add_argument("--most", type=int, default=20, metavar="N", help="no more projects (default: %(default)s)")
    show.add_argument("--json", action="store_true", help="one object a line")
    show.set_defaults(run="piwheels_builder.queue.download_commands:run_downloads_show")


def _add_demand(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser("add", help="let it go first", description=_DEMAND_ADD)
    add.add_argument("choice", nargs="*", metavar="PROJECT[==VERSION]")
    add.add_argument("--from-access-log", metavar="FILE", help="what the index had to redirect")
    add.add_argument("--most", type=int, default=1000, metavar="N", help="of a log, no more projects (default: %(default)s)")
    add.set_defaults(run="piwheels_builder.queue.demand_commands:run_demand_add")
    listing = actions.add_parser("list", help="show it, the most asked first")
    listing.add_argument("--json", action="store_true", help="one object a line")
    listing.set_defaults(run="piwheels_builder.queue.demand_commands:run_demand_list")
    drop = actions.add_parser("drop", help="let it go where it would have gone")
    drop.add_argument("choice", nargs="+", metavar="PROJECT[==VERSION]")
    drop.set_defaults(run="piwheels_builder.queue.demand_commands:run_demand_drop")


def _add_kind(command: argparse.ArgumentParser) -> None:
    """The options that queue.failures.Kind is made of."""
    command.add_argument("--outcome", help="only builds whose last attempt ended so, for example missing_header")
    command.add_argument("--missing", metavar="NAME", help="that lacked this header, program or module; %% stands for any text")
    command.add_argument("--toolchain", metavar="PART", help="made with this, for example 'gcc 12.2%%'")
    command.add_argument("--target", help="for this target, for example 'cp311-%%'")
    command.add_argument("--builder", metavar="NAME", help="on this builder")
    command.add_argument("--text", help="with this in the error line")


def _add_whom(command: argparse.ArgumentParser) -> None:
    whom = command.add_mutually_exclusive_group(required=True)
    whom.add_argument("builder", nargs="?", metavar="BUILDER")
    whom.add_argument("--all", action="store_true", help="everything")

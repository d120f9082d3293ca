"""What the catalogue's commands do, each given the options that command_line.py reads. They return exit codes."""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

import aiosql

from piwheels_builder.catalogue.explain import Explanation, explain
from piwheels_builder.catalogue.facts import known_project, wanted_targets
from piwheels_builder.catalogue.filling import Filling
from piwheels_builder.catalogue.freshness import freshness
from piwheels_builder.catalogue.own_sdists import OwnSdists
from piwheels_builder.catalogue.policy import Choice, Policy
from piwheels_builder.catalogue.sync import Ways, sync
from piwheels_builder.catalogue.sync_report import ProjectReport, SyncReport
from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.catalogue.wanting import QueueChange, apply_needs
from piwheels_builder.db.connect import Connection, connected
from piwheels_builder.errors import BadInput, StaleCatalogue
from piwheels_builder.queue.progress import printable
from piwheels_builder.settings import FleetSettings, load_fleet

#: Between two lines that say how far a fill is.
_SHOW_SECONDS = 5
_queries = aiosql.from_path(Path(str(files(__package__))) / "commands.sql", "psycopg2")


@dataclass(frozen=True)
class _Word:
    """A word that somebody says about a project: how to note it, and how to take it back."""

    note: Callable[[Connection, Choice, str], int]
    take_back: Callable[[Connection, Choice], int]


def run_sync(options: argparse.Namespace) -> int:
    settings = load_fleet()
    projects = [_whole(Choice.parse(project)) for project in options.projects] or None
    shown = _Shown()
    ways = Ways(options.check, options.accept_deletions, options.seconds, _print_project, shown.show, own_sdists(settings))
    with UpstreamIndex(settings.upstream, per_second=settings.upstream_requests_per_second or None) as upstream:
        report = sync(settings.conninfo("dispatcher"), upstream, Policy.of(settings), projects, ways)
    _print_summary(report, check=options.check)
    report.raise_failures()
    return 0


def own_sdists(settings: FleetSettings) -> OwnSdists:
    """As fleet.yml has them. Raises BadInput."""
    return OwnSdists.read(settings.own_sdists, settings.index, settings.private_projects)


class _Shown:
    """How far a fill is, in a line every few seconds."""

    def __init__(self) -> None:
        self._at = 0.0

    def show(self, filling: Filling) -> None:
        if time.monotonic() - self._at >= _SHOW_SECONDS and filling.seconds_left is not None:
            self._at = time.monotonic()
            minutes = filling.seconds_left / 60
            print(f"{filling.done} of {filling.projects} projects, {filling.done / filling.seconds:.0f}/s, {minutes:.0f} min left")


def run_freshness(options: argparse.Namespace) -> int:
    settings = load_fleet()
    with connected(settings.conninfo("reader")) as connection:
        found = freshness(connection)
    if options.json:
        print(json.dumps(found and found.told(), indent=1))
    else:
        print(found or "no sync yet")
        for each in found.examples if found else ():
            print(f"  {each.project}: {printable(each.error)} (since {each.since:%Y-%m-%d %H:%M})")
    if found is None or found.is_stale(options.alarm_after):
        raise StaleCatalogue(
            f"the catalogue is more than {options.alarm_after:g} minutes behind upstream: look at the last run of build.yml, or "
            "sync by hand to see why: `piwheels-builder sync`"
        )
    return 0


def run_explain(options: argparse.Namespace) -> int:
    settings = load_fleet()
    with connected(settings.conninfo("reader")) as connection:
        explanations = explain(connection, Choice.parse(options.choice), Policy.of(settings))
    if options.json:
        print(json.dumps([asdict(explanation) for explanation in explanations], indent=1))
    else:
        print("\n".join(map(_told, explanations)) or "the fleet builds for no target")
    return 0


def _told(explanation: Explanation) -> str:
    wanted = "wanted" if explanation.wanted else "not wanted"
    lines = [f"{explanation.project} {explanation.version} for {explanation.target}: {wanted}: {explanation.reason}"]
    if explanation.state:
        lines.append(f"  build: {explanation.state}: {explanation.state_reason}")
    if explanation.outcome:
        lines.append(
            f"  last attempt: {explanation.outcome}" + (f": {printable(explanation.error_line)}" if explanation.error_line else "")
        )
    if explanation.wheel:
        lines.append(f"  wheel: {explanation.wheel}")
    if explanation.import_result:
        why = f": {printable(explanation.import_detail)}" if explanation.import_detail else ""
        lines.append(f"  import: {explanation.import_result.replace('_', ' ')}{why}")
    for library, package in (explanation.libraries or {}).items():
        lines.append(f"  needs: {printable(library)}" + (f" (package {printable(package)})" if package else ""))
    if explanation.log:
        lines.append(f"  log, on the index: {explanation.log}")
    return "\n".join(lines)


def run_word(options: argparse.Namespace) -> int:
    settings, choice, word = load_fleet(), Choice.parse(options.choice), _WORDS[options.word]
    if options.reason is not None and not options.reason.strip():
        raise BadInput("--reason must say something")
    with connected(settings.conninfo("dispatcher")) as connection:
        written = word.take_back(connection, choice) if options.undo else word.note(connection, choice, options.reason)
        project = known_project(connection, choice.project)
        changes = apply_needs(connection, project, wanted_targets(connection), Policy.of(settings)) if project else ()
    print(f"{options.word} {choice}: " + (("taken back" if options.undo else "noted") if written else "nothing to change"))
    _print_queue(changes)
    if project is None:
        print(f"{choice.project} is not in the catalogue yet: the next `piwheels-builder sync` follows this")
    return 0


def force(connection: Connection, choice: Choice, policy: Policy, reason: str) -> tuple[QueueChange, ...]:
    """Have a release built first, whatever fleet.yml says, as the word ``force`` does. The caller commits."""
    _WORDS["force"].note(connection, choice, reason)
    project = known_project(connection, choice.project)
    return apply_needs(connection, project, wanted_targets(connection), policy) if project else ()


def _opt_out(connection: Connection, choice: Choice, reason: str) -> int:
    return int(_queries.opt_out(connection, project=_whole(choice), reason=reason))


def _take_back_opt_out(connection: Connection, choice: Choice) -> int:
    return int(_queries.take_back_opt_out(connection, project=_whole(choice)))


def _whole(choice: Choice) -> str:
    if choice.version is not None:
        raise BadInput(f"this is about all of a project: write {choice.project} without =={choice.version}")
    return choice.project


def _instruction(instruction: str) -> _Word:
    def note(connection: Connection, choice: Choice, reason: str) -> int:
        fields = {"project": choice.project, "version": choice.version or "", "instruction": instruction, "reason": reason}
        return int(_queries.instruct(connection, **fields))

    def take_back(connection: Connection, choice: Choice) -> int:
        fields = {"project": choice.project, "version": choice.version or "", "instruction": instruction}
        return int(_queries.take_back_instruction(connection, **fields))

    return _Word(note, take_back)


_WORDS = {
    "skip": _instruction("skip"),
    "force": _instruction("force"),
    "opt-out": _Word(_opt_out, _take_back_opt_out),
}


def _print_project(report: ProjectReport) -> None:
    if report.gone:
        print(f"{report.project}: gone from the upstream index")
    elif report.change:
        change = report.change
        print(f"{report.project}: {change.releases} releases, {change.files} files new or changed, {change.removed} files removed")
    _print_queue(report.queue)


def _print_queue(changes: tuple[QueueChange, ...]) -> None:
    for change in changes:
        print(f"  {'wanted' if change.reason is None else 'skipped'}: {change}")


def _print_summary(report: SyncReport, *, check: bool) -> None:
    synced = f"{report.visited - len(report.failures)} of {report.visited + report.left} projects"
    if not report:
        print(f"{synced}: nothing changed")
        return
    print(
        f"{synced}, {len(report.changed) + report.filled.projects} changed: {report.releases} releases, {report.files} files; "
        f"{len(report.wanted) + report.filled.wanted} builds wanted, {len(report.skipped)} skipped"
        + (" (check: nothing kept)" if check else "")
    )

"""What the commands ``withdraw``, ``yank`` and ``quarantine`` do, given the options that command_line.py reads."""

import argparse
from pathlib import Path

import aiosql

from piwheels_builder.catalogue.policy import Choice
from piwheels_builder.db.connect import Connection, connected
from piwheels_builder.db.text import storable
from piwheels_builder.errors import BadInput, UnknownProject
from piwheels_builder.index.words import QUARANTINE
from piwheels_builder.queue.progress import printable
from piwheels_builder.settings import load_fleet

_queries = aiosql.from_path(Path(__file__).with_name("word_commands.sql"), "psycopg2")


def run_word(options: argparse.Namespace) -> int:
    """Say a word, take it back, or list where it holds. Raises BadInput, UnknownProject."""
    settings = load_fleet()
    with connected(settings.conninfo("dispatcher")) as connection:
        if options.list:
            _list(connection, options.word)
            return 0
        choice = _choice(options)
        changed = _say(connection, options.word, choice, None if options.undo else options.reason)
    print(f"{options.word} {choice}: " + (("taken back" if options.undo else "noted") if changed else "nothing to change"))
    if changed:
        print("its page follows with the next publication (build.yml, or playbooks/publish.yml at once)")
    return 0


def _choice(options: argparse.Namespace) -> Choice:
    if options.choice is None:
        raise BadInput(f"say which: piwheels-builder {options.word} docopt --reason ...")
    if options.reason is not None and not options.reason.strip():
        raise BadInput("--reason must say something: clients read it")
    choice = Choice.parse(options.choice)
    if options.word == QUARANTINE and choice.version is not None:
        raise BadInput(f"all of a project is quarantined or none: write {choice.project}, or `yank {choice}`")
    return choice


def _say(connection: Connection, word: str, choice: Choice, reason: str | None) -> bool:
    """Note it, or with no reason take it back; its page is due then. Returns whether anything changed."""
    what = {"project": choice.project, "version": choice.version or "", "word": word}
    if reason is None:
        return bool(_queries.take_back(connection, **what))
    if not _queries.is_known(connection, project=choice.project, version=choice.version):
        raise UnknownProject(f"{choice} is not in the catalogue, so it has no page here: `piwheels-builder sync {choice.project}`")
    return bool(_queries.say(connection, reason=storable(reason.strip()), **what))


def _list(connection: Connection, word: str) -> None:
    for project, version, reason, given_at in _queries.said(connection, word=word):
        print(f"{Choice(project, version or None)}: {printable(reason)} (since {given_at:%Y-%m-%d %H:%M})")

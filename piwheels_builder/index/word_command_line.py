"""The command line of the operator's words on pages. What they do is in word_commands.py, imported when one is asked for."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_WHEN = " Clients see the reason from the next publication on."
#: Name, brief and description of each word.
_WORDS = (
    (
        "withdraw",
        "take our wheels of a release or project off the pages",
        "Take our wheels of a release, or without a version of a whole project, off the pages; upstream's files stay there. Holds "
        "for what is published now: what `requeue` builds after it is published again. URLs stay, and locked installs go on."
        + _WHEN,
    ),
    (
        "yank",
        "yank a release, upstream's files and ours",
        "Yank every file of a release, or without a version of a project, upstream's and ours: installers take it only where a "
        "requirement pins it (PEP 592). Builds nothing less; `skip` does that." + _WHEN,
    ),
    (
        "quarantine",
        "offer no file of a project, nor redirect to upstream",
        "Offer no file of it, neither ours nor upstream's, and redirect nobody there (PEP 792). URLs of wheels stay." + _WHEN,
    ),
)


def add_words(commands: "Subparsers") -> None:
    """Register the words."""
    for name, brief, description in _WORDS:
        _add_word(commands.add_parser(name, help=brief, description=description), name)


def _add_word(command: argparse.ArgumentParser, word: str) -> None:
    command.add_argument("choice", metavar="PROJECT" if word == "quarantine" else "PROJECT[==VERSION]", nargs="?")
    either = command.add_mutually_exclusive_group(required=True)
    either.add_argument("--reason", help="why; clients read it")
    either.add_argument("--undo", action="store_true", help="take it back")
    either.add_argument("--list", action="store_true", help="show where it holds")
    command.set_defaults(run="piwheels_builder.index.word_commands:run_word", word=word)

"""What the pages for people name exists: playbooks, targets of make, commands with their options, variables, links."""

import argparse
import re
from pathlib import Path

import pytest
import yaml

from piwheels_builder.cli import parser

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/reference.md"
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "tests/rack/README.md"]
page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
#: Said on the command line, or in a group's variables, without a default of its own.
SAID = {"retire", "try_out_hosts"}


def commands() -> dict[str, set[str]]:
    """The options of each command of piwheels-builder, by its name."""
    return {name: options(its) for action in subcommands(parser()) for name, its in action.choices.items()}


def subcommands(of: argparse.ArgumentParser) -> "list[argparse._SubParsersAction[argparse.ArgumentParser]]":
    return [action for action in of._actions if isinstance(action, argparse._SubParsersAction)]


def options(command: argparse.ArgumentParser) -> set[str]:
    """Also of what a command is divided into."""
    parts = [options(part) for action in subcommands(command) for part in action.choices.values()]
    return set(command._option_string_actions).union(*parts)


def variables() -> set[str]:
    files = [ROOT / "playbooks/group_vars/all.yml", *(ROOT / "roles").glob("*/defaults/main.yml")]
    return SAID.union(*(yaml.safe_load(path.read_text()) or {} for path in files))


def anchors(path: Path) -> set[str]:
    """What links into a page may name, as its headings give it."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@page
def test_every_playbook_exists(page: Path) -> None:
    named = set(re.findall(r"ansible-playbook (?:-i \S+ )?((?:playbooks/)?[a-z_]+\.yml)", page.read_text()))
    assert {name for name in named if not (ROOT / name).is_file()} == set()


@page
def test_every_target_of_make_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^    |`)make ([a-z][a-z-]+)", page.read_text(), re.MULTILINE)) <= targets


@page
def test_every_command_takes_the_options_that_it_is_shown_with(page: Path) -> None:
    known = commands()
    for name, words in re.findall(r"(?:^    |`|bin/)piwheels-builder ([a-z][a-z-]+)([^`#\n]*)", page.read_text(), re.MULTILINE):
        assert name in known
        assert set(re.findall(r"(?<!\S)--[a-z-]+", re.sub(r"'[^']*'", "", words))) <= known[name], name


def test_the_reference_lists_every_command() -> None:
    rows = re.findall(r"^\| (`.*?) \|", REFERENCE.read_text().partition("## Commands")[2].partition("\n## ")[0], re.MULTILINE)
    named = {word for row in rows for word in re.findall(r"`([a-z-]+)", row)}
    assert set(commands()) <= named


@page
def test_every_variable_that_is_set_exists(page: Path) -> None:
    said = page.read_text()
    named = {*re.findall(r"-e '?\{?\"?([a-z_]+)[=\"]", said), *re.findall(r"^\| `([a-z_]+)`.*\| ", said, re.MULTILINE)}
    prefixes = (*(f"{path.name}_" for path in (ROOT / "roles").iterdir()), "fleet_")
    assert {name for name in named if name.startswith(prefixes) or name in SAID} <= variables()


@page
def test_every_link_leads_somewhere(page: Path) -> None:
    for place, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text()):
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), place
        assert not anchor or anchor in anchors(target), (place, anchor)

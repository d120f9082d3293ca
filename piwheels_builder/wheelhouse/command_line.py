"""The command line of ``wheelhouse``. What it does is in commands.py, which is imported when one is asked for."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_WHEELHOUSE = """From requirements to wheels that install where there is no network: a whole set of them, for one target.

  on the index host   piwheels-builder wheelhouse want requirements.txt --target cp311-armv6l-bookworm --wait
  anywhere            piwheels-builder wheelhouse bundle requirements.txt --target cp311-armv6l-bookworm -o station.tar
  on the Pi           tar -xf station.tar && python3 station/install.py environment
"""
_LOCK = """Print requirements with hashes for one target: everything that is needed, each as the one wheel that installs there.

Exit code 66 where something has no wheel yet, with what to do; 65 where no set of releases fulfils what is required.
"""
_WANT = """Have the fleet build what is needed and has no wheel for the target, before everything else. On the index host.

What a release requires is often known only once it is built: --wait goes on until all is there. It may be interrupted.
Exit code 2 where something could not be built and nothing else will do.
"""
_BUNDLE = """Write an archive that installs where there is no network: wheels, hashed requirements, a manifest, and a script.

What the Pi has already, by the lists that it prints itself, is left out, and looked for when the bundle is installed:

  pip freeze --all > have.txt
"""
_VERIFY = """Say what differs between a bundle, as archive or unpacked, and what was made. Exit code 65 where anything does."""
_KEY = """Make a key to sign bundles with: FILE, which stays here, and FILE.pub, which goes to whoever installs or verifies."""


def add_commands(commands: "Subparsers") -> None:
    """Register this room's commands."""
    top = _add(commands, "wheelhouse", "wheels for where there is no network: want, lock, bundle, verify", _WHEELHOUSE)
    wheelhouse = top.add_subparsers(metavar="WHAT", required=True)
    for name, brief, description in (
        ("want", "have what is needed built first", _WANT),
        ("lock", "print hashed requirements", _LOCK),
        ("bundle", "write an archive that installs offline", _BUNDLE),
    ):
        command = _add(wheelhouse, name, brief, description)
        _add_question(command)
        if name == "want":
            command.add_argument("--wait", action="store_true", help="until all of it is built, or cannot be")
        elif name == "lock":
            command.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: print it")
        else:
            command.add_argument("-o", "--output", type=Path, metavar="FILE.tar", required=True)
            command.add_argument("--key", type=Path, metavar="FILE", help="sign it with this key (`wheelhouse key`)")
        command.set_defaults(run=f"piwheels_builder.wheelhouse.commands:run_{name}")
    _add_checks(wheelhouse)


def _add_checks(wheelhouse: "Subparsers") -> None:
    verify = _add(wheelhouse, "verify", "say what differs in a bundle", _VERIFY)
    verify.add_argument("bundle", type=Path, metavar="BUNDLE")
    verify.add_argument("--key", type=Path, metavar="FILE.pub", help="whose signature it must have; else hashes alone are checked")
    verify.set_defaults(run="piwheels_builder.wheelhouse.commands:run_verify")
    key = _add(wheelhouse, "key", "make a key to sign bundles with", _KEY)
    key.add_argument("file", type=Path, metavar="FILE")
    key.set_defaults(run="piwheels_builder.wheelhouse.commands:run_key")


def _add_question(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="requirements.txt, or a lock file: pylock.toml (PEP 751)"
    )
    command.add_argument("--target", required=True, metavar="TARGET", help="like cp311-armv6l-bookworm (Pi 1 and Zero: armv6l)")
    command.add_argument("--python-version", metavar="X.Y.Z", help="default: that of the target's OS release")
    command.add_argument(
        "--have", type=Path, action="append", default=[], metavar="FILE", help="pip freeze or dpkg-query -W of the Pi"
    )
    command.add_argument(
        "--index", metavar="URL", help="default: the fleet's own, on its index host; elsewhere the one that pip is configured with"
    )


def _add(commands: "Subparsers", name: str, brief: str, description: str) -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    return commands.add_parser(name, help=brief, description=description, formatter_class=shape)

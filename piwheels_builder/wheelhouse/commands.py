"""What the commands of ``wheelhouse`` do, each given the options that command_line.py reads. They return exit codes."""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from piwheels_builder.catalogue.upstream import UpstreamIndex
from piwheels_builder.errors import BadInput, FleetError
from piwheels_builder.settings import load_fleet
from piwheels_builder.targets import Target
from piwheels_builder.wheelhouse import bundle, manifest
from piwheels_builder.wheelhouse.files import Files
from piwheels_builder.wheelhouse.offers import Offers
from piwheels_builder.wheelhouse.present import read_present
from piwheels_builder.wheelhouse.python import TargetPython
from piwheels_builder.wheelhouse.required import read_required
from piwheels_builder.wheelhouse.resolving import Pick, Search, resolve


class NoWheel(FleetError):
    """Something that is needed has no wheel for the target yet."""

    exit_code = 66


@dataclass(frozen=True)
class Question:
    """What is asked, and of which index."""

    search: Search
    index: str | None
    #: As it was written, to be said again.
    words: tuple[str, ...]

    @classmethod
    def of(cls, options: argparse.Namespace) -> "Question":
        """Raises BadInput."""
        target = Target.parse(options.target)
        python = TargetPython.of(target, options.python_version)
        search = Search(read_required(options.files, python), python, read_present(options.have))
        return cls(search, options.index or _own_index(target), tuple(map(str, options.files)))

    def answer(self, store: Path) -> tuple[tuple[Pick, ...], Files]:
        """What to install, and where its files come from. Raises Unsolvable, UpstreamError."""
        with UpstreamIndex(self.index) as index, Console(stderr=True).status("reading the index and resolving"):
            files = Files(index, store)
            return resolve(self.search, Offers(index, files, self.search.python)), files


def run_lock(options: argparse.Namespace) -> int:
    with _scratch() as store:
        question = Question.of(options)
        picks, _ = question.answer(store)
    _refuse_missing(picks, question, options)
    text = bundle.requirements_text(picks, question.search.python)
    if options.output is None:
        sys.stdout.write(text)
    else:
        _written(options.output, text)
    return 0


def run_bundle(options: argparse.Namespace) -> int:
    question, output = Question.of(options), options.output
    if not output.parent.is_dir():
        raise BadInput(f"{output.parent} is no directory to write {output.name} into")
    with _scratch() as store:
        picks, files = question.answer(store)
        _refuse_missing(picks, question, options)
        wheels = _fetched(picks, files)
        asked = sorted(map(str, question.search.required.requirements))
        bundle.write_bundle(output, picks, question.search.python, asked=asked, wheels=wheels, key=options.key)
    present = sum(pick.offered is None for pick in picks)
    print(
        f"{output}: {len(wheels)} wheels for {question.search.python.target}, {output.stat().st_size / 1e6:.1f} MB"
        + (f"; {present} projects left out that are there already" if present else "")
        + ("" if options.key else "; not signed (--key)")
    )
    print(f"on the Pi: tar -xf {output.name} && python3 {output.stem}/{bundle.INSTALLER} DIRECTORY")
    return 0


def run_want(options: argparse.Namespace) -> int:
    # The database's half is loaded for whoever has one.
    from piwheels_builder.wheelhouse.waiting import want_all  # noqa: PLC0415

    question, settings = Question.of(options), load_fleet()

    def missing(unbuildable: Mapping[Pick, str]) -> list[Pick]:
        refused = frozenset((pick.project, pick.version) for pick in unbuildable)
        search = replace(question.search, newest=True, unbuildable=refused)
        with _scratch() as store:
            picks, _ = replace(question, search=search).answer(store)
        return [pick for pick in picks if is_to_be_built(pick, search)]

    return want_all(settings, question.search.python.target, missing, wait=options.wait)


def run_verify(options: argparse.Namespace) -> int:
    found, small = bundle.contents(options.bundle)
    text = small[manifest.MANIFEST]
    if options.key:
        manifest.check_signature(text, small.get(manifest.SIGNATURE), options.key)
    different = list(manifest.differences(manifest.read_files(text), found))
    if different:
        raise manifest.NotAsSigned("\n  ".join([f"{options.bundle} is not what was made:", *different]))
    signed = f"signed by the key of {options.key}" if options.key else "whose signature was not checked (--key)"
    print(f"{options.bundle}: {len(found)} files, all as in the manifest, {signed}")
    return 0


def run_key(options: argparse.Namespace) -> int:
    public = manifest.make_key(options.file)
    print(f"{options.file} signs bundles, keep it; {public} goes to whoever verifies or installs them")
    return 0


def is_to_be_built(pick: Pick, search: Search) -> bool:
    """Whether the fleet is to build it: it has no wheel, or none but the slow one."""
    offered = pick.offered
    return offered is not None and (offered.wheel is None or (offered.slow and search.can_be_built(offered)))


def _refuse_missing(picks: tuple[Pick, ...], question: Question, options: argparse.Namespace) -> None:
    """Raises NoWheel."""
    missing = [str(pick) for pick in picks if pick.offered and pick.offered.wheel is None]
    if missing:
        files = " ".join(question.words)
        raise NoWheel(
            f"no wheel for {question.search.python.target} of {', '.join(missing)}, and what those require is not known before. On "
            f"the index host: piwheels-builder wheelhouse want {files} --target {options.target} --wait"
        )


def _fetched(picks: tuple[Pick, ...], files: Files) -> list[Path]:
    columns = TextColumn("fetching {task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        shown = progress.add_task("", total=len(bundle.to_install(picks)))
        return bundle.fetch_wheels(picks, files, lambda path: progress.update(shown, advance=1, description=path.name))


def _own_index(target: Target) -> str | None:
    """The fleet's, on its index host, for whoever may read fleet.yml; None elsewhere: then it is pip's."""
    with suppress(BadInput):
        own = load_fleet().index
        return own and f"{own.rstrip('/')}/{target.os_release}/simple/"
    return None


def _written(output: Path, text: str) -> None:
    try:
        output.write_text(text)
    except OSError as error:
        raise BadInput(f"{output} cannot be written ({error.strerror})") from error


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="wheelhouse-") as directory:
        yield Path(directory)

"""One build: from a leased build to a checked wheel and an attempt, through every station."""

import errno
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from piwheels_builder.builder.area import Area
from piwheels_builder.builder.attempt import Attempt, BuiltWheel
from piwheels_builder.builder.bare import prepare as prepare_bare
from piwheels_builder.builder.build_system import read_build_system
from piwheels_builder.builder.bundling import bundle
from piwheels_builder.builder.collecting import collect
from piwheels_builder.builder.ending import BuildEnded
from piwheels_builder.builder.fetch import fetch
from piwheels_builder.builder.importing import try_import
from piwheels_builder.builder.interpreter import Interpreter, describe
from piwheels_builder.builder.libraries import packages_of
from piwheels_builder.builder.log import BuildLog, plain
from piwheels_builder.builder.making import Bench, Source, make_wheel
from piwheels_builder.builder.sandbox import prepare
from piwheels_builder.builder.tries import try_until_it_fits
from piwheels_builder.builder.unpack import unpack
from piwheels_builder.builder.workshop import Workshop
from piwheels_builder.queue.batch import LeasedBuild
from piwheels_builder.states import Blame, ImportResult, Outcome
from piwheels_builder.wheels import InspectedWheel

_LONGEST_ERROR_LINE = 500


def build(
    leased: LeasedBuild,
    lease_id: UUID,
    workshop: Workshop,
    delivery: Path,
    progress: Callable[[str], None] = lambda station: None,  # noqa: ARG005
) -> Attempt:
    """Build one release. log.txt and the wheel, if there is one, go into the existing, empty directory ``delivery``.

    Whatever the release does, and whatever fails here, is an attempt with its outcome; only KeyboardInterrupt and SystemExit pass,
    with nothing left running. ``progress`` is told the name of each station as it begins.
    """
    attempt = Attempt(lease_id, leased.build_id, leased.project, leased.version, Outcome.BUILT, datetime.now(UTC), 0.0)
    bench = Bench(leased, workshop, delivery, progress)
    try:
        wheel = _build_logged(bench, attempt.directory_name)
        attempt = replace(attempt, wheel=BuiltWheel(wheel.filename, wheel.sha256, wheel.size, *bench.found))
    except BuildEnded as ended:
        attempt = replace(
            attempt,
            outcome=ended.outcome,
            error_line=_one_line(ended.reason),
            log_tail=_tail(delivery),
            mechanism=ended.mechanism,
            missing=ended.missing,
        )
    seconds = time.monotonic() - bench.began
    return replace(attempt, seconds=seconds, peak_memory=bench.learned.peak_memory, toolchain=bench.learned.toolchain)


def _build_logged(bench: Bench, name: str) -> InspectedWheel:
    """Every way in which a build can end badly becomes a BuildEnded here, and the end of the log."""
    path = bench.delivery / "log.txt"
    try:
        with BuildLog(path, bench.began) as log:
            wheel = try_until_it_fits(bench, log, name, _through_all_stations)
            log.note(f"built {wheel.filename}")
    except BuildEnded as ended:
        _note_if_possible(path, bench, f"{ended.outcome}: {ended.reason}")
        if (excused := _excused(bench, ended)) is ended:
            raise
        _note_if_possible(path, bench, f"{excused.outcome}: {excused.reason}")
        raise excused from ended
    except Exception as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            _note_if_possible(path, bench, f"disk_full: {error}")
            raise BuildEnded(Outcome.DISK_FULL, str(error)) from error
        _note_if_possible(path, bench, "builder_fault:\n" + traceback.format_exc())
        raise BuildEnded(Outcome.BUILDER_FAULT, f"{type(error).__name__}: {error}") from error
    return wheel


def _through_all_stations(bench: Bench, log: BuildLog, area: Area) -> InspectedWheel:
    python = _interpreter(bench)
    bench.begin(f"fetching {bench.leased.sdist.filename}", log)
    relay = bench.workshop.relay
    sdist = relay.relayed(bench.leased.sdist, bench.leased.project) if relay else bench.leased.sdist
    archive = fetch(sdist, bench.workshop.caches.sdists, relay=relay)
    bench.begin("unpacking", log)
    directory = unpack(archive, area.source)
    source = Source(area, directory, read_build_system(directory), python)
    (prepare if bench.workshop.sandboxed else prepare_bare)(area, bench.workshop.build_uid)
    make_wheel(bench, log, source)
    bench.begin("checking the wheel", log)
    wheel = collect(area, bench.leased, bench.delivery)
    if bench.workshop.bundles_libraries:
        wheel = bundle(bench, log, wheel, python)
    _prove(bench, log, wheel, python)
    return wheel


def _prove(bench: Bench, log: BuildLog, wheel: InspectedWheel, python: Interpreter) -> None:
    """Note what the wheel needs, and whether it imports. Raises BuildEnded where it does not and must."""
    known = bench.workshop.caches.directory / "cache/libraries.json"
    packages = packages_of(wheel.libraries, python.executable, known)
    imported = try_import(bench, log, wheel, python)
    log.note(f"import: {imported.result}{f': {imported.detail}' if imported.detail else ''}")
    bench.found = (replace(imported, detail=imported.detail and _one_line(imported.detail)), packages)
    if imported.result is ImportResult.FAILED and not bench.workshop.publishes_failing_import(bench.leased.project):
        (bench.delivery / wheel.filename).unlink()
        raise BuildEnded(Outcome.UNIMPORTABLE, str(imported.detail), missing=imported.missing)


def _interpreter(bench: Bench) -> Interpreter:
    wanted = bench.leased.target.python
    path = bench.workshop.pythons.get(wanted)
    if path is None:
        raise BuildEnded(Outcome.BUILDER_FAULT, f"this builder has no interpreter for {wanted}: add one to pythons in builder.yml")
    python = describe(path)
    if python.python_abi != wanted:
        raise BuildEnded(Outcome.BUILDER_FAULT, f"{path} is {python.python_abi}, and not {wanted} as builder.yml says")
    return python


def _excused(bench: Bench, ended: BuildEnded) -> BuildEnded:
    """The same end, or another one where this host's file server may be to blame and the release is said to be."""
    server = bench.workshop.file_server
    if server is None or ended.outcome.blame is not Blame.RELEASE:
        return ended
    trouble = server.trouble_since(bench.began)
    return ended if trouble is None else BuildEnded(Outcome.NETWORK_AWAY, f"{trouble}; else this would be {ended.outcome}")


def _note_if_possible(path: Path, bench: Bench, line: str) -> None:
    # The disk may be full, which is then what the attempt says already.
    with suppress(OSError), BuildLog(path, bench.began) as log:
        log.note(line)


def _one_line(text: str) -> str:
    return " ".join(plain(text.encode(errors="replace")).split())[:_LONGEST_ERROR_LINE]


def _tail(delivery: Path) -> str | None:
    with suppress(OSError), BuildLog(delivery / "log.txt") as log:
        return log.tail()
    return None

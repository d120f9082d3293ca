"""A project as lines of PostgreSQL's COPY, by table."""

from datetime import UTC, datetime, timedelta
from functools import cache

from bench.catalogue.generate import Catalogue, File, Project
from bench.catalogue.history import Attempt, Failure, History, history_of
from bench.catalogue.pages import etag

#: In the order in which rows refer to each other.
TABLES = ("project", "release", "upstream_file", "build", "attempt", "wheel", "queue")
#: The history ended then and took as long as the first run's ten days with 19 Pis, for each 752,817 releases. It was written
#: project after project: attempts of one project lie side by side, where a fleet's would be scattered.
_ENDED = datetime(2026, 11, 1, tzinfo=UTC)
_AT_LAST = str(_ENDED)
_SECONDS_PER_RELEASE = 10 * 86_400 / 752_817

Lines = dict[str, list[str]]


def lines_of(catalogue: Catalogue, project: Project, lines: Lines) -> None:
    """Add the rows of a project to ``lines``."""
    project_id = project.number + 1
    lines["project"].append(
        f"{project_id}\t{project.name}\t{project.serial}\t{etag(catalogue, project.number, project.serial)}\t{_AT_LAST}\n"
    )
    first_id = catalogue.releases_before[project.number] + 1
    for place, release in enumerate(project.newest_first(), 1):
        release_id = first_id + release.place
        lines["release"].append(f"{release_id}\t{project_id}\t{release.version}\t{release.spelling}\t{place}\n")
        lines["upstream_file"].extend(_file_line(project_id, release_id, file) for file in release.files)
    _add_history(catalogue, project_id, history_of(catalogue, project), lines)


def _file_line(project_id: int, release_id: int, file: File) -> str:
    return (
        f"{project_id}\t{file.filename}\t{release_id}\t{file.kind}\t{_text(file.refusal)}\t{file.url}\t{file.sha256}\t{file.size}\t"
        f"{_text(file.requires_python)}\t{file.yanked}\t{_text(file.yanked_reason)}\t{file.upload_time}\t{_text(file.metadata_sha256)}\n"
    )


def _add_history(catalogue: Catalogue, project_id: int, history: History, lines: Lines) -> None:
    recorded: dict[int, str] = {}
    for attempt in history.attempts:
        when = recorded[attempt.build_id] = _moment(catalogue, attempt)
        _add_attempt(project_id, attempt, when, lines)
    lines["build"].extend(
        f"{build.build_id}\t{build.release_id}\t{build.target_id}\t{build.state}\t{build.reason}\t"
        f"{recorded.get(build.build_id, _AT_LAST)}\n"
        for build in history.builds
    )
    lines["queue"].extend(
        f"{queued.build_id}\t{queued.target_id}\t{queued.memory_class}\t{queued.priority}\t{queued.estimate_seconds:.2f}\t"
        f"{_text(queued.waits_for)}\n"
        for queued in history.queued
    )


def _add_attempt(project_id: int, attempt: Attempt, when: str, lines: Lines) -> None:
    lines["attempt"].append(
        f"{attempt.attempt_id}\t{attempt.build_id}\t{project_id}\t{attempt.lease_id}\t{attempt.builder_id}\t{attempt.memory_class}\t"
        f"{attempt.outcome}\t{when}\t{attempt.seconds:.2f}\t{attempt.peak_memory}\t{_said(attempt.failure)}\t{when}\t"
        f"{_log(attempt.failure, when)}\n"
    )
    if attempt.wheel is not None:
        digest = f"{attempt.lease_id}{attempt.lease_id}"
        lines["wheel"].append(
            f"{attempt.attempt_id}\t{attempt.build_id}\t{attempt.attempt_id}\t{attempt.wheel}\t{digest}\t{attempt.wheel_size}\t"
            f"\\N\t{digest[::-1]}\t{when}\n"
        )


def _moment(catalogue: Catalogue, attempt: Attempt) -> str:
    return str(_ENDED - timedelta(seconds=int(_SECONDS_PER_RELEASE * catalogue.size.releases * (1 - attempt.passed))))


@cache
def _said(failure: Failure | None) -> str:
    """error_line, toolchain, missing."""
    error, missing = (failure.error_line, failure.missing) if failure else (None, None)
    return f"{_text(error)}\t{_TOOLCHAIN}\t{_text(missing)}"


def _log(failure: Failure | None, when: str) -> str:
    """log_size, log_stored_at: the index host has all logs, and so no row has the end of one (log_stored)."""
    return f"{failure.log_size}\t{when}" if failure and failure.log_size else "\\N\t\\N"


_TOOLCHAIN = "CPython 3.11.2; gcc 12.2.0; setuptools 80.9.0; wheel 0.45.1"


def _text(value: object) -> str:
    """A value as COPY's text format has it."""
    if value is None:
        return "\\N"
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")

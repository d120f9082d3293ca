"""The table of what builds print, and what decides when several lines speak."""

import time

import pytest

from piwheels_builder.builder.process import Ended, Stop
from piwheels_builder.states import Outcome
from piwheels_builder.triage.classify import Diagnosis, classify
from piwheels_builder.triage.pattern import Pattern, Where
from piwheels_builder.triage.patterns import PATTERNS
from piwheels_builder.triage.requirements import missing_requirement
from piwheels_builder.triage.shown import read, shortened, telling

FAILED = Ended(91)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.example[:40])
def test_each_example(pattern: Pattern) -> None:
    """By this very row: no stronger one takes its example away."""
    assert telling(read(pattern.example)) or pattern.where is Where.LAST_WORDS
    assert next(row for row in PATTERNS if row.compiled.search(pattern.example) and row.where is pattern.where) is pattern
    found = classify(f"running build\n{pattern.example}\n", FAILED)
    assert (found.outcome, found.error_line) == (pattern.outcome, shortened(pattern.example.splitlines()[-1]))
    assert (found.missing is not None) == ("(?P<missing>" in pattern.expression)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.expression[:40])
def test_no_expression_is_slow(pattern: Pattern) -> None:
    """Lines of strangers, made to be slow: cut as classify cuts them."""
    for line in ("a" * 1000, "error: " * 142, "No module named '" + "a" * 900, "could not find " + " " * 900, "x.c:1:" * 160):
        began = time.monotonic()
        pattern.compiled.search(line)
        assert time.monotonic() - began < 1


def test_the_reason_counts_and_not_its_consequence() -> None:
    log = "a.c:1:10: fatal error: ffi.h: No such file or directory\ncompilation terminated.\n" + "note\n" * 40
    found = classify(log + "error: command '/usr/bin/gcc' failed with exit code 1\n", FAILED)
    assert found == classify(log, FAILED)
    assert found.outcome is Outcome.MISSING_HEADER


def test_the_last_words_count_more_than_what_was_overcome() -> None:
    log = "ModuleNotFoundError: No module named 'ConfigParser'\n" + "compiling\n" * 50 + "AttributeError: cython_sources\n"
    assert classify(log, FAILED).outcome is Outcome.PYTHON_API_GONE


@pytest.mark.parametrize(
    ("ended", "outcome"),
    [
        (Ended(-9, Stop("timeout", "wall clock")), Outcome.TIMEOUT),
        (Ended(-9, Stop("log_flood", "log cap")), Outcome.LOG_FLOOD),
        (Ended(-9, Stop("memory", "kernel")), Outcome.OUT_OF_MEMORY),
        (Ended(-9, Stop("disk", "watcher")), Outcome.DISK_LIMIT),
        (Ended(-9, Stop("processes", "watcher")), Outcome.PROCESS_LIMIT),
        (Ended(-9), Outcome.KILLED),
        # It killed itself: what we or the kernel kill comes with a Stop.
        (Ended(137), Outcome.BUILD_ERROR),
        (Ended(1), Outcome.BUILD_ERROR),
    ],
)
def test_how_it_ended(ended: Ended, outcome: Outcome) -> None:
    assert classify("building\n", ended).outcome is outcome


def test_a_sandbox_that_does_not_start_is_our_fault() -> None:
    found = classify("bwrap: Can't mount proc\n", Ended(1), began=False)
    assert found == Diagnosis(Outcome.BUILDER_FAULT, "the sandbox did not start: bwrap: Can't mount proc")
    assert classify("", Ended(1), began=False).outcome is Outcome.BUILDER_FAULT


def test_a_release_cannot_blame_the_sandbox() -> None:
    for log in ("bwrap: Can't mount proc\n", "noise\n" * 9000 + "bwrap: Can't mount proc\n"):
        assert classify(log, Ended(1)).outcome is Outcome.BUILD_ERROR


@pytest.mark.parametrize("words", ["No space left on device", "[Errno 122] Disk quota exceeded", "ENOSPC"])
def test_a_full_disk_is_believed_when_it_was_full(words: str) -> None:
    log = f"compiling\nOSError: {words}: 'x'\ncleaning up\n"
    assert classify(log, FAILED, disk_was_full=True) == Diagnosis(Outcome.DISK_FULL, f"OSError: {words}: 'x'")
    assert classify(log, FAILED) == Diagnosis(Outcome.BUILD_ERROR, f"OSError: {words}: 'x'")
    assert classify("cleaning up\n", FAILED, disk_was_full=True).outcome is Outcome.DISK_FULL


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        ("except ValueError, error:", Outcome.PYTHON2_ONLY),
        ("exec code in namespace", Outcome.PYTHON2_ONLY),
        ("print `value`", Outcome.PYTHON2_ONLY),
        ("x = `value`", Outcome.PYTHON2_ONLY),
        ("if a <> b:", Outcome.PYTHON2_ONLY),
        ("x = ur'text'", Outcome.PYTHON2_ONLY),
        ("os.chmod(path, 0755)", Outcome.PYTHON2_ONLY),
        ("mask = 0xFFFFFFFFL", Outcome.PYTHON2_ONLY),
        ("run(async=True)", Outcome.PYTHON_API_GONE),
        ("x = = 3", Outcome.BUILD_ERROR),
        ("printed = (1", Outcome.BUILD_ERROR),
        ("match command.split():", Outcome.BUILD_ERROR),
        ('print(f"{x!r:^{width}}" y)', Outcome.BUILD_ERROR),
    ],
)
def test_a_syntax_error_is_python_2_only_by_its_line(source: str, outcome: Outcome) -> None:
    log = f'  File "setup.py", line 3\n    {source}\n        ^^^\nSyntaxError: invalid syntax\n'
    assert classify(log, FAILED) == Diagnosis(outcome, "SyntaxError: invalid syntax")


def test_what_it_exits_with_are_its_last_words_however_long() -> None:
    log = "fatal error: a.h: No such file\nSystemExit: This package is deprecated, use other\n" + "and more of this\n" * 40
    assert classify(log, FAILED) == Diagnosis(Outcome.DELIBERATE_REFUSAL, "This package is deprecated, use other")


def test_notes_on_the_way_refuse_nothing() -> None:
    log = "warning: use build instead. please use build instead\n" + "running\n" * 20 + "AssertionError: no\n"
    assert classify(log, FAILED).outcome is Outcome.BUILD_ERROR


def test_the_error_line_is_short_and_says_nothing_of_the_sandbox() -> None:
    path = "/env/lib/python3.11/site-packages/setuptools/__init__.py"
    found = classify(f"ImportError: cannot import name 'Feature' from 'setuptools' ({path})\n", FAILED)
    assert found.error_line == "ImportError: cannot import name 'Feature' from 'setuptools' (setuptools/__init__.py)"
    assert classify("/build/src/x-1.0/a.c:1:1: error: no\n", FAILED).error_line == "a.c:1:1: error: no"
    long = classify("gcc " + "-O2 " * 100 + "ld: cannot find -lfoo " + "-O2 " * 100, FAILED)
    assert "cannot find -lfoo" in long.error_line
    assert len(long.error_line) <= 300


def test_the_name_of_what_is_missing_is_short() -> None:
    assert classify("No package '" + "x" * 900 + "' found\n", FAILED).missing == "x" * 100


def test_an_exception_says_more_than_what_is_printed_after_it() -> None:
    log = "Traceback (most recent call last):\n  File x\n    raise Odd('y')\nOdd: the flux is low\nno error here\nSystemExit: 1\n"
    assert classify(log, FAILED) == Diagnosis(Outcome.BUILD_ERROR, "Odd: the flux is low")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("cause: Because there is no version of setuptools==9999 and you require setuptools==9999, we can", "setuptools"),
        ("cause: Because no-such-name was not found in the package registry and you require no-such-name,", "no-such-name"),
        ("cause: you require wheel<1 and wheel>2, which are incompatible", "wheel"),
        ("cause: Because only cython<4 is available and you require cython>=4, we can conclude", "cython"),
        ("cause: Because numpy{platform_machine != 'aarch64'}==1.19.3 has no usable wheels and you require", "numpy"),
        ("hint: Wheels are required for `blis` because building from source is disabled for all packages", "blis"),
        ("error: something else", None),
    ],
)
def test_the_requirement_that_is_missing(said: str, name: str | None) -> None:
    assert missing_requirement(f"error: No solution found when resolving dependencies\n  {said}\n") == name


def test_without_any_words_there_is_still_a_line() -> None:
    assert classify("", Ended(3)).error_line == "the backend ended with exit code 3"
    assert classify("", Ended(91), "ValueError: x").error_line == "ValueError: x"


def test_every_expression_compiles_once() -> None:
    assert len({pattern.expression for pattern in PATTERNS}) == len(PATTERNS)
    assert all(pattern.compiled is pattern.compiled for pattern in PATTERNS)

"""The table of what builds print, and what decides when several lines speak."""

import re
import time

import pytest

from piwheels_builder.builder.process import Ended, Stop
from piwheels_builder.states import Outcome
from piwheels_builder.triage.classify import classify
from piwheels_builder.triage.patterns import PATTERNS, Pattern

FAILED = Ended(91)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.example[:40])
def test_each_example(pattern: Pattern) -> None:
    assert pattern.compiled.search(pattern.example)
    found = classify(f"running build\n{pattern.example}\n", FAILED)
    assert (found.outcome, found.error_line) == (pattern.outcome, pattern.example)


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
        (Ended(-9), Outcome.KILLED),
        (Ended(137), Outcome.OUT_OF_MEMORY),
        (Ended(1), Outcome.BUILD_ERROR),
    ],
)
def test_how_it_ended(ended: Ended, outcome: Outcome) -> None:
    assert classify("building\n", ended).outcome is outcome


def test_a_sandbox_that_does_not_start_is_our_fault() -> None:
    assert classify("bwrap: Can't mount proc\n", Ended(1)).outcome is Outcome.BUILDER_FAULT
    assert classify("running\nbwrap: Can't mount proc\n", Ended(1)).outcome is Outcome.BUILD_ERROR


def test_without_any_words_there_is_still_a_line() -> None:
    assert classify("", Ended(3)).error_line == "the backend ended with exit code 3"
    assert classify("", Ended(91), "ValueError: x").error_line == "ValueError: x"


def test_every_expression_compiles_once() -> None:
    assert len({pattern.expression for pattern in PATTERNS}) == len(PATTERNS)
    assert all(isinstance(pattern.compiled, re.Pattern) for pattern in PATTERNS)

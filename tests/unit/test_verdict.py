"""What it means how imports ended."""

import pytest

from piwheels_builder.builder.attempt import Imported
from piwheels_builder.builder.process import Ended, Stop
from piwheels_builder.builder.verdict import Answer, verdict
from piwheels_builder.states import ImportResult

LIBRARY = "ImportError: libopenblas.so.0: cannot open shared object file: No such file or directory"
FAILED, UNTRIED = ImportResult.FAILED, ImportResult.UNTRIED
FAILURES = {
    "a missing library is named": (LIBRARY, FAILED, "libopenblas.so.0"),
    "a missing module is named": ("ModuleNotFoundError: No module named 'numpy'", FAILED, "numpy"),
    "an undefined symbol": ("ImportError: /build/site/fast.so: undefined symbol: nothing", FAILED, None),
    "whatever else it raises": ("KeyError: 'HOME'", FAILED, None),
    "leaving Python": ("SystemExit: 3", FAILED, None),
    "a module for a Pi": ("RuntimeError: This module can only be run on a Raspberry Pi!", UNTRIED, None),
    "a bus": ("FileNotFoundError: [Errno 2] No such file or directory: '/dev/i2c-1'", UNTRIED, None),
    "a screen": ("KeyError: 'DISPLAY'", UNTRIED, None),
    "the network": ("URLError: <urlopen error [Errno -3] Temporary failure in name resolution>", UNTRIED, None),
    "the code at fault, whatever it names": ("AttributeError: module 'os' has no attribute 'gpio'", FAILED, None),
    "too little memory": ("MemoryError: ", UNTRIED, None),
}


@pytest.mark.parametrize(("failure", "result", "missing"), FAILURES.values(), ids=FAILURES)
def test_a_failure(failure: str, result: ImportResult, missing: str | None) -> None:
    told = verdict(Answer("demo", failure), Ended(91), began=True)
    assert (told.result, told.missing) == (result, missing)
    assert f"import demo: {failure}" in (told.detail or "")


@pytest.mark.parametrize(
    ("limit", "result"),
    [("memory", UNTRIED), ("crowded", UNTRIED), ("disk", UNTRIED), ("timeout", FAILED), ("stalled", FAILED), ("processes", FAILED)],
)
def test_an_import_that_was_stopped(limit: str, result: ImportResult) -> None:
    told = verdict(Answer("demo"), Ended(137, Stop(limit, "watcher")), began=True)
    assert told.result is result
    assert "import demo" in (told.detail or "")


def test_only_what_is_done_and_ended_well_has_passed() -> None:
    assert verdict(Answer(done=True), Ended(0), began=True) == Imported(ImportResult.PASSED)
    assert verdict(Answer("demo"), Ended(0), began=True).detail == "import demo: Python ended in the middle, with exit code 0"
    assert verdict(Answer(done=True), Ended(139), began=True).result is FAILED
    assert verdict(Answer("demo"), Ended(139), began=True).detail == "import demo: Python ended in the middle, by SIGSEGV"


def test_a_sandbox_that_does_not_start_says_nothing_of_the_wheel() -> None:
    assert verdict(Answer(), Ended(1), began=False).result is UNTRIED


@pytest.mark.parametrize("fields", [{}, {"module": 3, "failure": [], "done": 1}, {"done": "true"}])
def test_answers_are_believed_as_far_as_their_types(fields: dict[str, object]) -> None:
    assert Answer.of(fields) == Answer()

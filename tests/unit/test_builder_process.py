"""Running programs: their output, their limits, and that nothing of them is left."""

import io
import os
import time

import psutil
import pytest

from piwheels_builder.builder.process import Ended, Stop, run


def sh(script: str, output: io.BytesIO | None = None, seconds: float = 20, output_bytes: int = 10**6) -> Ended:
    path = {"PATH": os.environ["PATH"]}
    return run(["sh", "-c", script], environment=path, output=output or io.BytesIO(), seconds=seconds, output_bytes=output_bytes)


def test_output_and_exit_code() -> None:
    output = io.BytesIO()
    assert sh("echo out; echo err >&2; exit 3", output) == Ended(3)
    assert output.getvalue() == b"out\nerr\n"


def test_a_signal() -> None:
    assert sh("kill -11 $$") == Ended(-11)


def test_it_sees_only_the_environment_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    output = io.BytesIO()
    sh("env", output)
    assert b"SECRET" not in output.getvalue()


def test_nobody_is_there_to_answer() -> None:
    assert sh("read answer").exit_code == 1


@pytest.mark.parametrize("script", ["sleep 60", "trap '' TERM; while :; do :; done", "exec >/dev/null 2>&1; sleep 60"])
def test_the_time_limit(script: str) -> None:
    began = time.monotonic()
    assert sh(script, seconds=0.3) == Ended(-9, Stop("timeout", "wall clock"))
    assert time.monotonic() - began < 5


def test_the_output_limit() -> None:
    output = io.BytesIO()
    assert sh("yes", output, output_bytes=1000) == Ended(-9, Stop("log_flood", "log cap"))
    assert len(output.getvalue()) == 1000


def test_output_of_exactly_the_limit_is_allowed() -> None:
    assert sh("printf 1234", output_bytes=4) == Ended(0)


def test_what_it_leaves_in_the_background_does_not_hold_us_up_and_is_killed() -> None:
    output = io.BytesIO()
    began = time.monotonic()
    assert sh("sleep 600 & echo $!", output) == Ended(0)
    assert time.monotonic() - began < 10
    deadline = time.monotonic() + 5
    while psutil.pid_exists(int(output.getvalue())):
        assert time.monotonic() < deadline


def test_an_exception_while_it_runs_kills_it() -> None:
    class Full(io.BytesIO):
        pid = b""

        def write(self, data: object, /) -> int:
            self.pid = bytes(data)  # type: ignore[call-overload]
            raise OSError(28, "No space left on device")

    output = Full()
    with pytest.raises(OSError, match="No space"):
        sh("echo $$; exec sleep 600", output)
    assert not psutil.pid_exists(int(output.pid))


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        run(["/nowhere"], environment={}, output=io.BytesIO(), seconds=1, output_bytes=1)

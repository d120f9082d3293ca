"""The limits of each process, held by the kernel."""

import os
import platform
import resource
import subprocess
import sys

import pytest

from piwheels_builder.builder.limits import Limits


def under(bounds: Limits, program: str) -> "subprocess.CompletedProcess[str]":
    command = [*bounds.prlimit(), sys.executable, "-S", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_a_process_cannot_have_more_memory_than_the_build() -> None:
    ended = under(Limits(memory_bytes=100 * 2**20), "held = bytearray(200 << 20)")
    assert ended.stderr.splitlines()[-1] == "MemoryError"
    assert under(Limits(memory_bytes=400 * 2**20), "held = bytearray(200 << 20)").returncode == 0


def test_a_file_cannot_be_larger_than_allowed() -> None:
    # A file in memory, so that nothing has to be removed.
    program = "import os; os.write(os.memfd_create('x'), bytes(2000)); os.write(os.memfd_create('y'), bytes(500))"
    assert under(Limits(file_bytes=1000), program).returncode == 0
    program = "import os; f = os.memfd_create('x'); os.write(f, bytes(1000)); os.write(f, b'x')"
    assert under(Limits(file_bytes=1000), program).returncode != 0


def test_the_same_bounds_by_both_ways() -> None:
    bounds = Limits(processes=300)
    named = {f"--{name.removeprefix('RLIMIT_').lower()}={most}" for name, most in bounds.rlimits().items()}
    assert named == set(bounds.prlimit()[1:])
    assert all(isinstance(getattr(resource, name), int) for name in bounds.rlimits())


@pytest.mark.parametrize(
    ("user", "release", "counts"),
    [(0, "5.10.0-30-armmp", True), (1000, "5.10.0-30-armmp", False), (1000, "5.14-rc1", True), (1000, "6.1.0-v8+", True)],
)
def test_the_kernels_process_limit_never_counts_the_users_other_processes(
    monkeypatch: pytest.MonkeyPatch, user: int, release: str, *, counts: bool
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(platform, "release", lambda: release)
    assert ("RLIMIT_NPROC" in Limits().rlimits()) is counts
    # The watcher is to see who reaches the limit.
    assert Limits(processes=100).rlimits().get("RLIMIT_NPROC", 101) > 100

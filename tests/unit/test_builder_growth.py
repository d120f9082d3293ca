"""Programs of our own that unpack what strangers packed are stopped before the disk is full."""

import io
import sys
from pathlib import Path

from piwheels_builder.builder.growth import Growth
from piwheels_builder.builder.process import Ended, Stop, run

FILL = "import sys, time; open(sys.argv[1], 'wb').write(bytes(60 * 2**20)); time.sleep(60)"


def fill(directory: Path, most_bytes: int, seconds: float = 20) -> Ended:
    command = [sys.executable, "-c", FILL, str(directory / "file")]
    watch = Growth(directory, most_bytes)
    return run(command, environment={}, output=io.BytesIO(), seconds=seconds, output_bytes=1000, watch=watch)


def test_what_fills_a_directory_is_stopped(tmp_path: Path) -> None:
    assert fill(tmp_path, 20 * 2**20) == Ended(-9, Stop("disk", "watcher"))


def test_what_was_there_before_counts(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(bytes(30 * 2**20))
    assert fill(tmp_path, 80 * 2**20).stop == Stop("disk", "watcher")


def test_what_stays_within_its_bounds_does_not(tmp_path: Path) -> None:
    assert fill(tmp_path, 100 * 2**20, seconds=2).stop == Stop("timeout", "wall clock")

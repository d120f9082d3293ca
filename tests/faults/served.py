"""A builder service to be killed: ``python -m tests.faults.served SETTINGS instant|real``."""

import hashlib
import logging
import sys
import time
import zipfile
from pathlib import Path
from uuid import UUID

from piwheels_builder.builder import service
from piwheels_builder.builder.attempt import Attempt, BuiltWheel
from piwheels_builder.builder.in_memory import memory_directory
from piwheels_builder.builder.recovery import clear
from piwheels_builder.builder.serve import build_function, kill_descendants, run_until_signalled
from piwheels_builder.builder.service import Service
from piwheels_builder.builder.spool import SpooledBuild
from piwheels_builder.queue.batch import LeasedBuild
from piwheels_builder.settings import load_builder
from piwheels_builder.states import Outcome
from tests.faults.whole_way import PLENTY
from tests.support.builders import an_attempt


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    settings = load_builder(Path(sys.argv[1]))
    build = make_in_steps if sys.argv[2] == "instant" else build_function(settings)
    # To be killed while it works, not while it waits for the next look at the spool.
    service._TICK = 0.05
    run_until_signalled(Service(settings, build, interrupt=kill_descendants, space=lambda _: PLENTY, first_pause=0.05))
    clear(memory_directory(settings.state_dir), "*")


def make_in_steps(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
    """A wheel of some size, written over a few moments."""
    name = f"{leased.project}-1.0-py3-none-any.whl"
    (delivery / "log.txt").write_text("built\n")
    with zipfile.ZipFile(delivery / name, "w") as wheel:
        for number in range(5):
            wheel.writestr(f"{number}.txt", f"{slot}" * 50_000)
            time.sleep(0.01)
    content = (delivery / name).read_bytes()
    made = BuiltWheel(name, hashlib.sha256(content).hexdigest(), len(content))
    return an_attempt(SpooledBuild(lease_id, leased), Outcome.BUILT, wheel=made)


if __name__ == "__main__":
    main()

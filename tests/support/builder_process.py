"""A builder service in a process of its own, to be killed: ``python -m tests.support.builder_process SETTINGS [sleep]``.

With ``sleep`` a build starts a child that would run for ten minutes, and says so in the file ``building`` of the state directory.
"""

import logging
import subprocess
import sys
from pathlib import Path
from uuid import UUID

from piwheels_builder.builder.attempt import Attempt
from piwheels_builder.builder.serve import kill_descendants, run_until_signalled
from piwheels_builder.builder.service import Service
from piwheels_builder.builder.spool import SpooledBuild
from piwheels_builder.queue.batch import LeasedBuild
from piwheels_builder.settings import load_builder
from tests.support.builders import an_attempt, make_wheel


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    settings = load_builder(Path(sys.argv[1]))

    def sleep_long(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        (settings.state_dir / "area" / str(slot)).mkdir()
        (delivery / "log.txt").write_text("compiling\n")
        with subprocess.Popen(["sleep", "600"]) as child:
            (settings.state_dir / "building").write_text(str(child.pid))
        # As the real one would, which cannot know who killed its child.
        return an_attempt(SpooledBuild(lease_id, leased))

    build = sleep_long if "sleep" in sys.argv[2:] else make_wheel
    run_until_signalled(Service(settings, build, interrupt=kill_descendants, first_pause=0.2))


if __name__ == "__main__":
    main()

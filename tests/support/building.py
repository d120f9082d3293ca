"""A builder's state directory while it builds, made of the parts that its service makes it of."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from piwheels_builder.builder.attempt import Attempt
from piwheels_builder.builder.disk import write_atomically
from piwheels_builder.builder.log import BuildLog
from piwheels_builder.builder.outbox import Outbox
from piwheels_builder.states import Outcome


@dataclass
class Building:
    """Builds that run, as whoever looks into the directory sees them."""

    state_dir: Path
    running: dict[str, Attempt] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.outbox = Outbox(self.state_dir / "outbox")
        (self.state_dir / "spool/begun").mkdir(parents=True, exist_ok=True)

    def begin(self, project: str, version: str = "1.0") -> Attempt:
        attempt = Attempt(uuid4(), len(self.running) + 1, project, version, Outcome.KILLED, datetime.now(UTC), 0.0)
        write_atomically(self.state_dir / "spool/begun" / attempt.directory_name, attempt.to_json())
        self.running[project] = attempt
        self.outbox.prepare(attempt.directory_name)
        return attempt

    def write(self, project: str, data: bytes) -> None:
        with BuildLog(self.outbox.directory / f".{self.running[project].directory_name}" / "log.txt") as log:
            log.write(data)

    def end(self, project: str) -> None:
        self.outbox.deliver(self.running[project])

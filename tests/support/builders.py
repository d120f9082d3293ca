"""A builder without a sandbox: settings, batches, and a build function that makes a tiny wheel at once."""

import hashlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from piwheels_builder.builder.attempt import Attempt, BuiltWheel
from piwheels_builder.builder.service import Service
from piwheels_builder.builder.spool import SpooledBuild
from piwheels_builder.queue.batch import Batch, LeasedBuild, Sdist
from piwheels_builder.settings import BuilderSettings
from piwheels_builder.states import Outcome
from piwheels_builder.targets import Target
from tests.support.fleet import Fleet

TARGET = Target("cp311", "armv7l", "bookworm")
#: No server listens there; connecting fails at once.
NO_DATABASE = "host=/nonexistent dbname=fleet"


def builder_settings(state_dir: Path, **fields: Any) -> BuilderSettings:
    usual = BuilderSettings(
        name="pi1",
        database=NO_DATABASE,
        state_dir=state_dir,
        pythons={"cp311": Path(sys.executable)},
        architecture="armv7l",
        os_release="bookworm",
    )
    return replace(usual, **fields)


def leased_build(build_id: int, project: str = "demo", target: Target = TARGET) -> LeasedBuild:
    sdist = Sdist(f"{project}-1.0.tar.gz", f"http://upstream.invalid/{project}", "a" * 64, 1000, datetime(2020, 1, 1, tzinfo=UTC))
    return LeasedBuild(build_id, project, "1", target, sdist, 60.0)


def a_batch(*build_ids: int, builder: str = "pi1", target: Target = TARGET) -> Batch:
    return Batch(uuid4(), builder, tuple(leased_build(build_id, target=target) for build_id in build_ids))


def lease_everything(fleet: Fleet, builder: str = "pi1") -> Batch:
    """One batch with all that can be leased now; dispatch itself gives small queues out in small portions."""
    leased = fleet.lease_all(builder)
    builds = tuple(replace(leased_build(row["build_id"], row["project"]), version=row["version"]) for row in leased)
    return Batch(UUID(leased[0]["lease_id"]), builder, builds)


def an_attempt(build: SpooledBuild, outcome: Outcome = Outcome.BUILD_ERROR, **fields: Any) -> Attempt:
    leased = build.leased
    attempt = Attempt(build.lease_id, leased.build_id, leased.project, leased.version, outcome, datetime.now(UTC), 1.5)
    return replace(attempt, **fields)


def make_wheel(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
    """What the real build function does, in a millisecond."""
    name, content = f"{leased.project}-1.0-py3-none-any.whl", f"wheel of build {leased.build_id} from slot {slot}".encode()
    (delivery / "log.txt").write_text("built\n")
    (delivery / name).write_bytes(content)
    wheel = BuiltWheel(name, hashlib.sha256(content).hexdigest(), len(content))
    return an_attempt(SpooledBuild(lease_id, leased), Outcome.BUILT, wheel=wheel)


@contextmanager
def serving(service: Service) -> Iterator[None]:
    """The service for the length of a block, then stopped in order."""
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        yield
    finally:
        service.ask_to_stop()
        thread.join(30)
    assert not thread.is_alive()


def eventually(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait until something holds; fail when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)

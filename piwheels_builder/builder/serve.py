"""`piwheels-builder serve`: the service with the real build function, stopped by signals."""

import contextlib
import logging
import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import UUID

import psutil

from piwheels_builder.builder.admission import Admission
from piwheels_builder.builder.attempt import Attempt
from piwheels_builder.builder.bare import check_bare
from piwheels_builder.builder.build import build
from piwheels_builder.builder.caches import Caches
from piwheels_builder.builder.file_server import FileServer
from piwheels_builder.builder.in_memory import memory_area
from piwheels_builder.builder.machine import memory_within, processors
from piwheels_builder.builder.sandbox import check_programs, check_sandbox
from piwheels_builder.builder.service import Build, Service
from piwheels_builder.builder.warm import WarmParents, parents_kept
from piwheels_builder.builder.watch import bounding_group
from piwheels_builder.builder.workshop import Workshop
from piwheels_builder.errors import BadInput
from piwheels_builder.queue.batch import LeasedBuild
from piwheels_builder.settings import BuilderSettings

log = logging.getLogger(__name__)

NO_SANDBOX = "builds run WITHOUT A SANDBOX (sandbox: off): whatever a release does, it does to this host and its network"


def serve(settings: BuilderSettings) -> None:
    """Serve until SIGTERM or SIGINT, which must reach this process only, not the builds (systemd: KillMode=mixed).

    For the main thread. Raises BuilderRunning where another service has the same state directory, BadInput where it or an
    interpreter cannot be used, SandboxUnavailable.
    """
    check_workshop(settings)
    try:
        admission = Admission(partial(memory_within, settings.memory_mb))
        run_until_signalled(Service(settings, build_function(settings), interrupt=kill_descendants, admission=admission))
    except OSError as error:
        raise BadInput(f"{settings.state_dir} is no state directory that this user can write: {error}") from error


def check_workshop(settings: BuilderSettings) -> None:
    """What would fail every single build must be said once, before the first, and not be recorded build by build.

    Raises BadInput where an interpreter is missing, SandboxUnavailable.
    """
    for abi, python in settings.pythons.items():
        if not python.is_file():
            raise BadInput(f"builder.yml says that {abi} is {python}, which is not there: run `ansible-playbook provision.yml`")
    check_enclosure(settings)


def check_enclosure(settings: BuilderSettings) -> None:
    """The sandbox of each slot; without one, what stands in for it. Raises SandboxUnavailable, BadInput."""
    for slot in range(settings.slots):
        workshop = replace(Workshop.of(settings), slot=slot)
        if workshop.sandboxed:
            check_sandbox(workshop.build_uid)
        else:
            check_programs(workshop.build_uid)
            check_bare(workshop.area, workshop.build_uid, tuple(settings.pythons.values()))


def run_until_signalled(service: Service) -> None:
    """Run a service from the main thread; SIGTERM and SIGINT stop it in order."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.ask_to_stop())
    service.run()


def build_function(settings: BuilderSettings) -> Build:
    """``build`` in the workshop that the settings describe, with warm parents for each slot."""
    group = bounding_group()
    log.info("builds are bounded by %s", f"control groups in {group}" if group else "process limits and a watcher")
    shared = Workshop.of(settings)
    most = parents_kept(memory_within(settings.memory_mb).total, settings.slots)
    if not shared.sandboxed:
        log.warning(NO_SANDBOX)
    elif settings.build_in_memory:
        shared = replace(shared, in_memory=memory_area(settings.state_dir, settings.slots, most_mb=settings.build_memory_mb))
    shared = replace(shared, caches_in_memory=_caches(settings), file_server=_file_server(settings))
    parents = [WarmParents(shared.area, most) for _ in range(settings.slots)]
    busy: set[int] = set()

    def build_in_slot(leased: LeasedBuild, lease_id: UUID, slot: int, delivery: Path) -> Attempt:
        busy.add(slot)
        try:
            workshop = replace(shared, slot=slot, warm=parents[slot], cores=max(1, processors() // len(busy)))
            if (leased.memory_class > 0 and settings.build_memory_mb is None) or not shared.sandboxed:
                # The one will need its memory for itself; the other's user can't see what is in memory.
                workshop = workshop.on_disk()
            return build(leased, lease_id, workshop, delivery)
        finally:
            busy.discard(slot)

    return build_in_slot


def _caches(settings: BuilderSettings) -> Caches | None:
    if settings.caches_dir is None:
        return None
    try:
        return Caches.in_memory(settings.caches_dir)
    except OSError as error:
        log.warning("environments and caches are kept in %s: %s", settings.state_dir, error)
        return None


def _file_server(settings: BuilderSettings) -> FileServer | None:
    if not settings.file_server:
        return None
    server = FileServer(settings.file_server)
    server.watch()
    return server


def kill_descendants() -> None:
    """Kill every process that this one started, and those that they started."""
    for descendant in psutil.Process(os.getpid()).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            descendant.kill()

"""What must never be after a run, whatever broke: a line for each, none where all is well."""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urldefrag, urljoin

from tests.rack.fleet import Fleet
from tests.rack.hosts import Host
from tests.rack.upstream import Release

_STATE = "/var/lib/piwheels-builder/builder"
#: A builder forgets what is published when it next speaks with the database: at once where it begins or ends to drain.
_SPEAK = f"touch {_STATE}/draining; sleep 1.5; rm -f {_STATE}/draining"
_KEPT = (
    f"cd {_STATE}; ls outbox | grep -v refused; ls spool/begun outbox/refused spool/*.json 2>/dev/null | grep -E '[0-9a-f]{{8}}-'"
)
#: Seconds that a builder has to speak: one whose database was away asks every two minutes at last.
_SECONDS_TO_SPEAK = 150


def violations(fleet: Fleet, releases: Sequence[Release], builders: Sequence[Host] = ()) -> list[str]:
    """After these releases were wanted and the run ended. ``builders`` have nothing to do or to say any more."""
    built = [release for release in releases if not release.fails]
    return [
        *_of_builds(fleet, releases),
        *(fault for release in built for fault in _of_page(fleet, release)),
        *_of_members(fleet, builders),
        *(fault for builder in builders for fault in _left_on(builder)),
    ]


def _of_builds(fleet: Fleet, releases: Sequence[Release]) -> Iterator[str]:
    builds = fleet.builds([release.project for release in releases])
    for release in releases:
        mine = [build for build in builds if build["project"] == release.project]
        if not mine:
            yield f"lost: {release.project} has no build"
        for build in mine:
            yield from _of_build(release, build)


def _of_build(release: Release, build: dict[str, Any]) -> Iterator[str]:
    if not release.fails and build["booked"]:
        yield f"booked against the release: {release.project}, {build['booked']} times"
    if build["state"] not in (("failed",) if release.fails else ("published", "skipped")):
        yield f"unfinished or wrong: {release.project} is {build['state']} ({build['reason']})"
    if build["queued"]:
        yield f"still in the queue: {release.project}, {build['state']} ({build['reason']})"
    if build["published"] > 1:
        yield f"published {build['published']} times: {release.project}"


def _of_page(fleet: Fleet, release: Release) -> Iterator[str]:
    try:
        page = json.loads(fleet.get(f"{release.project}/"))
    except (OSError, ValueError) as error:
        yield f"no page: {release.project}: {error}"
        return
    ours = [file for file in page["files"] if file["filename"].endswith(".whl")]
    if not ours:
        yield f"no wheel on its page: {release.project}"
    if not release.platform and len(ours) > 1:
        yield f"published twice: {[file['filename'] for file in ours]}"
    yield from (f"{release.project}: {fault}" for file in ours for fault in _of_file(fleet, release.project, file))


def _of_file(fleet: Fleet, project: str, file: dict[str, Any]) -> Iterator[str]:
    if file["filename"].count("-") != 4:
        yield f"{file['filename']} has a build tag: another wheel had its name"
    url = urldefrag(urljoin(f"{fleet.url}{project}/", file["url"])).url
    try:
        found = hashlib.sha256(fleet.get(url, accept="*/*")).hexdigest()
    except OSError as error:
        yield f"{file['filename']} is on the page and cannot be had: {error}"
    else:
        if found != file["hashes"]["sha256"]:
            yield f"{file['filename']} has other bytes than its page says"


def _of_members(fleet: Fleet, builders: Sequence[Host]) -> Iterator[str]:
    names = {builder.name for builder in builders}
    for member in fleet.builders():
        if member["name"] not in names:
            continue
        if member["standing"] != "active":
            yield f"{member['name']} is {member['standing']}: {member['reason']}"
        if member["leases"]:
            yield f"{member['name']} still holds {member['leases']} leased builds"
        yield from (f"held against {member['name']}: {what}" for what in member["incidents"])


def _left_on(builder: Host) -> Iterator[str]:
    until = time.monotonic() + _SECONDS_TO_SPEAK
    while kept := builder.run("sh", "-c", _KEPT).output.split():
        if time.monotonic() > until:
            yield from (f"{builder.name} still keeps {name}" for name in kept)
            return
        builder.must("sh", "-c", _SPEAK)

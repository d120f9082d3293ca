"""The two configuration files that provisioning writes: fleet.yml on the index host, builder.yml on a builder."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from packaging.utils import canonicalize_name

from piwheels_builder.errors import BadInput

Settings = TypeVar("Settings")

#: First user id that builds run as under root where nothing else is set. No account needs to exist: systemd's list of ids leaves
#: 65536 to 524287 unused, and useradd gives ids for containers out from 100000 on.
FIRST_BUILD_UID = 90001
#: With less than so many MB free a disk counts as full: no build starts.
SPARE_MB = 64
#: In a list of projects: all of them.
EVERY_PROJECT = "all"
#: What ``wheel_libraries`` may say.
WHEEL_LIBRARIES = ("system", "bundled")
#: What ``sandbox`` may say.
SANDBOXES = ("bubblewrap", "off")


@dataclass(frozen=True)
class FleetSettings:
    """fleet.yml: how the index host reaches the database, and what the operator wants built."""

    #: libpq connection string of each role: owner, dispatcher, publisher, reader.
    database: Mapping[str, str]
    #: The simple index everything comes from; None means the one pip is configured with on this host.
    upstream: str | None = None
    #: missing: build what upstream has no serving wheel for; all: build everything that has an sdist.
    build_policy: str = "missing"
    #: Projects in the catalogue, by name or name==version, or "all".
    projects: tuple[str, ...] | str = ()
    #: How many of the newest releases of each project are wanted: a number, or "all".
    releases: int | str = 1
    #: The most requests a second that a sync makes of the upstream index; 0: any number.
    upstream_requests_per_second: float = 50
    #: Where clients find the fleet's own index, without the root; None where provisioning did not say.
    index: str | None = None
    #: The inventory's names of the hosts that follow the database.
    replicas: tuple[str, ...] = ()
    #: The published tree.
    published_dir: str | None = None
    #: Projects that never mix with upstream's, and are in no list of the site.
    private_projects: tuple[str, ...] = ()
    #: A directory of sdists: then private projects come from it, and from nowhere else.
    own_sdists: str | None = None

    def conninfo(self, role: str) -> str:
        """The connection string of a role. Raises BadInput where fleet.yml has none."""
        if not isinstance(self.database, Mapping) or role not in self.database:
            raise BadInput(f"fleet.yml names no database connection for the {role}: run `ansible-playbook provision.yml`")
        return self.database[role]


@dataclass(frozen=True)
class BuilderSettings:
    """builder.yml: one builder's name, its places on disk and its limits."""

    name: str
    #: libpq connection string as this builder's own login role.
    database: str
    #: Holds spool/, outbox/, area/ (builds in progress), environments/ and cache/. spool and outbox must survive a reboot.
    state_dir: Path
    #: Interpreter of each Python ABI built here: {"cp311": "/usr/bin/python3.11"}.
    pythons: Mapping[str, Path]
    architecture: str
    os_release: str
    slots: int = 1
    upstream: str | None = None
    #: url, authority, certificate and key: the index host is asked in place of ``upstream``. None: upstream itself.
    relay: Mapping[str, str] | None = None
    #: First of ``slots`` user ids that builds run as when the service is root; None runs them as the service's own user.
    first_build_uid: int | None = None
    build_seconds: int = 6 * 3600
    #: MB of disk that one build may fill.
    build_disk_mb: int = 4096
    #: bubblewrap; or off, for hosts without namespaces: then whatever a release does, it does to this host.
    sandbox: str = "bubblewrap"
    #: Projects, by normalized name, whose compiled wheels are delivered although importing them fails; or ``all``.
    publish_failing_imports: tuple[str, ...] = ()
    #: system: shared libraries that wheels need are the system's; bundled: they are put into the wheel.
    wheel_libraries: str = "system"
    #: Whether builds happen on the system's tmpfs as far as they fit there.
    build_in_memory: bool = True
    #: MB that all builds together may fill there, of whatever size they are. None: small ones alone, an eighth of the memory.
    build_memory_mb: int | None = None
    #: Holds environments/ and cache/, where that is not state_dir: a tmpfs, for hosts whose root is on the network.
    caches_dir: Path | None = None
    #: MB of memory that is for builds and the system. None: all of it.
    memory_mb: int | None = None
    #: MB that must be free where the outbox is for more builds to be leased.
    leasing_room_mb: int = SPARE_MB
    #: The mount points of a file server that this host cannot do without; it marks them when it is full.
    file_server: tuple[Path, ...] = ()
    heartbeat_seconds: int = 60
    #: A lease lasts this long after the last heartbeat.
    lease_seconds: int = 4 * 3600


def configuration_dir() -> Path:
    """Where the files are: PIWHEELS_BUILDER_ETC, else the first of the places that provisioning uses. Raises BadInput if none."""
    named = os.environ.get("PIWHEELS_BUILDER_ETC")
    state_home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    places = [Path(named)] if named else [Path("/etc/piwheels-builder"), state_home / "piwheels-builder/etc"]
    if not named and os.geteuid() == 0:
        places.insert(1, Path("/var/lib/piwheels-builder/etc"))
    for place in places:
        if place.is_dir():
            return place
    raise BadInput("no configuration found in " + ", ".join(map(str, places)) + ": run `ansible-playbook provision.yml` first")


def load_fleet(path: Path | None = None) -> FleetSettings:
    """Read fleet.yml. Raises BadInput, naming the file and the key, for anything it does not understand."""
    path = path or configuration_dir() / "fleet.yml"
    fields = _read(path)
    if isinstance(fields.get("projects"), list):
        fields["projects"] = tuple(fields["projects"])
    fields["replicas"] = tuple(fields.get("replicas") or ())
    fields["private_projects"] = tuple(fields.get("private_projects") or ())
    return _construct(FleetSettings, fields, path)


def load_builder(path: Path | None = None) -> BuilderSettings:
    """Read builder.yml. Raises BadInput, naming the file and the key, for anything it does not understand."""
    path = path or configuration_dir() / "builder.yml"
    fields = _read(path)
    fields["state_dir"] = Path(fields.get("state_dir", ""))
    fields["pythons"] = {abi: Path(python) for abi, python in (fields.get("pythons") or {}).items()}
    fields["file_server"] = tuple(map(Path, fields.get("file_server") or ()))
    excepted = fields.get("publish_failing_imports") or ()
    fields["publish_failing_imports"] = tuple(map(canonicalize_name, [excepted] if isinstance(excepted, str) else excepted))
    if fields.get("wheel_libraries", "system") not in WHEEL_LIBRARIES:
        raise BadInput(f"{path}: wheel_libraries is {' or '.join(WHEEL_LIBRARIES)}, and not {fields['wheel_libraries']!r}")
    if fields.get("caches_dir"):
        fields["caches_dir"] = Path(fields["caches_dir"])
    if fields.get("sandbox", "bubblewrap") not in SANDBOXES:
        # To YAML, off without quotes is a boolean.
        if fields["sandbox"] is not False:
            raise BadInput(f"{path}: sandbox is {' or '.join(SANDBOXES)}, and not {fields['sandbox']!r}")
        fields["sandbox"] = "off"
    return _construct(BuilderSettings, fields, path)


def _read(path: Path) -> dict[str, Any]:
    # `piwheels-builder build` reads no settings, and is over sooner than many an import.
    import yaml  # noqa: PLC0415

    try:
        fields = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): run `ansible-playbook provision.yml`") from error
    except yaml.YAMLError as error:
        raise BadInput(f"{path} is not YAML: {error}") from error
    if not isinstance(fields, dict):
        raise BadInput(f"{path} must hold settings, one `name: value` a line")
    return fields


def _construct(kind: type[Settings], fields: dict[str, Any], path: Path) -> Settings:
    try:
        return kind(**fields)
    except TypeError as error:
        # The dataclass's own words name the missing or unknown key.
        raise BadInput(f"{path}: {str(error).partition('() ')[2] or error}") from error

"""Every error a user of the fleet can meet. Each says what happened and what to do, and has its own exit code."""


class FleetError(Exception):
    """Base of all. ``exit_code`` is what a command ends with (sysexits.h where one fits)."""

    exit_code = 1


class BadInput(FleetError):
    """An argument, variable or configuration file is wrong."""

    exit_code = 64


class UpstreamError(FleetError):
    """The upstream index answered with an error, with garbage, or not at all. ``temporary``: worth another try later."""

    exit_code = 69

    def __init__(self, message: str, *, temporary: bool = True) -> None:
        super().__init__(message)
        self.temporary = temporary


class StaleCatalogue(FleetError):
    """The catalogue is further behind the upstream index than it may be."""

    exit_code = 69


class UnknownProject(FleetError):
    """The upstream index has no such project, release or file."""

    exit_code = 66


class DatabaseAway(FleetError):
    """PostgreSQL cannot be reached, or went away. Nothing is lost: run the command again once it is back."""

    exit_code = 75


class DatabaseRefused(FleetError):
    """PostgreSQL refused what was asked: a role without the right, a schema of another version."""

    exit_code = 77


class SandboxUnavailable(FleetError):
    """bubblewrap is missing, or this kernel does not let it make namespaces. No build runs without it."""

    exit_code = 78


class BuildFailed(FleetError):
    """The release did not build; the outcome says why."""

    exit_code = 2


class BuilderRunning(FleetError):
    """Another builder service works in the same state directory: stop that one, or give this one a directory of its own."""

    exit_code = 71


class StillBusy(FleetError):
    """A builder was not drained in the time it was given. It goes on draining: ask again."""

    exit_code = 75


class NotReady(FleetError):
    """A check of `serve --check` failed: no build would be sound here."""

    exit_code = 69


class StorageFault(FleetError):
    """The published tree or an incoming wheel cannot be read or written (disk full, rights, a broken disk). Nothing was booked."""

    exit_code = 74


class WheelRejected(FleetError):
    """A file is not a valid wheel of its release for its target. ``other_release``: it is one, of another project or version."""

    exit_code = 65

    def __init__(self, message: str, *, other_release: bool = False) -> None:
        super().__init__(message)
        self.other_release = other_release

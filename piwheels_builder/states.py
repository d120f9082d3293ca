"""States of a build, outcomes of an attempt, and whose fault an outcome is. The same words as the database's enums (tested)."""

from enum import StrEnum


class BuildState(StrEnum):
    """Where a build stands; build_transition in the database says which may follow which, and why."""

    PENDING = "pending"
    LEASED = "leased"
    BUILDING = "building"
    BUILT = "built"
    PUBLISHED = "published"
    FAILED = "failed"
    SKIPPED = "skipped"


class Blame(StrEnum):
    """Whose fault an outcome is."""

    NONE = "none"
    RELEASE = "release"
    MEMORY = "memory"
    INFRASTRUCTURE = "infrastructure"


class Outcome(StrEnum):
    """How an attempt ended; outcome_meaning in the database explains each."""

    BUILT = "built"

    VERSION_MISMATCH = "version_mismatch"
    REQUIREMENT_UNAVAILABLE = "requirement_unavailable"
    REQUIREMENT_WITHOUT_WHEEL = "requirement_without_wheel"
    IMPORT_ERROR = "import_error"
    PYTHON2_ONLY = "python2_only"
    PYTHON_API_GONE = "python_api_gone"
    COMPILE_ERROR = "compile_error"
    MISSING_HEADER = "missing_header"
    MISSING_PROGRAM = "missing_program"
    NEEDS_NETWORK = "needs_network"
    PROMPTED = "prompted"
    TIMEOUT = "timeout"
    STALLED = "stalled"
    LOG_FLOOD = "log_flood"
    DISK_LIMIT = "disk_limit"
    PROCESS_LIMIT = "process_limit"
    NO_WHEEL_MADE = "no_wheel_made"
    BAD_WHEEL = "bad_wheel"
    UNIMPORTABLE = "unimportable"
    BAD_SDIST = "bad_sdist"
    DELIBERATE_REFUSAL = "deliberate_refusal"
    BUILD_ERROR = "build_error"

    OUT_OF_MEMORY = "out_of_memory"

    DISK_FULL = "disk_full"
    KILLED = "killed"
    LEASE_LOST = "lease_lost"
    NETWORK_AWAY = "network_away"
    SDIST_UNAVAILABLE = "sdist_unavailable"
    BUILDER_FAULT = "builder_fault"

    @property
    def blame(self) -> Blame:
        if self is Outcome.BUILT:
            return Blame.NONE
        if self is Outcome.OUT_OF_MEMORY:
            return Blame.MEMORY
        return Blame.INFRASTRUCTURE if self in _INFRASTRUCTURE else Blame.RELEASE


class ImportResult(StrEnum):
    """What came of importing a wheel's modules; the database's import_result."""

    PASSED = "passed"
    FAILED = "failed"
    #: A requirement has no wheel yet, or the sandbox lacks what the modules want.
    UNTRIED = "untried"
    #: Nothing in it is compiled, or nothing can be imported.
    NOT_NEEDED = "not_needed"


_INFRASTRUCTURE = frozenset(
    {
        Outcome.DISK_FULL,
        Outcome.KILLED,
        Outcome.LEASE_LOST,
        Outcome.NETWORK_AWAY,
        Outcome.SDIST_UNAVAILABLE,
        Outcome.BUILDER_FAULT,
    }
)

"""What one build may use."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """``log_bytes`` of output for one run of the driver; the rest holds for each of its processes. Wall time is the build's."""

    log_bytes: int = 16 * 2**20
    #: Largest file a process may write, in bytes (RLIMIT_FSIZE).
    file_bytes: int = 4 * 2**30
    open_files: int = 4096

    def prlimit(self) -> list[str]:
        """The start of a command that runs the rest of it within the limits of a process."""
        return ["/usr/bin/prlimit", "--core=0", f"--fsize={self.file_bytes}", f"--nofile={self.open_files}"]

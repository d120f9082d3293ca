# ruff: noqa: E501 - expressions and what programs print are as long as they are
"""What a build lacks from outside: room, the network, a person, the will of its project."""

from piwheels_builder.states import Outcome
from piwheels_builder.triage.pattern import Pattern, Where

#: Words of a full disk. Anybody can print them: they count as disk_full only where the disk was full.
DISK_FULL = r"No space left on device|\bENOSPC\b|Disk quota exceeded"

LIMITS = (
    Pattern(
        Outcome.DISK_LIMIT,
        r"\[Errno 27\] File too large|File size limit exceeded|: File too large$",
        "OSError: [Errno 27] File too large",
    ),
    Pattern(
        Outcome.PROCESS_LIMIT,
        r"can't start new thread|fork: (retry: )?Resource temporarily unavailable|BlockingIOError: \[Errno 11\] Resource temporarily",
        "RuntimeError: can't start new thread",
    ),
    Pattern(
        Outcome.OUT_OF_MEMORY,
        r"fatal error: Killed signal terminated program",
        "g++: fatal error: Killed signal terminated program cc1plus",
    ),
    Pattern(
        Outcome.OUT_OF_MEMORY,
        r"virtual memory exhausted|out of memory allocating",
        "cc1plus: out of memory allocating 65536 bytes after a total of 8 bytes",
    ),
    Pattern(Outcome.OUT_OF_MEMORY, r"^MemoryError\b|std::bad_alloc", "MemoryError"),
)

NETWORK = (
    Pattern(
        Outcome.NEEDS_NETWORK,
        r"Temporary failure in name resolution|Name or service not known|Could not resolve (host|proxy)|getaddrinfo (failed|ENOTFOUND|EAI_AGAIN)|unable to resolve host",
        "urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>",
    ),
    Pattern(
        Outcome.NEEDS_NETWORK,
        r"Network is unreachable|Failed to establish a new connection",
        "OSError: [Errno 101] Network is unreachable",
    ),
    Pattern(
        Outcome.NEEDS_NETWORK,
        r"No matching distribution found for (?P<missing>[\w.-]+)|Could not find a version that satisfies the requirement",
        "ERROR: No matching distribution found for cython>=0.29",
    ),
    Pattern(
        Outcome.NEEDS_NETWORK,
        r"spurious network error|failed to download\b|unable to access 'https?://|download (of \S+ )?failed",
        "fatal: unable to access 'https://host.invalid/x.git/': Could not connect to server",
    ),
)

PEOPLE = (
    Pattern(Outcome.PROMPTED, r"EOFError: EOF when reading a line", "EOFError: EOF when reading a line"),
    Pattern(
        Outcome.PROMPTED,
        r"could not read (Username|Password) for|terminal prompts disabled|termios\.error: .*Inappropriate ioctl|GetPassWarning",
        "fatal: could not read Username for 'https://host.invalid': terminal prompts disabled",
    ),
)

REFUSALS = (
    Pattern(
        Outcome.DELIBERATE_REFUSAL,
        r"(please|you must|you should) (do not )?(run|use|install).{0,80}instead|do not install this package|this package (is|has been) (removed|renamed|a placeholder|moved)",
        "RuntimeError: This package has been renamed: pip install other",
        where=Where.LAST_WORDS,
    ),
    Pattern(
        Outcome.DELIBERATE_REFUSAL,
        r"(this|the \S+)( pypi)? (package|project) (is|has been) (deprecated|abandoned|retired)|(package|project) named for \S+ is |tried to install .{1,40}\. (the|did you mean)",
        'Exception: You tried to install "pytorch". The package named for PyTorch is "torch"',
        where=Where.LAST_WORDS,
    ),
    Pattern(
        Outcome.DELIBERATE_REFUSAL,
        r"(is|are) (not supported|unsupported) on (this platform|linux|\S+ platform)|only (supports|supported on|works on|runs on|for) (windows|mac\s?os|osx|darwin)|(requires|needs) (windows|mac\s?os|a raspberry)\b.{0,20}|(windows|mac ?os|darwin) only",
        "RuntimeError: This package only works on Windows",
        where=Where.LAST_WORDS,
    ),
    Pattern(
        Outcome.DELIBERATE_REFUSAL,
        r"(unable to determine|could not (detect|determine)|cannot determine) (if|whether).{0,40}(raspberry pi|beaglebone)|not (running on )?a raspberry pi|platform .{0,30}not supported",
        "ValueError: Unable to determine if this system is a Raspberry Pi",
        where=Where.LAST_WORDS,
    ),
    Pattern(
        Outcome.DELIBERATE_REFUSAL,
        r"(requires|needs) python ?(>=|version)? ?3\.\d+|unsupported python version|python version \S+ (is )?(not|un)supported|requires at least python|cannot install on python version|only (these )?python versions? .{0,40}supported",
        "RuntimeError: Cannot install on Python version 3.11.7; only versions >=3.6,<3.10 are supported.",
        where=Where.LAST_WORDS,
    ),
)

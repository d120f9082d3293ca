# ruff: noqa: E501 - expressions and what programs print are as long as they are
"""What is wrong with a release as a whole: an sdist that lacks what its own build reads, a build that makes nothing."""

from piwheels_builder.states import Outcome
from piwheels_builder.triage.pattern import Pattern, Where

SDIST = (
    Pattern(
        Outcome.BAD_SDIST,
        r"FileNotFoundError: \[Errno 2\] No such file or directory: '(/build/src/[^/']+/)?(\./)?([\w-]+/){0,2}[\w.-]*(README|HISTORY|CHANGE|LICEN[SC]E|AUTHORS|NEWS|VERSION|DESCRIPTION|requirements?|setup\.py|[\w-]+\.(txt|rst|md|in|cfg|toml|json|yml|yaml|pxd|pyx|py))[\w.-]*'",
        "FileNotFoundError: [Errno 2] No such file or directory: 'requirements.txt'",
        where=Where.LAST_WORDS,
    ),
    Pattern(
        Outcome.BAD_SDIST,
        r"^(distutils\.errors\.)?\w*Error: '[\w./-]+\.(pyx|pxd|c|cpp)' doesn't match any files|(gcc|g\+\+|cc1\w*|clang)?: (fatal )?error: [\w./+-]+\.(c|cc|cpp|cxx|pyx|m|s): No such file or directory",
        "cc1: fatal error: src/fast.c: No such file or directory",
    ),
)

WHEEL = (
    Pattern(
        Outcome.NO_WHEEL_MADE,
        r"No distribution was found\. Ensure that `?setup\.py`? is not empty",
        "ValueError: No distribution was found. Ensure that `setup.py` is not empty and that it calls `setup()`.",
        where=Where.LAST_WORDS,
    ),
    Pattern(Outcome.NO_WHEEL_MADE, r"^SystemExit: (0|None)$", "SystemExit: 0", where=Where.LAST_WORDS),
)

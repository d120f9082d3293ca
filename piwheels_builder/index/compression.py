"""gzip for the published tree: by ISA-L where it is installed, else by zlib. The same page always gets the same bytes on one host.

ISA-L takes a third to a seventh of zlib's time, and pages get no larger (docs/benchmarks.md). It has wheels for x86_64 and aarch64.
"""

import gzip

try:
    from isal import igzip
except ImportError:
    igzip = None  # type: ignore[assignment]

#: Of zlib. The pages are hashes for the most part, which no level makes smaller.
_ZLIB_LEVEL = 6
#: Of ISA-L: three is as large and takes three times as long.
_ISAL_LEVEL = 2


def compressed(content: bytes) -> bytes:
    """As a gzip file (RFC 1952) without a name or a time."""
    if igzip is None:
        return gzip.compress(content, _ZLIB_LEVEL, mtime=0)
    made: bytes = igzip.compress(content, _ISAL_LEVEL, mtime=0)
    return made

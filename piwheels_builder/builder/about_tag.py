"""Run by an interpreter that wheels are built for: prints its first platform tag, as it is and as a build is told that it is.

Argument: the directory that packaging is in. What a build is told stands in _PYTHON_HOST_PLATFORM, where it is told anything.
"""

import os
import sys

if __name__ == "__main__":
    sys.path.append(sys.argv[1])
    from packaging.tags import platform_tags

    told = os.environ.pop("_PYTHON_HOST_PLATFORM", None)
    print(next(iter(platform_tags())))
    if told:
        os.environ["_PYTHON_HOST_PLATFORM"] = told
    print(next(iter(platform_tags())))

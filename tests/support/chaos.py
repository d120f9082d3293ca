"""Which form the hostile corpus and the faults run in: the short one of `make test`, or the long one of `make chaos-builder`."""

import os

#: Whether CHAOS=long is set: more of everything, within a quarter of an hour each.
LONG = os.environ.get("CHAOS") == "long"

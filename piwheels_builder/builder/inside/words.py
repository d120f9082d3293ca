"""What the programs inside and the builder say to each other."""

#: Exit codes of the driver: the build needs other requirements; it failed.
ASKS, FAILS = 90, 91
#: How the driver's first line begins: whatever stands before it was said by the sandbox, not by the release.
MARK = "driver: "
#: An option of the driver: it runs in no pid namespace of its own, and is to adopt what loses its parent.
ADOPT = "adopt"
#: Of a warm parent and its children; who says what when stands in parent.py.
READY, CHILD, FAILED, GO = b"ready", b"child", b"failed", b"go"

"""What failing builds print, and what it means. Tables; the example beside each expression is its test."""

from piwheels_builder.triage.patterns.outside import LIMITS, NETWORK, PEOPLE, REFUSALS
from piwheels_builder.triage.patterns.python import IMPORTS, PYTHON2, TOOLS_OF_TODAY
from piwheels_builder.triage.patterns.toolchain import COMPILER, HEADERS, PROGRAMS
from piwheels_builder.triage.patterns.whole import SDIST, WHEEL

#: Strongest first: the first that is found anywhere in the log decides, and of its finds the last is the error line.
PATTERNS = (
    *LIMITS,
    # Before the headers: Python's own are not for the toolchain to bring. Before the imports: their absence says more.
    *PYTHON2,
    *TOOLS_OF_TODAY,
    *HEADERS,
    *PROGRAMS,
    *NETWORK,
    *PEOPLE,
    *SDIST,
    *WHEEL,
    *IMPORTS,
    *REFUSALS,
    *COMPILER,
)

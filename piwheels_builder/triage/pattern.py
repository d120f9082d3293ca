"""One row of the tables of what failing builds print."""

import functools
import re
from dataclasses import dataclass
from datetime import date
from enum import Enum

from piwheels_builder.states import Outcome

#: A pattern's ``tools_until`` where build tools of the release's own day may do.
OWN_DAY = date.max
#: The name that an expression gives to what was missing: a module, header, library, program or requirement.
MISSING = "missing"


class Where(Enum):
    """Where in a log a pattern counts. A release's last words are asked first."""

    ANYWHERE = "in the last words, else in the whole log"
    #: Warnings and notes further up say the same.
    LAST_WORDS = "in the last words alone"
    #: It is a reason only where the last words give none.
    WHOLE_LOG = "in the whole log, after the last words gave no reason"


@dataclass(frozen=True)
class Pattern:
    """``expression`` is searched in one line at a time, without regard to case; in the last line of a SyntaxError together with
    the line of source shown above it. Its group named ``missing``, where it has one, is what the build lacked.

    ``example``: what was really seen. ``tools_until``: where build tools of an earlier day may do, the last day of those that did
    what this release asks for.
    """

    outcome: Outcome
    expression: str
    example: str
    where: Where = Where.ANYWHERE
    tools_until: date | None = None

    @functools.cached_property
    def compiled(self) -> re.Pattern[str]:
        return re.compile(self.expression, re.IGNORECASE)

"""What the last refresh knew, kept in the tree beside what it wrote. Lost or damaged, it is made anew by reading more."""

import json
from dataclasses import dataclass, field
from typing import Any

from piwheels_builder.index.tree import Tree
from piwheels_builder.site.history import History
from piwheels_builder.site.layout import STATE

#: Pages and JSON of another number are written anew, a portion with every refresh.
LAYOUT = 1


@dataclass
class State:
    """``rules``: by which the pages are written. ``swept_to``: projects up to this one were written by them; None: all.

    ``attempt`` is the last one whose project was written; -1 before the first refresh. ``outlook`` is what was read of the queue at
    ``outlook_at`` within ``outlook_seconds``; ``names`` were in the search index at ``names_at``. Moments are seconds since 1970.
    """

    rules: str = ""
    swept_to: int | None = 0
    attempt: int = -1
    outlook: dict[str, Any] | None = None
    outlook_at: float = 0.0
    outlook_seconds: float = 0.0
    names: int = 0
    names_at: float = 0.0
    overview_at: float = 0.0
    history: dict[str, Any] = field(default_factory=dict)

    @property
    def past(self) -> History:
        """The attempts counted so far."""
        return History.from_told(self.history)

    @classmethod
    def read(cls, tree: Tree, rules: str) -> "State":
        """As kept; where the pages are by other rules, to be swept."""
        kept = tree.read(STATE)
        try:
            state = cls(**json.loads(kept)) if kept else cls()
        except (ValueError, TypeError):
            state = cls()
        if state.rules != rules:
            state.rules, state.swept_to = rules, 0
        return state

    def write(self, tree: Tree) -> None:
        tree.write({STATE: json.dumps(vars(self)).encode()})

"""How a station says that the attempt ends here, and why."""

from datetime import date

from piwheels_builder.states import Outcome


class BuildEnded(Exception):
    """The attempt ends with ``outcome``. ``reason`` is one line for people: the attempt's error line.

    ``mechanism`` and ``missing`` as in Attempt, ``tools_until`` as in triage's Pattern.
    """

    def __init__(
        self,
        outcome: Outcome,
        reason: str,
        *,
        mechanism: str | None = None,
        missing: str | None = None,
        tools_until: date | None = None,
    ) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason
        self.mechanism = mechanism
        self.missing = missing
        self.tools_until = tools_until

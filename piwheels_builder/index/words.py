"""The operator's word on what clients see of a project: withdraw, yank, quarantine. Who calls: contents.py, when a page is made."""

from dataclasses import dataclass
from datetime import datetime

WITHDRAW = "withdraw"
YANK = "yank"
QUARANTINE = "quarantine"


@dataclass(frozen=True)
class Word:
    """``release_id`` is None where all of the project is meant."""

    word: str
    release_id: int | None
    reason: str
    given_at: datetime


@dataclass(frozen=True)
class Words:
    """All that was said about one project; what was said of a release comes before what was said of all."""

    said: tuple[Word, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.said)

    def withdrawal(self, release_id: int, published_at: datetime) -> str | None:
        """Why a wheel of ours is withdrawn, None if it is not: one that was published since is another one."""
        return self._reason(WITHDRAW, release_id, published_at)

    def yank(self, release_id: int | None) -> str | None:
        """Why a release is yanked, None if it is not."""
        return self._reason(YANK, release_id)

    def quarantine(self) -> str | None:
        """Why the project is quarantined, None if it is not."""
        return self._reason(QUARANTINE, None)

    def _reason(self, word: str, release_id: int | None, before: datetime | None = None) -> str | None:
        if not self.said:
            return None
        meant = (each for each in self.said if each.word == word and each.release_id in (None, release_id))
        return next((each.reason for each in meant if before is None or before <= each.given_at), None)


NO_WORDS = Words()

"""Hired Pis as the database knows them: what was ordered, what the account has, and which of it costs money and builds nothing.

Who calls: the module fleet_hosted_pis, as the owner, when Pis are ordered, cancelled or looked at. Nothing here asks the API.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiosql

from piwheels_builder.db.connect import Connection
from piwheels_builder.errors import BadInput

_queries = aiosql.from_path(Path(__file__).with_name("hosted_pis.sql"), "psycopg2")
#: A prefix has to say where it ends: "w" would be that of web1, too. Names have 20 characters at most, three of them digits.
_PREFIX = re.compile(r"[a-z0-9][a-z0-9-]{0,15}-")
#: More than this at once is a slip of the finger; each costs money.
MOST = 500
#: A builder speaks every minute.
SILENT_SECONDS = 900
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True)
class Listed:
    """A Pi as the account has it. ``live``: it was provisioned once. ``running``: it is on, and has booted."""

    name: str
    live: bool
    running: bool
    what: str

    @classmethod
    def parse(cls, told: Mapping[str, Any]) -> "Listed":
        """Read a record of the module hosted_pi_info. Raises BadInput."""
        try:
            return cls(str(told["name"]), bool(told["live"]), bool(told["running"]), str(told["what"]))
        except KeyError as error:
            raise BadInput(f"account lacks {error}: give it what hosted_pi_info returns as pis") from None


@dataclass(frozen=True)
class Fleet:
    """Which Pis are meant, and what the account had at ``listed_at``, a time of the database's clock that ``look`` gave."""

    prefix: str
    account: Sequence[Listed]
    listed_at: str

    def __post_init__(self) -> None:
        check_prefix(self.prefix)

    @property
    def arguments(self) -> dict[str, Any]:
        members = [asdict(pi) for pi in self.account if pi.name.startswith(self.prefix)]
        return {"prefix": self.prefix, "account": json.dumps(members), "listed_at": self.listed_at}


@dataclass(frozen=True)
class Wanted:
    """A Pi to order or to wait for; ``seen``: the account has it."""

    name: str
    specification: dict[str, Any]
    seen: bool


@dataclass(frozen=True)
class Told:
    """A row of told_hosted_pis. ``minutes`` since it was ordered; ``silence`` in seconds; ``attempts`` of the last day."""

    name: str
    specification: dict[str, Any]
    since: str
    minutes: float
    is_delivered: bool
    cancel_wanted: str | None
    is_cancelled: bool
    failure: str | None
    power_cycles: int
    standing: str | None
    standing_reason: str | None
    silence: float | None
    leased: int
    attempts: int


def check_prefix(prefix: str) -> None:
    """Raises BadInput for what is no prefix of a fleet's Pis."""
    if not _PREFIX.fullmatch(prefix):
        raise BadInput(
            f"{prefix!r} cannot begin the names of a fleet's Pis: lower-case letters, digits and dashes, at most 17, a dash at "
            "the end; set prefix in the inventory's hosted_pi.yml, like wheels-"
        )


def look(connection: Connection, prefix: str) -> tuple[str, list[str]]:
    """The database's time, to be asked for before the account is listed, and the names of Pis that should be in it."""
    check_prefix(prefix)
    time, names = _queries.look(connection, prefix=prefix)
    return str(time), list(names)


def plan(
    connection: Connection, fleet: Fleet, wanted: int, specification: Mapping[str, Any], builders: Iterable[str] = ()
) -> list[Wanted]:
    """Write down who is missing up to ``wanted``; who is to be ordered or waited for, which comes after the caller's commit.

    ``builders`` are those of the inventory: who was delivered and is none of them is waited for, too.
    """
    if not 0 <= wanted <= MOST:
        raise BadInput(f"count={wanted}: from 0 to {MOST}")
    its = json.dumps(dict(specification))
    rows = _queries.plan(connection, wanted=wanted, specification=its, builders=list(builders), **fleet.arguments)
    return [Wanted(*row) for row in rows]


def choose_leaving(connection: Connection, fleet: Fleet, keep: int) -> dict[str, bool]:
    """Write down who leaves, so that ``keep`` stay. By name, whether it has to be retired as a builder before it is cancelled."""
    if keep < 0:
        raise BadInput(f"keep={keep}: how many of the fleet's hosted Pis stay, so 0 or more")
    return dict(_queries.choose_leaving(connection, keep=keep, **fleet.arguments))


def settle(connection: Connection, delivered: Iterable[str], failures: Mapping[str, str]) -> None:
    """Write down what came of orders; one may be delivered and of no use all the same."""
    for name in delivered:
        _queries.settle(connection, name=name, failure=None)
    for name, failure in failures.items():
        _queries.settle(connection, name=name, failure=failure)


def note_cancelled(connection: Connection, names: Sequence[str]) -> None:
    """Write down who has left the account, or never will be in it."""
    _queries.note_cancelled(connection, names=list(names))


def minutes_since_order(connection: Connection, prefix: str) -> dict[str, float]:
    """How long ago each Pi was written down as ordered, by name."""
    check_prefix(prefix)
    return dict(_queries.minutes_since_order(connection, prefix=prefix))


def count_power_cycles(connection: Connection, names: Iterable[str]) -> None:
    """Write down who is about to be power-cycled."""
    for name in names:
        _queries.count_power_cycle(connection, name=name)


def mind_silent(connection: Connection, fleet: Fleet, minutes: int, most: int) -> dict[str, bool]:
    """By name, who is silent for so many minutes (0: no such rule), and whether it was quarantined, after ``most`` power cycles.

    Whoever was not is to be power-cycled, which is written down.
    """
    _queries.compare(connection, **fleet.arguments)
    return dict(_queries.mind_silent(connection, prefix=fleet.prefix, minutes=minutes, most=most)) if minutes else {}


def told(connection: Connection, fleet: Fleet) -> list[Told]:
    """Everything about each Pi that is not done with, by name."""
    arguments = fleet.arguments
    return [Told(*row) for row in _queries.told(connection, prefix=fleet.prefix, account=arguments["account"])]


def describe(pi: Told, listed: Listed | None, *, in_inventory: bool) -> tuple[str, bool]:
    """A line for the operator about one Pi, and whether it costs money and builds nothing."""
    useless = _why_useless(pi, listed, in_inventory=in_inventory)
    what = listed.what if listed else "not in the account"
    says = f"builds, {pi.attempts} attempts within a day" if listed and not useless else useless or _why_absent(pi)
    return f"{pi.name}: {what}; since {pi.since}; {says}", useless is not None


def _why_absent(pi: Told) -> str:
    if pi.is_cancelled:
        return f"is gone, and still a builder: `retire.yml -e retire={pi.name} -e retire_lost=true`"
    if pi.failure:
        return f"could not be ordered: {pi.failure}"
    return "written down, not ordered: `provision.yml -e count=N` goes on, `retire.yml -e keep=N` gives it up"


def _why_useless(pi: Told, listed: Listed | None, *, in_inventory: bool) -> str | None:
    """Why a Pi that costs money builds nothing, with the remedy; None where it builds, or costs nothing."""
    if listed is None:
        return None
    if pi.is_cancelled or pi.cancel_wanted:
        return f"was to be cancelled at {pi.cancel_wanted or 'some time'} and is still there: `retire.yml -e keep=N` goes on"
    if not listed.live:
        return f"ordered, not delivered{_because(pi.failure)}: `provision.yml -e count=N` goes on waiting"
    if not listed.running:
        return "is off, or has not booted: hosted_pis.yml power-cycles it by hosted_pi_silent_minutes, or see the control panel"
    if not in_inventory:
        return "is not in this inventory: refresh its cache (--flush-cache), or see to its hosted_pi.yml"
    return _why_no_builder(pi)


def _why_no_builder(pi: Told) -> str | None:
    if pi.standing in (None, "retired"):
        was = "is no builder" if pi.standing is None else "was retired, not cancelled"
        return f"{was}{_because(pi.failure)}: `provision.yml` makes it one, `retire.yml -e keep=N` gives it up"
    if pi.standing != "active":
        return f"is {pi.standing}{_because(pi.standing_reason)}: `piwheels-builder resume {pi.name}`, or `retire.yml -e keep=N`"
    if pi.silence is None or pi.silence > SILENT_SECONDS:
        since = "ever" if pi.silence is None else f"for {pi.silence / 60:.0f} minutes"
        times = f", power-cycled {pi.power_cycles} times" if pi.power_cycles else ""
        return f"was not heard of {since}{times}: hosted_pi_silent_minutes says when it is power-cycled"
    if not pi.leased and not pi.attempts and pi.minutes > _DAY_MINUTES:
        return "has built nothing within a day, and has nothing to build: `retire.yml -e keep=N`"
    return None


def _because(why: str | None) -> str:
    return f" ({why})" if why else ""

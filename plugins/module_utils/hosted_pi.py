"""What it takes to make a hosted Pi what is wanted: looking, ordering, waiting, cancelling.

The API forgets nothing that costs money, and neither does this: what was ordered is found again by its name, so that whoever
was interrupted anywhere just asks again.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .mythic_beasts import (
    ApiError,
    Client,
    NotFound,
    NotReady,
    OutOfStock,
    ProvisioningFailed,
    Refused,
    Server,
    Specification,
    Unreachable,
)


class TimedOut(ApiError):
    """What was waited for did not come in time."""

    reason = "timed_out"


class Differs(ApiError):
    """The Pi is not what is asked for, and no Pi becomes another."""

    reason = "differs"


class NameTaken(ApiError):
    """Another account's Pi has that name."""

    reason = "name_taken"


@dataclass(frozen=True)
class Wanted:
    """A Pi as it should be; ``choices`` in the order in which they are tried. None is left as it is."""

    name: str
    choices: tuple[Specification, ...] = (Specification(),)
    keys: tuple[str, ...] | None = None
    power: bool | None = None
    #: Whether what is out of stock is asked for again until the time is over.
    wait_for_stock: bool = False


class Waiting:
    """Seconds that there are to wait, and the pauses in them, which grow to ``interval``: a Pi that is quick is seen quickly."""

    def __init__(self, seconds: float, interval: float) -> None:
        self._began = time.monotonic()
        self._seconds, self._interval, self._pause = seconds, interval, interval / 8

    @property
    def waited(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._began

    @property
    def over(self) -> bool:
        return self.waited >= self._seconds

    def pause(self) -> None:
        time.sleep(max(0.0, min(self._pause, self._seconds - self.waited)))
        self._pause = min(self._pause * 1.5, self._interval)


@dataclass
class Outcome:
    """What was found and done, kept up while it is done so that a failure tells it too."""

    before: Server | None = None
    after: Server | None = None
    changed: bool = False
    #: An order was accepted, or its answer was lost.
    ordered: bool = False
    #: What was changed besides, for the diff.
    keys: tuple[Sequence[str], Sequence[str]] = ((), ())
    power: tuple[bool | None, bool | None] = (None, None)
    choice: Specification | None = field(default=None)


class HostedPi:
    """One Pi of the account. Its methods fill ``outcome`` and raise ApiError; with ``check`` they only read."""

    def __init__(self, client: Client, wanted: Wanted, waiting: Waiting, *, wait: bool = True, check: bool = False) -> None:
        self._client, self._wanted, self._waiting = client, wanted, waiting
        self._wait, self._check = wait, check
        self._name = wanted.name
        self.outcome = Outcome()

    def present(self) -> None:
        """There, of the model that is wanted, with those keys, and on or off."""
        pi = self._look()
        if pi is None:
            if self._check:
                self._would_order()
                return
            self._provisioned(self._ordered())
        elif pi.status != "live" and self._wait and not self._check:
            self._provisioned(None)
        pi = self.outcome.after
        if pi is None or pi.status != "live":
            return
        self._agree(pi)
        self._set_keys()
        self._set_power(pi)
        self._ready()

    def absent(self) -> None:
        """Cancelled, and gone from the list."""
        if self._look() is None:
            return
        self.outcome.changed = True
        if not self._check:
            self._cancelled()
            self._until(lambda: self._client.find(self._name) is None, "it was cancelled and is still listed, so it may cost money")
        self.outcome.after = None

    def rebooted(self) -> None:
        self._must_exist()
        self.outcome.changed = True
        if self._check:
            return
        self._provisioned(None)
        pi = self.outcome.after
        if pi is None or pi.status != "live":
            raise NotReady(f"{self._name} is still being provisioned: leave out wait: false, or reboot it later")
        if pi.power is False:
            raise Refused(f"{self._name} is switched off, so it cannot reboot: switch it on with power: true")
        # Where it is rebooting already it will have rebooted.
        with contextlib.suppress(NotReady):
            self._client.reboot(self._name)
        self._waiting.pause()
        self.outcome.after = None
        self._ready()

    def power_cycled(self) -> None:
        """Off and on again, also while it hangs in its first boot."""
        self._must_exist()
        self.outcome.changed = True
        if self._check:
            return
        self._allowed(lambda: self._client.power(self._name, False))
        self._waiting.pause()
        self._allowed(lambda: self._client.power(self._name, True))
        if self._wait:
            self._provisioned(None)
            self._ready()

    def _look(self) -> Server | None:
        self.outcome.before = self.outcome.after = self._client.find(self._name)
        return self.outcome.after

    def _must_exist(self) -> None:
        if self._look() is None:
            raise NotFound(f"there is no Pi {self._name} in this account: order it with state: present")

    def _would_order(self) -> None:
        self._admissible()
        self.outcome.changed, self.outcome.choice = True, self._wanted.choices[0]
        self.outcome.keys, self.outcome.power = ((), self._wanted.keys or ()), (None, self._wanted.power is not False)

    def _admissible(self) -> None:
        """Whatever is asked for exists, so that what is delivered is just that and not the next best."""
        models = self._client.models()
        for choice in self._wanted.choices:
            if not any(choice.admits(model) for model in models):
                there = "; ".join(f"model {model.model}, {model.memory} MB, {model.cpu_speed} MHz" for model in models)
                raise Refused(
                    f"there is no Pi like {Specification(choice.model, choice.memory, choice.cpu_speed)}; there are: {there}"
                )
            self._has_image(choice)

    def _has_image(self, choice: Specification) -> None:
        # The API's own choice of a model, where none is asked for.
        model = choice.model or 3
        images = self._client.images(model) if choice.os_image else {}
        if choice.os_image and choice.os_image not in images:
            raise Refused(f"there is no image {choice.os_image} for model {model}; there are: {', '.join(sorted(images))}")

    def _ordered(self) -> str | None:
        """Order it, until it is. Gives its place in the queue, None where that is not known."""
        self._would_order()
        while True:
            try:
                return self._order_one()
            except OutOfStock as error:
                if self._waiting.over or not self._wanted.wait_for_stock:
                    raise OutOfStock(f"{error}: name other_models, or wait_for_stock, or order later") from None
            except Unreachable as error:
                self.outcome.ordered = True
                if self._waiting.over:
                    raise Unreachable(f"{error}; {self._name} may have been ordered all the same: run again, or look") from None
            self._waiting.pause()
            # The answer may be what was lost, not the order.
            if self.outcome.ordered and self._client.find(self._name):
                return None

    def _order_one(self) -> str | None:
        for number, choice in enumerate(self._wanted.choices, start=1):
            try:
                place = self._client.order(self._name, choice, self._wanted.keys or ())
            except OutOfStock:
                if number == len(self._wanted.choices):
                    raise
            except NotReady:
                self._must_be_ours()
                return None
            else:
                self.outcome.ordered, self.outcome.choice = True, choice
                return place
        return None

    def _must_be_ours(self) -> None:
        """The name exists since we looked: by an order of ours whose answer was lost, or of somebody else."""
        if self._client.find(self._name) is None:
            raise NameTaken(f"the name {self._name} is taken, and not by this account: names hold for all accounts, choose another")

    def _provisioned(self, place: str | None) -> None:
        """Wait, if that is wanted, until the Pi is more than an order."""
        said = "ordered"

        def arrived() -> bool:
            nonlocal said, place
            if place:
                said, place = self._progress(place)
            if not place:
                self.outcome.after = pi = self._client.find(self._name)
                said = f"{pi.status} {pi.boot_progress or ''}".strip() if pi else "not listed"
            return not place and self.outcome.after is not None and self.outcome.after.status == "live"

        self._until(arrived, lambda: f"it is not provisioned yet ({said}); it exists and costs money: run again to go on waiting")

    def _progress(self, place: str) -> tuple[str, str | None]:
        try:
            said = self._client.progress(place)
        except ProvisioningFailed as error:
            raise ProvisioningFailed(f"{self._name} could not be provisioned ({error}): cancel it with state: absent") from None
        except (NotFound, NotReady):
            said = None
        return said or "", place if said else None

    def _agree(self, pi: Server) -> None:
        disks = {choice.disk for choice in self._wanted.choices} - {None, pi.disk}
        if disks or not any(choice.admits(pi) for choice in self._wanted.choices):
            asked = " or ".join(str(choice) for choice in self._wanted.choices)
            raise Differs(
                f"{self._name} is {pi}, asked for is {asked}: no Pi becomes another, so ask for what it is, "
                "or cancel it (state: absent) and order it anew"
            )

    def _set_keys(self) -> None:
        if self._wanted.keys is None:
            return
        present = self._client.keys(self._name)
        if set(present) == set(self._wanted.keys):
            return
        self.outcome.changed, self.outcome.keys = True, (present, self._wanted.keys)
        if not self._check:
            self._client.replace_keys(self._name, self._wanted.keys)

    def _set_power(self, pi: Server) -> None:
        if self._wanted.power in (None, pi.power):
            return
        self.outcome.changed, self.outcome.power = True, (pi.power, self._wanted.power)
        if not self._check:
            self._client.power(self._name, bool(self._wanted.power))
            self.outcome.after = self._client.find(self._name)

    def _ready(self) -> None:
        """Wait, if that is wanted, until a Pi that is on has booted."""
        pi = self.outcome.after
        if self._check or (pi and (pi.ready or pi.power is False)):
            return

        def booted() -> bool:
            self.outcome.after = self._client.find(self._name)
            return self.outcome.after is not None and self.outcome.after.ready

        def why() -> str:
            progress = self.outcome.after.boot_progress if self.outcome.after else None
            return f"it has not booted yet ({progress or 'no progress told'}): power-cycle it with state: power_cycled"

        self._until(booted, why)

    def _cancelled(self) -> None:
        # Not there: somebody was quicker, or the answer to our own was lost.
        with contextlib.suppress(NotFound):
            self._allowed(lambda: self._client.cancel(self._name))

    def _allowed(self, ask: Callable[[], None]) -> None:
        """Do what the API refuses while a Pi is provisioned, as soon as it does not."""
        while True:
            try:
                return ask()
            except NotReady as error:
                if self._waiting.over:
                    raise TimedOut(
                        f"{self._name} is still being provisioned ({error}), and costs money: run again, with a longer wait_seconds"
                    ) from None
            self._waiting.pause()

    def _until(self, come: Callable[[], bool], why: str | Callable[[], str]) -> None:
        """Look once, or if waiting is wanted until it has come. What cannot be reached is asked again while there is time."""
        while True:
            try:
                if come() or not self._wait:
                    return
                reason = why if isinstance(why, str) else why()
            except Unreachable as error:
                if not self._wait:
                    raise
                reason = str(error)
            if self._waiting.over:
                raise TimedOut(f"{self._name} was waited for {self._waiting.waited:.0f} s: {reason}")
            self._waiting.pause()


def shown(pi: Server | None) -> dict[str, Any]:
    """A Pi as the module returns it."""
    return {} if pi is None else {**asdict(pi), "host": pi.host, "ipv4_host": pi.ipv4_host}


def difference(outcome: Outcome, absent: bool) -> dict[str, Mapping[str, Any]]:
    """Before and after, of what can be told beforehand."""
    before, after = outcome.before, outcome.after or outcome.choice
    return {
        "before": _side(before, outcome.keys[0], outcome.power[0]),
        "after": {} if absent else _side(after or before, outcome.keys[1], outcome.power[1]),
    }


def _side(pi: Server | Specification | None, keys: Sequence[str], power: bool | None) -> dict[str, Any]:
    about = {} if pi is None else {key: getattr(pi, key) for key in ("model", "memory", "cpu_speed", "disk") if getattr(pi, key)}
    return {**about, **({"ssh_keys": sorted(keys)} if keys else {}), **({} if power is None else {"power": power})}

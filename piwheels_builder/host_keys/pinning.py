"""Pin hosts' keys on first contact, and refuse a key that changed. Who calls: the module host_key, on the controller."""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from piwheels_builder.errors import BadInput
from piwheels_builder.host_keys.asking import Host, Unanswered, ask
from piwheels_builder.host_keys.known_hosts import HostKey, KnownHosts, locked

#: How many servers are asked at a time.
_AT_ONCE = 32


@dataclass(frozen=True)
class Wishes:
    """What is known besides the file: keys ``expected`` at first contact, by name, and names to ``forget`` the old keys of."""

    expected: Mapping[str, Sequence[HostKey]] = field(default_factory=dict)
    forget: Collection[str] = ()


@dataclass
class Report:
    """What became of each host. ``keys``: of every host that is known now, reached or not. ``added``: new lines of the file."""

    keys: dict[str, HostKey] = field(default_factory=dict)
    pinned: dict[str, HostKey] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)


Answer = HostKey | Unanswered


def pin(hosts: Sequence[Host], path: Path, wishes: Wishes, *, seconds: float, check: bool = False) -> Report:
    """Ask every host, judge the answers by the file, and write into it what was pinned, unless ``check``.

    A host that is refused or away keeps no other from being pinned. Raises BadInput, and OSError where the file can't be written.
    """
    strangers = set(wishes.forget) - {host.name for host in hosts}
    if strangers:
        raise BadInput(f"host_keys_forget names {', '.join(sorted(strangers))}, which this run is not about")
    answers = _ask_all(hosts, KnownHosts.read(path), wishes, seconds)
    if check:
        return _judge_all(hosts, answers, path, wishes).report
    with locked(path):
        # Read again: another run may have pinned meanwhile, and only what it left counts.
        judge = _judge_all(hosts, answers, path, wishes)
        if judge.report.pinned:
            judge.known.write(path)
    return judge.report


def _ask_all(hosts: Sequence[Host], known: KnownHosts, wishes: Wishes, seconds: float) -> list[Answer]:
    def answer(host: Host) -> Answer:
        types = [] if host.name in wishes.forget else [key.type for key in _trusted(host, known, wishes)]
        try:
            return ask(host, types, seconds)
        except Unanswered as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return list(threads.map(answer, hosts))


def _trusted(host: Host, known: KnownHosts, wishes: Wishes) -> Sequence[HostKey]:
    """The keys of which the host must show one; none for a host nobody knows anything of."""
    return known.keys_of(host.known_as) or wishes.expected.get(host.name, ())


@dataclass
class _Judge:
    """Puts one host after the other into the report. ``known`` is what the file will say."""

    path: Path
    known: KnownHosts
    report: Report = field(default_factory=Report)

    def away(self, host: Host, why: Unanswered) -> None:
        self.report.unreachable[host.name] = str(why)
        if before := self.known.keys_of(host.known_as):
            self.report.keys[host.name] = before[0]

    def answered(self, host: Host, key: HostKey, wishes: Wishes) -> None:
        known = self.known
        if host.name in wishes.forget and key not in known.keys_of(host.known_as):
            known, wishes = known.without(host.known_as), Wishes()
        if objection := self._objection(host, key, known, wishes):
            self.report.refused[host.name] = objection
            return
        self.report.keys[host.name] = key
        if key not in known.keys_of(host.known_as):
            self.report.pinned[host.name] = key
            self.report.added.append(f"{host.known_as} {key}")
            self.known = known.with_key(host.known_as, key)

    def _objection(self, host: Host, key: HostKey, known: KnownHosts, wishes: Wishes) -> str | None:
        if key in known.keys_of(host.known_as, revoked=True):
            return f"{_called(host)} shows {key.shown}, which {self.path} says is revoked: give it another host key"
        trusted = _trusted(host, known, wishes)
        return _refusal(host, key, trusted, self.path) if trusted and key not in trusted else None


def _judge_all(hosts: Sequence[Host], answers: Sequence[Answer], path: Path, wishes: Wishes) -> _Judge:
    judge = _Judge(path, KnownHosts.read(path))
    for host, answer in zip(hosts, answers, strict=True):
        if isinstance(answer, Unanswered):
            judge.away(host, answer)
        else:
            judge.answered(host, answer, wishes)
    return judge


def _called(host: Host) -> str:
    return f"{host.name} ({host.known_as})"


def _refusal(host: Host, key: HostKey, trusted: Sequence[HostKey], path: Path) -> str:
    return (
        f"{_called(host)} shows the host key {key.shown}, but it is known by {' or '.join(known.shown for known in trusted)}. "
        "Either somebody answers in its place, or it was installed anew: then compare the fingerprint on the host itself "
        "(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub) and run again with "
        f"-e host_keys_forget={host.name} (or first: ssh-keygen -R '{host.known_as}' -f {path})"
    )

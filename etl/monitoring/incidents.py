"""Incidents: what is wrong, from when to when, and which mails are due for it.

    findings of a check ─▶ Ledger.note ─▶ opened │ goes on (a reminder now and then) │ recovered ─▶ mails

One incident a key, one mail at its opening, one at its end. A mail that the server does not take stays due and is
tried again at the next check. The ledger is one small file below ``state_dir``, replaced as a whole under a lock: it
must work when every store is down.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from etl.model.times import NS_PER_S
from etl.stores.files import write_whole

CLOSED_KEPT_MAX = 500
"""Recovered incidents that stay for a look."""
WARNING, CRITICAL = "warning", "critical"


class Finding(Struct, frozen=True, kw_only=True):
    """Something wrong right now. ``key`` is the same for as long as it is the same thing.

    ``how_far`` is one line (``silent for 75 s; 30 s are normal``), ``cause`` and ``to_do`` are sentences.
    """

    key: str
    severity: str
    title: str
    since_ns: int
    how_far: str
    cause: str
    to_do: str
    exchange: str = ""
    channels: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    link: str = ""
    """Path below Airflow's address: the run, or the page that shows it."""


class Incident(Struct, kw_only=True):
    """``due`` names the mail that has still to go out: ``opened``, ``reminder``, ``recovered`` or nothing."""

    finding: Finding
    opened_ns: int
    seen_ns: int
    recovered_ns: int = 0
    mailed_ns: int = 0
    mails: int = 0
    due: str = "opened"


class Ledger(Struct):
    """``memory`` is what checks want to know again next time, by their own names."""

    incidents: list[Incident] = []
    memory: dict[str, float] = {}

    def note(self, findings: Sequence[Finding], now_ns: int, reminder_s: float) -> None:
        """Open what is new, go on with what is known, and close what is no longer found."""
        found = {finding.key: finding for finding in findings}
        for incident in self.open():
            finding = found.pop(incident.finding.key, None)
            if finding is None:
                incident.recovered_ns = now_ns
                # nobody was told of it: nobody has to hear that it is over
                incident.due = "recovered" if incident.mails else ""
                continue
            since_ns = min(incident.finding.since_ns, finding.since_ns)
            incident.finding = msgspec.structs.replace(finding, since_ns=since_ns)
            incident.seen_ns = now_ns
            if not incident.due and now_ns - incident.mailed_ns >= reminder_s * NS_PER_S:
                incident.due = "reminder"
        for finding in found.values():
            self.incidents.append(Incident(finding=finding, opened_ns=now_ns, seen_ns=now_ns))
        self._forget_old()

    def open(self) -> list[Incident]:
        return [incident for incident in self.incidents if not incident.recovered_ns]

    def deliver(self, send: Callable[[Incident], bool], now_ns: int) -> int:
        """Send what is due; ``send`` says whether the server took it. Returns how many are still due."""
        for incident in self.incidents:
            if incident.due and send(incident):
                incident.due, incident.mailed_ns = "", now_ns
                incident.mails += 1
        return sum(bool(incident.due) for incident in self.incidents)

    def _forget_old(self) -> None:
        closed = [one for one in self.incidents if one.recovered_ns and not one.due]
        for one in closed[:-CLOSED_KEPT_MAX]:
            self.incidents.remove(one)


def read(state_path: Path) -> Ledger:
    """The ledger as it is now, for whoever shows it."""
    return _read(_path(state_path))


def recent(state_path: Path, count_max: int) -> list[Incident]:
    """The newest first."""
    return sorted(read(state_path).incidents, key=lambda one: one.opened_ns, reverse=True)[:count_max]


@contextmanager
def held(state_path: Path) -> Iterator[Ledger]:
    """The ledger, for one writer at a time; what was changed is kept at the end, also after an error."""
    path = _path(state_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ledger = _read(path)
        try:
            yield ledger
        finally:
            write_whole(path, msgspec.json.encode(ledger))


def _path(state_path: Path) -> Path:
    return state_path / "monitoring" / "incidents.json"


def _read(path: Path) -> Ledger:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ledger)
    except FileNotFoundError:
        return Ledger()

"""Incidents: what is wrong, from when to when, and which mails are due for it.

    findings of a check ─▶ Ledger.note ─▶ opened │ goes on (a reminder now and then) │ recovered ─▶ mails

One incident a key, one mail at its opening, one at its end. A mail that the server does not take stays due and is
tried again at the next check. The ledger is one small file below ``state_dir``, replaced as a whole under a lock: it
must work when every store is down. Where the disk takes no more it lies in memory meanwhile: an incident that nobody
remembers is a mail at every check.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from etl.model.times import NS_PER_S
from etl.stores.files import write_whole

CLOSED_KEPT_MAX = 500
"""Recovered incidents that stay for a look."""
MEMORY = Path("/dev/shm")  # noqa: S108  a folder of our own is made in it, and its owner looked at
_log = logging.getLogger(__name__)
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
            _keep(path, msgspec.json.encode(ledger))


def _keep(path: Path, content: bytes) -> None:
    """Beside the disk, if that takes nothing. Raises ``OSError`` where no place does."""
    aside = _memory_path(path)
    try:
        write_whole(path, content)
    except OSError as error:
        _log.warning("%s: %s; kept in %s until it can be written", path, error.strerror, aside)
        aside.parent.mkdir(mode=0o700, exist_ok=True)
        if aside.parent.lstat().st_uid != os.getuid():
            raise
        write_whole(aside, content, durable=False)
    else:
        with suppress(OSError):  # there is none, as a rule
            aside.unlink()
            aside.parent.rmdir()


def _memory_path(path: Path) -> Path:
    """In a folder of this user alone, in memory where the machine has such a place."""
    memory = MEMORY if MEMORY.is_dir() else Path(tempfile.gettempdir())
    digest = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:12]
    return memory / f"etl-incidents-{os.getuid()}-{digest}" / path.name


def _path(state_path: Path) -> Path:
    return state_path / "monitoring" / "incidents.json"


def _read(path: Path) -> Ledger:
    for place in (_memory_path(path), path):
        with suppress(FileNotFoundError):
            if place == path or place.parent.lstat().st_uid == os.getuid():
                return msgspec.json.decode(place.read_bytes(), type=Ledger)
    return Ledger()

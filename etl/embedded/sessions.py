"""Process sessions of Linux: who is in one, whether a recorded one is still ours, and ending it wholly.

Every part leads a session of its own (``setsid``), so its children stay findable by the session's number even
when they change their process group or lose their parent. A number in use by any member is never given to a
new process, which makes (boot, leader, start time of the leader) a safe name for a session.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import msgspec
import psutil
from msgspec import Struct

POLL_S = 0.05
KILL_WITHIN_S = 5.0

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_START_TIME_FIELD = 19
_DEAD = (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)


class Session(Struct, frozen=True):
    """A session on record. ``start_ticks`` is its leader's start in clock ticks since the boot."""

    part: str
    leader: int
    start_ticks: int
    boot_id: str


def session_of(part: str, leader: int) -> Session:
    return Session(part, leader, _start_ticks(leader), boot_id())


def boot_id() -> str:
    return _BOOT_ID.read_text().strip()


def members(session: Session) -> list[int]:
    """Living processes of the session, zombies left out; empty if the number now belongs to someone else."""
    if session.boot_id != boot_id():
        return []
    found = [pid for pid in psutil.pids() if _session_number(pid) == session.leader and _lives(pid)]
    if session.leader in found and _start_ticks(session.leader) != session.start_ticks:
        return []
    return found


def kill(session: Session) -> None:
    """SIGKILL to every member until none is left, for at most ``KILL_WITHIN_S``."""
    deadline = time.monotonic() + KILL_WITHIN_S
    while (pids := members(session)) and time.monotonic() < deadline:
        for pid in pids:
            _signal(pid, signal.SIGKILL)
        time.sleep(POLL_S)


def record(directory: Path, session: Session) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{session.part}.session").write_bytes(msgspec.json.encode(session))


def forget(directory: Path, session: Session) -> None:
    (directory / f"{session.part}.session").unlink(missing_ok=True)


def recorded(directory: Path) -> list[Session]:
    """Sessions on record; a record cut short by a crash is passed over."""
    found = []
    for file in sorted(directory.glob("*.session")):
        try:
            found.append(msgspec.json.decode(file.read_bytes(), type=Session))
        except (OSError, msgspec.DecodeError):
            continue
    return found


def sweep(directory: Path, stop_within_s: float) -> list[str]:
    """End every session on record: SIGTERM to the leaders, after ``stop_within_s`` SIGKILL to all.

    Returns the names of the parts that were still running.
    """
    leftovers = [session for session in recorded(directory) if members(session)]
    for session in leftovers:
        _signal(session.leader, signal.SIGTERM)
    deadline = time.monotonic() + stop_within_s
    while time.monotonic() < deadline and any(session.leader in members(session) for session in leftovers):
        time.sleep(POLL_S)
    for session in recorded(directory):
        kill(session)
        forget(directory, session)
    return [session.part for session in leftovers]


def resident_bytes(session: Session) -> int:
    """Memory of the session, pages shared with others counted by their share."""
    return sum(_proportional_bytes(pid) for pid in members(session))


def cpu_s(pid: int) -> float:
    """User and system time of every thread of ``pid``; 0 before it runs and when it has ended."""
    try:
        times = psutil.Process(pid).cpu_times() if pid else None
    except psutil.NoSuchProcess:
        times = None
    return float(times.user + times.system) if times else 0.0


def port_holder(port: int) -> str:
    """``name (pid n)`` of the process that listens on the TCP port, "" if it cannot be told."""
    try:
        for connection in psutil.net_connections("tcp"):
            is_listening = connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
            if is_listening and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return ""


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _session_number(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() not in _DEAD
    except psutil.NoSuchProcess:
        return False


def _proportional_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    except psutil.Error:
        return 0


def _start_ticks(pid: int) -> int:
    """0 if gone. Read here: psutil adds the time of the boot, which moves when the clock is set."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[_START_TIME_FIELD])

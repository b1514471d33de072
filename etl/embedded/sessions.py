"""Process sessions of Linux: who is in one, whether a recorded one is still ours, and ending it wholly.

Every part leads a session of its own (``setsid``), so its children stay findable by the session's number even
when they change their process group or lose their parent. A number in use by any member is never given to a
new process, which makes (boot, leader, start time of the leader) a safe name for a session.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

POLL_S = 0.05
KILL_WITHIN_S = 5.0

_PROC = Path("/proc")
_SESSION_FIELD = 3
_STATE_FIELD = 0
_USER_TIME_FIELD, _SYSTEM_TIME_FIELD = 11, 12
_START_TIME_FIELD = 19


class Session(Struct, frozen=True):
    """A session on record. ``start_ticks`` is its leader's start in clock ticks since the boot."""

    part: str
    leader: int
    start_ticks: int
    boot_id: str


def session_of(part: str, leader: int) -> Session:
    return Session(part, leader, _start_ticks(leader), boot_id())


def boot_id() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def members(session: Session) -> list[int]:
    """Living processes of the session, zombies left out; empty if the number now belongs to someone else."""
    if session.boot_id != boot_id():
        return []
    found = []
    for pid, fields in _all_processes():
        if int(fields[_SESSION_FIELD]) != session.leader or fields[_STATE_FIELD] in "ZX":
            continue
        if pid == session.leader and int(fields[_START_TIME_FIELD]) != session.start_ticks:
            return []
        found.append(pid)
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
    fields = _stat_fields(pid) if pid else []
    ticks = int(fields[_USER_TIME_FIELD]) + int(fields[_SYSTEM_TIME_FIELD]) if fields else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def port_holder(port: int) -> str:
    """``name (pid n)`` of the process that listens on the TCP port, "" if it cannot be told."""
    inodes = set(_listening_inodes(port))
    for pid, _fields in _all_processes() if inodes else ():
        try:
            links = [os.readlink(entry.path) for entry in os.scandir(_PROC / str(pid) / "fd")]
        except OSError:
            continue
        if any(link in inodes for link in links):
            return f"{(_PROC / str(pid) / 'comm').read_text().strip()} (pid {pid})"
    return ""


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _start_ticks(pid: int) -> int:
    fields = _stat_fields(pid)
    return int(fields[_START_TIME_FIELD]) if fields else 0


def _all_processes() -> Iterator[tuple[int, list[str]]]:
    for entry in os.scandir(_PROC):
        if entry.name.isdigit() and (fields := _stat_fields(int(entry.name))):
            yield int(entry.name), fields


def _stat_fields(pid: int) -> list[str]:
    """The fields of /proc/pid/stat after the command's name (which may hold anything); empty if gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _proportional_bytes(pid: int) -> int:
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), 0)


def _listening_inodes(port: int) -> Iterator[str]:
    for name in ("net/tcp", "net/tcp6"):
        try:
            lines = (_PROC / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] == "0A":
                yield f"socket:[{fields[9]}]"

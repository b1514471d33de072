"""The lock of a state directory: one supervisor at a time, or the guardian of one that was killed."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from pathlib import Path

import psutil

from etl.embedded import sessions
from etl.embedded.guardian import SWEEP_STOP_WITHIN_S
from etl.embedded.status import run_directory
from etl.errors import PartError

POLL_S = 0.1
WITHIN_S = SWEEP_STOP_WITHIN_S + sessions.KILL_WITHIN_S


def is_in_use(state_path: Path) -> bool:
    """A supervisor, or the guardian of one, holds this state directory."""
    try:
        with open(run_directory(state_path) / "lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


async def take_lock(lock: Path) -> int:
    """The open lock file. Waits while a guardian cleans up; raises ``PartError`` while a supervisor lives."""
    file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(file, 32, 0).decode().strip()
            if _lives(owner) or time.monotonic() > deadline:
                os.close(file)
                raise PartError(
                    f"{lock.parents[1]} is in use by `etl up` (pid {owner}): stop that one, "
                    "or give this one another --state"
                ) from None
            await asyncio.sleep(POLL_S)
            continue
        os.truncate(file, 0)
        os.pwrite(file, str(os.getpid()).encode(), 0)
        return file


def _lives(pid: str) -> bool:
    return pid.isdigit() and psutil.pid_exists(int(pid))

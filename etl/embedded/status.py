"""What the supervisor tells of its parts, in ``run/status.json``."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from etl.errors import PartError
from etl.stores.files import write_whole

FILE = "status.json"
WAITING, STARTING, RUNNING, RESTARTING = "waiting", "starting", "running", "restarting"
DONE, STOPPED, FAILED = "done", "stopped", "failed"


class PartState(Struct):
    """What is known of a part; ``since_ns`` is when ``state`` was entered, ``memory_bytes`` its whole session's."""

    name: str
    log: str
    metrics_port: int = 0
    state: str = WAITING
    pid: int = 0
    restarts: int = 0
    since_ns: int = 0
    memory_bytes: int = 0
    last_exit: str = ""


class Status(Struct):
    """The content of ``run/status.json``."""

    supervisor_pid: int
    started_ns: int
    updated_ns: int
    parts: list[PartState]


def run_directory(state_path: Path) -> Path:
    return state_path / "run"


def read_status(state_path: Path) -> Status:
    """What the running supervisor last wrote. Raises ``PartError`` where none is running."""
    try:
        status = msgspec.json.decode((run_directory(state_path) / FILE).read_bytes(), type=Status)
        os.kill(status.supervisor_pid, 0)
    except (OSError, msgspec.DecodeError):
        raise PartError(f"nothing runs on {state_path}; start it: etl up") from None
    return status


def write_status(directory: Path, status: Status) -> None:
    """Into the run directory. Raises ``OSError``."""
    write_whole(directory / FILE, msgspec.json.encode(status), durable=False)


def forget_status(directory: Path) -> None:
    (directory / FILE).unlink(missing_ok=True)

"""What became of the jobs that ``etl schedule`` runs: the last run of each, kept beside the state."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct

from etl.settings import Settings
from etl.stores.files import write_whole


class State(StrEnum):
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    """After all its retries."""


class JobRun(Struct, frozen=True):
    """The last run of a job: when it was due, its state, since when, and how often it was tried."""

    due_ns: int
    state: State
    since_ns: int
    tries: int = 0


def file_of(settings: Settings) -> Path:
    return settings.state_path / "schedule" / "runs.json"


def read_runs(settings: Settings) -> dict[str, JobRun]:
    """By job; none where nothing was scheduled yet."""
    try:
        return msgspec.json.decode(file_of(settings).read_bytes(), type=dict[str, JobRun])
    except FileNotFoundError:
        return {}


def write_runs(settings: Settings, runs: Mapping[str, JobRun]) -> None:
    # not durable: after a power cut a job runs once more than it had to, which none of them minds
    write_whole(file_of(settings), msgspec.json.encode(runs), durable=False)

"""How far backfills are: a folder for each below ``state_dir/backfill``, which goes when its coverage is checked.

plan                  what is to be done, written before the first chunk
trade-2026-….json     the mark of a chunk that is done: what came
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from etl.model.names import file_name, shown_of
from etl.settings import Settings
from etl.stores.files import write_whole

MARK = ".json"


class Plan(Struct, frozen=True, kw_only=True):
    """``chunks`` is how many marks there will be."""

    exchange: str
    symbols: Sequence[str]
    kinds: Sequence[str]
    start_ns: int
    end_ns: int
    chunks: int


class AtWork(Struct, frozen=True):
    """A backfill that is not checked yet: ``done`` of its chunks, the last one at ``changed_ns``."""

    name: str
    plan: Plan
    done: int
    changed_ns: int


class Marks:
    """Those of the backfill ``name``."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.folder = _root(settings) / file_name(name)

    def announce(self, plan: Plan) -> None:
        write_whole(self.folder / "plan", msgspec.json.encode(plan))

    def put(self, chunk: str, content: bytes) -> None:
        write_whole(self.folder / f"{chunk}{MARK}", content)

    def get(self, chunk: str) -> bytes | None:
        try:
            return (self.folder / f"{chunk}{MARK}").read_bytes()
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def at_work(settings: Settings) -> list[AtWork]:
    """Every backfill that was announced and not checked yet, the last one at work first."""
    found = []
    for folder in _root(settings).glob("*/"):
        try:
            plan = msgspec.json.decode((folder / "plan").read_bytes(), type=Plan)
            done = sum(entry.name.endswith(MARK) for entry in os.scandir(folder))
            found.append(AtWork(shown_of(folder.name), plan, done, folder.stat().st_mtime_ns))
        except FileNotFoundError:  # not announced, or checked just now
            continue
    return sorted(found, key=lambda one: one.changed_ns, reverse=True)


def _root(settings: Settings) -> Path:
    return settings.state_path / "backfill"

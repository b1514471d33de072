"""The lake as it was written before 2026-11-30, for ``etl lake migrate``: a folder a symbol, and a catalog of our own.

    data/{table}/exchange=…/symbol=…/date=…/{partition}-{start}-{end}.parquet
    data/{table}/exchange=…/symbol=KXBTC15M-%2A/date=…/….parquet               all contracts of a series
    data/raw/exchange=…/date=…/….parquet
    _catalog/{version}.json, {version}.checkpoint.json

In files of a series the column ``contract`` is the symbol. In layout 1 ``wide_decimals`` is called ``beyond``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from etl.exchanges import series_of
from etl.lake.exports import Range
from etl.lake.layout import FILE_SCHEMAS, NARROW_TABLES, WIDE_DECIMALS
from etl.lake.storage import Storage

FOLDER = "_catalog"
DATA = "data"
_RENAMED_IN = 2
_FORMER_WIDE_DECIMALS = "beyond"
_HIVE_TYPES = "{'exchange': VARCHAR, 'symbol': VARCHAR, 'date': DATE}"
"""Given, not guessed: a symbol may read as a number, or as TRUE."""
_ADDED = {
    "gaps": {"attempts": "INTEGER", "repaired_rows": "BIGINT", "detected_time_ns": "BIGINT"},
    **{
        table: {WIDE_DECIMALS.name: "MAP(VARCHAR, VARCHAR)"}
        for table, schema in FILE_SCHEMAS.items()
        if WIDE_DECIMALS in schema and table not in NARROW_TABLES
    },
}
"""Columns that files written before they were added do not have; there a number reads as 0."""
_NUMBERS = ("INTEGER", "BIGINT")


class File(Struct, frozen=True):
    path: str
    table: str
    exchange: str
    symbol: str
    date: str
    rows: int
    bytes: int
    time_ns_min: int
    time_ns_max: int
    key_time_ns_min: int
    key_time_ns_max: int
    partition: int
    start: int
    end: int
    layout: int = 1


class Commit(Struct, frozen=True):
    version: int
    added: tuple[File, ...] = ()
    removed: tuple[str, ...] = ()
    topic: str = ""
    topic_id: str = ""
    offsets: dict[int, int] = {}
    leader_epochs: dict[int, int] = {}
    planned: tuple[Range, ...] = ()


class State(Struct):
    version: int = 0
    files: dict[str, File] = {}
    topics: dict[str, str] = {}
    offsets: dict[str, dict[int, int]] = {}
    leader_epochs: dict[str, dict[int, int]] = {}
    planned: dict[str, tuple[Range, ...]] = {}

    def apply(self, commit: Commit) -> None:
        self.version = commit.version
        for path in commit.removed:
            del self.files[path]
        self.files |= {file.path: file for file in commit.added}
        if commit.topic_id:
            self.topics.setdefault(commit.topic_id, commit.topic)
            self.offsets.setdefault(commit.topic_id, {}).update(commit.offsets)
            self.leader_epochs.setdefault(commit.topic_id, {}).update(commit.leader_epochs)
            self.planned[commit.topic_id] = commit.planned


def read(storage: Storage) -> State:
    names = storage.names(FOLDER)
    state = State(files={}, topics={}, offsets={}, leader_epochs={}, planned={})
    checkpoints = [name for name in names if name.endswith(".checkpoint.json")]
    if checkpoints:
        state = msgspec.json.decode(storage.get(f"{FOLDER}/{checkpoints[-1]}"), type=State)
    while (name := f"{state.version + 1:020d}.json") in names:
        state.apply(msgspec.json.decode(storage.get(f"{FOLDER}/{name}"), type=Commit))
    return state


def scan(storage: Storage, files: Sequence[File]) -> str:
    """``files`` of one table, not the raw one, under the columns of today, as DuckDB's FROM."""
    of_series = [file for file in files if file.symbol.endswith("*") and series_of(file.exchange)]
    if not of_series:
        return _scan_of(storage, files)
    rows = f"SELECT * EXCLUDE (contract) REPLACE (contract AS symbol) FROM {_scan_of(storage, of_series)}"  # noqa: S608
    others = [file for file in files if file not in of_series]
    beside = f" UNION ALL BY NAME SELECT * FROM {_scan_of(storage, others)}" if others else ""  # noqa: S608
    return f"({rows}{beside})"


def _scan_of(storage: Storage, files: Sequence[File]) -> str:
    """Of symbols, or of series."""
    table = files[0].table
    old = [file for file in files if file.layout < _RENAMED_IN and table in NARROW_TABLES]
    if old:
        new = [file for file in files if file not in old]
        renamed = (
            f"SELECT * RENAME ({_FORMER_WIDE_DECIMALS} AS {WIDE_DECIMALS.name}) FROM {_read(storage, old)}"  # noqa: S608
        )
        others = f" UNION ALL BY NAME SELECT * FROM {_read(storage, new)}" if new else ""  # noqa: S608
        return f"({renamed}{others})"
    added = _ADDED.get(table)
    if added is None:
        return _read(storage, files)
    names = ", ".join(f"NULL::{kind} AS {name}" for name, kind in added.items())
    zeros = ", ".join(f"coalesce({name}, 0) AS {name}" for name, kind in added.items() if kind in _NUMBERS)
    shown = f"* REPLACE ({zeros})" if zeros else "*"
    source = f"FROM {_read(storage, files, ', union_by_name = true')}"
    return f"(SELECT {shown} FROM ({source} UNION ALL BY NAME SELECT {names} WHERE false))"  # noqa: S608


def _read(storage: Storage, files: Sequence[File], more: str = "") -> str:
    paths = ", ".join("'" + f"{storage.url}/{file.path}".replace("'", "''") + "'" for file in files)
    return f"read_parquet([{paths}], hive_partitioning = true, hive_types = {_HIVE_TYPES}, filename = true{more})"

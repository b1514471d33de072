"""A lake that code of before 2026-11-30 wrote (fixtures/lake/former.tar.xz), with what its views showed
(``expected.json``): files of both former layouts, compacted ones, a series, identities in several files, wide
decimals, frames, and the plan of an export that died."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from etl.errors import StoreError, UsageError
from etl.lake.catalog import Catalog
from etl.lake.exports import Range
from etl.lake.migrate import Migrated, delete_former, migrate
from etl.settings import Settings
from etl.stores.query import plain, query
from tests.support import stream
from tests.support.lake import export_records, state_of

FIXTURE = Path(__file__).parents[1] / "fixtures" / "lake" / "former.tar.xz"
DAYS = 12


@pytest.fixture
def former_lake(settings: Settings) -> Path:
    root = Path(settings.lake_path)
    with tarfile.open(FIXTURE) as tar:
        tar.extractall(root, filter="data")
    return root


def shown(settings: Settings, table: str, names: list[str]) -> list[dict[str, Any]]:
    order = "exchange, date, receive_time_ns" if table == "raw" else "exchange, symbol, record_key"
    rows = query(settings, "lake", f"SELECT {', '.join(names)} FROM {table} ORDER BY {order}").rows
    return [
        {
            name: value.hex() if isinstance(value, bytes) else plain(value)
            for name, value in zip(names, row, strict=True)
        }
        for row in rows
    ]


def assert_whole(settings: Settings, root: Path) -> None:
    for table, rows in json.loads((root / "expected.json").read_text()).items():
        assert shown(settings, table, list(rows[0])) == rows


def test_every_value_offset_and_plan_is_there_after_a_migration(
    settings: Settings, former_lake: Path
) -> None:
    before = {path: path.read_bytes() for path in former_lake.rglob("*") if path.is_file()}
    assert migrate(settings) == Migrated(DAYS, 0, 14, 12, 23, 21)
    assert_whole(settings, former_lake)
    exports = state_of(settings).exports
    assert exports.offsets == {"topic-id": {0: 25}, "raw-id": {0: 3}}
    assert exports.planned == {"topic-id": (Range(0, 25, 30),), "raw-id": ()}
    assert (exports.topics, exports.leader_epochs["raw-id"]) == (
        {"topic-id": "topic", "raw-id": "raw"},
        {0: 4},
    )
    assert {path: path.read_bytes() for path in before} == before
    assert migrate(settings) == Migrated(0, 0, 0, 0, 0, 0)


def test_a_lake_that_is_not_migrated_is_neither_read_nor_written(
    settings: Settings, former_lake: Path
) -> None:
    for use in (
        lambda: query(settings, "lake", "SELECT 1"),
        lambda: export_records(settings, [stream.trade(0)]),
    ):
        with pytest.raises(StoreError, match="run: etl lake migrate"):
            use()
    with pytest.raises(UsageError, match="not migrated yet"):
        delete_former(settings)


class Died(Exception):
    pass


@pytest.mark.parametrize("days", [0, 1, 5, DAYS - 1])
def test_a_migration_that_died_goes_on_where_it_was(
    settings: Settings, former_lake: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    commit, left = Catalog.commit, days

    def dying(*arguments: Any, **changes: Any) -> None:
        nonlocal left
        if not left:
            raise Died
        left -= 1
        commit(*arguments, **changes)

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "commit", dying)
        with pytest.raises(Died):
            migrate(settings)
    with pytest.raises(StoreError, match="run: etl lake migrate"):
        query(settings, "lake", "SELECT 1")
    done = migrate(settings)
    assert (done.days, done.days_done_before) == (DAYS - days, days)
    assert_whole(settings, former_lake)
    assert sum(file.rows for file in state_of(settings).files.values()) == 21


def test_the_old_files_go_when_told_and_the_lake_stays(settings: Settings, former_lake: Path) -> None:
    migrate(settings)
    assert delete_former(settings) == 23
    assert not list(former_lake.glob("data/**/*.parquet"))
    assert_whole(settings, former_lake)
    export_records(settings, [stream.trade(8)], 25)
    assert query(settings, "lake", "SELECT count(*) FROM trades").rows == [(12,)]

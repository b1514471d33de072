"""Files as the logs describe them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from etl.lake.catalog import TIME_NS_MAX, Catalog, File, add_of, file_of
from etl.lake.delta import Add
from etl.lake.storage import LocalStorage
from tests.support.stream import START_NS


def file(number: int, table: str = "trades", **values: object) -> File:
    made = File(
        f"tables/{table}/exchange=%2A/date=2024-08-08/0-{number}-{number + 1}.parquet", table, "*", "2024-08-08",
        "A", "Z", 10, 100, START_NS, START_NS + 1_999, 1, 2, 0, number, number + 1, made_ms=5,
    )  # fmt: skip
    return structs.replace(made, **values)


@pytest.mark.parametrize(
    "described",
    [
        file(0),
        file(1, compaction="ab", wide_rows=2, wide_scales={"bid": 25}, wide_wholes={"bid": 3}),
        file(2, "quotes"),
    ],
)
def test_a_file_comes_out_of_the_log_as_it_went_in(described: File) -> None:
    add = add_of(described)
    assert file_of(described.table, add) == described
    assert add.path == f"exchange=%252A/{described.path.partition('/exchange=%2A/')[2]}"
    assert add.data_change is (described.compaction == "")
    stats = json.loads(add.stats or "")
    assert (stats["numRecords"], stats["minValues"]["time"]) == (10, "2024-08-08T23:54:15.342000Z")
    assert stats["maxValues"] == {"symbol": "Z", "time": "2024-08-08T23:54:15.342001Z", "key_time_ns": 2}


def test_a_file_of_the_raw_topic_has_no_symbols() -> None:
    described = file(0, "raw", symbol_min="", symbol_max="")
    assert file_of("raw", add_of(described)) == described
    assert json.loads(add_of(described).stats or "")["minValues"] == {"receive_time_ns": START_NS}


def test_a_file_that_another_program_describes_may_hold_anything() -> None:
    add = Add(
        "exchange=kraken/date=2024-08-08/part-0.parquet",
        {"exchange": "kraken", "date": "2024-08-08"},
        9,
        1,
        True,
    )
    found = file_of("trades", add)
    assert (found.exchange, found.layout, found.compaction, found.symbol_min) == ("kraken", 0, "", "")
    assert (found.key_time_ns_min, found.key_time_ns_max) == (0, TIME_NS_MAX)


def test_a_commit_of_several_tables_is_one_in_each_with_the_same_progress(tmp_path: Path) -> None:
    catalog = Catalog(LocalStorage(tmp_path / "lake"))
    state = catalog.read()
    catalog.commit(state, added=[file(0), file(1, "quotes"), file(2)], txns={"t/0": 7})
    catalog.commit(state, removed=[file(0).path], operation="DELETE")
    after = catalog.read()
    assert after == state
    assert [each.path for each in after.of("trades")] == [file(2).path]
    assert [after.done(table, "t/0") for table in ("trades", "quotes", "bars")] == [7, 7, 0]
    assert [after.tables[table].version for table in ("trades", "quotes", "bars")] == [1, 0, -1]
    assert after.removed(1 << 60) == [file(0).path]
    assert after.named() == {file(0).path, file(1, "quotes").path, file(2).path}


def test_a_checkpoint_waits_for_the_commits_of_all_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.lake.log.COMMITS_PER_CHECKPOINT", 1)
    catalog, made = Catalog(LocalStorage(tmp_path / "lake")), list[str]()
    state = catalog.read()
    catalog.commit(state, added=[file(0), file(1, "quotes")])
    for method in ("put", "put_new"):
        original = getattr(LocalStorage, method)

        def noted(at: LocalStorage, path: str, data: bytes, original: Any = original) -> Any:
            _, table, _, name = path.split("/")
            made.append(f"{table} {name.lstrip('0')}")
            return original(at, path, data)

        monkeypatch.setattr(LocalStorage, method, noted)
    catalog.commit(state, added=[file(2), file(3, "quotes")])
    assert made == [
        *("quotes 1.json", "trades 1.json"),
        *("quotes 1.checkpoint.parquet", "quotes _last_checkpoint"),
        *("trades 1.checkpoint.parquet", "trades _last_checkpoint"),
    ]
    assert catalog.read() == state

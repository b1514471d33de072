from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from msgspec import structs

from etl.errors import StoreError
from etl.lake.catalog import Catalog, State
from etl.lake.compaction import Compacted, compact
from etl.lake.storage import open_storage
from etl.model.records import BarState, Correction, CorrectionKind, Source
from etl.settings import Settings, changed
from tests.support import stream
from tests.support.lake import as_layout_1, export_records, query, state_of
from tests.support.stream import START_NS

SOON_NS = START_NS
"""Before any removal: nothing's grace is over."""
FAR_NS = 9_000_000_000_000_000_000
"""After every grace."""


def on_disk(settings: Settings) -> set[str]:
    root = Path(settings.lake_path)
    return {str(path.relative_to(root)) for path in (root / "data").rglob("*.parquet")}


def test_small_files_of_a_day_become_one_with_the_same_rows(settings: Settings) -> None:
    for part in range(5):
        export_records(settings, (stream.trade(n) for n in range(part * 10, part * 10 + 10)), part * 10)
    everything = "SELECT * FROM trades ORDER BY event_time_ns, record_key"
    before = query(settings, everything)
    assert compact(settings, SOON_NS) == Compacted(days=1, files_before=5, files_after=1, deleted=0)
    assert query(settings, everything) == before
    assert len(before) == 50
    assert compact(settings, SOON_NS) == Compacted(days=0, files_before=0, files_after=0, deleted=0)


def test_compaction_keeps_one_row_per_identity_the_newest(settings: Settings) -> None:
    export_records(settings, [stream.bar(0, bar_state=BarState.OPEN, close="1"), stream.bar(1, close="9")])
    export_records(settings, [stream.bar(0, bar_state=BarState.REVISED, close="3")], 2)
    export_records(settings, [stream.bar(0, bar_state=BarState.CLOSED, close="2")], 3)
    compact(settings, SOON_NS)
    (file,) = state_of(settings).files.values()
    rows = pq.read_table(f"{settings.lake_path}/{file.path}", partitioning=None).to_pylist()
    assert [(str(row["close"].normalize()), row["bar_state"]) for row in rows] == [
        ("3", "revised"),
        ("9", "closed"),
    ]


def test_of_equal_versions_the_first_stands(settings: Settings) -> None:
    for start in (0, 1, 10):
        export_records(settings, [stream.trade(0, receive_time_ns=START_NS + 100 - start)], start)
    found = "SELECT receive_time_ns FROM trades"
    assert query(settings, found) == [(START_NS + 100,)]
    compact(settings, SOON_NS)
    assert query(settings, found) == [(START_NS + 100,)]


def test_a_compacted_file_is_sorted_by_time_then_key(settings: Settings) -> None:
    numbers = list(range(60))
    random.Random(7).shuffle(numbers)
    for part in range(6):
        export_records(settings, (stream.trade(n) for n in numbers[part * 10 : part * 10 + 10]), part * 10)
    compact(settings, SOON_NS)
    (file,) = state_of(settings).files.values()
    rows = pq.read_table(f"{settings.lake_path}/{file.path}", partitioning=None)
    assert rows["record_key"].to_pylist() == [stream.trade(n).record_key for n in range(60)]


def test_a_day_larger_than_a_file_becomes_several_that_share_no_identity_and_stay(settings: Settings) -> None:
    settings = changed(settings, lake_file_rows_max=25, lake_row_group_rows=10)
    for part in range(6):  # quotes without event time: all key times are the day's
        export_records(settings, (stream.quote(n) for n in range(part * 10, part * 10 + 10)), part * 10)
    assert compact(settings, SOON_NS) == Compacted(days=1, files_before=6, files_after=3, deleted=0)
    assert [file.rows for file in state_of(settings).of("quotes")] == [25, 25, 10]
    assert compact(settings, SOON_NS).days == 0
    assert query(settings, "SELECT count(*), count(DISTINCT record_key) FROM quotes") == [(60, 60)]


def test_replaced_files_are_deleted_only_after_their_grace(settings: Settings) -> None:
    export_records(settings, [stream.trade(0)])
    export_records(settings, [stream.trade(1)], 1)
    old = on_disk(settings)
    compact(settings, SOON_NS)
    (kept,) = state_of(settings).files
    assert on_disk(settings) == {*old, kept}
    assert compact(settings, FAR_NS).deleted == 2
    assert on_disk(settings) == {kept}
    assert state_of(settings).removed == {}
    assert query(settings, "SELECT count(*) FROM trades") == [(2,)]


def test_files_of_a_compaction_that_died_before_its_commit_are_deleted_by_the_next(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_records(settings, [stream.trade(0)])
    export_records(settings, [stream.trade(1)], 1)
    exported = on_disk(settings)
    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "commit", _die)
        with pytest.raises(Died):
            compact(settings, SOON_NS)
    (left,) = on_disk(settings) - exported
    export_records(settings, [stream.trade(2)], 2)  # takes the number that its commit would have had
    assert compact(settings, SOON_NS).deleted == 1
    (kept,) = state_of(settings).files
    assert on_disk(settings) == {*exported, *state_of(settings).removed, kept}
    assert left not in on_disk(settings)
    assert query(settings, "SELECT count(*) FROM trades") == [(3,)]


def test_what_a_compaction_under_way_has_written_is_left_to_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_records(settings, [stream.trade(0)])
    export_records(settings, [stream.trade(1)], 1)
    commit = Catalog.commit

    def beside(catalog: Catalog, state: State, **changes: Any) -> None:
        """Another compaction, which finds nothing that it would gain by, runs just before the switch."""
        with monkeypatch.context() as patch:
            patch.setattr("etl.lake.compaction._groups", lambda *_: iter(()))
            patch.setattr(Catalog, "commit", commit)
            assert compact(settings, SOON_NS).deleted == 0
        commit(catalog, state, **changes)

    monkeypatch.setattr(Catalog, "commit", beside)
    compact(settings, SOON_NS)
    assert query(settings, "SELECT count(*) FROM trades") == [(2,)]


class Died(Exception):
    pass


def _die(*_: Any, **__: Any) -> None:
    raise Died


def test_days_and_symbols_are_compacted_apart(settings: Settings) -> None:
    other = [stream.trade(n, symbol="ETH-USDT") for n in range(2)]
    later = [stream.trade(n, time_ns=START_NS + stream.DAY + n) for n in range(2)]
    for number in range(2):
        export_records(settings, [stream.trade(number), other[number], later[number]], number * 3)
    assert compact(settings, SOON_NS) == Compacted(days=3, files_before=6, files_after=3, deleted=0)
    found = query(settings, "SELECT symbol, date::text, count(*) FROM trades GROUP BY ALL ORDER BY ALL")
    assert found == [
        ("BTC-USDT", "2024-08-08", 2),
        ("BTC-USDT", "2024-08-09", 2),
        ("ETH-USDT", "2024-08-08", 2),
    ]


def test_every_column_of_every_kind_survives_compaction(settings: Settings) -> None:
    first = [
        stream.trade(
            0, conditions=("@", "T"), flags=("stale",), last_price="0.0000000000000000001", trade_id=""
        ),
        stream.quote(0, ask=None),
        stream.book(0, bid_orders=(1, 2), ask_prices=(), ask_sizes=(), bid_sizes=("0.0000000001", "1")),
        stream.bar(0, trade_count=7),
        stream.gap(0, to_sequence=None),
    ]
    again = [structs.replace(record, record_key=record.record_key + "x") for record in first]
    export_records(settings, first)
    export_records(settings, again, 5)
    tables = ("trades", "quotes", "book_updates", "bars", "gaps")
    before = {table: query(settings, f"SELECT * FROM {table} ORDER BY record_key") for table in tables}
    assert compact(settings, SOON_NS).days == 5
    assert {
        table: query(settings, f"SELECT * FROM {table} ORDER BY record_key") for table in tables
    } == before
    assert all(len(rows) == 2 for rows in before.values())


def test_compaction_does_not_touch_a_plan_and_fails_when_an_export_came_between(settings: Settings) -> None:
    export_records(settings, [stream.trade(0)])
    storage = open_storage(settings)
    stale = Catalog(storage).read()
    export_records(settings, [stream.trade(1)], 1)
    with pytest.raises(StoreError, match="another writer runs"):
        Catalog(storage).commit(stale, removed=list(stale.files))
    assert query(settings, "SELECT count(*) FROM trades") == [(2,)]


def test_voided_trades_leave_the_corrected_view_and_a_replacement_takes_their_place(
    settings: Settings,
) -> None:
    assert query(settings, "SELECT * FROM trades_corrected") == []
    trades = [stream.trade(n, record_key=f"2024-08-08/V/{n}", last_price=str(n + 1)) for n in range(4)]
    voids = [
        Correction(
            "binance", "BTC-USDT", "BTCUSDT", "corrections", START_NS, START_NS, Source.STREAM, "c", n, 0,
            f"2024-08-08/V/{n}/{correction.name.lower()}", START_NS, 1, correction=correction, last_price=price,
        )
        for n, correction, price in ((1, CorrectionKind.CANCEL, None), (2, CorrectionKind.CORRECT, "30.5"))
    ]  # fmt: skip
    export_records(settings, [*trades, *voids])
    found = query(settings, "SELECT last_price, corrected FROM trades_corrected ORDER BY last_price")
    assert found == [(Decimal(1), False), (Decimal(4), False), (Decimal("30.5"), True)]


def test_a_compaction_of_many_days_commits_as_it_goes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.lake.compaction.GROUPS_PER_COMMIT", 2)
    for part in range(2):
        days = [stream.trade(n + 5 * part, time_ns=START_NS + n * stream.DAY) for n in range(5)]
        export_records(settings, days, part * 5)
    version = state_of(settings).version
    assert compact(settings, SOON_NS) == Compacted(days=5, files_before=10, files_after=5, deleted=0)
    assert state_of(settings).version == version + 3
    assert query(settings, "SELECT count(*) FROM trades") == [(10,)]


def test_files_written_before_a_gap_told_of_its_repair_are_read_and_compacted_beside_newer_ones(
    settings: Settings,
) -> None:
    (old,) = export_records(settings, [stream.gap(0)])
    path = Path(settings.lake_path) / old.path
    pq.write_table(pq.read_table(path).drop_columns(["attempts", "repaired_rows", "detected_time_ns"]), path)
    sql = "SELECT record_key, attempts, repaired_rows FROM gaps ORDER BY record_key"
    assert query(settings, sql) == [("trade/gap-0", 0, 0)]
    export_records(settings, [stream.gap(1, attempts=2, repaired_rows=3)], 1)
    both = [("trade/gap-0", 0, 0), ("trade/gap-1", 2, 3)]
    assert query(settings, sql) == both
    assert compact(settings, SOON_NS).days == 1
    assert query(settings, sql) == both


def test_files_of_the_former_layout_are_read_beside_new_ones_and_rewritten_by_a_compaction(
    settings: Settings,
) -> None:
    wide, narrow = "1234567890123.1234567890123456789", "1.5"
    export_records(settings, [stream.trade(0, last_price=wide), stream.trade(1, last_price=narrow)])
    export_records(settings, [stream.book(0, bid_prices=(wide, narrow), bid_sizes=("1", "2"))], 2)
    as_layout_1(settings)
    levels = "SELECT bid_prices FROM book_updates"
    assert query(settings, levels) == [([Decimal(wide), Decimal(narrow)],)]
    export_records(settings, [stream.trade(2, last_price=wide), stream.trade(0, last_price="7")], 10)
    prices = "SELECT last_price FROM trades ORDER BY time"
    expected = [(Decimal(price),) for price in (wide, narrow, wide)]
    assert query(settings, prices) == expected
    compact(settings, SOON_NS)
    assert {file.layout for file in state_of(settings).files.values()} == {2}
    assert query(settings, prices) == expected
    assert query(settings, levels) == [([Decimal(wide), Decimal(narrow)],)]
    assert compact(settings, SOON_NS).days == 0

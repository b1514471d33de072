from __future__ import annotations

import random
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from msgspec import structs

from etl.lake.catalog import Catalog, State
from etl.lake.compaction import Compacted, compact
from etl.lake.log import Conflict, DeltaLog
from etl.lake.storage import open_storage
from etl.model.records import BarState, Correction, CorrectionKind, Source
from etl.settings import Settings, changed
from tests.support import stream
from tests.support.lake import export_records, query, state_of
from tests.support.stream import START_NS

SOON_NS = START_NS
"""Before any removal: nothing's grace is over."""
FAR_NS = 9_000_000_000_000_000_000
"""After every grace."""


def on_disk(settings: Settings) -> set[str]:
    root = Path(settings.lake_path)
    found = (root / "tables").rglob("exchange=*/**/*.parquet")
    return {str(path.relative_to(root)) for path in found}


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


def test_a_compacted_file_is_sorted_by_symbol_time_and_key(settings: Settings) -> None:
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
    assert state_of(settings).named() == {kept}
    assert query(settings, "SELECT count(*) FROM trades") == [(2,)]


def test_a_compaction_is_undone_by_time_travel(settings: Settings) -> None:
    import deltalake

    export_records(settings, [stream.bar(0, bar_state=BarState.OPEN, close="1")])
    export_records(settings, [stream.bar(0, bar_state=BarState.CLOSED, close="2")], 1)
    before = state_of(settings)
    everything = "SELECT * FROM bars"
    rows = query(settings, everything)
    compact(settings, SOON_NS)
    version = before.tables["bars"].version
    log = DeltaLog(open_storage(settings), "tables/bars")
    assert log.read(version).adds == before.tables["bars"].adds
    table = deltalake.DeltaTable(f"{settings.lake_path}/tables/bars")
    table.load_as_version(version)
    closes = table.to_pyarrow_dataset().to_table(columns=["close"])["close"].to_pylist()
    assert sorted(closes) == [Decimal(1), Decimal(2)]
    deltalake.DeltaTable(f"{settings.lake_path}/tables/bars").restore(version)
    assert set(state_of(settings).files) == set(before.files)
    assert query(settings, everything) == rows
    assert compact(settings, SOON_NS).days == 1
    assert query(settings, everything) == rows


def test_files_of_a_compaction_that_died_before_its_commit_are_deleted_a_day_later(
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
    compact(settings, SOON_NS)  # somebody could be about to commit it
    assert left in on_disk(settings)
    assert compact(settings, FAR_NS).deleted == len(exported) + 1
    assert on_disk(settings) == set(state_of(settings).files)
    assert query(settings, "SELECT count(*) FROM trades") == [(2,)]


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
            assert compact(settings, time.time_ns()).deleted == 0
        commit(catalog, state, **changes)

    monkeypatch.setattr(Catalog, "commit", beside)
    compact(settings, SOON_NS)
    assert query(settings, "SELECT count(*) FROM trades") == [(2,)]


def test_of_two_compactions_of_one_state_the_second_changes_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_records(settings, [stream.trade(0)])
    export_records(settings, [stream.trade(1)], 1)
    commit = Catalog.commit

    def after_another(catalog: Catalog, state: State, **changes: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Catalog, "commit", commit)
            compact(settings, SOON_NS)
        commit(catalog, state, **changes)

    monkeypatch.setattr(Catalog, "commit", after_another)
    with pytest.raises(Conflict, match="another writer runs"):
        compact(settings, SOON_NS)
    assert [file.rows for file in state_of(settings).files.values()] == [2]
    assert query(settings, "SELECT count(*) FROM trades") == [(2,)]


def test_an_export_that_comes_between_does_not_stop_a_compaction(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_records(settings, [stream.trade(0)])
    export_records(settings, [stream.trade(1)], 1)
    commit = Catalog.commit

    def after_an_export(catalog: Catalog, state: State, **changes: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Catalog, "commit", commit)
            export_records(settings, [stream.trade(2)], 2)
        commit(catalog, state, **changes)

    monkeypatch.setattr(Catalog, "commit", after_an_export)
    assert compact(settings, SOON_NS).days == 1
    assert sorted(file.rows for file in state_of(settings).files.values()) == [1, 2]
    assert query(settings, "SELECT count(*) FROM trades") == [(3,)]


class Died(Exception):
    pass


def _die(*_: Any, **__: Any) -> None:
    raise Died


def test_days_and_exchanges_are_compacted_apart(settings: Settings) -> None:
    other = [stream.trade(n, "kraken") for n in range(2)]
    later = [stream.trade(n, time_ns=START_NS + stream.DAY + n) for n in range(2)]
    for number in range(2):
        export_records(settings, [stream.trade(number), other[number], later[number]], number * 3)
    assert compact(settings, SOON_NS) == Compacted(days=3, files_before=6, files_after=3, deleted=0)
    found = query(settings, "SELECT exchange, date::text, count(*) FROM trades GROUP BY ALL ORDER BY ALL")
    assert found == [
        ("binance", "2024-08-08", 2),
        ("binance", "2024-08-09", 2),
        ("kraken", "2024-08-08", 2),
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
    monkeypatch.setattr("etl.lake.compaction.DAYS_PER_COMMIT", 2)
    for part in range(2):
        days = [stream.trade(n + 5 * part, time_ns=START_NS + n * stream.DAY) for n in range(5)]
        export_records(settings, days, part * 5)
    version = state_of(settings).tables["trades"].version
    assert compact(settings, SOON_NS) == Compacted(days=5, files_before=10, files_after=5, deleted=0)
    assert state_of(settings).tables["trades"].version == version + 3
    assert query(settings, "SELECT count(*) FROM trades") == [(10,)]


def test_a_file_that_another_program_wrote_is_read_and_rewritten(settings: Settings) -> None:
    """As after an OPTIMIZE of Spark's: other names, no tags of ours, here without a column that came later."""
    (old,) = export_records(settings, [stream.gap(0), stream.gap(1, attempts=2)])
    import deltalake

    table = deltalake.DeltaTable(f"{settings.lake_path}/tables/gaps")
    rows = table.to_pyarrow_dataset().to_table().drop_columns(["reason"])
    deltalake.write_deltalake(table, rows, mode="overwrite", schema_mode="overwrite")
    (file,) = state_of(settings).files.values()
    assert (file.layout, file.rows, file.path != old.path) == (0, 2, True)
    sql = "SELECT record_key, attempts, reason FROM gaps ORDER BY record_key"
    rows = [("trade/gap-0", 0, None), ("trade/gap-1", 2, None)]
    assert query(settings, sql) == rows
    assert compact(settings, SOON_NS).days == 1
    assert query(settings, sql) == rows
    assert compact(settings, SOON_NS).days == 0


@pytest.mark.parametrize("seed", range(4))
def test_files_that_overlap_in_any_way_show_each_identity_once_and_the_one_that_takes_precedence(
    settings: Settings, seed: int
) -> None:
    chance = random.Random(seed)
    newest: dict[int, int] = {}
    start = 0
    for version in range(1, 9):
        first = chance.randrange(60)
        numbers = range(first, first + chance.randrange(1, 25))
        export_records(settings, [stream.trade(n, parser_version=version) for n in numbers], start)
        start += len(numbers)
        newest |= dict.fromkeys(numbers, version)
    rows = "SELECT record_key, parser_version FROM trades ORDER BY 1"
    expected = [(stream.trade(n).record_key, version) for n, version in sorted(newest.items())]
    assert query(settings, rows) == expected
    compact(settings, SOON_NS)
    assert query(settings, rows) == expected

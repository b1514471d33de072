"""Coverage and bars: made from the tables with every decimal, and anew only where late data touched them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from etl.lake.catalog import Catalog, State
from etl.lake.compaction import compact
from etl.lake.derived import Derived, derive
from etl.lake.log import Conflict
from etl.model.records import SizeUnit
from etl.settings import Settings
from tests.support import stream
from tests.support.lake import export_records, query, state_of
from tests.support.stream import DAY, MS, START_NS

SECOND = 1_000 * MS
FIRST_NS = START_NS // (60 * SECOND) * 60 * SECOND
"""2024-08-08 23:54:00."""
Bar = tuple[Any, ...]


def print_at(number: int, after_ms: int, price: str, size: str, **values: Any) -> Any:
    return stream.trade(number, time_ns=FIRST_NS + after_ms * MS, last_price=price, volume=size, **values)


def bars(settings: Settings, table: str, symbol: str = "BTC-USDT") -> list[Bar]:
    rows = query(
        settings,
        "SELECT epoch_ns(time), open, high, low, close, volume, turnover, trades, extended_hours, wide_decimals"
        f" FROM {table} WHERE symbol = '{symbol}' ORDER BY time, exchange",
    )
    return [((row[0] - FIRST_NS) // SECOND, *row[1:]) for row in rows]


def decimals(*texts: str) -> tuple[Decimal, ...]:
    return tuple(map(Decimal, texts))


def made(settings: Settings) -> dict[tuple[str, str, str], str]:
    """The derived files by table, exchange and date."""
    tables = ("coverage", "ohlcv_1s", "ohlcv_1m")
    return {(f.table, f.exchange, f.date): f.path for t in tables for f in state_of(settings).of(t)}


def test_bars_are_exact_and_their_prints_in_the_order_of_the_venue(settings: Settings) -> None:
    export_records(
        settings,
        [
            print_at(3, 100, "12.00000003", "0.00000001"),
            print_at(1, 100, "10.5", "2"),  # the same instant: the venue's sequence tells
            print_at(2, 100, "9", "1"),
            print_at(4, 61_000, "11", "0.5"),
        ],
    )
    assert derive(settings) == Derived(days=1, files=3, rows=5)
    minute = decimals("10.5", "12.00000003", "9", "12.00000003", "3.00000001", "30.0000001200000003")
    last = (*decimals("11", "11", "11", "11", "0.5", "5.5"), 1, False, None)
    assert bars(settings, "ohlcv_1m") == [(0, *minute, 3, False, None), (60, *last)]
    assert bars(settings, "ohlcv_1s") == [(0, *minute, 3, False, None), (61, *last)]


def test_a_symbol_of_wide_decimals_has_exact_bars_by_the_same_rule(settings: Settings) -> None:
    tiny = "0.0000000000000000000123"
    export_records(
        settings,
        [
            print_at(2, 900, "3", "12345678901.5", symbol="PEPE-USDT"),
            print_at(1, 100, "0.000000001234", "2", symbol="PEPE-USDT"),
            print_at(3, 1_000, tiny, "1", symbol="PEPE-USDT"),
            print_at(4, 0, "1", "1"),
        ],
    )
    derive(settings)
    first = decimals(
        "0.000000001234", "3", "0.000000001234", "3", "12345678903.5", "37037036704.500000002468"
    )
    assert bars(settings, "ohlcv_1s", "PEPE-USDT") == [
        (0, *first, 2, False, None),
        (1, None, None, None, None, Decimal(1), None, 1, False,
         dict.fromkeys(("open", "high", "low", "close", "turnover"), tiny)),
    ]  # fmt: skip
    ((_, *values, trades, _, wide),) = bars(settings, "ohlcv_1m", "PEPE-USDT")
    assert (values, trades) == (
        [*decimals("0.000000001234", "3"), None, None, Decimal("12345678904.5"), None],
        3,
    )
    assert wide == {"low": tiny, "close": tiny, "turnover": "37037036704.5000000024680000000123"}
    assert bars(settings, "ohlcv_1m") == [(0, *decimals("1", "1", "1", "1", "1", "1"), 1, False, None)]


@pytest.mark.parametrize("price", ["10", "10.0000000000000000001"])
def test_each_print_sets_what_its_conditions_let_it(settings: Settings, price: str) -> None:
    """By DuckDB and, of wide decimals, by hand."""
    share: dict[str, Any] = {"exchange": "alpaca", "symbol": "EEM", "size_unit": SizeUnit.SHARE, "tape": "B"}
    export_records(
        settings,
        [
            print_at(0, 0, "9", "1", conditions=("T",), **share),  # extended hours
            print_at(1, 100, price, "2", **share),
            print_at(2, 200, "11", "4", conditions=("I",), **share),  # odd lot: volume alone
            print_at(3, 300, "12", "8", conditions=("M",), **share),  # neither
            print_at(4, 2_000, "9", "1", conditions=("T",), **share),
            print_at(5, 3_000, "11", "4", conditions=("I",), **share),
            print_at(6, 4_000, "12", "8", conditions=("M",), **share),
        ],
    )
    derive(settings)
    found = [(bar[0], bar[1:5], bar[5], bar[7:9]) for bar in bars(settings, "ohlcv_1s", "EEM")]
    assert found == [
        (0, decimals(*[price] * 4), Decimal(7), (3, False)),
        (2, decimals(*["9"] * 4), Decimal(1), (1, True)),
        (3, (None,) * 4, Decimal(4), (1, False)),
    ]
    ((_, *prices, _, _, trades, extended, _),) = bars(settings, "ohlcv_1m", "EEM")
    assert (prices[:4], trades, extended) == ([*decimals(*[price] * 4)], 5, False)


def test_coverage_tells_each_symbol_and_kind_and_shares_the_bytes_out(settings: Settings) -> None:
    trades_made = [
        stream.trade(0),
        stream.trade(1),
        stream.trade(2, symbol="ETH-USDT"),
        stream.trade(3, "kraken"),
    ]
    files = export_records(settings, [*trades_made, stream.quote(0)])
    derive(settings)
    size = {(file.table, file.exchange): file.bytes for file in files}
    rows = query(
        settings,
        "SELECT exchange, date::text, symbol, kind, rows, first_time_ns, last_time_ns, bytes"
        " FROM coverage ORDER BY ALL",
    )
    trades = size["trades", "binance"]
    quote_ns = query(settings, "SELECT receive_time_ns FROM quotes")[0][0]
    assert rows == [
        ("binance", "2024-08-08", "BTC-USDT", "quote", 1, quote_ns, quote_ns, size["quotes", "binance"]),
        ("binance", "2024-08-08", "BTC-USDT", "trade", 2, START_NS, START_NS + MS, trades * 2 // 3),
        ("binance", "2024-08-08", "ETH-USDT", "trade", 1, START_NS + 2 * MS, START_NS + 2 * MS,
         trades - trades * 2 // 3),
        ("kraken", "2024-08-08", "BTC-USDT", "trade", 1, START_NS + 3 * MS, START_NS + 3 * MS,
         size["trades", "kraken"]),
    ]  # fmt: skip


def test_only_what_late_data_touches_is_made_anew(settings: Settings) -> None:
    tomorrow = stream.trade(9, time_ns=START_NS + DAY)
    export_records(settings, [stream.trade(0), tomorrow, stream.trade(2, "kraken")])
    assert derive(settings).days == 3
    before = made(settings)
    assert derive(settings) == Derived(0, 0, 0)
    export_records(settings, [stream.trade(1, last_price="70000")], 3)
    compact(settings, START_NS)
    assert derive(settings).days == 1
    touched = {place for place, path in made(settings).items() if path != before[place]}
    assert touched == {(table, "binance", "2024-08-08") for table in ("coverage", "ohlcv_1s", "ohlcv_1m")}
    assert bars(settings, "ohlcv_1m")[0][2] == Decimal(70_000)
    before = made(settings)
    export_records(settings, [stream.quote(0)], 4)
    derive(settings)
    touched = {place for place, path in made(settings).items() if path != before[place]}
    assert touched == {("coverage", "binance", "2024-08-08")}
    kinds = query(settings, "SELECT kind, rows FROM coverage WHERE exchange = 'binance' ORDER BY ALL")
    assert kinds == [("quote", 1), ("trade", 1), ("trade", 2)]


def test_a_correction_of_a_later_day_makes_the_bars_of_its_print_anew(settings: Settings) -> None:
    share: dict[str, Any] = {"exchange": "alpaca", "symbol": "EEM", "size_unit": SizeUnit.SHARE}
    trades = [
        print_at(n, 0, "10", "1", record_key=f"2024-08-08/M/{n}", trade_id=str(n), **share) for n in range(2)
    ]
    export_records(settings, trades)
    derive(settings)
    assert [bar[5] for bar in bars(settings, "ohlcv_1m", "EEM")] == [Decimal(2)]
    late = stream.correction("1", "7", last_price="11", volume="3", event_time_ns=START_NS + DAY)
    export_records(settings, [late], 2)
    assert derive(settings).days == 2  # and the coverage of the correction's own day
    assert [bar[5] for bar in bars(settings, "ohlcv_1m", "EEM")] == [Decimal(1)]
    assert derive(settings).days == 0


def test_a_day_without_a_bar_is_not_made_again_and_again(settings: Settings) -> None:
    official_close: dict[str, Any] = {"size_unit": SizeUnit.SHARE, "tape": "A", "conditions": ("M",)}
    export_records(settings, [stream.trade(0, "alpaca", **official_close)])
    assert derive(settings).files == 3
    assert bars(settings, "ohlcv_1m") == []
    assert derive(settings).files == 0


def test_of_two_that_make_the_same_day_the_second_fails(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_records(settings, [stream.trade(0)])
    commit = Catalog.commit

    def after_another(catalog: Catalog, state: State, **changes: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Catalog, "commit", commit)
            derive(settings)
        commit(catalog, state, **changes)

    monkeypatch.setattr(Catalog, "commit", after_another)
    with pytest.raises(Conflict, match="another writer runs"):
        derive(settings)
    assert query(settings, "SELECT count(*) FROM ohlcv_1m") == [(1,)]


def test_every_engine_reads_the_derived_tables(settings: Settings) -> None:
    import deltalake
    import polars

    export_records(settings, [print_at(0, 0, "10.5", "2")])
    derive(settings)
    place = f"{settings.lake_path}/tables/ohlcv_1m"
    names = ["exchange", "symbol", "open", "turnover", "trades", "extended_hours"]
    expected = [("binance", "BTC-USDT", Decimal("10.5"), Decimal(21), 1, False)]
    assert polars.read_delta(place).select(names).rows() == expected
    arrow = deltalake.DeltaTable(place).to_pyarrow_dataset().to_table(columns=names).to_pylist()
    assert [tuple(row.values()) for row in arrow] == expected
    assert polars.read_delta(f"{settings.lake_path}/tables/coverage")["rows"].to_list() == [1]

"""Symbols by the thousand in the lake: one file for all of them, each under its own name."""

from __future__ import annotations

from etl.lake.compaction import compact
from etl.model.records import Trade
from etl.settings import Settings
from tests.support import stream
from tests.support.lake import export_records, query, state_of
from tests.support.stream import START_NS

FOLDER = "tables/trades/exchange=kalshi/date=2024-08-08"


def traded(symbol: str, number: int) -> Trade:
    """Two contracts may have one key at one time."""
    return stream.trade(number, "kalshi", symbol=symbol, venue_symbol=symbol, record_key=str(number))


def test_two_thousand_contracts_of_a_day_are_one_file_that_names_each(settings: Settings) -> None:
    contracts = [f"KXBTC15M-26SEP15-{number}" for number in range(2_000)]
    (file,) = export_records(settings, [traded(contract, 1) for contract in contracts])
    assert (file.rows, file.path.rpartition("/")[0]) == (2_000, FOLDER)
    assert (file.symbol_min, file.symbol_max) == (min(contracts), max(contracts))
    assert query(
        settings, "SELECT count(*), count(DISTINCT symbol), min(venue_symbol = symbol) FROM trades"
    ) == [(2_000, 2_000, True)]
    one = f"SELECT exchange, date::VARCHAR, record_key FROM trades WHERE symbol = '{contracts[7]}'"
    assert query(settings, one) == [("kalshi", "2024-08-08", "1")]


def test_overlap_compaction_and_other_venues_leave_each_contract_its_rows(settings: Settings) -> None:
    mine = [traded("KXBTC15M-A", 1), traded("KXBTC15M-B", 1), traded("KXBTC15M-B", 2), traded("KXBTCD-C", 1)]
    export_records(settings, [*mine, stream.trade(1), traded("KXBTC15M-A", 1)])
    export_records(settings, [mine[1], stream.trade(2), traded("KXBTC15M-D", 2)], 10)
    rows = "SELECT exchange, symbol, count(*) FROM trades GROUP BY ALL ORDER BY ALL"
    expected = [
        ("binance", "BTC-USDT", 2),
        ("kalshi", "KXBTC15M-A", 1),
        ("kalshi", "KXBTC15M-B", 2),
        ("kalshi", "KXBTC15M-D", 1),
        ("kalshi", "KXBTCD-C", 1),
    ]
    assert query(settings, rows) == expected
    compact(settings, START_NS)
    assert query(settings, rows) == expected
    files = state_of(settings).of("trades")
    assert [(file.exchange, file.symbol_min, file.symbol_max, file.rows) for file in files] == [
        ("binance", "BTC-USDT", "BTC-USDT", 2),
        ("kalshi", "KXBTC15M-A", "KXBTCD-C", 5),
    ]

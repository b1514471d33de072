"""Candles take from each print what its conditions let it set, and agree with the venue's own bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from decimal import Decimal

import psycopg
import pytest

from etl.audit.checks import run_check
from etl.model.records import Bar, BarState, CorrectionKind, Kind, Record, SizeUnit, Trade
from etl.model.sale_conditions import rows as conditions
from etl.settings import Settings
from etl.sinks.clickhouse_ways import MARKET_DATA, batch_path, delimited
from etl.sinks.timescale import Span, TimescaleStore
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from etl.wire.codec import encode
from etl.wire.columns import decode
from tests.support import lake, stream
from tests.support.stream import START_NS

pytestmark = pytest.mark.integration

Candle = tuple[Decimal | None, Decimal | None, Decimal | None, Decimal | None, Decimal, int]
DATE = date(2024, 8, 8)
MINUTE_NS = 60_000_000_000
MINUTE_START_NS = START_NS // (60 * MINUTE_NS) * 60 * MINUTE_NS
QUERIES = {
    "candle": "SELECT open, high, low, close, volume, trades FROM {} WHERE exchange = %s ORDER BY bucket",
    "prints": "SELECT record_key, sets_price, sets_extended_price, adds_volume FROM trades_corrected",
}


def print_of(
    number: int, exchange: str, price: str, *codes: str, size: str = "100", unit: SizeUnit = SizeUnit.SHARE,
    minute: int = 0, tape: str = "",
) -> Trade:  # fmt: skip
    time_ns = MINUTE_START_NS + minute * MINUTE_NS + number * 1_000_000
    return stream.trade(
        number, exchange, time_ns, symbol="EEM", record_key=f"2024-08-08/M/{number}", trade_id=str(number),
        last_price=price, volume=size, size_unit=unit, conditions=codes, tape=tape, sequence=None,
    )  # fmt: skip


def candle(volume: str, trades: int, *prices: str) -> Candle:
    open_, high, low, close = (Decimal(price) for price in prices) if prices else (None, None, None, None)
    return open_, high, low, close, Decimal(volume), trades


CASES: dict[str, tuple[Sequence[Record], list[Candle]]] = {
    # odd lot, average price, derivatively priced: volume only
    "polygon": (
        [
            print_of(0, "polygon", "100"), print_of(1, "polygon", "140", "37", size="5"),
            print_of(2, "polygon", "100.1", "14", "41"), print_of(3, "polygon", "60", "10"),
            print_of(4, "polygon", "99.95"), print_of(5, "polygon", "70", "2"),
        ],
        [candle("505", 6, "100", "100.1", "99.95", "99.95")],
    ),
    # official open and close are prices of an exchange, no trades
    "alpaca": (
        [
            print_of(0, "alpaca", "90", "Q", tape="A"), print_of(1, "alpaca", "10", "@", tape="A"),
            print_of(2, "alpaca", "11", "4", tape="A"), print_of(3, "alpaca", "12", "B", tape="A"),
            print_of(4, "alpaca", "13", "B", tape="C"), print_of(5, "alpaca", "80", "M", tape="A"),
        ],
        [candle("400", 4, "10", "13", "10", "13")],
    ),
    # Polygon's 4 and 7 are no letters of the tapes; extended hours count where nothing else does
    "polygon_delayed": (
        [
            print_of(0, "polygon_delayed", "10", "12"), print_of(1, "polygon_delayed", "50", "12", "37"),
            print_of(2, "polygon_delayed", "11", "12"),
            print_of(3, "polygon_delayed", "20", "4", minute=1), print_of(4, "polygon_delayed", "30", "12", minute=1),
            print_of(5, "polygon_delayed", "31", "37", minute=2),
        ],
        [candle("300", 3, "10", "11", "10", "11"), candle("200", 2, "20", "20", "20", "20"), candle("100", 1)],
    ),
    # codes of other markets mean other things
    "polygon_crypto": (
        [print_of(0, "polygon_crypto", "10", "2", unit=SizeUnit.BASE)], [candle("100", 1, "10", "10", "10", "10")],
    ),
    "binance_usdm": (
        [
            print_of(0, "binance_usdm", "10", "rpi", unit=SizeUnit.BASE),
            print_of(1, "binance_usdm", "90", "INSURANCE_FUND", unit=SizeUnit.BASE),
            print_of(2, "binance_usdm", "1", "ADL", unit=SizeUnit.BASE),
        ],
        [candle("100", 1, "10", "10", "10", "10")],
    ),
}  # fmt: skip


def store(settings: Settings, name: str, *batches: Sequence[Record]) -> None:
    with TimescaleStore(settings) as timescale:
        start = timescale.next_offset(name, name, 0, 0)
        for number, batch in enumerate(batches, start):
            rows, refused = decode(enumerate(map(encode, batch)))
            assert refused == []
            timescale.write(rows, Span(name, 0, number, number + 1))
            timescale.refresh_candles()


@pytest.fixture
def timescale(settings_with: Callable[..., Settings]) -> Settings:
    settings = settings_with(timescale=True)
    migrate_timescale(settings)
    return settings


def candles(settings: Settings, exchange: str, table: str = "ohlcv_1m") -> list[Candle]:
    with psycopg.connect(settings.timescale_address) as connection:
        return connection.execute(QUERIES["candle"].format(table).encode(), (exchange,)).fetchall()


def test_candles_follow_the_conditions(timescale: Settings) -> None:
    for exchange, (prints, expected) in CASES.items():
        store(timescale, exchange, prints[:2], prints[2:])
        assert candles(timescale, exchange) == expected, exchange
    hour = [candle("600", 6, "10", "20", "10", "20")]
    assert candles(timescale, "polygon_delayed", "ohlcv_1h") == hour
    day = [candle("600", 6, "20", "20", "20", "20")]  # extended hours left out, for there are others
    assert candles(timescale, "polygon_delayed", "ohlcv_1d") == day
    assert run_check(timescale, DATE, "timescale", "candles_against_trades") == []


def test_voided_prints_leave_the_candles_and_replacements_enter_them(timescale: Settings) -> None:
    prints = [print_of(n, "alpaca_iex", price) for n, price in enumerate(("10", "90", "12"))]
    corrected = stream.correction("1", "7", exchange="alpaca_iex", last_price="11", volume="100",
                                  event_time_ns=prints[1].event_time_ns)  # fmt: skip
    store(timescale, "voids", prints)
    assert candles(timescale, "alpaca_iex") == [candle("300", 3, "10", "90", "10", "12")]
    store(timescale, "corrects", [corrected])
    assert candles(timescale, "alpaca_iex") == [candle("300", 3, "10", "12", "10", "12")]
    cancels = [
        stream.correction(key, kind=CorrectionKind.CANCEL, exchange="alpaca_iex") for key in ("7", "2", "0")
    ]
    store(timescale, "cancels", cancels[:2])
    assert candles(timescale, "alpaca_iex", "ohlcv_1d") == [candle("100", 1, "10", "10", "10", "10")]
    store(timescale, "last", cancels[2:])
    for table in ("ohlcv_1m", "ohlcv_1h", "ohlcv_1d"):
        assert candles(timescale, "alpaca_iex", table) == [], table


def bar_of(exchange: str, minute: int, high: str, low: str, trades: int, unit: SizeUnit) -> Bar:
    start_ns = MINUTE_START_NS + minute * MINUTE_NS
    return stream.bar(
        0, exchange, symbol="EEM", record_key=f"1m/{start_ns}", event_time_ns=start_ns, key_time_ns=start_ns,
        interval="1m", open=low, high=high, low=low, close=low, volume=str(100 * trades), trade_count=trades,
        size_unit=unit, bar_state=BarState.CLOSED,
    )  # fmt: skip


def test_the_audit_judges_bars_by_the_same_table(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(clickhouse=True)
    migrate_clickhouse(settings)
    wrong = [print_of(9, "polygon", "100.2", minute=1), print_of(10, "polygon", "300", "37", minute=1)]
    insert_into_clickhouse(settings, [
        *CASES["polygon"][0], bar_of("polygon", 0, "100.1", "99.95", 6, SizeUnit.SHARE),
        *wrong, bar_of("polygon", 1, "100.1", "99.95", 2, SizeUnit.SHARE),
        *CASES["binance_usdm"][0], bar_of("binance_usdm", 0, "10", "10", 1, SizeUnit.BASE),
    ])  # fmt: skip
    found = run_check(settings, DATE, "clickhouse", "stock_bars_against_trades")
    assert [offence.key for offence in found] == [f"polygon EEM 1m/{MINUTE_START_NS + MINUTE_NS}"]
    assert run_check(settings, DATE, "clickhouse", "bars_against_trades") == []
    insert_into_clickhouse(settings, [bar_of("binance_usdm", 0, "11", "10", 1, SizeUnit.BASE)])
    found = run_check(settings, DATE, "clickhouse", "bars_against_trades")
    assert [offence.key for offence in found] == [f"binance_usdm EEM 1m/{MINUTE_START_NS}"]


def insert_into_clickhouse(settings: Settings, batch: Sequence[Record]) -> None:
    with connect(settings, internal=True) as client:
        path = batch_path(MARKET_DATA, f"{batch[0].record_key}-{len(batch)}", len(batch))
        client.insert(path, delimited(list(map(encode, batch))))


def expected_prints() -> dict[str, tuple[bool, bool, bool]]:
    """One print for each condition: what it sets, by the table of the model."""
    return {
        f"{vocabulary}/{code}": (False, extended, adds_volume)
        for vocabulary, code, adds_volume, extended in conditions()
    }


def one_of_each() -> list[Record]:
    tapes = {"cta": "B", "utp": "C"}
    return [
        stream.trade(
            number, "polygon" if vocabulary == "polygon" else "alpaca", record_key=f"{vocabulary}/{code}",
            size_unit=SizeUnit.BASE if vocabulary == "other" else SizeUnit.SHARE, conditions=("@", code),
            tape=tapes.get(vocabulary, ""),
        )
        for number, (vocabulary, code, _, _) in enumerate(conditions())
    ]  # fmt: skip


def test_the_conditions_of_clickhouse_are_those_of_the_model(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(clickhouse=True)
    migrate_clickhouse(settings)
    batch = one_of_each()
    insert_into_clickhouse(settings, batch)
    with connect(settings) as client:
        answer = client.execute(f"{QUERIES['prints']} FORMAT TSV").decode().splitlines()
    found = {key: tuple(flag == "true" or flag == "1" for flag in flags) for key, *flags in
             (line.split("\t") for line in answer)}  # fmt: skip
    assert found == expected_prints()


def test_the_conditions_of_timescaledb_are_those_of_the_model(timescale: Settings) -> None:
    batch = one_of_each()
    store(timescale, Kind.TRADE.name, batch)
    with psycopg.connect(timescale.timescale_address) as connection:
        query = f"{QUERIES['prints']} WHERE record_key ~ '^[a-z]+/'"
        rows = connection.execute(query.encode()).fetchall()
    assert {key: tuple(flags) for key, *flags in rows} == expected_prints()


def test_the_lake_knows_them_too(settings: Settings) -> None:
    lake.export_records(settings, one_of_each())
    assert {key: tuple(flags) for key, *flags in lake.query(settings, QUERIES["prints"])} == expected_prints()

from __future__ import annotations

import itertools
import statistics as reference
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from etl.model.instruments import Instrument
from etl.model.records import Bar, BarState, Kind, Record, SizeUnit, Source, Trade
from etl.reference.symbol_statistics import Follower, compute, publish, refresh, show
from etl.settings import Settings
from etl.sinks.clickhouse_ways import MARKET_DATA, batch_path, delimited
from etl.stores.clickhouse_http import ClickHouse, connect
from etl.stores.migrate import migrate_clickhouse
from etl.transports.kafka import KafkaPublisher, ensure_topics
from etl.validation.specs import SPECS
from etl.validation.statistics import PriceBand, SymbolStatistics, band_of
from etl.wire.codec import encode

pytestmark = pytest.mark.integration

DAY_NS = 86_400_000_000_000
AS_OF_NS = 1_780_272_000_000_000_000 + DAY_NS // 2  # 2026-06-01 12:00
CLOSES = [100.0, 102.0, 101.0, 103.5, 103.0, 105.0, 104.0]


def day_before(days: int) -> int:
    return AS_OF_NS // DAY_NS * DAY_NS - days * DAY_NS


def head(symbol: str, time_ns: int, key: str) -> dict[str, Any]:
    return {
        "exchange": "polygon",
        "symbol": symbol,
        "venue_symbol": symbol,
        "channel": "AM",
        "event_time_ns": time_ns,
        "receive_time_ns": time_ns + 1,
        "source": Source.BACKFILL,
        "connection_id": "c",
        "frame_sequence": 1,
        "frame_index": 0,
        "record_key": key,
        "key_time_ns": time_ns,
        "parser_version": 1,
    }


def daily_bars(symbol: str, closes: list[float]) -> Iterable[Bar]:
    for age, close in zip(range(len(closes), 0, -1), closes, strict=True):
        time_ns = day_before(age)
        price = f"{close:.2f}"
        yield Bar(
            **head(symbol, time_ns, f"1d/{time_ns}"),
            interval="1d",
            open=price,
            high=price,
            low=price,
            close=price,
            volume="1",
            bar_state=BarState.CLOSED,
            size_unit=SizeUnit.SHARE,
        )


def last_trades(symbol: str, closes: list[float]) -> Iterable[Trade]:
    """The last of a day is an odd lot, which is no close."""
    for age, close in zip(range(len(closes), 0, -1), closes, strict=True):
        for second, price, codes in ((1, 1.0, ()), (80_000, close, ("14",)), (80_001, 9.0, ("37",))):
            time_ns = day_before(age) + second * 1_000_000_000
            yield Trade(
                **head(symbol, time_ns, f"{age}/{second}"),
                last_price=f"{price:.2f}",
                volume="1",
                size_unit=SizeUnit.SHARE,
                conditions=codes,
            )


def store(client: ClickHouse, records: list[Record]) -> None:
    client.insert(batch_path(MARKET_DATA, "statistics", len(records)), delimited([*map(encode, records)]))


def moments(closes: list[float]) -> tuple[float, float]:
    returns = [later / earlier - 1 for earlier, later in itertools.pairwise(closes)]
    return reference.mean(returns), reference.stdev(returns)


def test_statistics_come_from_daily_bars_or_trades_and_a_split_is_no_return(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with(clickhouse=True)
    migrate_clickhouse(settings)
    halved = [*CLOSES[:4], *(close / 4 for close in CLOSES[4:])]
    with connect(settings, internal=True) as client:
        store(
            client,
            [*daily_bars("BARS", CLOSES), *last_trades("TRADES", CLOSES), *daily_bars("SPLIT", halved)],
        )
    with connect(settings) as client:
        client.execute(
            "INSERT INTO corporate_actions_history (exchange, action_id, symbol, action_kind, effective_day,"
            " shares_before, shares_after) VALUES ('polygon', 'E1', 'SPLIT', 'split',"
            f" toDate(fromUnixTimestamp64Nano({day_before(3)})), 1, 4)"
        )

    found = compute(
        settings, AS_OF_NS, {("polygon", "BARS"): Instrument("BARS", "BARS", "0.01", price_figures=5)}
    )

    mean, deviation = moments(CLOSES)
    assert [(item.symbol, item.days, item.price_step, item.price_figures) for item in found] == [
        ("BARS", 7, 0.01, 5),
        ("SPLIT", 7, None, None),
        ("TRADES", 7, None, None),
    ]
    assert [item.close for item in found] == [104.0, 26.0, 104.0]
    for item in found:
        assert item.return_mean == pytest.approx(mean, rel=1e-9)
        assert item.return_deviation == pytest.approx(deviation, rel=1e-9)


SINCE = 10
"""Days before, since which the stock OLDN is called NEWN; until two days before that another one was."""
LONG = (CLOSES * 3)[:20]


def renamed(client: ClickHouse) -> list[Record]:
    """Bars of a stock under two names, which split by 4 under the former and by 2 under the latter; of the stock that
    had its name before, at other prices, and of nobody between them; and of one that gave away a tenth of itself."""
    raw = [
        close * (8 if age > 15 else 2 if age > 5 else 1)
        for age, close in zip(range(20, 0, -1), LONG, strict=True)
    ]
    by_age = list(zip(range(20, 0, -1), raw, strict=True))
    rows: list[Record] = [bar_of("OLDN", age, close) for age, close in by_age if age > SINCE]
    rows += [bar_of("NEWN", age, close) for age, close in by_age if age <= SINCE]
    rows += [bar_of("NEWN", age, 7.0 * age) for age in range(20, SINCE, -1)]
    rows += [
        bar_of("GAVE", age, close * (1 if age > 4 else 0.9))
        for age, close in zip(range(20, 0, -1), LONG, strict=True)
    ]
    names = [
        ("BBG01", 400, "OLDN"), ("BBG01", SINCE, "NEWN"),
        ("BBG02", 400, "NEWN"), ("BBG02", SINCE + 2, ""),
        ("BBG01", -3, "LATER"),  # told, and not yet
    ]  # fmt: skip
    for number, (instrument, age, name) in enumerate(names):
        first_day = f"toDate(fromUnixTimestamp64Nano({day_before(age)}))"
        client.execute(
            "INSERT INTO symbol_names_history (exchange, instrument_id, first_day, symbol, recorded_ns)"
            f" VALUES ('polygon', '{instrument}', {first_day}, '{name}', {number})"
        )
    actions = [
        ("polygon", "S1", "OLDN", "split", 15, "1, 4"),
        ("polygon", "S2", "NEWN", "split", 5, "1, 2"),
        ("polygon", "S3", "LATER", "split", -3, "1, 10"),
        ("alpaca", "O1", "GAVE", "spin_off", 4, "1, 1"),
    ]
    for venue, key, symbol, kind, age, shares in actions:
        client.execute(
            "INSERT INTO corporate_actions_history (exchange, action_id, symbol, action_kind, effective_day,"
            f" shares_before, shares_after) VALUES ('{venue}', '{key}', '{symbol}', '{kind}',"
            f" toDate(fromUnixTimestamp64Nano({day_before(age)})), {shares})"
        )
    return rows


def bar_of(symbol: str, age: int, close: float) -> Bar:
    (bar,) = daily_bars(symbol, [close])
    time_ns = day_before(age)
    times = {"event_time_ns": time_ns, "key_time_ns": time_ns, "record_key": f"1d/{time_ns}"}
    return msgspec.structs.replace(bar, receive_time_ns=time_ns + 1, **times)


def test_a_renamed_stock_has_the_statistics_of_its_whole_past_and_nobody_elses(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with(clickhouse=True, kafka=True)
    migrate_clickhouse(settings)
    ensure_topics(settings)
    with connect(settings) as told, connect(settings, internal=True) as client:
        store(client, renamed(told))
    former = SymbolStatistics("polygon", "OLDN", 832.0, 0.0, 0.02, 30, AS_OF_NS - DAY_NS, price_step=0.01)
    publish([former], KafkaPublisher(settings), settings)

    assert refresh(settings, AS_OF_NS) == 2
    gave, new, old = (item for item in show(settings) if item.symbol in ("GAVE", "NEWN", "OLDN"))
    mean, deviation = moments(LONG)
    assert (new.symbol, new.days, new.close) == ("NEWN", 20, LONG[-1])
    assert (new.return_mean, new.return_deviation) == pytest.approx((mean, deviation), rel=1e-9)
    assert old == msgspec.structs.replace(former, close=0.0, return_deviation=0.0, days=0, as_of_ns=AS_OF_NS)
    assert band_of(old, SPECS[Kind.TRADE]) == PriceBand(price_step=0.01)
    returns = [later / earlier - 1 for earlier, later in itertools.pairwise(LONG)]
    del returns[-4]  # over the day of the spin-off
    assert gave.days == 20
    # its prices are rounded to cents
    assert gave.return_mean == pytest.approx(reference.mean(returns), rel=1e-3)
    assert gave.return_deviation == pytest.approx(reference.stdev(returns), rel=1e-3)


def test_a_refresh_reaches_whoever_follows_and_only_its_venue(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(kafka=True)
    ensure_topics(settings)
    first = SymbolStatistics("polygon", "AAPL", 160.0, 0.0, 0.02, 30, AS_OF_NS)
    other = SymbolStatistics("binance", "BTC-USDT", 60_000.0, 0.0, 0.03, 30, AS_OF_NS, price_step=0.01)
    publisher = KafkaPublisher(settings)
    publish([first, other], publisher, settings)
    follower = Follower(settings, "polygon")
    assert read_until(follower, 1) == [first]
    newer = SymbolStatistics("polygon", "AAPL", 165.0, 0.0, 0.02, 30, AS_OF_NS + DAY_NS)
    publish([newer], publisher, settings)
    assert read_until(follower, 1) == [newer]
    follower.close()


def read_until(follower: Follower, count: int, polls_max: int = 30) -> list[SymbolStatistics]:
    found: list[SymbolStatistics] = []
    for _ in range(polls_max):
        found += follower.poll(1.0)
        if len(found) >= count:
            break
    return found

from __future__ import annotations

import itertools
import statistics as reference
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from etl.model.instruments import Instrument
from etl.model.records import Bar, BarState, Record, SizeUnit, Source, Trade
from etl.reference.symbol_statistics import Follower, compute, publish
from etl.settings import Settings
from etl.sinks.clickhouse_batch import delimited
from etl.sinks.clickhouse_writer import MARKET_DATA, batch_path
from etl.stores.clickhouse_http import ClickHouse, connect
from etl.stores.migrate import migrate_clickhouse
from etl.transports.kafka import KafkaPublisher, ensure_topics
from etl.validation.statistics import SymbolStatistics
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

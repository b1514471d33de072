"""A clean day in three stores, to plant errors in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from etl.model.records import (
    Bar,
    BarState,
    Gap,
    GapKind,
    GapState,
    Quote,
    Record,
    Side,
    SizeUnit,
    Source,
    Trade,
)
from etl.settings import Settings
from etl.sinks.clickhouse_ways import MARKET_DATA, batch_path, delimited
from etl.sinks.export import export
from etl.sinks.load import load_timescale
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from etl.transports.kafka import KafkaPublisher, ensure_topics
from etl.wire.codec import encode

DAY = date(2026, 6, 1)
START_NS = 1_780_272_000_000_000_000
SECOND_NS = 1_000_000_000


def head(key: str, time_ns: int, channel: str, sequence: int | None = None) -> dict[str, Any]:
    return {
        "exchange": "binance",
        "symbol": "BTC-USDT",
        "venue_symbol": "BTCUSDT",
        "channel": channel,
        "event_time_ns": time_ns,
        "receive_time_ns": time_ns + 1,
        "source": Source.STREAM,
        "connection_id": "c",
        "frame_sequence": 1,
        "frame_index": 0,
        "record_key": key,
        "key_time_ns": time_ns,
        "parser_version": 1,
        "sequence": sequence,
    }


def trade(number: int, price: str = "60000", volume: str = "0.5", time_ns: int | None = None) -> Trade:
    time_ns = START_NS + number * SECOND_NS if time_ns is None else time_ns
    return Trade(
        **head(str(number), time_ns, "trade", number),
        last_price=price,
        volume=volume,
        side=Side.BUY,
        trade_id=str(number),
        size_unit=SizeUnit.BASE,
    )


def quote(number: int) -> Quote:
    return Quote(
        **head(f"q{number}", START_NS + number * SECOND_NS, "bookTicker", number),
        bid="59999",
        bid_size="1",
        ask="60001",
        ask_size="2",
        size_unit=SizeUnit.BASE,
    )


def bar(minute: int, trade_count: int, high: str = "60000") -> Bar:
    start_ns = START_NS + minute * 60 * SECOND_NS
    return Bar(
        **head(f"1m/{start_ns}", start_ns, "kline_1m"),
        interval="1m",
        open="60000",
        high=high,
        low="60000",
        close="60000",
        volume=f"{trade_count * 0.5}",
        bar_state=BarState.CLOSED,
        trade_count=trade_count,
        size_unit=SizeUnit.BASE,
    )


def gap(name: str, from_sequence: int, to_sequence: int, state: GapState = GapState.OPEN) -> Gap:
    head_of_gap = head(f"trade/{name}", START_NS, "trade")
    return Gap(
        **{**head_of_gap, "receive_time_ns": START_NS + state},
        gap_kind=GapKind.SEQUENCE,
        gap_state=state,
        from_sequence=from_sequence,
        to_sequence=to_sequence,
    )


def store_in_clickhouse(settings: Settings, records: Sequence[Record], token: str) -> None:
    with connect(settings, internal=True) as client:
        client.insert(batch_path(MARKET_DATA, token, len(records)), delimited([*map(encode, records)]))


def clean_day(settings_with: Callable[..., Settings], **values: str) -> Settings:
    """Three stores that hold the same clean day: 100 trades with contiguous ids, their bars, and quotes."""
    made = settings_with(kafka=True, clickhouse=True, timescale=True, **values)
    migrate_clickhouse(made)
    migrate_timescale(made)
    ensure_topics(made)
    clean: list[Record] = [trade(number) for number in range(100)]
    clean += [bar(0, 60), bar(1, 40), *(quote(number) for number in range(20))]
    publisher = KafkaPublisher(made)
    for record in clean:
        publisher.publish(made.topics.normalized, b"binance:BTC-USDT", encode(record))
    publisher.flush(30)
    store_in_clickhouse(made, clean, "clean")
    load_timescale(made)
    export(made)
    return made

"""Records for tests of what reads the normalized topic, and a way to put them there."""

from __future__ import annotations

import msgspec
from msgspec import structs

from etl.model.records import (
    Bar,
    BarState,
    Book,
    BookAction,
    Correction,
    CorrectionKind,
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
from etl.transports.transport import transport_of
from etl.wire.codec import encode

FLUSH_TIMEOUT_S = 30.0
START_NS = 1_723_161_255_342_000_000
"""2024-08-08 23:54:15.342 UTC."""
MS = 1_000_000
DAY = 86_400_000_000_000
CONNECTION = "0190f3c2-1111-7aaa-8bbb-0123456789ab"


def trade(number: int, exchange: str = "binance", time_ns: int | None = None, **values: object) -> Trade:
    """Trade ``number`` of a session: one a millisecond."""
    event_time_ns = START_NS + number * MS if time_ns is None else time_ns
    record = Trade(
        exchange,
        "BTC-USDT",
        "BTCUSDT",
        "trade",
        event_time_ns,
        event_time_ns + 1_234_567,
        Source.STREAM,
        CONNECTION,
        number + 1,
        0,
        str(3_735_683_259 + number),
        event_time_ns // MS * MS,
        1,
        3_735_683_259 + number,
        last_price=f"{61_837 + number % 100}.{number % 100:02d}000000",
        volume="0.02000000",
        side=Side.BUY if number % 2 else Side.SELL,
        trade_id=str(3_735_683_259 + number),
        size_unit=SizeUnit.BASE,
    )
    return structs.replace(record, **values)


def correction(
    voided: str, replacement: str = "", kind: CorrectionKind = CorrectionKind.CORRECT, **values: object
) -> Correction:
    """Of Alpaca's trade ``voided``, as its files make it: keyed by day, market center, trade and what it is."""
    record = Correction(
        "alpaca", "EEM", "EEM", "corrections", START_NS, START_NS + 9, Source.STREAM, CONNECTION, 1, 0,
        f"2024-08-08/M/{voided}/{kind.name.lower()}", START_NS // DAY * DAY, 1, original_trade_id=voided,
        correction=kind, trade_id=replacement, size_unit=SizeUnit.SHARE, market_center="M",
    )  # fmt: skip
    return structs.replace(record, **values)


def quote(number: int, exchange: str = "binance", **values: object) -> Quote:
    """A quote without event time, as Binance sends it."""
    receive_time_ns = START_NS + number * MS + 1
    record = Quote(
        exchange,
        "BTC-USDT",
        "BTCUSDT",
        "bookTicker",
        0,
        receive_time_ns,
        Source.STREAM,
        CONNECTION,
        number + 1,
        0,
        str(9_000_000 + number),
        receive_time_ns // DAY * DAY,
        1,
        9_000_000 + number,
        bid="61837.63000000",
        bid_size="3.10000000",
        ask="61837.64000000",
    )
    return structs.replace(record, **values)


def book(number: int, exchange: str = "binance", **values: object) -> Book:
    event_time_ns = START_NS + number * MS
    record = Book(
        exchange,
        "BTC-USDT",
        "BTCUSDT",
        "depth@100ms",
        event_time_ns,
        event_time_ns + 5,
        Source.STREAM,
        CONNECTION,
        number + 1,
        0,
        f"depth@100ms/d/{number}",
        event_time_ns,
        1,
        number,
        book_action=BookAction.ABSOLUTE,
        bid_prices=("61837.63000000", "61837.62000000"),
        bid_sizes=("1.00000000", "0"),
        ask_prices=("61837.64000000",),
        ask_sizes=("2.50000000",),
    )
    return structs.replace(record, **values)


def bar(number: int, exchange: str = "binance", **values: object) -> Bar:
    start_ns = START_NS // (60_000 * MS) * 60_000 * MS + number * 60_000 * MS
    record = Bar(
        exchange,
        "BTC-USDT",
        "BTCUSDT",
        "kline_1m",
        start_ns,
        start_ns + 60_000 * MS + 7,
        Source.STREAM,
        CONNECTION,
        number + 1,
        0,
        f"1m/{start_ns}",
        start_ns,
        1,
        interval="1m",
        open="1",
        high="9",
        low="0.5",
        close="1.5",
        volume="10",
        bar_state=BarState.CLOSED,
    )
    return structs.replace(record, **values)


def gap(number: int, exchange: str = "binance", **values: object) -> Gap:
    receive_time_ns = START_NS + number * MS
    record = Gap(
        exchange,
        "BTC-USDT",
        "BTCUSDT",
        "trade",
        0,
        receive_time_ns,
        Source.STREAM,
        CONNECTION,
        number + 1,
        0,
        f"trade/gap-{number}",
        receive_time_ns // DAY * DAY,
        1,
        gap_kind=GapKind.SEQUENCE,
        gap_state=GapState.OPEN,
        from_sequence=10,
        to_sequence=12,
        reason="ids 10 to 12",
    )
    return structs.replace(record, **values)


def publish(settings: Settings, *records: Record) -> None:
    """Put ``records`` on the normalized topic, in order per instrument; the broker has them on return."""
    publish_values(settings, *((record.exchange, record.symbol, encode(record)) for record in records))


def publish_values(settings: Settings, *values: tuple[str, str, bytes]) -> None:
    transport_of(settings).ensure_topics()
    publisher = transport_of(settings).publisher()
    for exchange, symbol, value in values:
        publisher.publish(settings.topics.normalized, f"{exchange}:{symbol}".encode(), value)
    publisher.flush(FLUSH_TIMEOUT_S)


def as_text(value: object) -> str:
    return msgspec.json.encode(value).decode()

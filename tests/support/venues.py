"""A venue and good records for the tests of validation."""

from __future__ import annotations

from typing import Any

import msgspec

from etl.adapter.contract import Exchange
from etl.model.records import Bar, BarState, Book, BookAction, Kind, Quote, Side, SizeUnit, Source, Trade

NOW_NS = 1_723_161_255_342_000_000
MINUTE_NS = 60_000_000_000


class Venue(Exchange):
    name = "test_venue"
    websocket_url = "ws://127.0.0.1"
    channels = ()
    ignored_names = {}
    default_symbols = ("BTCUSDT",)
    event_time_min_ns = 1_230_768_000_000_000_000
    untimed_kinds = frozenset({Kind.QUOTE})


_HEAD: dict[str, Any] = {
    "exchange": "test_venue",
    "symbol": "BTC-USDT",
    "venue_symbol": "BTCUSDT",
    "event_time_ns": NOW_NS,
    "receive_time_ns": NOW_NS + 1_000_000,
    "source": Source.STREAM,
    "connection_id": "0190",
    "frame_sequence": 7,
    "frame_index": 0,
    "key_time_ns": NOW_NS,
    "parser_version": 1,
}

TRADE = Trade(
    **_HEAD,
    channel="trade",
    record_key="1",
    last_price="61837.63",
    volume="0.02",
    side=Side.BUY,
    trade_id="1",
    size_unit=SizeUnit.BASE,
)
QUOTE = Quote(
    **_HEAD,
    channel="bookTicker",
    record_key="2",
    bid="61837.63",
    bid_size="3.1",
    ask="61837.64",
    ask_size="0",
    size_unit=SizeUnit.BASE,
)
BOOK = Book(
    **_HEAD,
    channel="depth",
    record_key="depth/d/3",
    book_action=BookAction.SNAPSHOT,
    bid_prices=("61837.63", "61837.62"),
    bid_sizes=("1", "0"),
    ask_prices=("61837.64",),
    ask_sizes=("2",),
    size_unit=SizeUnit.BASE,
)
BAR = Bar(
    **{**_HEAD, "event_time_ns": NOW_NS // MINUTE_NS * MINUTE_NS},
    channel="kline",
    record_key="1m/1",
    interval="1m",
    open="2",
    high="4",
    low="1",
    close="3",
    volume="10",
    bar_state=BarState.CLOSED,
    size_unit=SizeUnit.BASE,
)
GOOD = {Kind.TRADE: TRADE, Kind.QUOTE: QUOTE, Kind.BOOK: BOOK, Kind.BAR: BAR}


def altered(kind: Kind, **changes: Any) -> Any:
    return msgspec.structs.replace(GOOD[kind], **changes)

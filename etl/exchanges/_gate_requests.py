"""What Gate's spot market is asked for: subscriptions, and its history."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import msgspec

from etl.adapter.contract import Request
from etl.adapter.paging import Before
from etl.exchanges._gate_wire import ms_text_ns
from etl.model.records import Kind
from etl.model.times import NS_PER_S, interval_ns

LISTING = "/api/v4/spot/currency_pairs"
DEPTH = 100
"""Levels of a snapshot, and of the changes of each 100 ms; those of each 20 ms are of 20."""
PAGE_ROWS = 1_000
BARS_MAX = 999
"""Of one request; both its ends are included. None may begin more than 10,000 bars ago."""
INTERVALS = {"7d": "1w"} | {name: name for name in ("10s", "1m", "5m", "15m", "30m", "1h", "4h", "8h", "1d")}
TRADE_PAGES = Before("last_id", "id", "create_time_ms", ms_text_ns)


def subscribe(number: int, channel: str, symbol: str, now_ns: int) -> str:
    """Candlesticks are asked for by interval and symbol, changes of a book by symbol and speed. The time must lie
    within 60 s of the venue's."""
    family, _, parameter = channel.partition("@")
    places = [parameter, symbol] if parameter in INTERVALS else [symbol, parameter]
    request = {
        "time": now_ns // NS_PER_S, "id": number, "channel": family, "event": "subscribe",
        "payload": [place for place in places if place],
    }  # fmt: skip
    return msgspec.json.encode(request).decode()


def snapshot(symbol: str) -> Request:
    return _request("order_book", Kind.BOOK, symbol, limit=DEPTH, with_id="true")


def trades(symbol: str, start_ns: int, end_ns: int) -> Request:
    """Pages go back by id: by number they would move as new trades come."""
    span = {"from": start_ns // NS_PER_S, "to": -(-end_ns // NS_PER_S)}
    return _request("trades", Kind.TRADE, symbol, start_ns, end_ns, **span, limit=PAGE_ROWS, reverse="true")


def bars(symbol: str, start_ns: int, end_ns: int, interval: str) -> Iterator[Request]:
    length_s = interval_ns(INTERVALS[interval]) // NS_PER_S
    first_s, end_s = start_ns // NS_PER_S // length_s * length_s, -(-end_ns // NS_PER_S)
    for at_s in range(first_s, end_s, BARS_MAX * length_s):
        span = {"from": at_s, "to": min(at_s + BARS_MAX * length_s, end_s) - 1}
        yield _request("candlesticks", Kind.BAR, symbol, start_ns, end_ns, interval=interval, **span)


def _request(
    name: str, kind: Kind, symbol: str, start_ns: int = 0, end_ns: int = 0, **query: object
) -> Request:
    path = f"/api/v4/spot/{name}?{urlencode({'currency_pair': symbol} | query)}"
    return Request(path, kind, symbol, 1, end_ns, start_ns=start_ns)

"""What KuCoin's spot market is asked for: its ticket, subscriptions, and its history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from etl.adapter.contract import FaultKind, KeepAlive, Request, Ticket
from etl.adapter.fields import UNDECODABLE
from etl.errors import OutOfReach, VenueError
from etl.exchanges._kucoin_wire import Bullet
from etl.model.records import Kind
from etl.model.times import NS_PER_MS, NS_PER_S, interval_ns

LISTING = "/api/v2/symbols"
MARKET = "/market/"
"""Begins the topics that are read."""
DEPTH = 100
"""Levels of the book that is given without a key."""
TRADES_MAX = 100
"""The newest ones: there are no pages."""
BARS_MAX = 1_500
INTERVALS = {
    **{f"{count}min": f"{count}m" for count in (1, 3, 5, 15, 30)},
    **{f"{count}hour": f"{count}h" for count in (1, 2, 4, 6, 8, 12)},
    "1day": "1d", "1week": "1w", "1month": "1M",
}  # fmt: skip
PING = '{"id":"0","type":"ping"}'
PING_S = 18.0
"""What the ticket said each time that it was seen."""

SOCKET_FAULTS = {
    "401": FaultKind.AUTHENTICATION,
    "403": FaultKind.ENTITLEMENT,
    "429": FaultKind.RATE_LIMIT,
    "500": FaultKind.TRANSIENT,
    "509": FaultKind.SUBSCRIPTION_LIMIT,
}
"""What else there is calls a topic or the request wrong (404, 400)."""
REQUEST_FAULTS = {
    "200002": FaultKind.RATE_LIMIT,
    "429000": FaultKind.RATE_LIMIT,
    "500000": FaultKind.TRANSIENT,
    **dict.fromkeys(("400001", "400002", "400003", "400004", "400005"), FaultKind.AUTHENTICATION),
    **dict.fromkeys(("400006", "400007", "411100"), FaultKind.ENTITLEMENT),
}
"""What else there is calls the request wrong."""


def ticket() -> Request:
    return Request("/api/v1/bullet-public", Kind.STATUS, "", 10, body=b"{}")


def read_ticket(payload: bytes) -> Ticket:
    """Raises ``VenueError``."""
    try:
        granted = msgspec.json.decode(payload, type=Bullet).data
        server = granted.instanceServers[0]
    except (*UNDECODABLE, IndexError) as error:
        raise VenueError(f"no ticket: {error}") from None
    every_s = server.pingInterval / 1_000 if server.pingInterval > 0 else PING_S
    return Ticket(urlencode({"token": granted.token}), server.endpoint, KeepAlive(PING, every_s))


def subscribe(number: int, channel: str, symbol: str) -> str:
    family, _, interval = channel.partition("_")
    topic = f"{MARKET}{family}:{symbol}{interval and '_'}{interval}"
    request = {"id": str(number), "type": "subscribe", "topic": topic, "response": True}
    return msgspec.json.encode(request).decode()


def snapshot(symbol: str) -> Request:
    return Request(f"/api/v1/market/orderbook/level2_{DEPTH}?symbol={symbol}", Kind.BOOK, symbol, 4)


def trades(symbol: str, start_ns: int, end_ns: int) -> Request:
    path = f"/api/v1/market/histories?symbol={symbol}"
    return Request(path, Kind.TRADE, symbol, 3, end_ns, start_ns=start_ns)


def require_reach(request: Request, rows: Sequence[Any]) -> None:
    """Raises ``OutOfReach`` where the newest trades begin after what was asked for."""
    times_ns = [row["time"] for row in rows if isinstance(row, dict) and isinstance(row.get("time"), int)]
    if len(rows) >= TRADES_MAX and min(times_ns, default=request.start_ns + 1) > request.start_ns:
        raise OutOfReach(f"{request.path}: the venue gives the newest {TRADES_MAX} trades, which begin later")


def bars(symbol: str, start_ns: int, end_ns: int, interval: str) -> Iterator[Request]:
    """Whole seconds. A month has no fixed length: all of them at once."""
    length_s = interval_ns(INTERVALS[interval]) // NS_PER_S
    first_s, end_s = start_ns // NS_PER_S, -(-end_ns // NS_PER_S)
    if length_s:
        first_s -= first_s % length_s
    span_s = BARS_MAX * length_s or max(1, end_s - first_s)
    for at_s in range(first_s, end_s, span_s):
        span = {"startAt": at_s, "endAt": min(at_s + span_s, end_s) - 1}
        path = f"/api/v1/market/candles?{urlencode({'symbol': symbol, 'type': interval} | span)}"
        yield Request(path, Kind.BAR, symbol, 3, end_ns, start_ns=start_ns - start_ns % NS_PER_MS)

"""What Kraken's websocket v2 sends, in its own names. Numbers keep their text."""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct

from etl.adapter.fields import Id, Name
from etl.model.records import TradingStatus


class Message(Struct, gc=False):
    channel: str
    type: Literal["snapshot", "update"]
    data: Raw


class Trade(Struct, gc=False):
    symbol: Name
    side: Literal["buy", "sell"]
    price: Raw
    qty: Raw
    trade_id: Id
    timestamp: str


class Level(Struct, gc=False):
    price: Raw
    qty: Raw


class Book(Struct, gc=False):
    symbol: Name
    bids: list[Level]
    asks: list[Level]
    checksum: Id
    timestamp: str = ""
    """Snapshots had none at first."""


class Ticker(Struct, gc=False):
    symbol: Name
    bid: Raw
    bid_qty: Raw
    ask: Raw
    ask_qty: Raw
    timestamp: str = ""
    """Newer frames only."""


class Bar(Struct, gc=False):
    symbol: Name
    open: Raw
    high: Raw
    low: Raw
    close: Raw
    vwap: Raw
    volume: Raw
    trades: Id
    interval_begin: str
    interval: int


class Pair(Struct, gc=False):
    symbol: Name
    status: str
    price_precision: Id | None = None
    qty_precision: Id | None = None


class Listed(Struct, gc=False):
    pairs: Raw = Raw(b"[]")


class Params(Struct, gc=False):
    channel: str = ""
    symbol: str = ""
    depth: int = 0


class Answer(Struct, gc=False):
    """To a request of ours. A refusal has no ``result``, and names its symbol outside."""

    method: str
    success: bool = True
    error: str = ""
    symbol: str = ""
    req_id: int = 0
    result: Params | None = None


STATUSES = {
    "online": TradingStatus.TRADING,
    "post_only": TradingStatus.TRADING,
    "limit_only": TradingStatus.TRADING,
    "reduce_only": TradingStatus.TRADING,
    "cancel_only": TradingStatus.HALTED,
    "maintenance": TradingStatus.HALTED,
    "work_in_progress": TradingStatus.HALTED,
    "delisted": TradingStatus.CLOSED,
}

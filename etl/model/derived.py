"""What the gateway makes of records on their way to a client: bars of trades, best levels of books, mid and spread.

They are no records: they have no identity and lie in no store. On the wire they are JSON by these names. Decimals are
exact text, ``None`` where there is none; times are UTC ns.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


def _tag(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class Derived(Struct, frozen=True, kw_only=True, tag_field="kind", tag=_tag):
    exchange: str
    symbol: str


class TradeBar(Derived, frozen=True):
    """Of the prints of one interval, by the rule of the stores' candles."""

    interval: str
    time_ns: int
    """Where it begins: a multiple of its length since 1970."""
    open: str | None = None
    high: str | None = None
    low: str | None = None
    close: str | None = None
    volume: str = "0"
    turnover: str = "0"
    """Prices times sizes."""
    trade_count: int = 0
    extended_hours: bool = False
    """Its prices are of prints outside of regular hours, for want of others."""
    bar_state: Literal["closed", "revised"] = "closed"
    """Revised: it was told before, and more of its prints came."""
    is_whole: bool = True
    """False where the stream has not seen all of its time."""
    late_trades: int = 0
    """Prints since the bar told before it that came when theirs was no longer held: they are in none."""


class BookTop(Derived, frozen=True):
    """The best levels, best first; none where ``is_joined`` is false: the book waits for a snapshot."""

    channel: str
    event_time_ns: int
    receive_time_ns: int
    sequence: int | None = None
    bid_prices: tuple[str, ...] = ()
    bid_sizes: tuple[str, ...] = ()
    ask_prices: tuple[str, ...] = ()
    ask_sizes: tuple[str, ...] = ()
    is_joined: bool = True


class Mid(Derived, frozen=True):
    """Of the last quote; ``mid`` and ``spread`` where it has both sides."""

    event_time_ns: int
    receive_time_ns: int
    bid: str | None = None
    ask: str | None = None
    mid: str | None = None
    spread: str | None = None


AnyDerived = TradeBar | BookTop | Mid

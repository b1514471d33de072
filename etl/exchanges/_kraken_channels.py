"""Kraken's channels with a parameter, and the checksum of its books. Both protocols have the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from zlib import crc32

import msgspec

from etl.adapter import fields
from etl.adapter.build import Stream, stream_of
from etl.adapter.channels import variant
from etl.adapter.contract import Channel, Exchange
from etl.adapter.fields import KNOWN_TEXTS_MAX, FieldFault
from etl.adapter.levels import Level, LevelBook
from etl.model.codes import UNCHECKED, Code
from etl.model.instruments import Instrument
from etl.model.records import Book, SizeUnit
from etl.model.times import NS_PER_MS

DEPTHS = (10, 25, 100, 500, 1_000)
CHECKED_LEVELS = 10
INTERVALS = {
    "1": "1m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "240": "4h", "1440": "1d", "10080": "1w",
    "21600": "15d",
}  # fmt: skip
"""Minutes → bars."""

Places = tuple[int, int]
"""Decimals of prices and of sizes."""


def match(channels: Iterable[Channel], name: str) -> Channel | None:
    """``book-100``, ``ohlc-5``: the depth, the interval in minutes."""
    family, _, parameter = name.partition("-")
    if family == "ohlc" and parameter in INTERVALS:
        return variant(channels, family, name, INTERVALS[parameter])
    if family == "book" and parameter in map(str, DEPTHS):
        book = variant(channels, family, name)
        return book and msgspec.structs.replace(book, depth=int(parameter))
    return None


def stream(parser: Exchange, venue_symbol: str, name: str) -> Stream:
    """Raises ``FieldFault`` for what is no symbol, or no channel of ``parser``."""
    fields.require_name(venue_symbol)
    channel = parser.channel(name)
    if channel is None:
        raise FieldFault(Code.UNKNOWN_MESSAGE, f"channel {name!r:.40}")
    interval = INTERVALS[name.partition("-")[2] or "1"] if channel.family == "ohlc" else ""
    return stream_of(
        parser,
        venue_symbol,
        name,
        SizeUnit.BASE,
        interval=interval,
        depth=channel.depth,
        key_unit_ns=NS_PER_MS,
    )


class CheckedBook:
    """One symbol's book on one connection. ``depth``: as subscribed, 0 = not known yet; then the first snapshot tells
    the least that it can be."""

    def __init__(self, depth: int = 0) -> None:
        self.depth = depth
        self._levels: LevelBook | None = None

    def subscribed(self, depth: int) -> None:
        """What the venue answers to a subscription, be it before or after the first snapshot."""
        if depth and depth != self.depth:
            self.depth, self._levels = depth, None

    def begin(self, levels: int) -> None:
        """A snapshot of so many levels on its longer side comes next."""
        self.depth = self.depth or next((depth for depth in DEPTHS if depth >= levels), DEPTHS[-1])
        self._levels = LevelBook(self.depth)

    def take(self, record: Book, checksum: int | None, places: Places | None) -> tuple[Book, str]:
        """The record, flagged where its checksum proves nothing, and what is wrong with the book, "" = nothing. A
        wrong book is not looked at again before the next snapshot. ``places`` are those that the checksum is printed
        with, ``None`` = as many as the wire has."""
        if self._levels is None:
            return _unchecked(record), ""
        self._levels.apply(record)
        if checksum is None:
            return record, ""
        ours = checksum_of(
            self._levels.asks(CHECKED_LEVELS), self._levels.bids(CHECKED_LEVELS), places or (None, None)
        )
        if ours is None:
            return _unchecked(record), ""
        if ours == checksum:
            return record, ""
        self._levels = None
        return record, f"checksum {checksum}, ours is {ours}"


def _unchecked(record: Book) -> Book:
    return msgspec.structs.replace(record, flags=(*record.flags, UNCHECKED))


def checksum_of(asks: Sequence[Level], bids: Sequence[Level], places: Sequence[int | None]) -> int | None:
    """CRC-32 of the digits of prices and sizes, asks from the lowest, then bids from the highest. ``None`` where a
    number has more decimals than ``places``, which are out of date then."""
    price_places, size_places = places
    parts: list[str] = []
    for price, size in (*asks, *bids):
        parts += (_digits(price, price_places), _digits(size, size_places))
    return None if "" in parts else crc32("".join(parts).encode())


@lru_cache(KNOWN_TEXTS_MAX)
def _digits(text: str, places: int | None) -> str:
    """``0.0551``, 5 → ``5510``; "" where there are more decimals."""
    whole, _, decimals = text.partition(".")
    if places is not None:
        if len(decimals.rstrip("0")) > places:
            return ""
        decimals = decimals[:places].ljust(places, "0")
    return f"{whole}{decimals}".lstrip("0")


def places_of(instrument: Instrument | None) -> Places | None:
    """As the steps of the list are written (``0.10`` = 2)."""
    if instrument is None:
        return None
    prices, sizes = instrument.price_step.partition(".")[2], instrument.size_step.partition(".")[2]
    return len(prices), len(sizes)

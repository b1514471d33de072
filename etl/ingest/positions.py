"""Where each worker and each of its channels stands, on a compacted topic: what a start goes on from, on any machine.

    exchange/digest            ``Position``   all that the worker's frames before these offsets gave is published
    exchange:symbol/channel    ``_Standing``  its newest record then, and its gap that has no end; nothing (a
                               tombstone) once it is followed no more

A worker writes both every ``POSITION_EVERY_S``, once the broker has acknowledged all that was published before; until
it has, only that it is alive. What a frame behind the offsets of the raw topic gave lies behind those of the other
topics: these are from the write before.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec
from msgspec import Struct

from etl.adapter.carried import Carried
from etl.adapter.contract import Subscription
from etl.errors import TransportError, WireError
from etl.ingest.feed import Feed
from etl.model.records import Book, Gap, Record
from etl.sequencing.standing import Standing
from etl.settings import Settings
from etl.transports.message import Message
from etl.transports.publisher import TopicPublisher
from etl.transports.ranges import Ends
from etl.transports.readable import readable
from etl.transports.transport import read_topic, transport_of
from etl.wire import codec
from etl.wire.keys import message_key

POSITION_EVERY_S = 15.0
ENDS_TIMEOUT_S = 10.0
FLUSH_TIMEOUT_S = 15.0
GAPS_MAX = 1_000
"""Gaps under repair that a position names; beyond, they stay open in the ledger for ``etl gaps repair``."""
DIGEST_CHARACTERS = 16

Key = tuple[str, str]
"""Symbol and channel."""

_log = logging.getLogger(__name__)


class Position(Struct, frozen=True, tag="position"):
    """``ends`` by topic, as of ``time_ns``; ``gaps``: bounded, encoded, nobody has settled them yet. The worker was
    seen at ``alive_ns``, when it may have been unable to move ``ends``."""

    exchange: str
    venue_symbols: list[str]
    channels: list[str]
    time_ns: int
    alive_ns: int
    ends: dict[str, Ends]
    gaps: list[bytes]

    @property
    def key(self) -> bytes:
        carried = "\n".join([*self.venue_symbols, "", *self.channels])
        digest = hashlib.sha256(carried.encode()).hexdigest()[:DIGEST_CHARACTERS]
        return f"{self.exchange}/{digest}".encode()


class _Standing(Struct, frozen=True, tag="standing"):
    """``Standing``, its records encoded."""

    exchange: str
    symbol: str
    channel: str
    newest: bytes | None
    last: int | None
    gaps: list[bytes]


class Known(Struct, frozen=True):
    """What the topic tells of one worker. ``positions``: those that together carried what it carries, newest first."""

    positions: Sequence[Position]
    standings: dict[Key, Standing]


_encode = msgspec.json.encode
_decoder: msgspec.json.Decoder[Position | _Standing] = msgspec.json.Decoder(Position | _Standing)


def read(
    settings: Settings, exchange: str, venue_symbols: Collection[str], channels: Collection[str] = ()
) -> Known:
    """Raises ``TransportError``."""
    newest: dict[bytes, Position | tuple[Key, Standing]] = {}
    own = f"{exchange}/".encode(), f"{exchange}:".encode()
    messages = read_topic(settings, settings.topics.positions, "etl-recovery")
    of_venue = (message for message in messages if (message.key or b"").startswith(own))
    for key, found in readable(of_venue, _decode, "worker positions"):
        if found is None:
            newest.pop(key, None)
        else:
            newest[key] = found
    positions = [each for each in newest.values() if isinstance(each, Position)]
    standings = dict(each for each in newest.values() if not isinstance(each, Position))
    symbols = Carried(venue_symbols)
    carried = {place: each for place, each in standings.items() if each.venue_symbol in symbols}
    return Known(_covering(positions, venue_symbols, channels), carried)


def _covering(
    positions: Iterable[Position], venue_symbols: Collection[str], channels: Collection[str]
) -> list[Position]:
    """The newest that carried each symbol: shards and symbol lists may have been others then. Of a worker that carries
    all, or a series, each symbol is one that any position names."""
    newest_first = sorted(positions, key=lambda each: each.time_ns, reverse=True)
    chosen, named = [], [symbol for position in newest_first for symbol in position.venue_symbols]
    left = {*venue_symbols, *Carried(venue_symbols).akin(named)}
    for position in newest_first:
        theirs = Carried(position.venue_symbols)
        known = {symbol for symbol in left if symbol in theirs}
        if not known:
            continue
        if channels and position.channels and set(channels).isdisjoint(position.channels):
            continue
        chosen.append(position)
        if set(channels) <= set(position.channels):
            left -= known
    return chosen


def _decode(message: Message) -> tuple[bytes, Position | tuple[Key, Standing] | None]:
    """With the message's key; ``None`` = forgotten. Raises ``WireError``."""
    key, value = message.key or b"", message.value
    if value is None:
        return key, None
    try:
        found = _decoder.decode(value)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise WireError(f"not a position: {error}") from None
    if isinstance(found, Position):
        return key, found
    newest = None if found.newest is None else codec.decode(found.newest)
    gaps = tuple(gap for gap in map(codec.decode, found.gaps) if isinstance(gap, Gap))
    return key, ((found.symbol, found.channel), Standing(newest, found.last, gaps))


class Positions:
    """Writes those of one worker. ``gaps_at_work`` are what its repairs have not settled."""

    def __init__(
        self,
        settings: Settings,
        feed: Feed,
        publisher: TopicPublisher,
        subscriptions: Sequence[Subscription],
        gaps_at_work: Callable[[], Iterable[Gap]],
    ) -> None:
        topics = settings.topics
        self._topic = topics.positions
        self._raw = topics.raw
        self._feed = feed
        self._publisher = publisher
        self._venue_symbols = {symbol for one in subscriptions for symbol in one.symbols}
        self._channels = {name for one in subscriptions for name in one.channels}
        self._gaps_at_work = gaps_at_work
        self._topics = topics.raw, topics.normalized, topics.quarantine
        self._transport = transport_of(settings)
        self._before: dict[str, Ends] = {}
        self._written: dict[Key, Standing] = {}
        self._position: Position | None = None
        self._is_settling = False

    def begin(self) -> None:
        """The first position, before any frame is taken. Waits for the broker. Raises ``TransportError``."""
        self._publisher.flush(FLUSH_TIMEOUT_S)
        self._before = ends = self._ends()
        self._publish(self._here(ends), self._standings(), ends)
        self._publisher.flush(FLUSH_TIMEOUT_S)

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(POSITION_EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Where the worker stands now, once all before is acknowledged; where that cannot be had, the position that was
        written before holds."""
        if self._is_settling and self._position is not None:
            alive = msgspec.structs.replace(self._position, alive_ns=time.time_ns())
            self._publisher.publish(self._topic, alive.key, _encode(alive))
        self._is_settling = True
        try:
            ends = await asyncio.to_thread(self._ends)
        except TransportError as error:
            _log.warning("%s: position not written: %s", self._feed.exchange.name, error)
            return
        position, standings = self._here(ends), self._standings()
        self._publisher.settle(lambda: self._publish(position, standings, ends))

    def _ends(self) -> dict[str, Ends]:
        """Waits for the broker. Raises ``TransportError``."""
        return self._transport.ends(self._topics, ENDS_TIMEOUT_S)

    def _here(self, ends: dict[str, Ends]) -> Position:
        now_ns = time.time_ns()
        return Position(
            self._feed.exchange.name,
            sorted(self._venue_symbols),
            sorted(self._channels),
            now_ns,
            now_ns,
            {**self._before, self._raw: ends[self._raw]},
            [codec.encode(gap) for gap in self._gaps_at_work()][:GAPS_MAX],
        )

    def _standings(self) -> dict[Key, Standing]:
        found = self._feed.continuity.standings()
        carried = Carried(self._venue_symbols)
        return {key: each for key, each in found.items() if each.venue_symbol in carried}

    def _publish(self, position: Position, standings: dict[Key, Standing], ends: dict[str, Ends]) -> None:
        for key in self._written.keys() - standings.keys():  # the topic forgets it
            self._publisher.publish(self._topic, _key_of(position.exchange, *key), None)
        for key, standing in standings.items():
            if self._written.get(key) != standing:
                self._publish_standing(position.exchange, *key, standing)
        self._publisher.publish(self._topic, position.key, _encode(position))
        self._position, self._written, self._before = position, standings, ends
        self._is_settling = False

    def _publish_standing(self, exchange: str, symbol: str, channel: str, standing: Standing) -> None:
        newest = None if standing.newest is None else _encoded(standing.newest)
        gaps = [codec.encode(gap) for gap in standing.gaps]
        value = _Standing(exchange, symbol, channel, newest, standing.last, gaps)
        self._publisher.publish(self._topic, _key_of(exchange, symbol, channel), _encode(value))


def _key_of(exchange: str, symbol: str, channel: str) -> bytes:
    return message_key(exchange, f"{symbol}/{channel}")


def _encoded(record: Record) -> bytes:
    """What continuity goes by: of a book, no levels."""
    if isinstance(record, Book):
        none: dict[str, tuple[()]] = dict.fromkeys(
            ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes", "bid_orders", "ask_orders"), ()
        )
        record = msgspec.structs.replace(record, **none)
    return codec.encode(record)

"""Crash recovery: a worker, before it connects, publishes again what reached only the raw topic.

It dies between two produces: its last frames are on the raw topic, some of what they gave is not on the others. The
tails of the topics are compared by position (connection, frame, event), and only what is missing is parsed and
published, by the same loop as live. What can be missing was in the producer's queue, which bounds the tail. Pages that
a repair had fetched are frames on the raw topic like any other; the gaps it did not come to settle are told.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import cast

from confluent_kafka import Message
from msgspec import Struct

from etl.adapter.contract import Exchange, Subscription
from etl.ingest.feed import Feed
from etl.ingest.observer import Observer
from etl.ingest.reparse import Reparse
from etl.model.records import Frame, Gap, GapState, Quarantined, Record, Source
from etl.model.times import NS_PER_MS
from etl.sequencing.continuity import Continuity
from etl.settings import Settings
from etl.transports.frames import frames_of
from etl.transports.kafka import HEADER_EXCHANGE
from etl.transports.publisher import Publisher
from etl.transports.ranges import RangeReader, read_topic
from etl.transports.readable import readable
from etl.wire import codec

RECORDS_TAIL_MAX = 1_000_000
"""Published records per partition that are compared with the tail of the raw topic."""
FLUSH_TIMEOUT_S = 60.0
REMEMBERED_MAX = 64
"""Records per (symbol, channel) from which continuity goes on: more than it waits for latecomers."""
OWN_SOURCES = (Source.STREAM, Source.REPAIR)
"""Sources that are a worker's own. A backfill is another process, whose records may just be under way."""
INDEX_BITS = 20
"""Room for a frame's events beside its number in one integer."""

_log = logging.getLogger(__name__)


class Recovered(Struct, frozen=True):
    """``messages``: how many were published. ``open_gaps``: bounded, of the symbols asked for, settled by nobody."""

    messages: int
    open_gaps: Sequence[Gap]


class Tail(Struct):
    """What is known of the newest published messages of one venue."""

    records: defaultdict[str, set[int]]
    """By connection: frame sequence and index of each record."""
    noted: set[tuple[str, int, str]]
    """(connection, position, code) of each quarantined item."""
    newest: defaultdict[tuple[str, str], deque[bytes]]
    """(symbol, channel) → its last records and gaps, encoded: what continuity goes on from."""
    gaps: dict[tuple[str, str], Gap]
    """(symbol, record key) → the last state of the gap."""


def recover(
    settings: Settings,
    exchange: type[Exchange],
    publisher: Publisher,
    continuity: Continuity,
    venue_symbols: Collection[str],
) -> Recovered:
    """Publish what the tail of the raw topic should have given and did not, and wait until Kafka has it. ``continuity``
    learns where each channel stands.

    ``venue_symbols``: only this worker's, another shard's records may just be under way. Raises ``TransportError``.
    """
    pending_max = settings.ingest.read_pause_messages
    with RangeReader(settings, settings.topics.raw, f"etl-recovery-{exchange.name}") as raw:
        tail = _read_tail(settings, exchange.name, _first_time_ns(raw, pending_max))
        for latest in tail.newest.values():
            for record in readable(latest, codec.decode, "recovery"):
                continuity.remember(record)
        feed = Feed(settings, exchange, publisher, continuity)
        carried = Subscription(tuple(venue_symbols), ())
        reparse = Reparse(feed, _Unpublished(tail, venue_symbols), pending_max, carried)
        for frame in _frames(raw, pending_max, exchange.name):
            reparse.parse(frame)
    publisher.flush(FLUSH_TIMEOUT_S)
    counts = feed.counts
    published, quarantined = sum(counts.published), counts.quarantined.total()
    if published or quarantined:
        _log.warning(
            "%s: the raw topic held %d records and %d quarantined items that were not published",
            exchange.name,
            published,
            quarantined,
        )
    open_gaps = [
        gap
        for gap in tail.gaps.values()
        if gap.gap_state is GapState.OPEN and gap.to_time_ns and gap.venue_symbol in venue_symbols
    ]
    return Recovered(published + quarantined, open_gaps)


class _Unpublished(Observer):
    """Admits what is not published yet, of this worker's symbols."""

    listens = True

    def __init__(self, tail: Tail, venue_symbols: Collection[str]) -> None:
        self._tail = tail
        self._venue_symbols = venue_symbols

    def admits(self, event: Record | Quarantined) -> bool:
        if isinstance(event, Gap):
            return True
        position = _position(event.frame_sequence, event.frame_index)
        is_published = position in self._tail.records[event.connection_id]
        if isinstance(event, Quarantined):
            return not is_published and (event.connection_id, position, event.code) not in self._tail.noted
        return not is_published and event.venue_symbol in self._venue_symbols


def _position(frame_sequence: int, frame_index: int) -> int:
    return frame_sequence << INDEX_BITS | frame_index


def _first_time_ns(raw: RangeReader, tail_max: int) -> int:
    """When the first message of the raw topic's tail was produced."""
    times = []
    for partition, bounds in raw.bounds().items():
        start = max(bounds.low, bounds.high - tail_max)
        for messages in raw.read(partition, start, min(start + 1, bounds.high), 1):
            times.append(messages[0].timestamp()[1] * NS_PER_MS)
    return min(times, default=0)


def _read_tail(settings: Settings, exchange: str, from_ns: int) -> Tail:
    tail = new_tail()
    add_records(tail, _since(settings, settings.topics.normalized, from_ns), exchange)
    add_quarantined(tail, _since(settings, settings.topics.quarantine, from_ns), exchange)
    return tail


def new_tail() -> Tail:
    return Tail(defaultdict(set), set(), defaultdict(lambda: deque(maxlen=REMEMBERED_MAX)), {})


def add_records(tail: Tail, messages: Iterable[Message], exchange: str) -> None:
    """Messages of the normalized topic; what is no record of ``exchange`` is passed over."""
    own = f"{exchange}:".encode()
    of_venue = (message.value() or b"" for message in messages if (message.key() or b"").startswith(own))
    for data, place, gap in readable(of_venue, _placed, "recovery"):
        if place.exchange != exchange:
            continue
        tail.newest[place.symbol, place.channel].append(data)
        if gap is not None:
            tail.gaps[gap.symbol, gap.record_key] = gap
        else:
            tail.records[place.connection_id].add(_position(place.frame_sequence, place.frame_index))


def _placed(data: bytes) -> tuple[bytes, codec.Place, Gap | None]:
    place = codec.place_of(data)
    return data, place, cast(Gap, codec.decode(data)) if place.is_gap else None


def add_quarantined(tail: Tail, messages: Iterable[Message], exchange: str) -> None:
    """Messages of the quarantine topic."""
    values = (message.value() or b"" for message in messages)
    for item in readable(values, codec.decode_quarantined, "recovery"):
        if item.exchange == exchange:
            tail.noted.add((item.connection_id, _position(item.frame_sequence, item.frame_index), item.code))


def _since(settings: Settings, topic: str, from_ns: int) -> Iterator[Message]:
    return read_topic(settings, topic, "etl-recovery", from_ns, RECORDS_TAIL_MAX)


def _frames(raw: RangeReader, tail_max: int, exchange: str) -> Iterator[Frame]:
    own = (HEADER_EXCHANGE, exchange.encode())
    of_venue = (message for message in raw.read_all(tail_max=tail_max) if own in (message.headers() or ()))
    return (frame for frame in frames_of(of_venue, "recovery") if frame.source in OWN_SOURCES)

"""Crash recovery: a worker, before it connects, publishes again what reached only the raw topic.

It dies between two produces: its last frames are on the raw topic, some of what they gave is not on the others. From
its position on (``positions``) the topics are compared by place (connection, frame, event), and only what is missing is
parsed and published, by the same loop as live. Pages that a repair had fetched are frames on the raw topic like any
other; the gaps it did not come to settle are told. Each channel goes on from its newest record, however old.

Without a position (the first start, or a topic made anew) the raw topic is walked back until as many messages of the
venue's own are found as could have been in the producer's queue. What lies beyond a limit is not read, and said: the
gap since the newest record known is open, and no first record passes for a start.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import cast

from msgspec import Struct

from etl.adapter.carried import Carried
from etl.adapter.contract import Exchange, Subscription
from etl.ingest import positions
from etl.ingest.feed import Feed
from etl.ingest.observer import Observer
from etl.ingest.recovery_range import Range, ranges, venue_messages
from etl.ingest.reparse import Reparse
from etl.model.records import Frame, Gap, GapState, Quarantined, Record, Source
from etl.sequencing.continuity import Continuity
from etl.settings import Settings
from etl.transports.frames import frames_of
from etl.transports.message import Message
from etl.transports.publisher import Publisher
from etl.transports.readable import readable
from etl.transports.transport import transport_of
from etl.wire import codec

FLUSH_TIMEOUT_S = 60.0
REMEMBERED_MAX = 64
"""Records per (symbol, channel) from which continuity goes on: more than it waits for latecomers."""
OWN_SOURCES = (Source.STREAM, Source.REPAIR)
"""Sources that are a worker's own. A backfill is another process, whose records may just be under way."""
INDEX_BITS = 20
"""Room for a frame's events beside its number in one integer."""

_log = logging.getLogger(__name__)


class Recovered(Struct, frozen=True):
    """``messages``: how many were published. ``open_gaps``: bounded, of the symbols asked for, settled by nobody.
    ``known_ns``: where a limit was reached, since when records of any channel may be unknown; else 0."""

    messages: int
    open_gaps: Sequence[Gap]
    known_ns: int = 0


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
    channels: Collection[str] = (),
) -> Recovered:
    """Publish what the raw topic should have given and did not, and wait until Kafka has it. ``continuity`` learns
    where each channel stands.

    ``venue_symbols``: only this worker's, ``*`` = all; another shard's records may just be under way. ``channels``:
    those that it carries, () = any. Raises ``TransportError``.
    """
    pending_max = settings.ingest.read_pause_messages
    name, topics = exchange.name, settings.topics
    symbols = Carried(venue_symbols)
    known = positions.read(settings, name, venue_symbols, channels)
    group = f"etl-recovery-{name}"
    with (
        transport_of(settings).reader(topics.raw, group) as raw,
        transport_of(settings).reader(topics.normalized, group) as normalized,
        transport_of(settings).reader(topics.quarantine, group) as quarantine,
    ):
        span = ranges(raw, (normalized, quarantine), known.positions, name, pending_max)
        tail = new_tail()
        add_records(tail, span.messages(normalized), name)
        add_quarantined(tail, span.messages(quarantine), name)
        _remember(continuity, known, span, tail)
        feed = Feed(settings, exchange, publisher, continuity)
        carried = Subscription(tuple(venue_symbols), ())
        reparse = Reparse(feed, _Unpublished(tail, symbols), pending_max, carried)
        for frame in _frames(span.messages(raw), name):
            reparse.parse(frame)
    publisher.flush(FLUSH_TIMEOUT_S)
    counts = feed.counts
    published, quarantined = sum(counts.published), counts.quarantined.total()
    if published or quarantined:
        _log.warning(
            "%s: the raw topic held %d records and %d quarantined items that were not published",
            name,
            published,
            quarantined,
        )
    if span.known_ns:
        _log.warning("%s: recovery has reached its limit, what lies beyond is declared as a gap", name)
    open_gaps = [
        gap
        for gap in tail.gaps.values()
        if gap.gap_state is GapState.OPEN and gap.to_time_ns and gap.venue_symbol in symbols
    ]
    return Recovered(published + quarantined, open_gaps, span.known_ns)


def _remember(continuity: Continuity, known: positions.Known, span: Range, tail: Tail) -> None:
    """A channel stood so at the time of the position, and what the topic shows of it comes after; where that is not all
    that came after, it is enough alone, and the standing is for channels that it does not show."""
    near = {key for key, latest in tail.newest.items() if len(latest) == REMEMBERED_MAX}
    if span.from_position:
        for key, standing in known.standings.items():
            if key not in near:
                continuity.restore(key, standing)
    for latest in tail.newest.values():
        for record in readable(latest, codec.decode, "recovery"):
            continuity.remember(record)
    for key, standing in known.standings.items():
        continuity.restore(key, standing)
    at_work = [gap for position in known.positions for gap in position.gaps]
    for gap in readable(at_work, codec.decode, "recovery"):
        if isinstance(gap, Gap) and tail.gaps.setdefault((gap.symbol, gap.record_key), gap) is gap:
            continuity.remember(gap)


class _Unpublished(Observer):
    """Admits what is not published yet, of this worker's symbols."""

    listens = True

    def __init__(self, tail: Tail, venue_symbols: Carried) -> None:
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


def new_tail() -> Tail:
    return Tail(defaultdict(set), set(), defaultdict(lambda: deque(maxlen=REMEMBERED_MAX)), {})


def add_records(tail: Tail, messages: Iterable[Message], exchange: str) -> None:
    """Messages of the normalized topic; what is no record of ``exchange`` is passed over."""
    own = f"{exchange}:".encode()
    of_venue = (message.value or b"" for message in messages if (message.key or b"").startswith(own))
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
    values = (message.value or b"" for message in messages)
    for item in readable(values, codec.decode_quarantined, "recovery"):
        if item.exchange == exchange:
            tail.noted.add((item.connection_id, _position(item.frame_sequence, item.frame_index), item.code))


def _frames(messages: Iterable[Message], exchange: str) -> Iterator[Frame]:
    of_venue = venue_messages(messages, exchange)
    return (frame for frame in frames_of(of_venue, "recovery") if frame.source in OWN_SOURCES)

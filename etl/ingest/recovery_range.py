"""How far back a recovery reads, and which messages of the raw topic are a venue's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from msgspec import Struct

from etl.ingest.positions import Position
from etl.model.times import NS_PER_MS, NS_PER_S
from etl.transports.frame_headers import HEADER_EXCHANGE
from etl.transports.message import Message
from etl.transports.ranges import Bounds, Ends, RangeReader

MESSAGES_MAX = 1_000_000
"""Of each partition of a topic, whoever's they are, that one recovery reads."""
BLOCK_MESSAGES = 50_000
"""By which a partition is walked back."""
ALIVE_NS = 120 * NS_PER_S
"""After it was seen last, nothing comes of a worker: it says so eight times as often."""
CONNECTION_ID_BYTES = 36
"""Of a UUID as text, which no two venues share; of any other key nothing is remembered."""
CONNECTIONS_MAX = 100_000
"""Of other venues, that are remembered."""


class Range(Struct, frozen=True):
    """What one recovery reads. ``known_ns``: see ``Recovered``."""

    spans: Mapping[str, Mapping[int, Bounds]]
    """Topic → partition → [low, high)."""
    from_position: bool
    known_ns: int

    def messages(self, reader: RangeReader) -> Iterator[Message]:
        for partition, span in self.spans[reader.topic].items():
            yield from reader.read_on(partition, span.low, span.high)


def ranges(
    raw: RangeReader,
    others: Sequence[RangeReader],
    positions: Sequence[Position],
    exchange: str,
    own_max: int,
) -> Range:
    """From the lowest of ``positions`` on, or, where there is none that holds, from where the last ``own_max`` messages
    of the venue begin. Raises ``TransportError``."""
    readers = (raw, *others)
    bounds = {reader.topic: reader.bounds() for reader in readers}
    if positions and all(
        _holds(position.ends.get(reader.topic), reader, bounds[reader.topic])
        for position in positions
        for reader in readers
    ):
        until_ns = _until_ns(raw, max(position.alive_ns for position in positions), exchange)
        return _from_positions(
            positions, bounds, {reader.topic: reader.offsets_at(until_ns) for reader in readers}
        )
    walked = {
        partition: _walk_back(raw, partition, has, exchange, own_max)
        for partition, has in bounds[raw.topic].items()
    }
    first_ns = min((time_ns for _, time_ns in walked.values() if time_ns), default=0)
    spans = {raw.topic: {partition: span for partition, (span, _) in walked.items()}}
    for reader in others:
        starts = reader.offsets_at(first_ns)
        spans[reader.topic] = {
            partition: Bounds(max(has.low, starts[partition], has.high - MESSAGES_MAX), has.high)
            for partition, has in bounds[reader.topic].items()
        }
    is_whole = all(
        span.low == bounds[raw.topic][partition].low for partition, span in spans[raw.topic].items()
    )
    return Range(spans, False, 0 if is_whole else first_ns)


def _until_ns(raw: RangeReader, alive_ns: int, exchange: str) -> int:
    """After when nothing of the worker came. It lived longer than its position knows where the topic of positions lost
    its end: as long as frames of the venue lie in the second half of what is to be read, there is more to read."""
    until_ns = alive_ns + ALIVE_NS
    while _has_frames(raw, until_ns - ALIVE_NS // 2, until_ns, exchange):
        until_ns += ALIVE_NS
    return until_ns


def _has_frames(raw: RangeReader, from_ns: int, to_ns: int, exchange: str) -> bool:
    starts, ends = raw.offsets_at(from_ns), raw.offsets_at(to_ns)
    spans = (raw.read_on(partition, start, ends[partition]) for partition, start in starts.items())
    return any(True for _ in venue_messages(chain.from_iterable(spans), exchange))


def _holds(ends: Ends | None, reader: RangeReader, bounds: Mapping[int, Bounds]) -> bool:
    """Whether the topic is the one that ended there, and lost nothing of it since."""
    if ends is None or ends.topic_id != reader.topic_id():
        return False
    return all(
        reader.known_end(partition, offset, ends.leader_epochs.get(partition, -1), bounds[partition].high)
        == offset
        for partition, offset in ends.offsets.items()
    )


def _from_positions(
    positions: Sequence[Position],
    bounds: Mapping[str, Mapping[int, Bounds]],
    ends: Mapping[str, Mapping[int, int]],
) -> Range:
    """``ends``: behind which there is nothing of the worker."""
    spans: dict[str, dict[int, Bounds]] = {}
    is_whole = True
    for topic, partitions in bounds.items():
        spans[topic] = {}
        for partition, has in partitions.items():
            # one that was added since is read from its beginning
            start = min(position.ends[topic].offsets.get(partition, 0) for position in positions)
            low, high = max(start, has.low), min(has.high, ends[topic].get(partition, has.high))
            span = spans[topic][partition] = Bounds(low, min(high, low + MESSAGES_MAX))
            is_whole = is_whole and low == start and span.high == high
    return Range(spans, True, 0 if is_whole else min(position.time_ns for position in positions))


def _walk_back(
    raw: RangeReader, partition: int, has: Bounds, exchange: str, own_max: int
) -> tuple[Bounds, int]:
    """The end of a partition that has the last ``own_max`` messages of the venue, and when its first message was
    produced."""
    start, own, first_ns = has.high, 0, 0
    while start > has.low and has.high - start < MESSAGES_MAX and own < own_max:
        end, start = start, max(has.low, start - BLOCK_MESSAGES)
        block = raw.read_on(partition, start, end)
        for first in islice(block, 1):
            first_ns = first.time_ms * NS_PER_MS
            own += sum(1 for _ in venue_messages(chain((first,), block), exchange))
    return Bounds(start, has.high), first_ns


def venue_messages(messages: Iterable[Message], exchange: str) -> Iterator[Message]:
    """Those of the raw topic that are of ``exchange``. Whose a connection is, its first message tells: to look into the
    headers of each takes as long as all the rest."""
    own = (HEADER_EXCHANGE, exchange.encode())
    foreign: set[bytes | None] = set()
    for message in messages:
        key = message.key
        if key in foreign:
            continue
        if own in (message.headers() or ()):
            yield message
        elif key is not None and len(key) == CONNECTION_ID_BYTES and len(foreign) < CONNECTIONS_MAX:
            foreign.add(key)

"""The topics: of those that stores read, what a store may not have; of the compacted ones, all.

    topics/{role}/{partition}/000000      messages: key, value, headers

A restored topic is a new one, with an id and offsets of its own. Every store that knows the former one begins the new
one at its start, and identities tell it what it has already: so no offset has to be mapped from one to the other, in
any store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Struct

from etl.backup import lake
from etl.backup.archive import OBJECT_BYTES_MAX, Bounds, Reader, Topic, Writer
from etl.errors import UsageError
from etl.settings import Settings
from etl.sinks import readers
from etl.sinks.clickhouse_batch import decode_intent
from etl.stores.timescale import session
from etl.transports.publisher import TopicPublisher
from etl.transports.ranges import RangeReader
from etl.transports.transport import transport_of

CONTENT = "topics"
GROUP = "etl-backup"
TIMEOUT_S = 30.0
FLUSH_TIMEOUT_S = 60.0
POLL_MESSAGES = 1_000
"""Between two looks at how many messages are pending."""
READ_MESSAGES = 2_000
COMPACTED = ("positions", "statistics")
STREAMED = ("quarantine", "normalized", "raw")
"""In the order in which their ends are asked for: a frame without its records is parsed again by the worker that
restarts, records without their frame would stay without."""

Starts = Mapping[str, Mapping[int, int]]
"""By role and partition: the offset before which every store has all."""


class Saved(Struct, frozen=True, array_like=True):
    """A message. ``value`` ``None``: its key is forgotten."""

    key: bytes
    value: bytes | None
    headers: dict[str, bytes]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Saved]).decode


def name_of(settings: Settings, role: str) -> str:
    return str(getattr(settings.topics, role))


def names(settings: Settings) -> dict[str, str]:
    """By role."""
    return {role: name_of(settings, role) for role in (*COMPACTED, *STREAMED)}


def read_starts(settings: Settings) -> Starts:
    """How far every store is, before it is copied. Of a topic that a store has not begun, nothing is left out.

    Raises ``TransportError``, ``StoreError``."""
    ends = transport_of(settings).ends([name_of(settings, role) for role in STREAMED], TIMEOUT_S)
    found: dict[str, dict[int, int]] = {}
    for role in STREAMED:
        at = ends[name_of(settings, role)]
        reached = [of_store(settings, role, at.topic_id) for of_store in _READERS[role]]
        kept = [offsets for offsets in reached if offsets is not None]
        found[role] = {
            partition: min((offsets.get(partition, 0) for offsets in kept), default=0)
            for partition in at.offsets
        }
    return found


def _of_clickhouse(settings: Settings, role: str, topic_id: str) -> dict[int, int] | None:
    """``None`` = the store is not kept, here and below."""
    if not settings.keeps("clickhouse"):
        return None
    topic = name_of(settings, role)
    places = transport_of(settings).commits([topic], TIMEOUT_S).get(readers.group_of(settings), [])
    offsets = {}
    for place in places:
        intent = decode_intent(place.metadata, place.offset)
        if intent is None or intent.topic_id == topic_id:
            offsets[place.partition] = place.offset
    return offsets


def _of_timescale(settings: Settings, role: str, topic_id: str) -> dict[int, int] | None:
    if not settings.keeps("timescale"):
        return None
    with session(settings) as connection:
        found = connection.execute(
            "SELECT partition, next FROM load_offsets WHERE topic_id = %s", (topic_id,)
        ).fetchall()
    return {int(partition): int(offset) for partition, offset in found}


def _of_lake(settings: Settings, role: str, topic_id: str) -> dict[int, int] | None:
    return lake.exported(settings).get(topic_id, {}) if settings.keeps("lake") else None


_READERS = {
    "normalized": (_of_clickhouse, _of_timescale, _of_lake),
    "quarantine": (_of_clickhouse,),
    "raw": (_of_lake,),
}


def back_up_compacted(settings: Settings, into: Writer) -> dict[str, Topic]:
    """Where workers and their channels stand: before anything that they claim is published."""
    return {role: _copy(settings, role, {}, _ends(settings, role), into) for role in COMPACTED}


def back_up_streamed(settings: Settings, starts: Starts, into: Writer) -> dict[str, Topic]:
    """What lies after ``starts``: after all stores were copied. Raises ``TransportError``."""
    ends = {role: _ends(settings, role) for role in STREAMED}
    return {role: _copy(settings, role, starts[role], ends[role], into) for role in STREAMED}


def _ends(settings: Settings, role: str) -> dict[int, int]:
    topic = name_of(settings, role)
    return transport_of(settings).ends([topic], TIMEOUT_S)[topic].offsets


def _copy(
    settings: Settings, role: str, starts: Mapping[int, int], ends: Mapping[int, int], into: Writer
) -> Topic:
    partitions = {}
    with transport_of(settings).reader(name_of(settings, role), GROUP) as reader:
        bounds = reader.bounds()
        for partition, end in sorted(ends.items()):
            start = min(max(starts.get(partition, 0), bounds[partition].low), end)
            partitions[partition] = Bounds(start, end)
            for number, some in enumerate(_together(reader, partition, start, end)):
                into.put(f"{CONTENT}/{role}/{partition}/{number:06}", _encode(some))
        return Topic(reader.topic_id(), partitions)


def _together(reader: RangeReader, partition: int, start: int, end: int) -> Iterator[list[Saved]]:
    some: list[Saved] = []
    size = 0
    for message in reader.read_on(partition, start, end):
        headers = {name: value or b"" for name, value in message.headers() or ()}
        some.append(Saved(message.key or b"", message.value, headers))
        size += len(message.value or b"") + len(message.key or b"")
        if len(some) >= READ_MESSAGES or size >= OBJECT_BYTES_MAX:
            yield some
            some, size = [], 0
    if some:
        yield some


def require_empty(settings: Settings) -> None:
    """Makes topics that are missing. Raises ``UsageError`` if one has messages, which nothing here deletes."""
    transport_of(settings).ensure_topics()
    for role in (*COMPACTED, *STREAMED):
        topic = name_of(settings, role)
        with transport_of(settings).reader(topic, GROUP) as reader:
            if any(each.low < each.high for each in reader.bounds().values()):
                raise UsageError(
                    f"the topic {topic} has messages: delete it, or name others (ETL_{role.upper()}_TOPIC)"
                )


def restore(settings: Settings, source: Reader) -> dict[str, int]:
    """Messages by topic. What claims comes last: positions of workers after all that was published before them.

    Raises ``TransportError``."""
    publisher = transport_of(settings).publisher()
    counts = {}
    for role in (*reversed(STREAMED), *COMPACTED):
        topic = name_of(settings, role)
        counts[topic] = 0
        for _, data in source.parts(f"{CONTENT}/{role}"):
            counts[topic] += _publish(settings, publisher, topic, _decode(data))
        publisher.flush(FLUSH_TIMEOUT_S)
    return counts


def _publish(settings: Settings, publisher: TopicPublisher, topic: str, messages: list[Saved]) -> int:
    for number, message in enumerate(messages):
        if number % POLL_MESSAGES == 0 and (
            publisher.is_full or publisher.pending_messages > settings.ingest.read_pause_messages
        ):
            publisher.flush(FLUSH_TIMEOUT_S)
        publisher.publish(topic, message.key, message.value, message.headers or None)
    publisher.poll()
    return len(messages)

"""Topics of another transport into Redis, under the offsets, the ids and the commits that they have there.

    each topic      marked as not whole ─▶ its messages, on from where it ends ─▶ what each group has committed ─▶ whole

Nothing above notices: a store that had read up to an offset of Kafka reads on from the same offset here, of a topic
with the same id. A copy that is stopped or killed goes on where the topic ends; until it is whole nobody can use it. A
copy of what is whole brings what came since: most of it can be done while the workers still publish to the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import hiredis
from msgspec import Struct

from etl.errors import TransportError, UsageError
from etl.settings import Settings
from etl.transports.group import Place
from etl.transports.message import Message
from etl.transports.ranges import Bounds, Overtaken, RangeReader
from etl.transports.redis_client import (
    REQUEST_TIMEOUT_S,
    Argument,
    Connection,
    Refused,
    load_functions,
    parse_address,
)
from etl.transports.redis_group import NOBODY
from etl.transports.redis_log import Keys, Stored, encode_batch, keys_of, pack_headers
from etl.transports.redis_transport import require_durable
from etl.transports.transport import transport_of

READER = "transport-copy"
BATCH_MESSAGES_MAX = 500
BATCH_BYTES_MAX = 1 << 18
BATCHES_IN_ONE_GO = 16
READ_MESSAGES = 5_000
TIMEOUT_S = 30.0

Progress = Callable[[str, int, int, int], None]
"""Topic, partition, the offset that the copy has reached, and where the source ends."""


class Copied(Struct, frozen=True):
    """``commits``: places of groups; ``left_out``: those beyond the end of what was copied."""

    messages: int
    commits: int
    left_out: int


def copy_topics(source: Settings, target: Settings, progress: Progress) -> Copied:
    """Everything that ``source`` has when this begins. Raises ``TransportError``, ``UsageError``."""
    if not target.transport.over_redis:
        raise UsageError(
            "--to must be redis[s]://…: Kafka gives offsets and ids of its own (docs/deployment.md)"
        )
    topics = source.topics
    names = topics.raw, topics.normalized, topics.quarantine, topics.statistics, topics.positions
    compacted = {topics.statistics, topics.positions}
    into = _Target(target)
    try:
        committed = transport_of(source).commits(names, TIMEOUT_S)
        cluster = _cluster_of(source, names[0])
        messages = 0
        for name in names:
            with transport_of(source).reader(name, READER) as reader:
                messages += into.copy(reader, name, name in compacted, cluster, progress)
        kept = [into.commit(group, place) for group, places in committed.items() for place in places]
        into.finish(names)
        return Copied(messages, sum(kept), len(kept) - sum(kept))
    finally:
        into.close()


class _Nobody:
    """A member that reads nothing."""

    def assigned(self, places: Sequence[Place]) -> None: ...
    def revoked(self, places: Sequence[Place]) -> None: ...
    def lost(self, places: Sequence[Place]) -> None: ...
    def gone(self, topic: str, partition: int) -> None: ...
    def answered(self, place: Place, failure: str) -> None: ...


def _cluster_of(source: Settings, topic: str) -> str:
    group = transport_of(source).group(READER, _Nobody())
    try:
        return group.cluster_id(topic)
    finally:
        group.close()


class _Target:
    def __init__(self, settings: Settings) -> None:
        self._connection = Connection(parse_address(settings.redis_address), REQUEST_TIMEOUT_S)
        self._keys: Keys = keys_of(self._connection.address)
        require_durable(self._connection)
        load_functions(self._connection)

    def close(self) -> None:
        self._connection.close()

    def copy(self, reader: RangeReader, name: str, compacted: bool, cluster: str, progress: Progress) -> int:
        """How many messages were placed."""
        bounds, topic_id = reader.bounds(), reader.topic_id()
        starts = {partition: self._end_of(name, partition, bound) for partition, bound in bounds.items()}
        self._begin(name, topic_id, len(bounds), compacted, cluster)
        messages = 0
        for partition, bound in bounds.items():
            start = starts[partition]
            for batches in _gone_on(reader, partition, start, bound.high, compacted):
                self._place(name, partition, batches, compacted)
                messages += sum(map(len, batches))
                progress(name, partition, batches[-1][-1].offset + 1, bound.high)
            self._reach(name, partition, bound)
        return messages

    def _begin(self, name: str, topic_id: str, partitions: int, compacted: bool, cluster: str) -> None:
        key = self._keys.topic(name)
        there, copying = self._connection.call("HMGET", key, "id", "copying")
        found = (copying or there or b"").decode()
        if found and found != topic_id:
            raise TransportError(
                f"{self._connection.address.place}: {name} is there already, and another one"
            )
        fields = (
            "partitions",
            partitions,
            "compacted",
            int(compacted),
            "cluster",
            cluster,
            "copying",
            topic_id,
        )
        self._connection.call("HSET", key, *fields)
        self._connection.call("HDEL", key, "id")

    def _end_of(self, name: str, partition: int, source: Bounds) -> int:
        """Where the copy goes on. Raises ``TransportError`` if it has messages that the source has not."""
        found = self._connection.call("HGET", self._keys.state(name, partition), "next")
        end = source.low if found is None else int(found)
        if end > source.high:
            raise TransportError(
                f"{self._connection.address.place}: {name}-{partition} ends at {end}, the source at {source.high}:"
                " it has gone on by itself"
            )
        return max(end, source.low)

    def _place(
        self, name: str, partition: int, batches: Sequence[Sequence[Message]], compacted: bool
    ) -> None:
        keys: list[Argument] = [self._keys.stream(name, partition), self._keys.state(name, partition)]
        if compacted:
            keys.append(self._keys.index(name, partition))
        commands = [_place_command(keys, batch, compacted) for batch in batches]
        for answer in self._connection.calls(commands, TIMEOUT_S):
            if isinstance(answer, hiredis.ReplyError):
                raise Refused(self._connection.address.place, str(answer))

    def _reach(self, name: str, partition: int, source: Bounds) -> None:
        """Where the source ends with offsets that it has no message of, or has none at all, so does the copy."""
        state = self._keys.state(name, partition)
        self._connection.call("HSETNX", state, "low", source.low)
        self._connection.call("HSET", state, "next", source.high)

    def commit(self, group: str, place: Place) -> bool:
        keys = self._keys
        stream, state = keys.stream(place.topic, place.partition), keys.state(place.topic, place.partition)
        own = keys.place(place.topic, place.partition, group)
        commit = "FCALL", "etl_2_commit", 3, stream, state, own, group, NOBODY, place.offset, place.metadata
        try:
            self._connection.call(*commit)
        except Refused as refused:
            if refused.code != "AHEAD":  # committed since: the next copy has it
                raise
            return False
        return True

    def finish(self, names: Sequence[str]) -> None:
        for name in names:
            key = self._keys.topic(name)
            topic_id = self._connection.call("HGET", key, "copying")
            self._connection.call("HSET", key, "id", topic_id)
            self._connection.call("HDEL", key, "copying")


def _place_command(keys: Sequence[Argument], batch: Sequence[Message], compacted: bool) -> list[Argument]:
    stored = [Stored(m.key or b"", m.value, pack_headers(m.headers() or None), m.time_ms) for m in batch]
    return [
        *("FCALL", "etl_2_place", len(keys), *keys),
        *(batch[0].offset, len(batch), max(m.time_ms for m in batch), batch[-1].leader_epoch),
        encode_batch(stored),
        *([batch[0].key or b""] if compacted else []),
    ]


def _gone_on(
    reader: RangeReader, partition: int, start: int, end: int, compacted: bool
) -> Iterator[list[list[Message]]]:
    """Batches of messages that follow each other under one epoch, some at a time. What retention takes meanwhile is
    passed over, as it is by everybody who reads."""
    while start < end:
        try:
            for messages in reader.read(partition, start, end, READ_MESSAGES):
                batches = list(_cut(messages, 1 if compacted else BATCH_MESSAGES_MAX))
                for first in range(0, len(batches), BATCHES_IN_ONE_GO):
                    yield batches[first : first + BATCHES_IN_ONE_GO]
                start = messages[-1].offset + 1
            return
        except Overtaken as lost:
            start = lost.low


def _cut(messages: Sequence[Message], messages_max: int) -> Iterator[list[Message]]:
    batch: list[Message] = []
    size = 0
    for message in messages:
        length = len(message.key or b"") + len(message.value or b"")
        follows = (
            batch
            and message.offset == batch[-1].offset + 1
            and message.leader_epoch == batch[-1].leader_epoch
        )
        if batch and (not follows or len(batch) >= messages_max or size + length > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += length
    if batch:
        yield batch

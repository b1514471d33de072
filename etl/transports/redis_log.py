"""How a topic lies in Redis: its partitions as streams, whose entries are batches of messages that follow each other.

    <prefix><topic>:{<n>}             stream: <offset of the last>-1 → n (messages), t (ms), e (epoch), b (the batch)
    <prefix><topic>:{<n>}:state       hash: next and low (offsets), time_ms, the groups that read it
    <prefix><topic>:{<n>}:p:<id>      a producer's last sequence, for a day
    <prefix><topic>:{<n>}:g:<group>   hash: offset, metadata, owner, until, token
    <prefix><topic>:{<n>}:keys        hash, of a compacted topic: key → offset
    <prefix><topic>:topic             hash: id, partitions, compacted; if copied cluster, copying until it is whole
    <prefix>epoch:<run>               when a run of the server was first seen, s since 2020
    <prefix>group:<name>              sorted set: its members, by when they were last seen

What is between braces decides in which slot of a cluster a key lies: all of a partition lie together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import lz4.block
import msgspec
from msgspec import Struct

from etl.errors import TransportError
from etl.transports.message import Message, Pairs
from etl.transports.redis_client import Address, Connection


class Stored(Struct, frozen=True, array_like=True, gc=False):
    """A message as a batch has it. ``headers`` are packed by themselves: as objects they cost more than all the rest,
    to make and then to Python's collector, and few ask for them."""

    key: bytes
    value: bytes | None
    headers: msgspec.Raw
    time_ms: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Stored]).decode
_decode_headers = msgspec.msgpack.Decoder(list[tuple[str, bytes | None]] | None).decode
NO_HEADERS = msgspec.Raw(_encode(None))


def pack_headers(pairs: Pairs | None) -> msgspec.Raw:
    return msgspec.Raw(_encode(pairs))


def encode_batch(messages: Sequence[Stored]) -> bytes:
    return cast(bytes, lz4.block.compress(_encode(messages)))


def decode_entry(topic: str, partition: int, entry: Any) -> list[Message]:
    """The messages of one entry, as XRANGE gives it. Raises ``TransportError`` for bytes that are no batch."""
    last = int(entry[0].partition(b"-")[0])
    try:
        stored = _decode(lz4.block.decompress(_fields(entry)[b"b"]))
    except (KeyError, ValueError, RuntimeError, msgspec.MsgspecError) as error:
        raise TransportError(f"Redis: {topic}-{partition} at {last}: not a batch: {error}") from None
    first, epoch = last + 1 - len(stored), entry_epoch(entry)
    return [
        Message(topic, partition, offset, one.key, one.value, _Headers(one.headers), one.time_ms, epoch)
        for offset, one in enumerate(stored, first)
    ]


def entry_end(entry: Any) -> int:
    """The offset after its last."""
    return int(entry[0].partition(b"-")[0]) + 1


def entry_start(entry: Any) -> int:
    """The offset of its first."""
    return entry_end(entry) - int(_fields(entry)[b"n"])


def entry_time_ms(entry: Any) -> int:
    """The greatest that any message up to its last has."""
    return int(_fields(entry)[b"t"])


def entry_epoch(entry: Any) -> int:
    """When the run of the server was first seen that took it, s since 2020: later ones are greater."""
    return int(_fields(entry)[b"e"])


def _fields(entry: Any) -> Mapping[bytes, bytes]:
    return dict(zip(entry[1][::2], entry[1][1::2], strict=True))


class _Headers(Struct, frozen=True, gc=False):
    packed: msgspec.Raw

    def __call__(self) -> Pairs | None:
        pairs: Pairs | None = _decode_headers(self.packed)
        return pairs


class Topic(Struct, frozen=True):
    """``id``: a topic made anew under the same name has another. ``cluster``: of the cluster that it was copied from,
    else its own id."""

    name: str
    id: str
    partitions: int
    compacted: bool
    cluster: str


class Keys(Struct, frozen=True):
    prefix: str

    def stream(self, topic: str, partition: int) -> str:
        return f"{self.prefix}{topic}:{{{partition}}}"

    def state(self, topic: str, partition: int) -> str:
        return f"{self.stream(topic, partition)}:state"

    def producer(self, topic: str, partition: int, producer: str) -> str:
        return f"{self.stream(topic, partition)}:p:{producer}"

    def place(self, topic: str, partition: int, group: str) -> str:
        return f"{self.stream(topic, partition)}:g:{group}"

    def index(self, topic: str, partition: int) -> str:
        return f"{self.stream(topic, partition)}:keys"

    def topic(self, topic: str) -> str:
        return f"{self.prefix}{topic}:topic"

    def epoch(self, run: str) -> str:
        return f"{self.prefix}epoch:{run}"

    def members(self, group: str) -> str:
        return f"{self.prefix}group:{group}"


def keys_of(address: Address) -> Keys:
    return Keys(address.prefix)


def topic_of(connection: Connection, keys: Keys, name: str) -> Topic:
    """Raises ``TransportError``: so for one that does not exist."""
    found = connection.call("HMGET", keys.topic(name), "id", "partitions", "compacted", "cluster")
    if found[0] is None:
        raise TransportError(f"{connection.address.place}: topic {name}: there is none")
    topic_id = found[0].decode()
    return Topic(name, topic_id, int(found[1]), found[2] == b"1", (found[3] or found[0]).decode())

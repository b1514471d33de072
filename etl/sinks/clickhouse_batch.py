"""What makes a batch the same batch again: its intent and its token. Pure."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from etl.errors import WireError

BY_LANDING = 3
"""All messages of a batch go to the landing tables."""
BY_BLOCKS = 4
"""Trades, quotes and books go as ready blocks to their stored tables, where that can be done."""
SCHEMA_VERSION = BY_BLOCKS
"""The newest way. Rises when the same message bytes must give other rows or take another way, whose tokens the server
does not know: part of the token, so that they are not taken for stored. 2: the way in lies in the internal database. 3:
its tables and views have other names for the same blocks."""


class Intent(Struct, frozen=True, kw_only=True):
    """The batch [start, end) that comes next, kept as the metadata of the offset commit at ``start``.

    An empty one (start = end) says only whose offset it is: a topic made anew has another ``topic_id``.
    ``rows`` is the number of messages, ``time_s`` when it was intended (Unix time). ``cut``: the topic lost what it had
    from there on, which was declared (-1 = it did not). ``v``: the way that its messages go, whoever sends them.
    """

    topic_id: str
    start: int
    end: int
    rows: int = 0
    time_s: float = 0.0
    v: int = BY_LANDING
    cut: int = -1

    @property
    def empty(self) -> bool:
        return self.start == self.end


def encode_intent(intent: Intent) -> str:
    return msgspec.json.encode(intent).decode()


def decode_intent(metadata: str | None, committed_offset: int) -> Intent | None:
    """``None`` if the commit is not ours (another tool's has no metadata, or was made for another offset).

    Raises ``WireError`` for an intent of newer code, which must not be guessed at.
    """
    if not metadata:
        return None
    try:
        intent = msgspec.json.decode(metadata, type=Intent)
    except msgspec.DecodeError:
        return None
    if intent.v > SCHEMA_VERSION:
        raise WireError(
            f"an intent of schema version {intent.v} is waiting; this is version {SCHEMA_VERSION}"
        )
    return intent if intent.start == committed_offset and intent.end >= intent.start else None


def token(cluster_id: str, topic_id: str, partition: int, start: int, end: int, version: int) -> str:
    """Names the content of [start, end) for all time."""
    return f"{cluster_id}/{topic_id}/{partition}/{start}/{end}/v{version}"


class PartitionId(Struct, frozen=True):
    """One partition of one topic, told apart from every other that has or will have its name."""

    cluster_id: str
    topic: str
    number: int
    topic_id: str

    @property
    def label(self) -> str:
        return f"{self.topic}-{self.number}"


class Batch(Struct):
    """[intent.start, intent.end) of one partition; ``offsets`` and ``values`` are parallel."""

    partition: PartitionId
    intent: Intent
    offsets: list[int]
    values: list[bytes]
    intended: bool
    """Its intent was found on the broker, and need not be committed."""
    abandoned: threading.Event = msgspec.field(default_factory=threading.Event)
    """The partition is no longer ours: another owner will send this batch."""
    is_doubtful: bool = False
    """It was sent, and no answer came."""

    def only(self, indices: Sequence[int]) -> Batch:
        """Those of its messages; the bounds stay."""
        return msgspec.structs.replace(
            self,
            offsets=[self.offsets[index] for index in indices],
            values=[self.values[index] for index in indices],
        )

    def token(self, low: int, high: int) -> str:
        """The name of its messages [low, high), the same whoever sends them."""
        partition, intent = self.partition, self.intent
        whole = (low, high) == (0, len(self.values))
        start, end = (intent.start, intent.end) if whole else (self.offsets[low], self.offsets[high - 1] + 1)
        return token(partition.cluster_id, partition.topic_id, partition.number, start, end, intent.v)

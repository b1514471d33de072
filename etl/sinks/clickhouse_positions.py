"""Where a partition that has just been assigned begins, ends, and is to be read on."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import msgspec

from etl.errors import TransportError
from etl.settings import Settings
from etl.sinks.clickhouse_batch import Intent, PartitionId, decode_intent, encode_intent
from etl.sinks.clickhouse_partition import Partition
from etl.sinks.losses import BEGINS_LATER, ENDS_BEFORE, declare_lost, ended_before
from etl.transports.group import Group, Place
from etl.transports.ranges import Bounds
from etl.transports.transport import transport_of

STORE = "clickhouse"
GROUP = "etl-clickhouse-positions"
"""Of the reader that compares; nothing is committed to it."""
BOUNDS_TIMEOUT_S = 30.0

_log = logging.getLogger(__name__)


class Positions:
    """What the broker says of the partitions of one member. Every method raises ``TransportError``."""

    def __init__(self, settings: Settings, group: Group) -> None:
        self._settings = settings
        self._group = group

    def resume(self, assigned: Sequence[Place]) -> Iterator[tuple[PartitionId, int, Intent | None, int]]:
        """Each partition, the offset before which all is stored, the intent to carry out from there, and under which
        leader the message before came (-1 = not known).

        Raises ``RangeLost`` if a topic has less than it had: its offsets are given out again, and a new batch could
        be taken for a stored one."""
        cluster_id = self._group.cluster_id(assigned[0].topic)
        topic_ids = self._group.topic_ids(sorted({each.topic for each in assigned}))
        for committed in self._group.committed(assigned):
            partition_id = PartitionId(
                cluster_id, committed.topic, committed.partition, topic_ids[committed.topic]
            )
            start, intent = self._start(partition_id, committed)
            epoch = committed.leader_epoch if start == committed.offset else -1
            yield partition_id, start, intent if intent is not None and not intent.empty else None, epoch

    def _start(self, partition_id: PartitionId, committed: Place) -> tuple[int, Intent | None]:
        bounds = self.bounds(partition_id)
        low = bounds.low
        intent = decode_intent(committed.metadata, committed.offset) if committed.offset >= 0 else None
        if committed.offset < 0 or (intent is not None and intent.topic_id != partition_id.topic_id):
            return low, None  # nothing read yet, or a topic of the same name that is no more
        start = committed.offset
        intended = intent or Intent(topic_id=partition_id.topic_id, start=start, end=start)
        self._require_end(partition_id, intended, intended.end, committed.leader_epoch, bounds.high)
        if start < low:
            self.declare_lost(partition_id, start, low, BEGINS_LATER)
            return low, None
        return start, intent

    def low_of(self, partition: Partition, leader_epoch: int) -> int:
        """The first offset that the topic still has. Raises ``RangeLost`` if it lost what was read of it."""
        bounds = self.bounds(partition.id)
        self._require_end(partition.id, partition.settled(), partition.next_offset, leader_epoch, bounds.high)
        return bounds.low

    def _require_end(
        self, partition_id: PartitionId, intent: Intent, end: int, leader_epoch: int, high: int
    ) -> None:
        """Raises ``RangeLost`` unless the topic has what was read of it up to ``end``. What it lost is declared once:
        the commit at ``intent.start`` remembers it."""
        with transport_of(self._settings).reader(partition_id.topic, GROUP) as reader:
            known = reader.known_end(partition_id.number, end, leader_epoch, high)
        if known >= end:
            return
        if intent.cut != known:
            self.declare_lost(partition_id, known, end, ENDS_BEFORE)
            self._remember(partition_id, msgspec.structs.replace(intent, cut=known), leader_epoch)
        raise ended_before(partition_id.label, known, end)

    def _remember(self, partition_id: PartitionId, intent: Intent, leader_epoch: int) -> None:
        place = partition_id.topic, partition_id.number, intent.start
        try:
            self._group.commit_now([Place(*place, encode_intent(intent), leader_epoch)])
        except TransportError as error:
            _log.warning("%s: its lost end is declared again: %s", partition_id.label, error)

    def made_anew(self, partition_ids: Sequence[PartitionId]) -> set[str]:
        """The topics that have another id than their partitions here. Of one that cannot be described nothing is said:
        so between the old one's end and the new one."""
        try:
            topic_ids = self._group.topic_ids(sorted({each.topic for each in partition_ids}))
        except TransportError as error:
            _log.warning("%s", error)
            return set()
        found = {each.topic for each in partition_ids if topic_ids[each.topic] != each.topic_id}
        if found:
            _log.error("%s: made anew, and begun anew", ", ".join(sorted(found)))
        return found

    def bounds(self, partition_id: PartitionId) -> Bounds:
        """The first offset that the topic still has, and the one after its last."""
        return self._group.bounds(Place(partition_id.topic, partition_id.number), BOUNDS_TIMEOUT_S)

    def declare_lost(self, partition_id: PartitionId, start: int, end: int, why: str) -> None:
        """As ``losses.declare_lost``."""
        declare_lost(
            self._settings,
            STORE,
            partition_id.topic,
            partition_id.number,
            partition_id.topic_id,
            start,
            end,
            why,
        )

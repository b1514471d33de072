"""What the ClickHouse sink knows of its group: which partitions it has, how far each was read, and which intents stand.

All of it runs on the one thread that consumes: assignment, revocation and answers to commits are served from within.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from etl import crash
from etl.adapter.back_off import back_off_s
from etl.errors import TransportError
from etl.settings import Settings
from etl.sinks.clickhouse_batch import Intent, PartitionId, encode_intent
from etl.sinks.clickhouse_partition import Limits, Partition
from etl.sinks.clickhouse_positions import Positions
from etl.sinks.losses import BEGINS_LATER
from etl.sinks.readers import group_of
from etl.telemetry.sink import SinkMetrics
from etl.transports.group import Place, Run
from etl.transports.transport import transport_of

CONSUME_MESSAGES_MAX = 5_000
CONSUME_WAIT_S = 0.005
SOON_WAIT_S = 0.001
COMMIT_ANSWER_WITHIN_S = 60.0
RETRY_FIRST_S = 0.05
BACKLOG_EVERY_S = 1.0
BACKLOG_TIMEOUT_S = 1.0
TOPICS_EVERY_S = 2.0
"""How long messages of a topic made anew may be taken for the old one's; they are read again after."""

_log = logging.getLogger(__name__)


class Owner(Protocol):
    """Who writes what is read here. Called on the consuming thread."""

    def intended(self, partition: Partition) -> None:
        """The intent of the partition's batch stands on the broker."""

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """They go to other owners: what is stored of them when this returns is committed."""

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Others own them already: nothing may be committed."""


class _Held(Struct):
    """An assigned partition as the broker knows it."""

    partition: Partition
    committed: int
    """Everything before is in the store, and the broker knows."""
    leader_epoch: int = -1
    """Under which leader the last message came that was read, -1 = not known."""
    committing: Intent | None = None
    commit_again_at_s: float = 0.0
    paused: bool = False

    def at(self, offset: int, intent: Intent | None = None) -> Place:
        topic, number = self.partition.id.topic, self.partition.id.number
        if intent is None:
            return Place(topic, number, offset)
        return Place(topic, number, offset, encode_intent(intent), self.leader_epoch)


class Offsets:
    """One member of the sink's consumer group."""

    def __init__(self, settings: Settings, metrics: SinkMetrics, owner: Owner) -> None:
        self._settings = settings
        self._metrics = metrics
        self._owner = owner
        self._topics = (settings.topics.normalized, settings.topics.quarantine)
        self._limits = Limits(
            settings.sink.batch_rows_max, settings.sink.batch_bytes_max, settings.sink.linger_ms / 1000
        )
        self._held: dict[tuple[str, int], _Held] = {}
        self._backlog_at_s = self._topics_at_s = 0.0
        self._commit_failures = 0
        self._group = transport_of(settings).group(group_of(settings), self)
        self._positions = Positions(settings, self._group)

    @property
    def partitions(self) -> list[Partition]:
        return [held.partition for held in self._held.values()]

    def subscribe(self) -> None:
        self._group.subscribe(self._topics)

    def close(self) -> None:
        self._group.close()

    def give_up(self) -> None:
        """Leave without a word: nothing that is under way will be committed."""
        self.lost([held.at(held.partition.start) for held in self._held.values()])
        self.close()

    def declare_lost(self, partition_id: PartitionId, start: int, end: int, why: str) -> None:
        """As ``losses.declare_lost``."""
        self._positions.declare_lost(partition_id, start, end, why)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

    def consume(self, inserting: bool) -> None:
        """Buffer what has come, and stop reading where a buffer is full. Raises ``TransportError``, ``RangeLost``.
        ``inserting``: an insert is under way."""
        # short, for an acknowledged intent is served from within, and its insert waits for it; as the next intent does
        # for an insert that has ended
        soon = inserting or any(held.committing is not None for held in self._held.values())
        wait_s = SOON_WAIT_S if soon else CONSUME_WAIT_S
        self._buffer(self._group.consume(CONSUME_MESSAGES_MAX, wait_s), time.monotonic())
        for held in self._held.values():
            partition = held.partition
            if partition.full and not held.paused:
                self._group.pause(held.at(partition.next_offset))
                held.paused = True
            elif held.paused and partition.roomy:
                self._group.resume(held.at(partition.next_offset))
                held.paused = False

    def _buffer(self, runs: Iterator[Run], now_s: float) -> None:
        for run in runs:
            held = self._held.get((run.topic, run.partition))
            if held is None:
                continue  # revoked between fetch and here
            partition = held.partition
            for offset, value in run.messages:
                if offset != partition.next_offset:
                    if offset < partition.next_offset:
                        continue  # fetched twice around a pause
                    self._check_hole(held, offset)
                partition.buffer(offset, value or b"", now_s)
            if run.messages[-1][0] + 1 == partition.next_offset:
                held.leader_epoch = run.leader_epoch

    def _check_hole(self, held: _Held, offset: int) -> None:
        """Offsets may be skipped (transaction markers), but not because retention has overtaken us."""
        if (low := self._positions.low_of(held.partition, held.leader_epoch)) > held.partition.next_offset:
            self._pass_over(held.partition, min(low, offset))

    def _pass_over(self, partition: Partition, low: int) -> None:
        """Retention has overtaken us."""
        self._positions.declare_lost(partition.id, partition.next_offset, low, BEGINS_LATER)
        partition.pass_over(low)

    def look_at_topics(self, now_s: float) -> None:
        """A topic that was made anew under its name is begun anew: its offsets mean other messages."""
        if now_s - self._topics_at_s >= TOPICS_EVERY_S:
            self._topics_at_s = now_s
            self._begun_anew()

    def _begun_anew(self) -> bool:
        """Whether a topic has another id than what is held of it, which is begun anew then."""
        topics = self._positions.made_anew([held.partition.id for held in self._held.values()])
        former = [held.at(held.partition.start) for (topic, _), held in self._held.items() if topic in topics]
        if not former:
            return False
        self._owner.lost([held.partition for held in self._drop(former)])
        self._group.end(former)
        self.assigned(former)
        return True

    def report_backlog(self, now_s: float) -> None:
        if now_s - self._backlog_at_s < BACKLOG_EVERY_S:
            return
        self._backlog_at_s = now_s
        for held in self._held.values():
            partition = held.partition
            try:
                # what is paused fetches nothing, and so learns of nothing new
                place = held.at(partition.start)
                bounds = self._group.bounds(place, BACKLOG_TIMEOUT_S, cached=not held.paused)
            except TransportError as error:
                _log.warning("%s", error)
                return
            self._metrics.set_backlog(partition.id.label, max(bounds.high - partition.start, 0))

    # ── intents ──────────────────────────────────────────────────────────────────────────────────────────────

    def committing(self, partition: Partition, now_s: float) -> bool:
        """Is an intent of this partition on its way? One that had no answer in time is sent again."""
        held = self._held[_key(partition.id)]
        if held.committing is None:
            return False
        if now_s >= held.commit_again_at_s:
            self._commit(held, held.committing)
        return True

    def unsettled(self, partition: Partition) -> bool:
        """Is more in the store than the broker knows?"""
        return self._held[_key(partition.id)].committed < partition.start

    def commit(self, partition: Partition, intent: Intent) -> None:
        """ "Everything before its start is stored, and this is next": until it stands or the partition goes."""
        self._commit(self._held[_key(partition.id)], intent)

    def _commit(self, held: _Held, intent: Intent) -> None:
        """Ask the broker; its answer comes to ``answered``."""
        if held.committed < held.partition.start:
            crash.reach(crash.BEFORE_COMMIT)
        held.committing, held.commit_again_at_s = intent, time.monotonic() + COMMIT_ANSWER_WITHIN_S
        try:
            self._group.commit(held.at(intent.start, intent))
        except TransportError as error:
            self._commit_failed(held, str(error))

    def _commit_failed(self, held: _Held, failure: str) -> None:
        """Whatever became of it: the same again, until it stands or the partition goes."""
        _log.warning("%s: commit: %s", held.partition.id.label, failure)
        wait_s = back_off_s(self._commit_failures, RETRY_FIRST_S, self._settings.sink.retry_wait_max_s)
        held.commit_again_at_s = time.monotonic() + wait_s
        self._commit_failures += 1

    def settle(self) -> None:
        """Commit the end of what is stored, of all partitions, and wait for it."""
        self._settle(self._held.values())

    def settle_one(self, partition: Partition) -> None:
        """The same of one partition. One that was revoked is settled with those that went with it."""
        self._settle(held for held in self._held.values() if held.partition is partition)

    def _settle(self, going: Iterable[_Held]) -> None:
        ends = [
            held.at(held.partition.start, held.partition.settled())
            for held in going
            if held.committed < held.partition.start
        ]
        if not ends:
            return
        try:
            self._group.commit_now(ends)
        except TransportError as error:
            # the intents stand: the next owner sends these batches again, and the server drops them
            _log.warning("commit at the end: %s", error)

    # ── as a member of the group ─────────────────────────────────────────────────────────────────────────────

    def assigned(self, places: Sequence[Place]) -> None:
        starts = []
        for partition_id, start, found, epoch in self._positions.resume(places):
            held = _Held(Partition(partition_id, start, found, self._limits), start, epoch)
            self._held[_key(partition_id)] = held
            starts.append(held.at(start))
            _log.info("%s: from %d%s", partition_id.label, start, ", with an intent" * bool(found))
        self._group.begin(starts)

    def revoked(self, places: Sequence[Place]) -> None:
        going = self._drop(places)
        try:
            self._owner.revoked([held.partition for held in going])
        finally:
            self._settle(going)

    def lost(self, places: Sequence[Place]) -> None:
        self._owner.lost([held.partition for held in self._drop(places)])

    def gone(self, topic: str, partition: int) -> None:
        held = self._held.get((topic, partition))
        if held is None or self._begun_anew():
            return
        if (low := self._positions.low_of(held.partition, held.leader_epoch)) > held.partition.next_offset:
            self._pass_over(held.partition, low)
        self._group.begin_again(held.at(held.partition.next_offset))

    def answered(self, place: Place, failure: str) -> None:
        held = self._held.get((place.topic, place.partition))
        intent = held.committing if held is not None else None
        if held is None or intent is None or place.metadata != encode_intent(intent):
            return  # of a time before the partition went and came back
        if failure:
            self._commit_failed(held, failure)
            return
        self._commit_failures = 0
        held.committing, held.committed = None, intent.start
        if not intent.empty:
            self._owner.intended(held.partition)

    def _drop(self, dropped: Sequence[Place]) -> list[_Held]:
        found = [self._held.pop((each.topic, each.partition), None) for each in dropped]
        going = [held for held in found if held is not None]
        for held in going:
            self._metrics.set_backlog(held.partition.id.label, 0)
        return going


def _key(partition_id: PartitionId) -> tuple[str, int]:
    return partition_id.topic, partition_id.number

"""The ClickHouse sink: topics to tables, exactly once, message bytes forwarded as they are.

Per partition (contract, section 5):

    committed offset = start, metadata = the intent [start, end)     one commit: "before start done, this is next"
    INSERT of exactly [start, end), with a token made of its bounds  repeated with the same bytes until known done
    committed offset = end, metadata = the next intent

After a crash the next owner finds the intent, reads the same offsets and sends the same batch with the same token:
the server drops what it has. Nothing is inserted before its intent is committed, and a batch never changes after.

Of a partition one batch at a time is under way:

    buffered ─ due ─▶ committing its intent ─ acknowledged ─▶ inserting, on a thread of its own ─▶ stored

The main thread alone touches the consumer (its calls exclude one another, and consuming would starve a commit from
another thread); it reads ahead while inserts run.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from msgspec import Struct

from etl import crash
from etl.errors import RangeLost, StoreError, StoreRejected, StoreUnavailable, TransportError
from etl.settings import Settings
from etl.sinks import refusals
from etl.sinks.clickhouse_batch import (
    MARKET_DATA_SCHEMA,
    QUARANTINED_SCHEMA,
    Intent,
    decode_intent,
    delimited,
    encode_intent,
    split_frequent,
    token,
)
from etl.sinks.clickhouse_check import all_stored
from etl.sinks.losses import BEGINS_LATER, declare_lost
from etl.stores.clickhouse_http import Address, ClickHouse, insert_path, parse_address
from etl.telemetry.sink import SinkMetrics
from etl.transports.kafka import consumer_config
from etl.wire.columns import Refused

CONSUME_MESSAGES_MAX = 5_000
CONSUME_WAIT_S = 0.005
COMMIT_WAIT_S = 0.001
COMMIT_ANSWER_WITHIN_S = 60.0
KAFKA_TIMEOUT_S = 30.0
REBALANCE_WITHIN_MS = 60_000
"""How long the group waits for a member that does not join again, 5 minutes by default: one that was killed while it
was joining is not noticed before. Longer than anything here keeps us from the consumer."""
SETTLE_AFTER_S = 0.2
"""An idle partition commits its end after so long; a busy one does so with its next intent."""
RETRY_FIRST_S = 0.05
BACKLOG_EVERY_S = 1.0
BACKLOG_TIMEOUT_S = 1.0
STORE = "clickhouse"
BUFFERED_BATCHES_MAX = 2
"""Read ahead of the one under way, per partition, in batches of the greatest size."""

INSERT_SETTINGS = {
    "async_insert": "0",
    "deduplicate_blocks_in_dependent_materialized_views": "1",
    "format_schema_source": "string",
    "input_format_max_block_size_bytes": "0",
    "input_format_parallel_parsing": "0",
    "max_insert_block_size_bytes": "0",
    "max_partitions_per_insert_block": "0",
    "min_insert_block_size_bytes": "0",
    "min_insert_block_size_rows": "0",
    "optimize_on_insert": "0",
}
"""One insert is one block, answered when it is stored. Together with the token it is stored once or not at all.

Rows of one identity are left to the merges and to the views, which collapse them anyway: to do it in each insert
too costs a sixth of it."""

_log = logging.getLogger(__name__)


class Landing(Struct, frozen=True):
    """Where the messages of a topic go, and what they are."""

    table: str
    message: str
    schema: str


MARKET_DATA = Landing("market_data", "MarketData", MARKET_DATA_SCHEMA)
FREQUENT = Landing("frequent_market_data", "MarketData", MARKET_DATA_SCHEMA)
"""Takes trades, quotes and books only, at less cost."""
QUARANTINED = Landing("quarantined", "Quarantined", QUARANTINED_SCHEMA)


class Batch(Struct):
    """[intent.start, intent.end) of one partition; ``offsets`` and ``values`` are parallel."""

    intent: Intent
    offsets: list[int]
    values: list[bytes]
    intended: bool = False
    """Its intent stands on the broker: found there, or committed."""


class Abandoned(Exception):
    """The partition is no longer ours, or the sink stops: another owner will send this batch."""


class Partition:
    """What the sink knows of one assigned partition. Threads that insert see ``abandoned`` and their batch alone."""

    def __init__(self, topic: str, number: int, topic_id: str) -> None:
        self.topic = topic
        self.number = number
        self.topic_id = topic_id
        self.committed = 0
        """Everything before is in the store, and the broker knows."""
        self.start = 0
        """Everything before is in the store."""
        self.next_offset = 0
        """Everything before is in the store, under way, or in the buffer."""
        self.found: Intent | None = None
        """The intent of whoever had the partition before, not yet carried out."""
        self.offsets: list[int] = []
        self.values: list[bytes] = []
        self.bytes = 0
        self.oldest_s = 0.0
        self.paused = False
        self.batch: Batch | None = None
        self.committing: Intent | None = None
        self.commit_again_at_s = 0.0
        self.inserting: Future[None] | None = None
        self.idle_since_s = 0.0
        self.abandoned = threading.Event()

    def begin_at(self, offset: int, found: Intent | None) -> None:
        self.committed = self.start = self.next_offset = offset
        self.found = found

    @property
    def label(self) -> str:
        return f"{self.topic}-{self.number}"

    def at(self, offset: int, intent: Intent | None = None) -> TopicPartition:
        if intent is None:
            return TopicPartition(self.topic, self.number, offset)
        return TopicPartition(self.topic, self.number, offset, metadata=encode_intent(intent))

    def buffer(self, offset: int, value: bytes, now_s: float) -> None:
        if not self.offsets:
            self.oldest_s = now_s
        self.offsets.append(offset)
        self.values.append(value)
        self.bytes += len(value)
        self.next_offset = offset + 1

    def take(self, rows: int, now_s: float) -> tuple[list[int], list[bytes]]:
        """The first ``rows`` messages of the buffer."""
        offsets, values = self.offsets[:rows], self.values[:rows]
        del self.offsets[:rows], self.values[:rows]
        self.bytes -= sum(map(len, values))
        self.oldest_s = now_s
        return offsets, values


class ClickHouseSink:
    """Consumes until ``run`` is told to stop. One object, one consumer of the group."""

    def __init__(self, settings: Settings, metrics: SinkMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._address: Address = parse_address(settings.clickhouse_address)
        self._landings = {settings.normalized_topic: MARKET_DATA, settings.quarantine_topic: QUARANTINED}
        self._partitions: dict[tuple[str, int], Partition] = {}
        self._executor = ThreadPoolExecutor(settings.sink_inserts_parallel_max, "insert")
        self._clients = threading.local()
        self._stopping = threading.Event()
        self._cluster_id = ""
        self._backlog_at_s = 0.0
        self._commit_wait_s = RETRY_FIRST_S
        self._admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap, "log_level": 0})
        self._consumer = Consumer(
            {
                **consumer_config(settings, group_of(settings)),
                # an offset that is gone is an error, never a silent jump
                "auto.offset.reset": "error",
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": settings.sink_session_timeout_ms,
                "heartbeat.interval.ms": settings.sink_session_timeout_ms // 3,
                "max.poll.interval.ms": REBALANCE_WITHIN_MS,
                "fetch.wait.max.ms": 50,
                "reconnect.backoff.max.ms": 1_000,
                "on_commit": self._on_commit,
                **({"group.instance.id": settings.sink_instance} if settings.sink_instance else {}),
                "queued.max.messages.kbytes": settings.sink_batch_bytes_max >> 10,
            },
            logger=_log,
        )

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``: then what is under way is finished and committed. Raises ``EtlError`` for what an operator
        must see to: a lost range, a table that is missing, a store that refuses everything."""
        self._await_store(stop)
        self._consumer.subscribe(
            list(self._landings), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        try:
            while not stop.is_set():
                now_s = time.monotonic()
                for partition in list(self._partitions.values()):
                    self._advance(partition, now_s)
                self._consume()
                self._report_backlog(now_s)
            self._finish(list(self._partitions.values()), self._settings.sink_revoke_wait_s)
        finally:
            self._stopping.set()
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._consumer.close()

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────

    def _advance(self, partition: Partition, now_s: float) -> None:
        """Take over what is done, and start what is due."""
        if partition.inserting is not None:
            if not partition.inserting.done():
                return
            self._take_over(partition, now_s)
        if partition.committing is not None:
            if now_s >= partition.commit_again_at_s:
                self._commit(partition, partition.committing)
            return
        rows = self._rows_due(partition, now_s)
        if rows:
            offsets, values = partition.take(rows, now_s)
            partition.batch = self._batch(partition, offsets, values)
            if partition.batch.intended:
                self._begin_insert(partition, partition.batch)
            else:
                self._commit(partition, partition.batch.intent)
        elif (
            partition.committed < partition.start
            and not partition.offsets
            and now_s - partition.idle_since_s > SETTLE_AFTER_S
        ):
            self._commit(partition, settled(partition))

    def _take_over(self, partition: Partition, now_s: float) -> None:
        """The outcome of an insert that has ended. Raises what it raised, save ``Abandoned``."""
        inserting, batch = partition.inserting, partition.batch
        partition.inserting = partition.batch = None
        assert inserting is not None
        assert batch is not None
        try:
            inserting.result()
        except Abandoned:
            return
        partition.start = batch.intent.end
        partition.idle_since_s = now_s
        self._metrics.rows.inc(len(batch.values))

    def _rows_due(self, partition: Partition, now_s: float) -> int:
        """How many messages the next batch takes, 0 = not yet."""
        if not partition.offsets:
            return 0
        settings, found = self._settings, partition.found
        if found is not None:
            if partition.offsets[-1] < found.end - 1:
                return 0
            return sum(offset < found.end for offset in partition.offsets)
        full = (
            len(partition.offsets) >= settings.sink_batch_rows_max
            or partition.bytes >= settings.sink_batch_bytes_max
        )
        if not full and now_s - partition.oldest_s < settings.sink_linger_ms / 1000:
            return 0
        return _rows_within(partition.values, settings.sink_batch_rows_max, settings.sink_batch_bytes_max)

    def _batch(self, partition: Partition, offsets: list[int], values: list[bytes]) -> Batch:
        found, partition.found = partition.found, None
        if found is not None and found.rows != len(values):
            self._declare_lost(
                partition, found.start, found.end, f"{found.rows} messages became {len(values)}"
            )
            found = None
        if found is None:
            intent = Intent(
                topic_id=partition.topic_id,
                start=partition.start,
                end=offsets[-1] + 1,
                rows=len(values),
                time_s=time.time(),
            )
            return Batch(intent, offsets, values)
        return Batch(found, offsets, values, intended=True)

    def _consume(self) -> None:
        # short, for an acknowledged intent is served from within, and its insert waits for it
        committing = any(partition.committing is not None for partition in self._partitions.values())
        wait_s = COMMIT_WAIT_S if committing else CONSUME_WAIT_S
        self._buffer(self._consumer.consume(CONSUME_MESSAGES_MAX, wait_s), time.monotonic())
        rows_max = BUFFERED_BATCHES_MAX * self._settings.sink_batch_rows_max
        bytes_max = BUFFERED_BATCHES_MAX * self._settings.sink_batch_bytes_max
        for partition in self._partitions.values():
            full = len(partition.offsets) >= rows_max or partition.bytes >= bytes_max
            if full and not partition.paused:
                self._consumer.pause([partition.at(partition.next_offset)])
                partition.paused = True
            elif (
                partition.paused and partition.bytes * 2 < bytes_max and len(partition.offsets) * 2 < rows_max
            ):
                # what the client had fetched beyond our buffer is given up: read on from where the buffer ends
                self._consumer.seek(partition.at(partition.next_offset))
                self._consumer.resume([partition.at(partition.next_offset)])
                partition.paused = False

    def _buffer(self, messages: Sequence[Any], now_s: float) -> None:
        partitions = self._partitions
        for message in messages:
            error = message.error()
            if error is not None:
                self._on_message_error(message, error)
                continue
            partition = partitions.get((message.topic(), message.partition()))
            offset = message.offset()
            if partition is None or offset < partition.next_offset:
                continue  # revoked between fetch and here, or fetched twice around a pause
            if offset > partition.next_offset:
                self._check_hole(partition, offset)
            partition.buffer(offset, message.value() or b"", now_s)

    def _on_message_error(self, message: Any, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            partition = self._partitions.get((message.topic(), message.partition()))
            if partition is not None:
                low, _ = self._watermarks(partition)
                self._pass_over(partition, low)
                # after this error the client refuses to seek
                self._consumer.incremental_unassign([partition.at(low)])
                self._consumer.incremental_assign([partition.at(low)])
                return
        if error.fatal():
            raise TransportError(f"Kafka: {error.str()}")
        _log.warning("Kafka: %s", error.str())

    def _check_hole(self, partition: Partition, offset: int) -> None:
        """Offsets may be skipped (transaction markers), but not because retention has overtaken us."""
        low, _ = self._watermarks(partition)
        if low > partition.next_offset:
            self._pass_over(partition, min(low, offset))

    def _pass_over(self, partition: Partition, low: int) -> None:
        """Retention has overtaken us: what we were to read next is gone, up to ``low``. An intent that was found
        cannot be carried out with its bounds any more; what is left of it goes by identity."""
        self._declare_lost(partition, partition.next_offset, low, BEGINS_LATER)
        partition.found = None
        partition.next_offset = low

    def _report_backlog(self, now_s: float) -> None:
        if now_s - self._backlog_at_s < BACKLOG_EVERY_S:
            return
        self._backlog_at_s = now_s
        for partition in self._partitions.values():
            try:
                # what is paused fetches nothing, and so learns of nothing new
                _, high = self._consumer.get_watermark_offsets(
                    partition.at(partition.start), timeout=BACKLOG_TIMEOUT_S, cached=not partition.paused
                )
            except KafkaException as error:
                _log.warning("%s: watermarks: %s", partition.label, error.args[0].str())
                return
            self._metrics.set_backlog(partition.label, max(high - partition.start, 0))

    # ── intents ──────────────────────────────────────────────────────────────────────────────────────────────

    def _commit(self, partition: Partition, intent: Intent) -> None:
        """Ask the broker; its answer comes to ``_on_commit``."""
        if partition.committed < partition.start:
            crash.reach(self._settings, crash.BEFORE_COMMIT)
        partition.committing, partition.commit_again_at_s = intent, time.monotonic() + COMMIT_ANSWER_WITHIN_S
        try:
            self._consumer.commit(offsets=[partition.at(intent.start, intent)], asynchronous=True)
        except KafkaException as error:
            self._commit_failed(partition, error.args[0])

    def _on_commit(self, error: KafkaError | None, committed: list[TopicPartition]) -> None:
        for each in committed:
            partition = self._partitions.get((each.topic, each.partition))
            intent = partition.committing if partition is not None else None
            if partition is None or intent is None or each.metadata != encode_intent(intent):
                continue  # of a time before the partition went and came back
            failure = each.error or error
            if failure is not None:
                self._commit_failed(partition, failure)
                continue
            self._commit_wait_s = RETRY_FIRST_S
            partition.committing, partition.committed = None, intent.start
            if partition.batch is not None:
                self._begin_insert(partition, partition.batch)

    def _commit_failed(self, partition: Partition, error: KafkaError) -> None:
        """Whatever became of it: the same again, until it stands or the partition goes."""
        _log.warning("%s: commit: %s", partition.label, error.str())
        partition.commit_again_at_s = time.monotonic() + self._commit_wait_s
        self._commit_wait_s = min(2 * self._commit_wait_s, self._settings.sink_retry_wait_max_s)

    # ── one batch, on a thread of its own ────────────────────────────────────────────────────────────────────

    def _begin_insert(self, partition: Partition, batch: Batch) -> None:
        partition.inserting = self._executor.submit(self._write, partition, batch)

    def _write(self, partition: Partition, batch: Batch) -> None:
        """The intent stands. Raises ``Abandoned``, ``StoreError``, ``TransportError``."""
        crash.reach(self._settings, crash.AFTER_INTENT)
        if self._stored_before(partition, batch):
            return
        self._insert(partition, batch, 0, len(batch.values), refused=[])
        crash.reach(self._settings, crash.AFTER_INSERT)

    def _insert(self, partition: Partition, batch: Batch, low: int, high: int, refused: list[str]) -> None:
        """Messages [low, high) of the batch; a part that is refused for its data is halved down to the one message.
        Halves are always the same, so that their tokens are."""
        try:
            self._insert_until_known(partition, batch, low, high)
        except StoreRejected as error:
            if high - low > 1:
                middle = (low + high) // 2
                self._insert(partition, batch, low, middle, refused)
                self._insert(partition, batch, middle, high, refused)
                return
            refused.append(str(error))
            if len(refused) > self._settings.sink_rejected_max:
                raise StoreError(
                    f"{partition.label}: more than {self._settings.sink_rejected_max} messages of one batch refused,"
                    f" the last with: {error}"
                ) from None
            self._quarantine(partition, batch.offsets[low], batch.values[low], str(error))

    def _insert_until_known(self, partition: Partition, batch: Batch, low: int, high: int) -> None:
        """The same bytes and the same token until the server says yes or no."""
        intent = batch.intent
        whole = (low, high) == (0, len(batch.values))
        start, end = (
            (intent.start, intent.end) if whole else (batch.offsets[low], batch.offsets[high - 1] + 1)
        )
        name = token(self._cluster_id, partition.topic_id, partition.number, start, end, intent.v)
        for landing, values in self._by_landing(partition.topic, batch.values[low:high]):
            path = batch_path(landing, name, self._settings.sink_batch_rows_max)
            self._send_until_known(partition, path, delimited(values))

    def _by_landing(self, topic: str, values: Sequence[bytes]) -> Iterator[tuple[Landing, Sequence[bytes]]]:
        """The same messages go the same ways each time."""
        if self._landings[topic] is not MARKET_DATA:
            yield self._landings[topic], values
            return
        frequent, others = split_frequent(values)
        if others:
            yield MARKET_DATA, others
        if frequent:
            yield FREQUENT, frequent

    def _send_until_known(self, partition: Partition, path: str, body: bytes) -> None:
        wait_s = RETRY_FIRST_S
        while True:
            if partition.abandoned.is_set() or self._stopping.is_set():
                raise Abandoned
            try:
                with self._metrics.write_s.time():
                    self._client().insert(path, body)
                self._metrics.store_up.set(1)
                return
            except StoreUnavailable as error:
                self._metrics.store_up.set(0)
                self._metrics.retries.inc()
                _log.warning("%s: %s; again in %.2g s", partition.label, error, wait_s)
            wait_s = self._wait(partition, wait_s)

    def _wait(self, partition: Partition, wait_s: float) -> float:
        """Wait, unless the partition goes; the next wait."""
        partition.abandoned.wait(wait_s)
        return min(2 * wait_s, self._settings.sink_retry_wait_max_s)

    def _stored_before(self, partition: Partition, batch: Batch) -> bool:
        """For an intent so old that its token may be forgotten: is every record of it in the tables?"""
        age_s = time.time() - batch.intent.time_s
        if age_s <= self._settings.sink_intent_age_max_s:
            return False
        if partition.topic != self._settings.normalized_topic:
            return False
        stored = all_stored(self._client(), batch.values)
        _log.warning(
            "%s: intent of %.0f s ago, %s", partition.label, age_s, "stored" if stored else "not stored"
        )
        return stored

    def _quarantine(self, partition: Partition, offset: int, value: bytes, reason: str) -> None:
        """The message goes to the quarantine topic; returns when the broker has it."""
        _log.error("%s@%d: %s", partition.label, offset, reason)
        place = f"{partition.topic_id}/{partition.number}"
        refusals.quarantine(self._settings, [(Refused(offset, reason), value)], STORE, place)
        self._metrics.rejected.inc()

    def _client(self) -> ClickHouse:
        """A connection per thread."""
        client: ClickHouse | None = getattr(self._clients, "client", None)
        if client is None:
            client = self._clients.client = ClickHouse(
                self._address, sent=lambda: crash.reach(self._settings, crash.IN_INSERT)
            )
        return client

    # ── assignment ───────────────────────────────────────────────────────────────────────────────────────────

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        if not assigned:
            return
        topic_ids = self._describe(sorted({each.topic for each in assigned}))
        starts = []
        for committed in self._committed(assigned):
            if committed.error is not None:
                raise TransportError(f"Kafka: offset of {committed.topic}: {committed.error.str()}")
            partition = self._resume(committed, topic_ids[committed.topic])
            self._partitions[partition.topic, partition.number] = partition
            starts.append(partition.at(partition.start))
            _log.info(
                "%s: from %d%s",
                partition.label,
                partition.start,
                ", with an intent" * bool(partition.found),
            )
        consumer.incremental_assign(starts)

    def _committed(self, assigned: list[TopicPartition]) -> list[TopicPartition]:
        """A coordinator that just moved, or starts, is waited out. Raises ``TransportError``."""
        deadline_s = time.monotonic() + KAFKA_TIMEOUT_S
        while True:
            try:
                return self._consumer.committed(assigned, timeout=KAFKA_TIMEOUT_S)
            except KafkaException as error:
                if time.monotonic() > deadline_s:
                    raise TransportError(f"Kafka: offsets of the group: {error.args[0].str()}") from None
            time.sleep(RETRY_FIRST_S)

    def _resume(self, committed: TopicPartition, topic_id: str) -> Partition:
        """Where to read on. Raises ``RangeLost`` if the topic has less than it had: its offsets are given out again,
        and a new batch could be taken for a stored one."""
        partition = Partition(committed.topic, committed.partition, topic_id)
        low, high = self._watermarks(partition)
        intent = decode_intent(committed.metadata, committed.offset) if committed.offset >= 0 else None
        if committed.offset < 0 or (intent is not None and intent.topic_id != topic_id):
            start, intent = low, None  # nothing read yet, or a topic of the same name that is no more
        else:
            start = committed.offset
            end = start if intent is None else intent.end
            if end > high:
                self._declare_lost(partition, high, end, "the topic ends before it")
                raise RangeLost(
                    f"{partition.label}: the topic ends at {high} and had {end}; a gap is declared. Its offsets will be"
                    " given out again: make the topic anew before more is stored"
                )
            if start < low:
                self._declare_lost(partition, start, low, BEGINS_LATER)
                start, intent = low, None
        partition.begin_at(start, intent if intent is not None and not intent.empty else None)
        return partition

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        self._finish(self._drop(revoked), self._settings.sink_revoke_wait_s)

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        """Others own them already: nothing may be committed."""
        for partition in self._drop(lost):
            partition.abandoned.set()

    def _drop(self, dropped: Sequence[TopicPartition]) -> list[Partition]:
        found = [self._partitions.pop((each.topic, each.partition), None) for each in dropped]
        partitions = [partition for partition in found if partition is not None]
        for partition in partitions:
            self._metrics.set_backlog(partition.label, 0)
        return partitions

    def _finish(self, partitions: Sequence[Partition], within_s: float) -> None:
        """Let the inserts under way end and commit them; what takes longer is left to the next owner."""
        wait([partition.inserting for partition in partitions if partition.inserting], timeout=within_s)
        ends = []
        for partition in partitions:
            partition.abandoned.set()
            if partition.inserting is not None and partition.inserting.done():
                self._take_over(partition, time.monotonic())
            if partition.inserting is None and partition.committed < partition.start:
                ends.append(partition.at(partition.start, settled(partition)))
        if not ends:
            return
        try:
            self._consumer.commit(offsets=ends, asynchronous=False)
        except KafkaException as error:
            # the intents stand: the next owner sends these batches again, and the server drops them
            _log.warning("commit at the end: %s", error.args[0].str())

    # ── Kafka and the store ──────────────────────────────────────────────────────────────────────────────────

    def _describe(self, topics: list[str]) -> dict[str, str]:
        """The id of each topic; the cluster's own is kept. Raises ``TransportError``."""
        try:
            cluster = self._admin.describe_cluster(request_timeout=KAFKA_TIMEOUT_S).result(KAFKA_TIMEOUT_S)
            described = self._admin.describe_topics(TopicCollection(topics), request_timeout=KAFKA_TIMEOUT_S)
            self._cluster_id = str(cluster.cluster_id)
            return {topic: str(described[topic].result(KAFKA_TIMEOUT_S).topic_id) for topic in topics}
        except (KafkaException, TimeoutError) as error:
            raise TransportError(f"Kafka at {self._settings.kafka_bootstrap}: {error}") from None

    def _watermarks(self, partition: Partition) -> tuple[int, int]:
        try:
            low, high = self._consumer.get_watermark_offsets(
                partition.at(0), timeout=KAFKA_TIMEOUT_S, cached=False
            )
            return low, high
        except KafkaException as error:
            raise TransportError(f"Kafka: watermarks of {partition.label}: {error}") from None

    def _declare_lost(self, partition: Partition, start: int, end: int, why: str) -> None:
        declare_lost(
            self._settings, STORE, partition.topic, partition.number, partition.topic_id, start, end, why
        )

    def _await_store(self, stop: threading.Event) -> None:
        """Nothing is consumed before the store answers. Raises ``StoreError`` if it is too old."""
        wait_s = RETRY_FIRST_S
        client = ClickHouse(self._address)
        while not stop.is_set():
            try:
                client.check_version()
                break
            except StoreUnavailable as error:
                self._metrics.store_up.set(0)
                _log.warning("%s; again in %.2g s", error, wait_s)
            stop.wait(wait_s)
            wait_s = min(2 * wait_s, self._settings.sink_retry_wait_max_s)
        self._metrics.store_up.set(1)
        client.close()


def batch_path(landing: Landing, deduplication_token: str, rows_max: int) -> str:
    """Where to POST a batch of at most ``rows_max`` messages so that it is stored as one block, once."""
    return insert_path(
        f"INSERT INTO {landing.table} FORMAT Protobuf",
        {
            **INSERT_SETTINGS,
            "format_schema": landing.schema,
            "format_schema_message_name": landing.message,
            "max_insert_block_size": str(2 * rows_max),
            "insert_deduplication_token": deduplication_token,
        },
    )


def settled(partition: Partition) -> Intent:
    """Nothing is intended: everything before ``start`` is stored."""
    return Intent(topic_id=partition.topic_id, start=partition.start, end=partition.start)


def group_of(settings: Settings) -> str:
    """A database has a consumer group of its own: another one starts from the beginning."""
    return settings.sink_group or f"etl-clickhouse-{parse_address(settings.clickhouse_address).database}"


def _rows_within(values: Sequence[bytes], rows_max: int, bytes_max: int) -> int:
    """How many of the first values fit, at least one."""
    rows, size = 0, 0
    for value in values[:rows_max]:
        size += len(value)
        if rows and size > bytes_max:
            break
        rows += 1
    return rows

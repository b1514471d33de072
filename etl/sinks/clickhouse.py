"""The ClickHouse sink: topics to tables, exactly once, message bytes forwarded as they are.

Per partition (contract, section 5):

    committed offset = start, metadata = the intent [start, end)     one commit: "before start done, this is next"
    INSERT of exactly [start, end), with a token made of its bounds  repeated with the same bytes until known done
    committed offset = end, metadata = the next intent

After a crash the next owner finds the intent, reads the same offsets and sends the same batch with the same token:
the server drops what it has. Nothing is inserted before its intent is committed, and a batch never changes after.

Of a partition one batch at a time is under way:

    buffered ─ due ─▶ committing its intent ─ acknowledged ─▶ inserting, on a thread of its own ─▶ stored

Here is the loop. ``clickhouse_partition`` cuts batches, ``clickhouse_offsets`` knows the group, ``clickhouse_writer``
knows ClickHouse, and ``clickhouse_batch`` says what makes a batch the same batch again.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait

from etl.errors import MembershipLost
from etl.settings import Settings
from etl.sinks.clickhouse_batch import Batch
from etl.sinks.clickhouse_offsets import Offsets
from etl.sinks.clickhouse_partition import Partition
from etl.sinks.clickhouse_writer import Abandoned, TooManyRefused, Writer
from etl.telemetry.sink import SinkMetrics

SETTLE_AFTER_S = 0.2
"""An idle partition commits its end after so long; a busy one does so with its next intent."""
JOINS_AGAIN_AFTER_S = 60.0
"""After a standstill of the broker or of ours, the broker may take our own joining again for another's and shut us out:
then we join anew. Shut out again within so long, another process does have our name."""

_log = logging.getLogger(__name__)


class ClickHouseSink:
    """Consumes until ``run`` is told to stop. One object, one consumer of the group; the main thread consumes and
    reads ahead while inserts run."""

    def __init__(self, settings: Settings, metrics: SinkMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._writer = Writer(settings, metrics)
        self._offsets = Offsets(settings, metrics, self)
        self._inserting: dict[Partition, Future[None]] = {}
        self._joined_again_at_s = -math.inf

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``: then what is under way is finished and committed. Raises ``EtlError`` for what an operator
        must see to: a lost range, a table that is missing, a store that refuses everything, a name that two have."""
        self._writer.await_store(stop)
        self._offsets.subscribe()
        try:
            while not stop.is_set():
                try:
                    self._go_on(time.monotonic())
                except MembershipLost as error:
                    self._join_again(error)
            self.revoked(self._offsets.partitions)
            self._offsets.settle()
        finally:
            self._writer.close()
            self._offsets.close()

    def _go_on(self, now_s: float) -> None:
        for partition in self._offsets.partitions:
            self._advance(partition, now_s)
        self._offsets.consume(bool(self._inserting))
        self._offsets.report_backlog(now_s)
        self._offsets.look_at_topics(now_s)

    def _join_again(self, error: MembershipLost) -> None:
        now_s = time.monotonic()
        if now_s - self._joined_again_at_s < JOINS_AGAIN_AFTER_S:
            raise error
        self._joined_again_at_s = now_s
        _log.warning("%s: joining anew", error)
        self._offsets.give_up()
        self._offsets = Offsets(self._settings, self._metrics, self)
        self._offsets.subscribe()

    def _advance(self, partition: Partition, now_s: float) -> None:
        """Take over what is done, and start what is due."""
        if partition in self._inserting:
            if not self._inserting[partition].done():
                return
            self._take_over(partition, now_s)
        if self._offsets.committing(partition, now_s):
            return
        rows = partition.rows_due(now_s)
        if rows:
            batch = self._cut(partition, rows, now_s)
            if batch.intended:
                self._begin(partition, batch)
            else:
                self._offsets.commit(partition, batch.intent)
        elif (
            partition.empty
            and now_s - partition.stored_at_s > SETTLE_AFTER_S
            and self._offsets.unsettled(partition)
        ):
            self._offsets.commit(partition, partition.settled())

    def _cut(self, partition: Partition, rows: int, now_s: float) -> Batch:
        found = partition.found
        if found is not None and found.rows != rows:
            why = f"{found.rows} messages became {rows}"
            self._offsets.declare_lost(partition.id, found.start, found.end, why)
            partition.found = None
        return partition.cut(rows, now_s, time.time(), self._writer.way_of)

    def _begin(self, partition: Partition, batch: Batch) -> None:
        self._inserting[partition] = self._writer.begin(batch)

    def _take_over(self, partition: Partition, now_s: float) -> None:
        """The outcome of an insert that has ended. Raises what it raised, save ``Abandoned``."""
        batch = partition.batch
        assert batch is not None
        too_many: TooManyRefused | None = None
        try:
            self._inserting.pop(partition).result()
        except Abandoned:
            return
        except TooManyRefused as error:
            too_many = error
        partition.stored(now_s)
        self._metrics.rows.inc(len(batch.values))
        if too_many is not None:
            self._offsets.settle_one(partition)  # the next start goes on behind it
            raise too_many

    # ── as the owner of what the offsets read ──────────────────────────────────────────────────────────

    def intended(self, partition: Partition) -> None:
        """Its insert may begin."""
        if partition.batch is not None and not partition.batch.abandoned.is_set():
            self._begin(partition, partition.batch)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Let the inserts under way end; what takes longer is left to the next owner."""
        running = [self._inserting[partition] for partition in partitions if partition in self._inserting]
        wait(running, timeout=self._settings.sink.revoke_wait_s)
        for partition in partitions:
            if partition in self._inserting and self._inserting[partition].done():
                self._take_over(partition, time.monotonic())
        self.lost(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        """Whatever is under way is given up."""
        for partition in partitions:
            self._inserting.pop(partition, None)
            if partition.batch is not None:
                partition.batch.abandoned.set()

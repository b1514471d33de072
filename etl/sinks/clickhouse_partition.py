"""One partition as a sink holds it: what was read and is not stored yet, and the batches that it is cut into. Pure.

… stored ─ start ─ batch under way ─ buffered ─ next_offset ─ still on the topic …
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from etl.sinks.clickhouse_batch import Batch, Intent, PartitionId

BUFFERED_BATCHES_MAX = 2
"""Read ahead of the batch under way, in batches of the greatest size."""


class Limits(Struct, frozen=True):
    """Of one batch: it is due when it is full, or when its oldest message has waited ``linger_s``."""

    rows_max: int
    bytes_max: int
    linger_s: float


class Partition:
    """Reads come in by ``buffer``, batches go out by ``cut``, one at a time; ``stored`` says that it is done.

    ``start``: everything before is in the store. ``found``: the intent of whoever had the partition before, to be
    carried out with its own bounds. Times ``now_s`` are of one monotonic clock.
    """

    def __init__(self, partition_id: PartitionId, start: int, found: Intent | None, limits: Limits) -> None:
        self.id = partition_id
        self.start = self.next_offset = start
        self.found = found
        self.batch: Batch | None = None
        """Cut and not stored yet."""
        self.stored_at_s = 0.0
        """When the last batch was."""
        self._limits = limits
        self._offsets: list[int] = []
        self._values: list[bytes] = []
        self._bytes = 0
        self._oldest_s = 0.0

    @property
    def empty(self) -> bool:
        """Nothing waits in the buffer."""
        return not self._offsets

    @property
    def full(self) -> bool:
        """Reading must wait. Not before all of an intent that was found is read: batches may have been larger then."""
        wanted = self.found is not None and self.next_offset < self.found.end
        return not wanted and self._holds(BUFFERED_BATCHES_MAX)

    @property
    def roomy(self) -> bool:
        """Reading may go on: half of what makes it ``full``, so that it does not flutter."""
        return not self._holds(BUFFERED_BATCHES_MAX / 2)

    def _holds(self, batches: float) -> bool:
        limits = self._limits
        return len(self._offsets) >= batches * limits.rows_max or self._bytes >= batches * limits.bytes_max

    def buffer(self, offset: int, value: bytes, now_s: float) -> None:
        if not self._offsets:
            self._oldest_s = now_s
        self._offsets.append(offset)
        self._values.append(value)
        self._bytes += len(value)
        self.next_offset = offset + 1

    def pass_over(self, offset: int) -> None:
        """What was to be read next is gone, up to ``offset``. An intent that was found cannot be carried out with its
        bounds any more; what is left of it goes by identity."""
        self.found = None
        self.next_offset = offset

    def rows_due(self, now_s: float) -> int:
        """How many messages the next batch takes, 0 = not yet."""
        if self.batch is not None or not self._offsets:
            return 0
        if self.found is not None:
            end = self.found.end
            return sum(offset < end for offset in self._offsets) if self.next_offset >= end else 0
        full = self._holds(1)
        if not full and now_s - self._oldest_s < self._limits.linger_s:
            return 0
        return self._rows_within()

    def _rows_within(self) -> int:
        """How many of the first values fit a batch, at least one."""
        rows = size = 0
        for value in self._values[: self._limits.rows_max]:
            size += len(value)
            if rows and size > self._limits.bytes_max:
                break
            rows += 1
        return rows

    def cut(self, rows: int, now_s: float, time_s: float, way_of: Callable[[Sequence[bytes]], int]) -> Batch:
        """The first ``rows`` messages as the batch under way: with the intent that was found, or with one of its own,
        intended at ``time_s`` (Unix time) to go the way that ``way_of`` its messages says."""
        found, self.found = self.found, None
        offsets, values = self._offsets[:rows], self._values[:rows]
        del self._offsets[:rows], self._values[:rows]
        self._bytes -= sum(map(len, values))
        self._oldest_s = now_s
        intent = found or Intent(
            topic_id=self.id.topic_id,
            start=self.start,
            end=offsets[-1] + 1,
            rows=rows,
            time_s=time_s,
            v=way_of(values),
        )
        self.batch = Batch(self.id, intent, offsets, values, intended=found is not None)
        return self.batch

    def stored(self, now_s: float) -> None:
        """The batch under way is in the store."""
        assert self.batch is not None
        self.start = self.batch.intent.end
        self.stored_at_s = now_s
        self.batch = None

    def settled(self) -> Intent:
        """Nothing is intended: everything before ``start`` is stored."""
        return Intent(topic_id=self.id.topic_id, start=self.start, end=self.start)

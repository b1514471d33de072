"""``etl sink lake``: the export as a service. What is to be exported waits on the topic, not in memory: the service
looks how much that is, and exports it when it is much or old enough.

    look ─ due ─▶ export (etl/sinks/export.py), in rounds of ``lake_range_messages_max``  ─▶ look …
    SIGTERM      ─▶ the last export, up to what the topic holds then

It plans and commits as every export does, so that it may be killed anywhere, and run beside the DAG: of two that export
at once the second changes nothing and looks again.
"""

from __future__ import annotations

import logging
import threading
import time

from msgspec import Struct

from etl.errors import RangeLost, StoreUnavailable, TransportError
from etl.lake.log import Conflict
from etl.lake.upload import upload
from etl.settings import Settings
from etl.settings.sections import Export
from etl.sinks.export import Exported, export
from etl.sinks.readers import EXPORT
from etl.telemetry.sink import SinkMetrics
from etl.transports.ranges import Bounds, RangeReader
from etl.transports.transport import transport_of

SAMPLE_MESSAGES = 100
"""Of the newest of each partition, by whose mean size the bytes that wait are told."""
CONFLICTS_MAX = 50
"""Of one export in a row: another one is never under way for so many looks."""

log = logging.getLogger(__name__)


class Waiting(Struct, frozen=True):
    """What the topic holds that came since the last export began, and how long ago that was."""

    messages: int
    bytes: int
    since_s: float


def reason(waiting: Waiting, limits: Export) -> str:
    """Why ``waiting`` is to be exported now; "" = it is not."""
    if waiting.messages >= limits.flush_messages_max:
        return "messages"
    if waiting.bytes >= limits.flush_bytes_max:
        return "bytes"
    return "time" if waiting.messages and waiting.since_s >= limits.flush_after_s else ""


class LakeSink:
    def __init__(self, settings: Settings, metrics: SinkMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._seen: dict[int, int] = {}
        self._began_s = 0.0

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``; what the topic holds then is exported at last. Raises ``EtlError`` for what an operator must
        see to, and, once stopped, for a lake or a broker that is out of reach."""
        while not stop.is_set():
            if self._export(stop):
                self._look_until_due(stop)
        self._export(stop)

    def _export(self, stop: threading.Event) -> bool:
        """False where the lake or the broker is out of reach, or an export runs that is not ours."""
        for _ in range(CONFLICTS_MAX):
            try:
                with transport_of(self._settings).reader(self._settings.topics.normalized, EXPORT) as reader:
                    self._seen = {partition: bound.high for partition, bound in reader.bounds().items()}
                self._began_s = time.monotonic()
                with self._metrics.write_s.time():
                    done = export(self._settings)
            except Conflict as error:
                log.info("%s; again in %s s", error, self._settings.export.look_s)
                stop.wait(self._settings.export.look_s)
                continue
            except (StoreUnavailable, TransportError) as error:
                self._metrics.store_up.set(0)
                if stop.is_set():
                    raise
                log.warning("%s; again in %s s", error, self._settings.sink.retry_wait_max_s)
                stop.wait(self._settings.sink.retry_wait_max_s)
                return False
            self._told(done)
            self._upload()
            return True
        raise TransportError(f"lake: {CONFLICTS_MAX} exports found another under way")

    def _upload(self) -> None:
        """What the bucket cannot be told now it is told after the next export: it lies here till then."""
        if not self._settings.lake.upload_url:
            return
        try:
            sent = upload(self._settings, time.time_ns())
        except (StoreUnavailable, Conflict) as error:
            log.warning("%s; again after the next export", error)
        else:
            log.info("uploaded %s files of %s bytes", sent.files, sent.bytes)

    def _told(self, done: Exported) -> None:
        self._metrics.store_up.set(1)
        self._metrics.rows.inc(done.messages)
        self._metrics.rejected.inc(done.refused)
        if done.messages:
            log.info("exported %s messages, %s files of %s bytes", done.messages, done.files, done.bytes)

    def _look_until_due(self, stop: threading.Event) -> None:
        try:
            with transport_of(self._settings).reader(self._settings.topics.normalized, EXPORT) as reader:
                while not stop.wait(self._settings.export.look_s):
                    waiting = self._waiting(reader)
                    if why := reason(waiting, self._settings.export):
                        log.info("%s messages wait: %s", waiting.messages, why)
                        return
        except TransportError as error:  # the export will find it so, and wait
            log.warning("%s", error)

    def _waiting(self, reader: RangeReader) -> Waiting:
        bounds = reader.bounds()
        messages = 0
        for partition, bound in bounds.items():
            backlog = max(0, bound.high - self._seen.get(partition, 0))
            self._metrics.set_backlog(str(partition), backlog)
            messages += backlog
        size = messages * _mean_bytes(reader, bounds) if messages else 0
        return Waiting(messages, int(size), time.monotonic() - self._began_s)


def _mean_bytes(reader: RangeReader, bounds: dict[int, Bounds]) -> float:
    """Of a message, by the newest."""
    sizes: list[int] = []
    for partition, bound in bounds.items():
        start = max(bound.low, bound.high - SAMPLE_MESSAGES)
        try:
            for messages in reader.read(partition, start, bound.high, SAMPLE_MESSAGES):
                sizes += [len(message.value or b"") for message in messages]
        except RangeLost:  # while it was read: the export tells
            continue
    return sum(sizes) / len(sizes) if sizes else 0.0

"""Batches into ClickHouse: the same bytes under the same token until the server says yes or no.

One insert is one block, so together with its token it is stored once or not at all. A batch is an insert for each table
that it goes to, ready blocks at once beside each other. What the server refuses for its data is halved down to the one
message, which goes to the quarantine.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from etl import crash
from etl.adapter.back_off import back_off_s
from etl.errors import StoreError, StoreRejected, StoreUnavailable
from etl.settings import Settings
from etl.sinks import refusals
from etl.sinks.clickhouse_batch import BY_BLOCKS, BY_LANDING, Batch
from etl.sinks.clickhouse_check import not_stored
from etl.sinks.clickhouse_ways import STORED_TABLES, Part, block_parts, is_worth_blocks, landing_parts
from etl.stores.clickhouse_http import ClickHouse, SchemaUnreadable, connect
from etl.stores.migrate import require_migration
from etl.telemetry.sink import SinkMetrics
from etl.wire.columns import Refused

if TYPE_CHECKING:
    from etl.express.blocks import BlockMaker

STORE = "clickhouse"
RETRY_FIRST_S = 0.05
SCHEMA_COPIES_MAX = 16
"""Every insert under way may find the same one unreadable, and count one on."""
MIGRATION_NEEDED = 33
"""Nothing is written before: a landing table without its views keeps nothing, and says nothing."""

_log = logging.getLogger(__name__)


class Abandoned(Exception):
    """The partition is no longer ours, or the sink stops: another owner will send this batch."""


class TooManyRefused(StoreError):
    """More of a batch than ``rejected_max``. The batch is done: the rest is stored, what was refused is quarantined."""


class Writer:
    """Inserts run on threads of its own, each with a connection of its own. ``close`` ends them."""

    def __init__(self, settings: Settings, metrics: SinkMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._make_blocks, state = _block_maker(settings.ingest.express)
        _log.info("ready blocks: %s", state)
        inserts_max = settings.sink.inserts_parallel_max
        self._executor = ThreadPoolExecutor(inserts_max, "insert")
        self._beside = ThreadPoolExecutor(inserts_max * (len(STORED_TABLES) - 1), "insert-beside")
        self._clients = threading.local()
        self._opened: list[ClickHouse] = []
        self._stopping = threading.Event()
        self._schema_copy = 0

    def await_store(self, stop: threading.Event) -> None:
        """Until the store answers, or ``stop``. Raises ``StoreError`` if it is too old, or not migrated."""
        failures = 0
        with connect(self._settings) as client:
            while not stop.is_set():
                wait_s = self._back_off_s(failures)
                try:
                    client.check_version()
                    require_migration(client, MIGRATION_NEEDED)
                    break
                except StoreUnavailable as error:
                    self._metrics.store_up.set(0)
                    _log.warning("%s; again in %.2g s", error, wait_s)
                stop.wait(wait_s)
                failures += 1
        self._metrics.store_up.set(1)

    def begin(self, batch: Batch) -> Future[None]:
        """Write ``batch``, whose intent stands. The future raises ``Abandoned``, ``StoreError``, ``TransportError``."""
        return self._executor.submit(self._write, batch)

    def close(self) -> None:
        """What is not done by now is left to the next owner: a store that hangs holds up no end."""
        self._stopping.set()
        for client in self._opened:
            client.hang_up()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._beside.shutdown(wait=True, cancel_futures=True)
        for client in self._opened:
            client.close()

    def _write(self, batch: Batch) -> None:
        crash.reach(crash.AFTER_INTENT)
        left = self._not_stored(batch) if self._token_unknown(batch) else batch
        refused = self._insert(left) if left.values else {}
        if batch.intended or left.is_doubtful:
            self._complete(left, refused)
        self._quarantine(left, refused)
        crash.reach(crash.AFTER_INSERT)
        if len(refused) > self._settings.sink.rejected_max:
            raise TooManyRefused(
                f"{batch.partition.label}: {len(refused)} of {len(batch.values)} messages were refused and are"
                f" quarantined, the others are stored. {self._remedy(next(iter(refused.values())))}"
            )

    @property
    def version(self) -> int:
        """The newest way that a batch can go here."""
        return BY_LANDING if self._make_blocks is None else BY_BLOCKS

    def way_of(self, values: Sequence[bytes]) -> int:
        """The way that a new batch of these messages goes."""
        return BY_BLOCKS if self._make_blocks is not None and is_worth_blocks(values) else BY_LANDING

    def _token_unknown(self, batch: Batch) -> bool:
        """May it be stored under a token that the server does not know any more, or that we do not use?"""
        # across processes, hence by the wall clock, which may have been set back since
        age_s = time.time() - batch.intent.time_s
        return not 0 <= age_s <= self._settings.sink.intent_age_max_s or not (
            BY_LANDING <= batch.intent.v <= self.version
        )

    def _not_stored(self, batch: Batch) -> Batch:
        """What is left to store. Of one table all rows are stored or none, for they were one block: so the rest has
        the same rows for each table, or none, each time that it is sent."""
        quarantined = batch.partition.topic == self._settings.topics.quarantine
        indices = not_stored(self._client(), batch.values, quarantined=quarantined)
        _log.warning(
            "%s: an intent of version %d and %.0f s ago: %d of its %d messages are not stored",
            batch.partition.label,
            batch.intent.v,
            time.time() - batch.intent.time_s,
            len(indices),
            len(batch.values),
        )
        return batch.only(indices)

    def _complete(self, batch: Batch, refused: Collection[int]) -> None:
        """Of a batch that was perhaps sent to a server that died: it writes a token down before the rows (26.9), and a
        kill in between leaves one that drops rows which are not there. They go under others, until all are."""
        quarantined = batch.partition.topic == self._settings.topics.quarantine
        left = batch.only([index for index in range(len(batch.values)) if index not in refused])
        for number in itertools.count(1):
            left = left.only(not_stored(self._client(), left.values, quarantined=quarantined))
            if not left.values:
                return
            _log.warning(
                "%s: %d rows of a known token are not there", batch.partition.label, len(left.values)
            )
            self._send(left, f"{batch.token(0, len(batch.values))}/{number}")

    def _insert(self, batch: Batch) -> dict[int, str]:
        """Store ``batch``; the messages that are refused for their data, by their number, with the reason. A part that
        is refused is halved down to the one message. Halves are always the same, so that their tokens are.

        Raises ``StoreError``, with nothing quarantined, if more than ``rejected_max`` are refused and nothing else of
        the batch is taken: then it may be the store, and the topic is not emptied into the quarantine.
        """
        rejected_max = self._settings.sink.rejected_max
        refused: dict[int, str] = {}
        parts = [(0, len(batch.values))]
        is_any_stored, from_end = False, False
        while parts:
            low, high = parts.pop()
            reason = self._refusal(batch, low, high)
            if reason is None:
                is_any_stored = True
            elif high - low > 1:
                middle = (low + high) // 2
                halves = [(middle, high), (low, middle)]
                parts += reversed(halves) if from_end else halves
            else:
                refused[low] = reason
                if not is_any_stored and not from_end and len(refused) > rejected_max:
                    parts.reverse()  # what is behind them may be good
                    from_end = True
                elif not is_any_stored and len(refused) > 2 * rejected_max:
                    break
        if not is_any_stored and len(refused) > rejected_max:
            reason = next(iter(refused.values()))
            raise StoreError(
                f"{batch.partition.label}: more than {rejected_max} messages of one batch refused, and none"
                f" taken; nothing is quarantined. {self._remedy(reason)}"
            )
        return refused

    def _remedy(self, reason: str) -> str:
        return (
            "If it is the data and not the store, raise ETL_SINK_REJECTED_MAX and start the sink again;"
            f" `etl quarantine list` shows what is there. One was refused with: {reason}"
        )

    def _refusal(self, batch: Batch, low: int, high: int) -> str | None:
        """Why messages [low, high) are refused for their data; ``None`` if they are stored."""
        try:
            self._send(batch, batch.token(low, high), low, high)
        except StoreRejected as error:
            return str(error)
        return None

    def _send(self, batch: Batch, token: str, low: int = 0, high: int | None = None) -> None:
        """Messages [low, high) under ``token``, one block to a table. What the store may refuse goes first: of what is
        refused nothing else is stored yet."""
        rows_max = max(self._settings.sink.batch_rows_max, len(batch.values))
        quarantined = batch.partition.topic == self._settings.topics.quarantine
        values: Sequence[bytes] = batch.values[low:high]
        blocks: Sequence[Part] = ()
        if self._make_blocks is not None and batch.intent.v >= BY_BLOCKS and not quarantined:
            blocks, values = block_parts(values, self._make_blocks)
        landed = list(landing_parts(values, quarantined=quarantined)) if values else []
        for number, part in enumerate(landed, 1):
            self._send_until_known(batch, part, token, rows_max)
            if number < len(landed) or blocks:
                crash.reach(crash.BETWEEN_INSERTS)
        if blocks:
            self._send_beside(batch, blocks, token, rows_max)

    def _send_beside(self, batch: Batch, parts: Sequence[Part], token: str, rows_max: int) -> None:
        """All at once, the first of them on this thread. Returns, or raises, when none is under way any more."""

        def send(part: Part) -> None:
            self._send_until_known(batch, part, token, rows_max)
            if len(parts) > 1:
                crash.reach(crash.BETWEEN_INSERTS)

        others = [self._beside.submit(send, part) for part in parts[1:]]
        try:
            send(parts[0])
        finally:
            wait(others)
        for other in others:
            other.result()

    def _send_until_known(self, batch: Batch, part: Part, token: str, rows_max: int) -> None:
        for failures in itertools.count():
            wait_s = self._back_off_s(failures)
            if batch.abandoned.is_set() or self._stopping.is_set():
                raise Abandoned
            try:
                with self._metrics.write_s.time():
                    self._client().insert(part.path(token, rows_max, self._schema_copy), part.body)
                self._metrics.store_up.set(1)
                return
            except SchemaUnreadable as error:
                self._take_next_schema_copy(error)
                continue
            except StoreUnavailable as error:
                batch.is_doubtful = True
                self._metrics.store_up.set(0)
                self._metrics.retries.inc()
                _log.warning("%s: %s; again in %.2g s", batch.partition.label, error, wait_s)
            batch.abandoned.wait(wait_s)

    def _take_next_schema_copy(self, error: SchemaUnreadable) -> None:
        """Raises ``error`` after too many: then it is the schema that is wrong."""
        if self._schema_copy >= SCHEMA_COPIES_MAX:
            raise error
        self._schema_copy += 1
        _log.warning("%s; with another copy of the schema", error)

    def _back_off_s(self, failures: int) -> float:
        return back_off_s(failures, RETRY_FIRST_S, self._settings.sink.retry_wait_max_s)

    def _quarantine(self, batch: Batch, refused: Mapping[int, str]) -> None:
        """All that was refused of a batch goes to the quarantine topic at once; returns when the broker has it."""
        if not refused:
            return
        partition = batch.partition
        items = []
        for number, reason in sorted(refused.items()):
            _log.error("%s@%d: %s", partition.label, batch.offsets[number], reason)
            items.append((Refused(batch.offsets[number], reason), batch.values[number]))
        refusals.quarantine(self._settings, items, STORE, f"{partition.topic_id}/{partition.number}")
        self._metrics.rejected.inc(len(items))

    def _client(self) -> ClickHouse:
        """A connection per thread."""
        client: ClickHouse | None = getattr(self._clients, "client", None)
        if client is None:
            client = self._clients.client = connect(
                self._settings, sent=lambda: crash.reach(crash.IN_INSERT), internal=True
            )
            self._opened.append(client)
            if self._stopping.is_set():  # after the others were hung up
                client.hang_up()
        return client


def _block_maker(is_wanted: bool) -> tuple[BlockMaker | None, str]:
    """What makes ready blocks, and in a word whether anything does."""
    if not is_wanted:
        return None, "none, as set"
    try:
        from etl.express.blocks import block_maker
    except ImportError as error:
        return None, f"none, the compiled code is not built: {error}"
    return block_maker(), "compiled"

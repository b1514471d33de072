"""Bars of an archive in bulk: whole columns into the stores, beside the topics, and odd lines the way of all others.

    file ─▶ blocks ─▶ raw topic
                 └─▶ good lines ─▶ columns ─▶ every store at once
                 └─▶ odd lines ─▶ the venue's parser, check, normalized topic or quarantine

A job, its chunks, marks, coverage and holes are those of a backfill. A chunk is done when all stores and Kafka have all
of it; what a killed run wrote of one is written again, and stores hold it once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, cast

from etl.adapter.contract import Exchange, Outcome
from etl.errors import UsageError
from etl.exchanges import load as load_exchange
from etl.ingest import backfill
from etl.ingest.backfill import Backfill, Begin, Progress, Summary
from etl.ingest.backfill_coverage import ChunkCoverage
from etl.ingest.backfill_jobs import Chunk, Job
from etl.ingest.bulk_rows import BulkReader, plain_outcomes
from etl.ingest.intake import Intake
from etl.model.records import Frame
from etl.settings import Settings
from etl.sinks.bulk_bars import Bars, Writer, together, writers
from etl.sources.access import VenueAccess
from etl.sources.history import Answer
from etl.transports.publisher import Publisher

ROWS_PER_WRITE = 250_000
"""Into each store at once: about 100 MB while it is under way."""


def run(settings: Settings, job: Job, progress: Progress | None = None) -> Summary:
    """The whole job into all stores that the settings keep, as ``backfill.run``; a run for other stores has other
    marks. Raises ``EtlError``."""
    require_bulk(job)
    name = f"bulk-{'-'.join(sorted(settings.stores))}-{job.name}"
    with _into_stores(settings) as begin:
        return backfill.run(settings, job, progress, name, begin)


def fetch(settings: Settings, job: Job, name: str, progress: Progress | None = None) -> int:
    """As ``backfill.fetch``, into all stores that the settings keep. Raises ``EtlError``."""
    require_bulk(job)
    with _into_stores(settings) as begin:
        return backfill.fetch(settings, job, name, progress, begin)


@contextmanager
def _into_stores(settings: Settings) -> Iterator[Begin]:
    kept = writers(settings, settings.stores)

    def begin(settings: Settings, access: VenueAccess, publisher: Publisher) -> Backfill:
        return BulkBackfill(settings, access, publisher, kept)

    try:
        yield begin
    finally:
        for writer in kept.values():
            writer.close()


def require_bulk(job: Job) -> None:
    """Raises ``UsageError`` for what cannot be read by columns."""
    if not job.archive or job.kinds != ("bar",) or load_exchange(job.exchange).bulk_bars is None:
        raise UsageError(
            f"{job.exchange}: in bulk come bars of an archive alone, of venues that say how: "
            "etl backfill polygon --archive --bulk --kinds bar"
        )


class BulkBackfill(Backfill):
    parallel: ClassVar[int] = 2
    """While one file's rows are written, the next is read."""

    def __init__(
        self, settings: Settings, access: VenueAccess, publisher: Publisher, kept: dict[str, Writer]
    ) -> None:
        super().__init__(settings, access, publisher)
        self._writers = [(writer, asyncio.Lock()) for writer in kept.values()]
        self._waiting: dict[Intake, Columns] = {}

    def _open(self, parser: Exchange, coverage: ChunkCoverage) -> Intake:
        columns = Columns(parser, coverage)
        intake = super()._open(cast(Exchange, columns), coverage)
        self._waiting[intake] = columns
        return intake

    async def _read_archive(
        self, parser: Exchange, intake: Intake, chunk: Chunk, coverage: ChunkCoverage
    ) -> None:
        try:
            await super()._read_archive(parser, intake, chunk, coverage)
            await self._write(self._waiting[intake])
        finally:
            del self._waiting[intake]

    async def _take(self, intake: Intake, answer: Answer) -> None:
        await super()._take(intake, answer)
        if (columns := self._waiting[intake]).rows >= ROWS_PER_WRITE:
            await self._write(columns)

    async def _write(self, columns: Columns) -> None:
        if bars := columns.taken():
            await asyncio.gather(*(_write(writer, lock, bars) for writer, lock in self._writers))


async def _write(writer: Writer, lock: asyncio.Lock, bars: Bars) -> None:
    async with lock:  # a store has one connection
        await asyncio.to_thread(writer.write, bars)


class Columns:
    """A venue's parser whose good lines become columns, and no records."""

    def __init__(self, parser: Exchange, coverage: ChunkCoverage) -> None:
        layout = parser.bulk_bars
        assert layout is not None, parser.name
        self._parser = parser
        self._reader = BulkReader(parser, layout)
        self._coverage = coverage
        self._parts: list[Bars] = []
        self.rows = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        bars, odd = self._reader.read(frame)
        if bars is not None:
            self._coverage.judged_bars(bars)
            self._parts.append(bars)
            self.rows += len(bars)
        return plain_outcomes(self._parser.parse, frame, odd)

    def taken(self) -> Bars | None:
        """What came since it was last asked."""
        parts, self._parts, self.rows = self._parts, [], 0
        return together(parts) if parts else None

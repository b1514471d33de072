"""History of a venue, by request or from its archive, on the way that live frames go (``source=backfill``).

    job ─▶ chunks (symbols × kind × span) ─▶ pages ─▶ raw topic, parse, check, publish ─▶ mark ─▶ coverage

A chunk is done when Kafka has all of it; then its mark is written, and a killed run goes on behind the marks. Marks
carry what came, so that the coverage check can say what the venue leaves out; that goes into the gap ledger. When a
job's coverage has been checked its marks are removed: the same job again fetches again, and stores hold it once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
from msgspec import Struct

from etl.adapter.carried import apart
from etl.adapter.contract import Exchange, Fault, FaultKind
from etl.errors import VenueError
from etl.exchanges import load as load_exchange
from etl.ingest.backfill_coverage import ChunkCoverage, Fetched, check
from etl.ingest.backfill_jobs import Chunk, Job, archive_date, day_of, is_month, plan, shown
from etl.ingest.backfill_marks import Marks, Plan
from etl.ingest.backfill_several import coverage_of
from etl.ingest.feed import Feed
from etl.ingest.intake import Intake, open_intake
from etl.ingest.observer import Observer
from etl.model.records import Kind, Source
from etl.model.times import NS_PER_DAY
from etl.reference.instruments import with_known
from etl.sequencing.continuity import Continuity
from etl.settings import Settings
from etl.sources import archive
from etl.sources.access import VenueAccess
from etl.sources.connection_id import connection_id
from etl.sources.history import Answer
from etl.transports.publisher import Publisher
from etl.transports.transport import transport_of

PARALLEL = 4
"""Chunks at work at once; the limiter keeps their requests within the venue's budget."""
FAILED_MAX = 8
"""Chunks that may fail before the venue, and not they, is taken to be broken."""
PAGES_MAX = 100_000
FLUSH_TIMEOUT_S = 60.0

_log = logging.getLogger(__name__)

Progress = Callable[[Chunk, Fetched], None]
Begin = Callable[[Settings, VenueAccess, Publisher], "Backfill"]
"""What fetches a venue's chunks."""


class Summary(Struct, frozen=True):
    """What a job did. ``skipped`` of its chunks had been done by an earlier, killed run; ``holes`` are what the venue
    does not have."""

    chunks: int
    skipped: int
    pages: int
    rows: int
    holes: int


def run(
    settings: Settings,
    job: Job,
    progress: Progress | None = None,
    name: str = "",
    begin: Begin | None = None,
) -> Summary:
    """The whole job under ``name``, its own by default: what is not done yet, then its coverage, also where a chunk
    failed. Raises ``EtlError``; what was done stays done."""
    name = name or job.name
    announce(settings, [job], name)
    try:
        skipped = fetch(settings, job, name, progress, begin)
    except VenueError as failure:
        with contextlib.suppress(VenueError):  # it says less than the failure
            check(settings, (job,), name)
        raise failure from None
    done = check(settings, (job,), name)
    return Summary(done.chunks, skipped, done.pages, done.rows, done.holes)


def announce(settings: Settings, jobs: Sequence[Job], name: str) -> None:
    """Tell whoever watches (``backfill_marks.at_work``) what ``jobs`` of one venue are going to do under ``name``."""
    Marks(settings, name).announce(
        Plan(
            exchange=jobs[0].exchange,
            symbols=sorted({symbol for job in jobs for symbol in job.symbols}),
            kinds=jobs[0].kinds,
            start_ns=min(job.start_ns for job in jobs),
            end_ns=max(job.end_ns for job in jobs),
            chunks=sum(len(plan(job)) for job in jobs),
        )
    )


def fetch(
    settings: Settings, job: Job, name: str, progress: Progress | None = None, begin: Begin | None = None
) -> int:
    """Every chunk of ``job`` that has no mark under ``name`` yet; returns how many had one. Raises ``VenueError`` at
    the end for chunks that failed: a day that is broken at the venue keeps no other from being fetched."""
    chunks = plan(job)
    marks = Marks(settings, name)
    waiting = [chunk for chunk in chunks if marks.get(chunk.name) is None]
    if waiting:
        asyncio.run(_fetch(settings, marks, waiting, progress, begin or Backfill))
    return len(chunks) - len(waiting)


class Backfill:
    """One venue's chunks, each fetched once through its own parser. Use within one event loop, and ``access``."""

    parallel: ClassVar[int] = PARALLEL

    def __init__(self, settings: Settings, access: VenueAccess, publisher: Publisher) -> None:
        self._settings = settings
        self._access = access
        self._publisher = publisher
        continuity = Continuity(access.exchange, declares_start=False)
        self.feed = Feed(settings, access.exchange, publisher, continuity)

    async def chunk(self, chunk: Chunk) -> Fetched:
        """Fetch and publish all of ``chunk``; returns when Kafka has it. Raises ``VenueError``, ``TransportError``."""
        parser = self._access.parser()
        if chunk.archive:
            of_file = ChunkCoverage(parser, chunk)
            intake = self._open(parser, of_file)
            await self._read_archive(parser, intake, chunk, of_file)
            self._publisher.flush(FLUSH_TIMEOUT_S)
            return of_file.fetched(intake.frame_sequence)
        coverage = coverage_of(parser, chunk)
        intake = self._intake(parser, coverage)
        await self._read_pages(parser, intake, chunk)
        self._publisher.flush(FLUSH_TIMEOUT_S)
        return coverage.fetched(intake.frame_sequence)

    def _open(self, parser: Exchange, coverage: ChunkCoverage) -> Intake:
        """Of an archive."""
        return self._intake(parser, coverage)

    def _intake(self, parser: Exchange, coverage: Observer) -> Intake:
        connection = connection_id(time.time_ns())
        return open_intake(self.feed, parser, connection, "", Source.BACKFILL, observer=coverage)

    async def _read_pages(self, parser: Exchange, intake: Intake, chunk: Chunk) -> None:
        kind = Kind[chunk.kind.upper()]
        for first in parser.history_requests(kind, chunk.symbol, chunk.start_ns, chunk.end_ns):
            async for answer in self._access.history.pages(first, PAGES_MAX):
                await self._take(intake, answer)

    async def _read_archive(
        self, parser: Exchange, intake: Intake, chunk: Chunk, coverage: ChunkCoverage
    ) -> None:
        try:
            await self._read_file(parser, intake, chunk, archive_date(type(parser), chunk))
        except archive.ArchiveMissing as error:
            if not is_month(chunk) or not await self._read_days(parser, intake, chunk):
                coverage.miss(str(error))

    async def _read_days(self, parser: Exchange, intake: Intake, chunk: Chunk) -> int:
        """A month that has no file of its own; how many of its days have one. Coverage finds what the others lack."""
        found = 0
        for start_ns in range(chunk.start_ns, chunk.end_ns, NS_PER_DAY):
            with contextlib.suppress(archive.ArchiveMissing):
                await self._read_file(parser, intake, chunk, day_of(start_ns))
                found += 1
        return found

    async def _read_file(self, parser: Exchange, intake: Intake, chunk: Chunk, day: str) -> None:
        """Raises ``ArchiveMissing``."""
        url = self._access.archive_url + parser.archive_path(Kind[chunk.kind.upper()], chunk.symbol, day)
        with tempfile.TemporaryDirectory(prefix="archive-", dir=self._settings.state_path) as directory:
            file = await archive.fetch(self._access.session, url, Path(directory), parser.archive_checksum)
            for block in file.blocks(self._settings.ingest.frame_bytes_max):
                await self._take(intake, block)

    async def _take(self, intake: Intake, answer: Answer) -> None:
        """One page in the raw topic and through the parser; no faster than Kafka takes it."""
        if intake.frame_sequence >= PAGES_MAX:
            raise VenueError(f"{answer.endpoint}: more than {PAGES_MAX} pages")
        for outcome in intake.take(answer.payload, answer.receive_time_ns, answer.endpoint):
            if isinstance(outcome, Fault) and outcome.kind is not FaultKind.READY:
                raise VenueError(f"{outcome.kind.value}: {outcome.reason or outcome.code}")
        await self.feed.room(self._settings.ingest.read_pause_messages)


async def _fetch(
    settings: Settings, marks: Marks, chunks: Sequence[Chunk], progress: Progress | None, begin: Begin
) -> None:
    exchange = with_known(settings, load_exchange(chunks[0].exchange))
    publisher = transport_of(settings).publisher()
    waiting = iter(chunks)
    failed: list[VenueError] = []
    is_here = archive.is_folder(settings.venues.archive_url) and all(chunk.archive for chunk in chunks)
    async with VenueAccess.from_settings(settings, exchange, needs_key=not is_here) as access:
        backfill = begin(settings, access, publisher)

        async def work() -> None:
            for chunk in waiting:
                try:
                    fetched = await backfill.chunk(chunk)
                except VenueError as error:
                    failed.append(error)
                    _log.error("%s %s: %s", shown(apart(chunk.symbol)), chunk.name, error)
                    if len(failed) >= FAILED_MAX:
                        raise
                    continue
                marks.put(chunk.name, msgspec.json.encode(fetched))
                whose = shown(apart(chunk.symbol))
                _log.info("%s %s: %d rows, %d pages", whose, chunk.name, fetched.rows, fetched.pages)
                if progress:
                    progress(chunk, fetched)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(backfill.parallel):
                    group.create_task(work())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
    if failed:
        raise VenueError(f"{failed[0]}; {len(failed)} of {len(chunks)} chunks are not done")

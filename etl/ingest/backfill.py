"""History of a venue, by request or from its archive, on the way that live frames go (``source=backfill``).

    job ─▶ chunks (symbol × kind × span) ─▶ pages ─▶ raw topic, parse, check, publish ─▶ mark ─▶ coverage

A chunk is done when Kafka has all of it; then its mark is written, and a killed run goes on behind the marks. Marks
carry what came, so that the coverage check can say what the venue leaves out; that goes into the gap ledger. When a
job's coverage has been checked its marks are removed: the same job again fetches again, and stores hold it once.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from etl.adapter.contract import Channel, Exchange, Fault, FaultKind, Request, SequenceRule
from etl.errors import UsageError, VenueError
from etl.exchanges import load as load_exchange
from etl.ingest.backfill_marks import Marks, Plan
from etl.ingest.feed import Feed
from etl.ingest.intake import Intake, open_intake
from etl.ingest.observer import Observer
from etl.model.records import Bar, Frame, Gap, GapKind, GapState, Kind, Record, Source
from etl.reference.instruments import with_known
from etl.sequencing.continuity import Continuity
from etl.sequencing.spans import bar_length_ns
from etl.settings import Settings
from etl.sources import archive
from etl.sources.access import VenueAccess
from etl.sources.connection_id import connection_id
from etl.sources.history import Answer, History
from etl.transports.kafka import KafkaPublisher
from etl.transports.publisher import Publisher

KINDS = (Kind.TRADE, Kind.QUOTE, Kind.BAR, Kind.AGG_TRADE, Kind.BOOK)
"""What a backfill can ask for, where the venue has it. A book's history is its snapshot now."""
MINUTE_NS = 60_000_000_000
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
CHUNKS_MAX = 100_000
PARALLEL = 4
"""Chunks at work at once; the limiter keeps their requests within the venue's budget."""
PAGES_MAX = 100_000
HOLES_MAX = 1_000
"""Holes of one chunk that go into the ledger; a chunk with more is refused as broken."""
FLUSH_TIMEOUT_S = 60.0
ROOM_POLL_S = 0.005
PROBE_PAGES_MAX = 3
REQUEST_S = 0.25
"""What a request takes where the venue publishes no limit: for estimates."""
MS = 1_000_000

_log = logging.getLogger(__name__)


class Job(Struct, frozen=True, kw_only=True):
    """What is asked for: [start_ns, end_ns), ``symbols`` as the venue spells them."""

    exchange: str
    symbols: tuple[str, ...]
    kinds: tuple[str, ...]
    start_ns: int
    end_ns: int
    archive: bool = False

    @property
    def name(self) -> str:
        """Equal for equal jobs; names the directory of the marks."""
        return f"{self.exchange}-{hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]}"


class Chunk(Struct, frozen=True):
    exchange: str
    symbol: str
    kind: str
    start_ns: int
    end_ns: int
    archive: bool = False

    @property
    def name(self) -> str:
        digest = hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]
        return f"{self.kind}-{_day(self.start_ns)}-{digest}"


class Hole(Struct, frozen=True):
    """Ids that are missing (0 = the channel has none), between the times of the good ones around."""

    symbol: str
    channel: str
    from_time_ns: int
    to_time_ns: int
    from_id: int = 0
    to_id: int = 0
    reason: str = ""


class Fetched(Struct, frozen=True):
    """What a chunk gave: ``rows`` of its kind within its span. ``first`` and ``last`` are ids with their times."""

    pages: int = 0
    rows: int = 0
    symbol: str = ""
    channel: str = ""
    first: tuple[int, int] = (0, 0)
    last: tuple[int, int] = (0, 0)
    holes: tuple[Hole, ...] = ()
    trades: int = 0
    """How many trades its bars count."""


class Estimate(Struct, frozen=True):
    """Of one symbol and kind, from a sample of the venue's own pages."""

    symbol: str
    kind: str
    requests: int
    rows: int
    seconds: float


class Summary(Struct, frozen=True):
    """What a job did. ``skipped`` chunks had been done by an earlier, killed run."""

    chunks: int
    skipped: int
    pages: int
    rows: int
    holes: int


Progress = Callable[[Chunk, Fetched], None]


def make_job(
    settings: Settings,
    exchange_name: str,
    symbols: Sequence[str],
    kinds: Sequence[str],
    start_ns: int,
    end_ns: int,
    from_archive: bool = False,
) -> Job:
    """A job that the venue can do; no symbols = the venue's default ones. Unified
    symbols that the instrument list knows are taken too. Raises ``UsageError``."""
    parser = with_known(settings, load_exchange(exchange_name))()
    known_symbols = parser.instruments.by_symbol()
    wanted = tuple(dict.fromkeys(known_symbols.get(one, one) for one in symbols)) or parser.default_symbols
    if not start_ns < end_ns:
        raise UsageError("the range is empty: its end must lie after its start")
    for symbol in wanted:
        if parser.instruments_path and len(parser.instruments) and parser.instruments.get(symbol) is None:
            raise UsageError(f"{exchange_name}: no instrument {symbol}; symbols are the venue's own, BTCUSDT")
    known = [kind.name.lower() for kind in KINDS if _has_history(parser, kind, from_archive)]
    for kind in kinds:
        if kind not in known:
            where = "archive" if from_archive else "history"
            raise UsageError(f"{exchange_name}: no {where} of {kind}; there is {', '.join(known) or 'none'}")
    if not kinds:
        raise UsageError(f"name the kinds: {', '.join(known)}")
    return Job(
        exchange=exchange_name,
        symbols=wanted,
        kinds=tuple(dict.fromkeys(kinds)),
        start_ns=start_ns,
        end_ns=end_ns,
        archive=from_archive,
    )


def plan(job: Job) -> list[Chunk]:
    """The job cut at whole hours (trades and quotes by request) or days (the rest), in the order of time."""
    chunks: list[Chunk] = []
    for kind in job.kinds:
        step_ns = HOUR_NS if kind in ("trade", "quote", "agg_trade") and not job.archive else DAY_NS
        for symbol in job.symbols:
            for start_ns in range(job.start_ns - job.start_ns % step_ns, job.end_ns, step_ns):
                span = max(start_ns, job.start_ns), min(start_ns + step_ns, job.end_ns)
                chunks.append(Chunk(job.exchange, symbol, kind, *span, job.archive))
                if kind == "book":
                    break
    if len(chunks) > CHUNKS_MAX:
        raise UsageError(f"{len(chunks)} chunks in one backfill; at most {CHUNKS_MAX}: take a shorter range")
    return sorted(chunks, key=lambda chunk: chunk.start_ns)


def slices(job: Job, count_max: int) -> list[Job]:
    """``job`` by symbol and day, for workers side by side; by several days where it would be more than
    ``count_max`` jobs."""
    first = job.start_ns - job.start_ns % DAY_NS
    days = -(-(job.end_ns - first) // DAY_NS)
    step_ns = -(-days * len(job.symbols) // count_max) * DAY_NS
    return [
        msgspec.structs.replace(
            job,
            symbols=(symbol,),
            start_ns=max(start_ns, job.start_ns),
            end_ns=min(start_ns + step_ns, job.end_ns),
        )
        for symbol in job.symbols
        for start_ns in range(first, job.end_ns, step_ns)
    ]


def label(job: Job) -> str:
    """``BTCUSDT 2026-01-31``, for people."""
    return f"{', '.join(job.symbols)} {_day(job.start_ns)}"


def run(settings: Settings, job: Job, progress: Progress | None = None) -> Summary:
    """The whole job: what is not done yet, then its coverage. Raises ``EtlError``; what was done stays done."""
    announce(settings, [job], job.name)
    fetch(settings, job, job.name, progress)
    return check(settings, (job,), job.name)


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


def fetch(settings: Settings, job: Job, name: str, progress: Progress | None = None) -> int:
    """Every chunk of ``job`` that has no mark under ``name`` yet; returns how many had one."""
    chunks = plan(job)
    marks = Marks(settings, name)
    waiting = [chunk for chunk in chunks if marks.get(chunk.name) is None]
    if waiting:
        asyncio.run(_fetch(settings, marks, waiting, progress))
    return len(chunks) - len(waiting)


def check(settings: Settings, jobs: Sequence[Job], name: str) -> Summary:
    """Coverage of ``jobs``, whose chunks must all be done: holes within chunks and between them go into the gap
    ledger. Removes the marks. Raises ``VenueError`` if a chunk is not done."""
    marks, holes = Marks(settings, name), list[Hole]()
    pages = rows = count = 0
    previous: dict[tuple[str, str], Fetched] = {}
    for job in jobs:
        channel_rules = load_exchange(job.exchange)
        done = [(chunk, _done(marks, chunk)) for chunk in plan(job)]
        holes += _fewer_than_counted(channel_rules, done)
        for chunk, fetched in done:
            count, pages, rows = count + 1, pages + fetched.pages, rows + fetched.rows
            holes += fetched.holes
            before = previous.get((chunk.symbol, chunk.kind))
            if before is not None and _is_contiguous(channel_rules.channel(fetched.channel)):
                holes += _between(before, fetched)
            if fetched.rows:
                previous[chunk.symbol, chunk.kind] = fetched
    if holes:
        _publish_holes(settings, jobs[0].exchange, holes)
    marks.remove()
    return Summary(count, 0, pages, rows, len(holes))


async def estimate(settings: Settings, job: Job) -> list[Estimate]:
    """Requests, rows and time of each symbol and kind, from one sample page at the start of the range."""
    exchange = load_exchange(job.exchange)
    if job.archive:
        days = len({chunk.start_ns // DAY_NS for chunk in plan(job)})
        return [Estimate(symbol, kind, 2 * days, 0, 0.0) for symbol in job.symbols for kind in job.kinds]
    found = []
    async with VenueAccess.from_settings(settings, exchange) as access:
        for symbol in job.symbols:
            for kind in job.kinds:
                found.append(await _estimated(exchange, access.history, job, symbol, kind))
    return found


class Backfill:
    """One venue's chunks, each fetched once through its own parser. Use within one event loop, and ``access``."""

    def __init__(self, settings: Settings, access: VenueAccess, publisher: Publisher) -> None:
        self._settings = settings
        self._access = access
        self._publisher = publisher
        continuity = Continuity(access.exchange, declares_start=False)
        self.feed = Feed(settings, access.exchange, publisher, continuity)

    async def chunk(self, chunk: Chunk) -> Fetched:
        """Fetch and publish all of ``chunk``; returns when Kafka has it. Raises ``VenueError``, ``TransportError``."""
        parser = self._access.parser()
        coverage = _Coverage(parser, chunk)
        connection = connection_id(time.time_ns())
        intake = open_intake(self.feed, parser, connection, "", Source.BACKFILL, observer=coverage)
        if chunk.archive:
            try:
                await self._read_archive(parser, intake, chunk)
            except archive.ArchiveMissing as error:
                coverage.miss(str(error))
        else:
            await self._read_pages(parser, intake, chunk)
        self._publisher.flush(FLUSH_TIMEOUT_S)
        return coverage.fetched(intake.frame_sequence)

    async def _read_pages(self, parser: Exchange, intake: Intake, chunk: Chunk) -> None:
        kind = Kind[chunk.kind.upper()]
        for first in parser.history_requests(kind, chunk.symbol, chunk.start_ns, chunk.end_ns):
            async for answer in self._access.history.pages(first, PAGES_MAX):
                await self._take(intake, answer)

    async def _read_archive(self, parser: Exchange, intake: Intake, chunk: Chunk) -> None:
        path = parser.archive_path(Kind[chunk.kind.upper()], chunk.symbol, _day(chunk.start_ns))
        url = self._access.archive_url + path
        with tempfile.TemporaryDirectory(prefix="archive-", dir=self._settings.state_path) as directory:
            file = await archive.fetch(self._access.session, url, Path(directory))
            for block in file.blocks(self._settings.ingest.frame_bytes_max):
                await self._take(intake, block)

    async def _take(self, intake: Intake, answer: Answer) -> None:
        """One page in the raw topic and through the parser; no faster than Kafka takes it."""
        if intake.frame_sequence >= PAGES_MAX:
            raise VenueError(f"{answer.endpoint}: more than {PAGES_MAX} pages")
        for outcome in intake.take(answer.payload, answer.receive_time_ns, answer.endpoint):
            if isinstance(outcome, Fault) and outcome.kind is not FaultKind.READY:
                raise VenueError(f"{outcome.kind.value}: {outcome.reason or outcome.code}")
        self._publisher.poll()
        while (
            self._publisher.is_full
            or self._publisher.pending_messages > self._settings.ingest.read_pause_messages
        ):
            self._publisher.poll()
            await asyncio.sleep(ROOM_POLL_S)


class _Coverage(Observer):
    """What came of the chunk's kind within its span, and what is missing between."""

    listens = True

    def __init__(self, parser: Exchange, chunk: Chunk) -> None:
        self._chunk = chunk
        self._kind = Kind[chunk.kind.upper()]
        self._channels = type(parser)
        self._symbol = parser.instruments.symbol(chunk.symbol)
        self._channel = ""
        self._bar_ns = 0
        """The length of the channel's bars where none may be skipped."""
        self._rows = self._trades = 0
        self._first = self._last = (0, 0)
        self._holes: list[Hole] = []

    def miss(self, reason: str) -> None:
        """All of the chunk is missing at the source."""
        channel = next(
            (one.name for one in self._channels.channels if one.kind is self._kind), self._chunk.kind
        )
        span = self._chunk.start_ns, self._chunk.end_ns
        self._holes.append(Hole(self._symbol, channel, *span, reason=reason))

    def fetched(self, pages: int) -> Fetched:
        if self._bar_ns:
            end_ns = min(self._chunk.end_ns, time.time_ns())
            self._step(end_ns - end_ns % self._bar_ns)
        return Fetched(
            pages,
            self._rows,
            self._symbol,
            self._channel,
            self._first,
            self._last,
            tuple(self._holes),
            self._trades,
        )

    def judged(self, record: Record, is_good: bool) -> None:
        time_ns = record.event_time_ns or record.receive_time_ns
        is_wanted = record.kind is self._kind and record.venue_symbol == self._chunk.symbol
        if is_wanted and (self._chunk.start_ns <= time_ns < self._chunk.end_ns or self._kind is Kind.BOOK):
            self._count(record, time_ns)

    def _count(self, record: Record, time_ns: int) -> None:
        self._rows += 1
        if self._rows == 1:
            self._channel = record.channel
            declared = self._channels.channel(record.channel)
            self._bar_ns = bar_length_ns(declared, record) if declared else 0
        self._trades += record.trade_count if isinstance(record, Bar) else 0
        number = record.sequence or 0
        if self._bar_ns:
            self._step(time_ns)
        elif (
            _is_contiguous(self._channels.channel(record.channel))
            and self._last[0] < number - 1
            and self._rows > 1
        ):
            self._hole(
                Hole(self._symbol, record.channel, self._last[1], time_ns, self._last[0] + 1, number - 1)
            )
        if self._rows == 1:
            self._first = (number, time_ns)
        if time_ns >= self._last[1] and number >= self._last[0]:
            self._last = (number, time_ns)

    def _step(self, time_ns: int) -> None:
        """A bar at ``time_ns``: the one before it must lie one length back, within the chunk."""
        length_ns = self._bar_ns
        expected_ns = (
            self._last[1] + length_ns if self._last[1] else -(-self._chunk.start_ns // length_ns) * length_ns
        )
        if time_ns > expected_ns:
            before = self._last[1] or expected_ns - length_ns
            self._hole(Hole(self._symbol, self._channel, before, time_ns))

    def _hole(self, hole: Hole) -> None:
        if len(self._holes) >= HOLES_MAX:
            raise VenueError(f"{self._chunk.symbol}: more than {HOLES_MAX} holes in {self._chunk.name}")
        self._holes.append(hole)


async def _fetch(
    settings: Settings, marks: Marks, chunks: Sequence[Chunk], progress: Progress | None
) -> None:
    exchange = with_known(settings, load_exchange(chunks[0].exchange))
    publisher = KafkaPublisher(settings)
    waiting = iter(chunks)
    async with VenueAccess.from_settings(settings, exchange) as access:
        backfill = Backfill(settings, access, publisher)

        async def work() -> None:
            for chunk in waiting:
                fetched = await backfill.chunk(chunk)
                marks.put(chunk.name, msgspec.json.encode(fetched))
                _log.info("%s %s: %d rows, %d pages", chunk.symbol, chunk.name, fetched.rows, fetched.pages)
                if progress:
                    progress(chunk, fetched)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(PARALLEL):
                    group.create_task(work())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None


async def _estimated(
    exchange: type[Exchange], history: History, job: Job, symbol: str, kind_name: str
) -> Estimate:
    """By the rows a second of the first full page."""
    parser, kind = exchange(), Kind[kind_name.upper()]
    request: Request | None = next(
        iter(parser.history_requests(kind, symbol, job.start_ns, job.end_ns)), None
    )
    times: list[int] = []
    weight = 1
    for number in range(PROBE_PAGES_MAX):
        if request is None or times:
            break
        answer = await history.fetch(request)
        frame = Frame(
            exchange.name, "estimate", number + 1, answer.endpoint, answer.receive_time_ns, answer.payload
        )
        outcomes = parser.parse(frame)
        times = [one.event_time_ns for one in outcomes if isinstance(one, Record) and one.kind is kind]
        weight, request = request.weight, parser.next_request(request, frame)
    page_rows = len(times)
    if request is None or not page_rows:
        rows = (
            sum(job.start_ns <= time_ns < job.end_ns for time_ns in times)
            if kind is not Kind.BOOK
            else page_rows
        )
        requests = 1
    else:
        covered_ns = max(1, max(times) - min(times))
        rows = int(page_rows * (job.end_ns - job.start_ns) / covered_ns)
        requests = -(-rows // page_rows)
    waits_s = [requests * weight * budget.per_s / budget.weight for budget in exchange.budgets]
    seconds = max(waits_s, default=requests * REQUEST_S)
    return Estimate(symbol, kind_name, requests, rows, round(seconds, 1))


def _publish_holes(settings: Settings, exchange_name: str, holes: Sequence[Hole]) -> None:
    exchange = with_known(settings, load_exchange(exchange_name))
    publisher = KafkaPublisher(settings)
    feed = Feed(settings, exchange, publisher)
    connection, now_ns = connection_id(time.time_ns()), time.time_ns()
    instruments = exchange().instruments
    for number, hole in enumerate(holes, 1):
        by_id = bool(hole.from_id)
        span = (hole.from_id, hole.to_id) if by_id else (hole.from_time_ns, hole.to_time_ns)
        gap = Gap(
            exchange=exchange_name,
            symbol=hole.symbol,
            venue_symbol=instruments.venue_symbol(hole.symbol),
            channel=hole.channel,
            event_time_ns=hole.from_time_ns,
            receive_time_ns=now_ns,
            source=Source.BACKFILL,
            connection_id=connection,
            frame_sequence=number,
            frame_index=0,
            record_key=f"{hole.channel}/{span[0]}-{span[1]}",
            key_time_ns=hole.from_time_ns - hole.from_time_ns % MS,
            parser_version=exchange.parser_version,
            gap_kind=GapKind.SOURCE_HOLE,
            gap_state=GapState.SOURCE_HOLE,
            from_sequence=hole.from_id if by_id else None,
            to_sequence=hole.to_id if by_id else None,
            from_time_ns=hole.from_time_ns,
            to_time_ns=hole.to_time_ns,
            reason=hole.reason or "the venue's history leaves it out",
            detected_time_ns=now_ns,
        )
        feed.publish_gaps([gap])
    publisher.flush(FLUSH_TIMEOUT_S)


def _between(before: Fetched, after: Fetched) -> Iterator[Hole]:
    """The ids that neither of two neighbouring chunks has."""
    if after.rows and before.last[0] and after.first[0] > before.last[0] + 1:
        ids = before.last[0] + 1, after.first[0] - 1
        yield Hole(after.symbol, after.channel, before.last[1], after.first[1], *ids)


def _fewer_than_counted(exchange: type[Exchange], done: Sequence[tuple[Chunk, Fetched]]) -> Iterator[Hole]:
    """Days whose bars count more trades than the history gave, where no id shows what is missing. Bars leave out the
    trades of some conditions, so more trades than they count are no sign of anything."""
    trades = next((one for one in exchange.channels if one.kind is Kind.TRADE), None)
    if trades is None or _is_contiguous(trades):
        return
    given: Counter[tuple[str, int]] = Counter()
    for chunk, fetched in done:
        if chunk.kind == "trade":
            given[chunk.symbol, chunk.start_ns // DAY_NS] += fetched.rows
    for chunk, fetched in done:
        rows = given.get((chunk.symbol, chunk.start_ns // DAY_NS))
        is_whole = not (chunk.start_ns % MINUTE_NS or chunk.end_ns % MINUTE_NS)
        if chunk.kind == "bar" and is_whole and rows is not None and rows < fetched.trades:
            reason = f"the venue's bars count {fetched.trades} trades, its history gave {rows}"
            yield Hole(fetched.symbol, trades.name, chunk.start_ns, chunk.end_ns, reason=reason)


def _is_contiguous(channel: Channel | None) -> bool:
    return channel is not None and channel.rule is SequenceRule.CONTIGUOUS


def _has_history(parser: Exchange, kind: Kind, from_archive: bool) -> bool:
    return kind in (parser.archive_kinds if from_archive else parser.history)


def _done(marks: Marks, chunk: Chunk) -> Fetched:
    mark = marks.get(chunk.name)
    if mark is None:
        raise VenueError(f"{chunk.symbol} {chunk.name} is not done: run the backfill again")
    return msgspec.json.decode(mark, type=Fetched)


def _day(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d")

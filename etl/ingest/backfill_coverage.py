"""What a backfill brought, and what the venue itself does not have: that goes into the gap ledger."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from etl.adapter.contract import Channel, Exchange, SequenceRule
from etl.errors import VenueError
from etl.exchanges import load as load_exchange
from etl.ingest.backfill_jobs import Chunk, Job, plan
from etl.ingest.backfill_marks import Marks
from etl.ingest.feed import Feed
from etl.ingest.observer import Observer
from etl.model.records import Bar, Gap, GapKind, GapState, Kind, Record, Source
from etl.model.times import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS
from etl.reference.instruments import with_known
from etl.sequencing.spans import bar_length_ns
from etl.settings import Settings
from etl.sources.connection_id import connection_id
from etl.transports.kafka import KafkaPublisher

HOLES_MAX = 1_000
"""Holes of one chunk that go into the ledger; a chunk with more is refused as broken."""
FLUSH_TIMEOUT_S = 60.0


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


class Coverage(Struct, frozen=True):
    """What jobs brought: ``holes`` are what the venue does not have."""

    chunks: int
    pages: int
    rows: int
    holes: int


class ChunkCoverage(Observer):
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


def check(settings: Settings, jobs: Sequence[Job], name: str) -> Coverage:
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
    return Coverage(count, pages, rows, len(holes))


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
            key_time_ns=hole.from_time_ns - hole.from_time_ns % NS_PER_MS,
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
            given[chunk.symbol, chunk.start_ns // NS_PER_DAY] += fetched.rows
    for chunk, fetched in done:
        rows = given.get((chunk.symbol, chunk.start_ns // NS_PER_DAY))
        is_whole = not (chunk.start_ns % NS_PER_MINUTE or chunk.end_ns % NS_PER_MINUTE)
        if chunk.kind == "bar" and is_whole and rows is not None and rows < fetched.trades:
            reason = f"the venue's bars count {fetched.trades} trades, its history gave {rows}"
            yield Hole(fetched.symbol, trades.name, chunk.start_ns, chunk.end_ns, reason=reason)


def _is_contiguous(channel: Channel | None) -> bool:
    return channel is not None and channel.rule is SequenceRule.CONTIGUOUS


def _done(marks: Marks, chunk: Chunk) -> Fetched:
    mark = marks.get(chunk.name)
    if mark is None:
        raise VenueError(f"{chunk.symbol} {chunk.name} is not done: run the backfill again")
    return msgspec.json.decode(mark, type=Fetched)

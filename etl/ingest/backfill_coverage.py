"""What a backfill brought, and what the venue itself does not have: that goes into the gap ledger.

    missing = expected - received, over the whole job

Received is a set: order, doubles and cuts mean nothing. Expected are all ids between the first and the last within the
range, and every bar of the range that is over. What was not fetched is not judged. A hole that the venue may still fill
is OPEN with the time to look again; what an earlier run declared and this one brought is closed.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec
import numpy as np
from msgspec import Struct

from etl.adapter.carried import apart, is_all
from etl.adapter.contract import Channel, Exchange, Ignored, SequenceRule
from etl.errors import VenueError
from etl.exchanges import load as load_exchange
from etl.ingest import backfill_holes
from etl.ingest.backfill_holes import Hole
from etl.ingest.backfill_jobs import Chunk, Job, plan, rests, shown, untold
from etl.ingest.backfill_marks import Marks
from etl.ingest.backfill_runs import Run, Runs, between, holds, merged
from etl.ingest.observer import Observer
from etl.model.records import Bar, Kind, Record
from etl.model.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS
from etl.sequencing.spans import bar_length_ns
from etl.settings import Settings
from etl.sinks.bulk_bars import Bars

HOLES_MAX = 1_000
"""Holes of one chunk that go into the ledger; a chunk with more is refused as broken."""
DISTINCT_MAX = 5_000_000
"""Identities of one chunk whose doubles are told apart, where no id does."""
PUBLISHED_WITHIN_NS = 7 * NS_PER_DAY
"""Daily files have come days late; one that is missing for longer is a hole at the source."""
HISTORY_LAG_NS = NS_PER_HOUR // 6
"""What happened just now may not be in the history yet."""


NOWHERE = (0, 0)


class Fetched(Struct, frozen=True):
    """What a chunk gave: ``rows`` of its kind within its span; ``runs`` are the ids or bars that came, beyond its span
    and of placeholders too; ``first`` and ``last`` are the lowest and highest id within it, with their times.
    ``missing`` says why the archive had nothing."""

    pages: int = 0
    rows: int = 0
    symbol: str = ""
    channel: str = ""
    first: tuple[int, int] = NOWHERE
    last: tuple[int, int] = NOWHERE
    runs: tuple[Run, ...] = ()
    trades: int = 0
    """How many trades its bars count."""
    missing: str = ""
    bar_ns: int = 0
    """The length of the channel's bars where none may be skipped."""
    parts: tuple[Fetched, ...] = ()
    """What came of each symbol, where the chunk is of several; ``rows`` are those of all."""


class Coverage(Struct, frozen=True):
    """What jobs brought: ``holes`` are what the venue does not have, or not yet."""

    chunks: int
    pages: int
    rows: int
    holes: int


Done = Sequence[tuple[Chunk, Fetched | None]]
"""Chunks with what came; ``None`` = not fetched."""


class ChunkCoverage(Observer):
    """What came of the chunk's kind within its span, and what is missing between."""

    listens = True

    def __init__(self, parser: Exchange, chunk: Chunk) -> None:
        self._chunk = chunk
        self._kind = Kind[chunk.kind.upper()]
        self._channels = type(parser)
        self._symbol = parser.instruments.symbol(chunk.symbol)
        declared = _first_channel(type(parser), chunk.kind)
        self._channel = declared.name if declared else chunk.kind
        is_stepped = declared is not None and declared.rule is SequenceRule.INTERVAL
        self._bar_ns = declared.interval_ns if declared is not None and is_stepped else 0
        self._is_by_id = _is_contiguous(declared)
        self._missing = ""
        self._rows = 0
        self._first = self._last = NOWHERE
        self._runs = Runs()
        self._trades: dict[int, int] = {}
        """Trades that the newest bar of each start counts."""
        self._identities: set[int] = set()

    def miss(self, reason: str) -> None:
        """All of the chunk is missing at the source."""
        self._missing = reason

    def fetched(self, pages: int) -> Fetched:
        """Raises ``VenueError`` for a chunk with more holes than a true one can have."""
        runs = tuple(self._runs.merged())
        if len(runs) > HOLES_MAX + 1:
            raise VenueError(f"{self._chunk.symbol}: more than {HOLES_MAX} holes in {self._chunk.name}")
        trades = sum(self._trades.values())
        return Fetched(
            pages, self._rows, self._symbol, self._channel, self._first, self._last, runs, trades,
            self._missing, self._bar_ns,
        )  # fmt: skip

    def judged(self, record: Record, is_good: bool) -> None:
        if not self._is_own(record):
            return
        time_ns = _time_ns(record)
        is_within = self._chunk.start_ns <= time_ns < self._chunk.end_ns
        number = record.sequence if self._is_by_id else None
        if isinstance(record, Bar):
            self._channel = record.channel
            declared = self._channels.channel(record.channel)
            self._bar_ns = bar_length_ns(declared, record) if declared else 0
            number = time_ns // self._bar_ns if self._bar_ns else None
            if is_within:
                self._trades[time_ns] = record.trade_count
        if number is not None:
            self._runs.add(number, time_ns)
        if is_within or self._kind is Kind.BOOK:
            self._count(record, number, time_ns)

    def judged_bars(self, bars: Bars) -> None:
        """Good ones, as columns."""
        channel = self._channel = bars.common.channel
        declared = self._channels.channel(channel)
        self._bar_ns = bar_ns = bar_length_ns(declared, bars.common) if declared else 0
        starts = np.asarray(bars.column("event_time_ns"))
        for start_ns in np.unique(starts).tolist() if bar_ns else ():
            self._runs.add(start_ns // bar_ns, start_ns)
        within = starts[(starts >= self._chunk.start_ns) & (starts < self._chunk.end_ns)]
        self._rows += len(within)
        for start_ns in (int(within.min()), int(within.max())) if len(within) else ():
            self._reach((start_ns // bar_ns if bar_ns else 0, start_ns))

    def ignored(self, event: Ignored) -> None:
        """What stands in a print's place has its id, and is no row."""
        record = event.stands_for
        if record is None or record.sequence is None or not self._is_by_id or not self._is_own(record):
            return
        self._runs.add(record.sequence, record.event_time_ns)
        if self._chunk.start_ns <= record.event_time_ns < self._chunk.end_ns:
            self._reach((record.sequence, record.event_time_ns))

    def _is_own(self, record: Record) -> bool:
        is_asked_for = self._chunk.symbol == record.venue_symbol or is_all(self._chunk.symbol)
        return record.kind is self._kind and is_asked_for

    def _reach(self, place: tuple[int, int]) -> None:
        self._first = place if self._first == NOWHERE else min(self._first, place)
        self._last = max(self._last, place)

    def _count(self, record: Record, number: int | None, time_ns: int) -> None:
        if number is None and self._kind is Kind.TRADE and len(self._identities) < DISTINCT_MAX:
            identity = hash(record.record_key)
            if identity in self._identities:
                return
            self._identities.add(identity)
        self._rows += 1
        self._channel = record.channel
        self._reach((number or 0, time_ns))


def _time_ns(record: Record) -> int:
    """By which ``record`` was asked for."""
    told_ns = record.publish_time_ns if record.kind is Kind.OBSERVATION else record.event_time_ns
    return told_ns or record.receive_time_ns


def check(settings: Settings, jobs: Sequence[Job], name: str) -> Coverage:
    """Coverage of ``jobs``: what is done is judged, holes go into the gap ledger. Removes the marks. Raises
    ``VenueError`` if a chunk is not done, and leaves the marks for the next run."""
    marks = Marks(settings, name)
    asked = [(chunk, _done(marks, chunk)) for job in jobs for chunk in plan(job)]
    done = list(by_symbol(asked))
    brought = [fetched for _, fetched in asked if fetched is not None]
    exchange, now_ns = load_exchange(jobs[0].exchange), time.time_ns()
    holes = missing(exchange, done, now_ns, backfill_holes.known(settings, exchange.name))
    if brought:
        backfill_holes.declare(settings, exchange.name, holes, Judged(done).closes)
    for chunk, fetched in asked:
        if fetched is None:
            raise VenueError(f"{shown(apart(chunk.symbol))} {chunk.name} is not done: run the backfill again")
    marks.remove()
    pages, rows = sum(one.pages for one in brought), sum(one.rows for one in brought)
    return Coverage(len(asked), pages, rows, len(holes))


def by_symbol(done: Done) -> Iterator[tuple[Chunk, Fetched | None]]:
    """``done``, where a chunk of several symbols is one of each."""
    for chunk, fetched in done:
        symbols = apart(chunk.symbol)
        parts = fetched.parts if fetched and fetched.parts else [fetched] * len(symbols)
        for symbol, part in zip(symbols, parts, strict=True):
            yield msgspec.structs.replace(chunk, symbol=symbol), part


def missing(exchange: type[Exchange], done: Done, now_ns: int, known: Iterable[Hole] = ()) -> list[Hole]:
    """What the venue's history does not have of the chunks that are done; ``known``: what it did not have before.
    Pure."""
    before = {hole.place: hole for hole in known}
    holes = list(_fewer_than_counted(exchange, [(chunk, it) for chunk, it in done if it is not None]))
    for chunk, fetched in done:
        if fetched is not None and fetched.missing and not rests(exchange, chunk):
            holes.append(_unpublished(chunk, fetched, now_ns, before))
        elif fetched is not None and _says_nothing(chunk, fetched):
            none = msgspec.structs.replace(fetched, missing="no row of any symbol")
            holes.append(_unpublished(chunk, none, now_ns, before))
    for group in _grouped(done).values():
        holes += _not_received(group, now_ns)
    return holes


class Judged:
    """What a run can say of holes that an earlier one declared."""

    def __init__(self, done: Done) -> None:
        self._runs: dict[tuple[str, str], list[Run]] = {}
        self._spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
        self._slack_ns: dict[tuple[str, str], int] = {}
        kinds: defaultdict[str, set[str]] = defaultdict(set)
        for group in _grouped(done).values():
            known = [(chunk, one) for chunk, one in group if one is not None and not one.missing]
            if not known:
                continue
            chunk, symbol = known[0][0], known[0][1].symbol
            kinds[symbol].add(chunk.kind)
            first = _first_channel(load_exchange(chunk.exchange), chunk.kind)
            absent = first.name if first else chunk.kind  # the channel of a file that did not come
            for place in {(symbol, _channel_of(group)), (symbol, absent)}:
                self._runs[place] = merged(run for _, one in known for run in one.runs)
                self._spans[place] = _joined((chunk.start_ns, chunk.end_ns) for chunk, _ in known)
                self._slack_ns[place] = max(one.bar_ns for _, one in known)
        self._counted = {symbol for symbol, found in kinds.items() if {"trade", "bar"} <= found}

    def closes(self, hole: Hole) -> bool:
        """Whether all of ``hole``, which was not found again, was asked for again, or its ids came."""
        place = hole.symbol, hole.channel
        if hole.from_id and holds(self._runs.get(place, ()), hole.from_id, hole.to_id):
            return True
        if hole.is_counted and hole.symbol not in self._counted:
            return False
        slack_ns = self._slack_ns.get(place, 0)  # a hole of bars lies between the bars around it
        return any(
            start_ns - slack_ns <= hole.from_time_ns and hole.to_time_ns <= end_ns + slack_ns
            for start_ns, end_ns in self._spans.get(place, ())
        )


def _grouped(done: Done) -> dict[tuple[str, str], list[tuple[Chunk, Fetched | None]]]:
    groups: defaultdict[tuple[str, str], list[tuple[Chunk, Fetched | None]]] = defaultdict(list)
    for chunk, fetched in done:
        groups[chunk.symbol, chunk.kind].append((chunk, fetched))
    return groups


def _channel_of(group: Done) -> str:
    known = [one for _, one in group if one is not None]
    return next((one.channel for one in known if one.rows), known[0].channel)


def _unpublished(chunk: Chunk, fetched: Fetched, now_ns: int, before: Mapping[tuple[str, str], Hole]) -> Hole:
    """A day without a file: not yet, as long as it may still come. An old one is looked for once more, a day later:
    that a server does not find a file now is no word of the venue's that there is none."""
    why = fetched.missing + untold(load_exchange(chunk.exchange), chunk)
    hole = Hole(fetched.symbol, fetched.channel, chunk.start_ns, chunk.end_ns, reason=why)
    seen = before.get(hole.place)
    if now_ns - chunk.end_ns < PUBLISHED_WITHIN_NS:
        reason, again_ns = "not published yet", max(chunk.end_ns + NS_PER_DAY, now_ns + NS_PER_HOUR)
    elif seen is None or seen.look_again_ns > now_ns:
        reason, again_ns = "not found", now_ns + NS_PER_DAY if seen is None else seen.look_again_ns
    else:
        return hole
    return msgspec.structs.replace(hole, reason=f"{reason}: {why}", look_again_ns=again_ns, ask=chunk)


def _not_received(group: Done, now_ns: int) -> Iterator[Hole]:
    """Ids and bars of one symbol and kind that nobody gave, but for what was not fetched, or is missing as a file."""
    known = [one for _, one in group if one is not None and not one.missing]
    if not known:
        return
    unknown = [(chunk.start_ns, chunk.end_ns) for chunk, one in group if one is None or one.missing]
    symbol, channel = known[0].symbol, _channel_of(group)
    runs, bar_ns = merged(run for one in known for run in one.runs), max(one.bar_ns for one in known)
    if bar_ns:
        end_ns = min(max(chunk.end_ns for chunk, _ in group), now_ns)
        found = _missing_bars(runs, min(chunk.start_ns for chunk, _ in group), end_ns, bar_ns, unknown)
    else:
        counted = [one for one in known if one.runs and one.last != NOWHERE]
        first = min((one.first[0] for one in counted), default=0)
        last = max((one.last[0] for one in counted), default=-1)
        found = [
            hole
            for hole in between(runs)
            if first < hole.first and hole.last < last and not _meets(unknown, hole.first_ns, hole.last_ns)
        ]
    for hole in found:
        ids = (0, 0) if bar_ns else (hole.first, hole.last)
        if now_ns - hole.last_ns >= HISTORY_LAG_NS:
            yield Hole(symbol, channel, hole.first_ns, hole.last_ns, *ids)
            continue
        # bars alone, but ids with the ones around, which tell that they are missing
        around_ns = (bar_ns, 0) if bar_ns else (0, NS_PER_MS)
        span = hole.first_ns + around_ns[0], hole.last_ns + around_ns[1]
        ask = msgspec.structs.replace(group[0][0], start_ns=span[0], end_ns=span[1])
        again_ns = now_ns + HISTORY_LAG_NS
        yield Hole(symbol, channel, hole.first_ns, hole.last_ns, *ids, look_again_ns=again_ns, ask=ask)


def _missing_bars(
    runs: Sequence[Run], start_ns: int, end_ns: int, bar_ns: int, unknown: Sequence[tuple[int, int]]
) -> list[Run]:
    """Bars of [start_ns, end_ns) that are over, between the starts of the bars around."""
    first, beyond = -(-start_ns // bar_ns), end_ns // bar_ns
    unjudged = [
        Run(-(-from_ns // bar_ns), -(-to_ns // bar_ns) - 1, 0, 0)
        for from_ns, to_ns in unknown
        if -(-from_ns // bar_ns) <= -(-to_ns // bar_ns) - 1
    ]
    edges = Run(first - 1, first - 1, 0, 0), Run(beyond, beyond, 0, 0)
    holes = between(merged([*runs, *unjudged, *edges])) if beyond > first else ()
    return [
        Run(hole.first, hole.last, (hole.first - 1) * bar_ns, (hole.last + 1) * bar_ns)
        for hole in holes
        if first <= hole.first and hole.last < beyond
    ]


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
        day = chunk.start_ns // NS_PER_DAY
        days = range(day, -(-chunk.end_ns // NS_PER_DAY))
        counts = [given[chunk.symbol, one] for one in days if (chunk.symbol, one) in given]
        rows = sum(counts) if len(counts) == len(days) else None
        is_whole = not (chunk.start_ns % NS_PER_MINUTE or chunk.end_ns % NS_PER_MINUTE)
        if chunk.kind == "bar" and is_whole and rows is not None and rows < fetched.trades:
            reason = f"the venue's bars count {fetched.trades} trades, its history gave {rows}"
            span = chunk.start_ns, chunk.end_ns
            yield Hole(fetched.symbol, trades.name, *span, reason=reason, is_counted=True)


def _says_nothing(chunk: Chunk, fetched: Fetched) -> bool:
    """An answer about all symbols that has none of them: such a day was asked for because it is one of trading."""
    return is_all(chunk.symbol) and not chunk.archive and fetched.pages > 0 and not fetched.rows


def _first_channel(exchange: type[Exchange], kind: str) -> Channel | None:
    return next((one for one in exchange.channels if one.kind is Kind[kind.upper()]), None)


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans that touch are one."""
    found: list[tuple[int, int]] = []
    for start_ns, end_ns in sorted(spans):
        if found and start_ns <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end_ns)
        else:
            found.append((start_ns, end_ns))
    return found


def _meets(spans: Iterable[tuple[int, int]], from_ns: int, to_ns: int) -> bool:
    return any(from_ns < end_ns and start_ns <= to_ns for start_ns, end_ns in spans)


def _is_contiguous(channel: Channel | None) -> bool:
    return channel is not None and channel.rule is SequenceRule.CONTIGUOUS


def _done(marks: Marks, chunk: Chunk) -> Fetched | None:
    mark = marks.get(chunk.name)
    return None if mark is None else msgspec.json.decode(mark, type=Fetched)

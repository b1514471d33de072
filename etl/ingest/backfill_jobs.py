"""What a backfill is asked to do: a job, and the chunks it is cut into. Plain data."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import islice

import msgspec
from msgspec import Struct

from etl.adapter.carried import ALL, apart, is_all, is_many, together
from etl.adapter.contract import Exchange
from etl.adapter.market_calendar import trades, unknown_after
from etl.errors import UsageError
from etl.exchanges import load as load_exchange
from etl.model.records import Kind
from etl.model.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_S
from etl.reference.instruments import with_known
from etl.settings import Settings

KINDS = (Kind.TRADE, Kind.QUOTE, Kind.BAR, Kind.AGG_TRADE, Kind.BOOK, Kind.OBSERVATION)
"""What a backfill can ask for, where the venue has it. A book's history is its snapshot now."""
CHUNKS_MAX = 100_000
MONTH_FILE_WITHIN_NS = 7 * NS_PER_DAY
"""A month that ends later before the range does is read by days: its own file need not be there yet."""
SEVERAL_NS = 7 * NS_PER_DAY
"""What is asked for of several symbols together: of a hundred about 35 pages, of a few one that is not empty."""
SYMBOLS_SHOWN_MAX = 3
WHOLE = "observation"
"""A kind whose range is one chunk: a series is a few thousand rows, and costs three questions before the first."""


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
    """``symbol`` is several where the venue gives them in one answer (``carried.together``)."""

    exchange: str
    symbol: str
    kind: str
    start_ns: int
    end_ns: int
    archive: bool = False

    @property
    def name(self) -> str:
        digest = hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]
        return f"{self.kind}-{day_of(self.start_ns)}-{digest}"


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
    symbols that the instrument list knows are taken too. Raises ``UsageError``, also for a range in the future."""
    parser = with_known(settings, load_exchange(exchange_name))()
    known_symbols, direct = parser.instruments.by_symbol(), parser.instruments.direct
    asked, kinds = _stripped(symbols), _stripped(kinds)
    wanted = (
        tuple(dict.fromkeys(known_symbols.get(one, direct(one)) for one in asked)) or parser.default_symbols
    )
    _require_past(start_ns, end_ns, time.time_ns())
    if from_archive and settings.venues.live and not (settings.venues.archive_url or parser.archive_url):
        raise UsageError(f"{exchange_name}: set ETL_ARCHIVE_URL to where its files are, a file:///folder too")
    if from_archive and parser.archive_is_whole:
        if asked and asked != (ALL,):
            raise UsageError(f"{exchange_name}: a file of its archive holds all symbols; ask for {ALL!r}")
        wanted = (ALL,)
    for symbol in wanted:
        _require_spelling(parser, symbol)
        is_listed = parser.instruments.get(symbol) is not None or not len(parser.instruments)
        may_be_over = parser.series is not None and not is_many(symbol)  # the list has those that are open
        if parser.instruments_path and not (is_listed or may_be_over):
            raise UsageError(f"{exchange_name}: no instrument {symbol}; symbols are the venue's own, BTCUSDT")
    known = [kind.name.lower() for kind in KINDS if _has_history(parser, kind, from_archive)]
    for kind in kinds:
        if kind not in known:
            where = "archive" if from_archive else "history"
            raise UsageError(f"{exchange_name}: no {where} of {kind}; there is {', '.join(known) or 'none'}")
        if any(map(is_all, wanted)) and not from_archive and Kind[kind.upper()] not in parser.history_of_all:
            raise UsageError(
                f"{exchange_name}: its history of {kind} is asked for by symbol, not of all at once"
            )
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


def _stripped(texts: Sequence[str]) -> tuple[str, ...]:
    """As a form or a list of options gives them: spaces around a word mean nothing, and nothing is no word."""
    return tuple(text.strip() for text in texts if text.strip())


def _require_spelling(parser: Exchange, symbol: str) -> None:
    """Raises ``UsageError``. Where a venue has no instrument list it would take any word and have no history of it."""
    has_small_letters = any(text != text.upper() for text in parser.default_symbols)
    if symbol.split() != [symbol] or (symbol == symbol.lower() != symbol.upper() and not has_small_letters):
        raise UsageError(
            f"{parser.name}: no symbol {symbol!r}; symbols are the venue's own, {parser.default_symbols[0]}"
        )


def _require_past(start_ns: int, end_ns: int, now_ns: int) -> None:
    """Raises ``UsageError``. The day that goes on may be asked for as a whole day."""
    if not start_ns < end_ns:
        raise UsageError("the range is empty: its end must lie after its start")
    if start_ns >= now_ns or end_ns > now_ns - now_ns % NS_PER_DAY + NS_PER_DAY:
        raise UsageError(
            f"the range lies in the future ({day_of(start_ns)} to {day_of(end_ns)}): history ends with today, "
            f"{day_of(now_ns)}"
        )


def plan(job: Job) -> list[Chunk]:
    """The job cut at whole hours (trades and quotes by request), days or months (the rest; of an archive the venue's
    own, so that each file is read once), in the order of time; a series' observations are asked for as a whole, several
    symbols together by weeks. Raises ``UsageError`` for too many."""
    found = list(islice(chunks(job), CHUNKS_MAX + 1))
    if len(found) > CHUNKS_MAX:
        raise UsageError(f"more than {CHUNKS_MAX} chunks in one backfill: take a shorter range")
    return sorted(found, key=lambda chunk: chunk.start_ns)


def chunks(job: Job) -> Iterator[Chunk]:
    """As ``plan``, in no order."""
    begins_ns = _day_ns(job)
    for kind in job.kinds:
        if kind == WHOLE:
            for symbol in job.symbols:
                yield Chunk(job.exchange, symbol, kind, job.start_ns, job.end_ns, job.archive)
            continue
        is_hourly = kind in ("trade", "quote", "agg_trade") and not job.archive
        for symbol in groups(job, kind):
            step_ns = NS_PER_HOUR if is_hourly else SEVERAL_NS if len(apart(symbol)) > 1 else NS_PER_DAY
            first_ns = job.start_ns - (job.start_ns - begins_ns) % step_ns
            for span in _spans(job, Kind[kind.upper()], first_ns, step_ns):
                yield Chunk(job.exchange, symbol, kind, *span, job.archive)
                if kind == "book":
                    break


def groups(job: Job, kind: str) -> list[str]:
    """The symbols of ``job``, as many together as one request of the venue takes."""
    count = 1 if job.archive else load_exchange(job.exchange).history_together.get(Kind[kind.upper()], 1)
    return [together(job.symbols[at : at + count]) for at in range(0, len(job.symbols), count)]


def _spans(job: Job, kind: Kind, first_ns: int, step_ns: int) -> Iterator[tuple[int, int]]:
    """[start, end) of each chunk: of a step, or of a whole month where the archive has that."""
    has_months = job.archive and kind in load_exchange(job.exchange).archive_months
    start_ns = first_ns
    while start_ns < job.end_ns:
        end_ns = _month_end_ns(job, start_ns) if has_months else 0
        end_ns = end_ns or start_ns + step_ns
        yield max(start_ns, job.start_ns), min(end_ns, job.end_ns)
        start_ns = end_ns


def _month_end_ns(job: Job, start_ns: int) -> int:
    """Of the month that begins at ``start_ns``; 0 where none does, or its file is not to be asked for."""
    begins = datetime.fromtimestamp(start_ns // NS_PER_S, UTC)
    if begins.day != 1 or start_ns < job.start_ns:
        return 0
    ends = (begins + timedelta(days=32)).replace(day=1)
    end_ns = int(ends.timestamp()) * NS_PER_S
    return end_ns if end_ns + MONTH_FILE_WITHIN_NS <= job.end_ns else 0


def slices(job: Job, count_max: int) -> list[Job]:
    """``job`` by symbol and day, for workers side by side; by several symbols where one request asks for them, by
    several days where it would be more than ``count_max`` jobs; by symbol alone what is asked for as a whole."""
    if job.kinds == (WHOLE,):
        return [msgspec.structs.replace(job, symbols=(symbol,)) for symbol in job.symbols]
    first = job.start_ns - (job.start_ns - _day_ns(job)) % NS_PER_DAY
    days = -(-(job.end_ns - first) // NS_PER_DAY)
    parts = max((groups(job, kind) for kind in job.kinds), key=len)
    step_ns = -(-days * len(parts) // count_max) * NS_PER_DAY
    return [
        msgspec.structs.replace(
            job,
            symbols=apart(part),
            start_ns=max(start_ns, job.start_ns),
            end_ns=min(start_ns + step_ns, job.end_ns),
        )
        for part in parts
        for start_ns in range(first, job.end_ns, step_ns)
    ]


def archive_day(exchange: type[Exchange], chunk: Chunk) -> str:
    """The day of the file that ``chunk`` lies in, or with which its month begins."""
    return day_of(chunk.start_ns - exchange.archive_day_ns)


def archive_date(exchange: type[Exchange], chunk: Chunk) -> str:
    """What ``Exchange.archive_path`` takes for ``chunk``: a day, or a month such as 2024-08."""
    day = archive_day(exchange, chunk)
    return day.rpartition("-")[0] if is_month(chunk) else day


def is_month(chunk: Chunk) -> bool:
    return chunk.archive and chunk.end_ns - chunk.start_ns > NS_PER_DAY


def rests(exchange: type[Exchange], chunk: Chunk) -> bool:
    """A day on which the archive need not have a file: the market is closed, or may be."""
    day = date.fromisoformat(archive_day(exchange, chunk))
    traded = trades(exchange.calendar, day)
    return day.weekday() in exchange.archive_rests if traded is None else not traded


def untold(exchange: type[Exchange], chunk: Chunk) -> str:
    """Why nobody knows whether the market traded on the day of ``chunk``, "" = it is known."""
    day = date.fromisoformat(archive_day(exchange, chunk))
    after = unknown_after(exchange.calendar)
    return f"; {after.source}: whether it traded is not known" if after and day >= after.day else ""


def _day_ns(job: Job) -> int:
    """When the days begin by which ``job`` is cut, against midnight UTC."""
    return load_exchange(job.exchange).archive_day_ns if job.archive else 0


def label(job: Job) -> str:
    """``BTCUSDT 2026-01-31``, for people."""
    return f"{shown(job.symbols)} {day_of(job.start_ns)}"


def shown(symbols: Sequence[str]) -> str:
    """``AAPL, MSFT, NVDA and 97 more``, for people."""
    more = len(symbols) - SYMBOLS_SHOWN_MAX
    return ", ".join(symbols[:SYMBOLS_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def _has_history(parser: Exchange, kind: Kind, from_archive: bool) -> bool:
    return kind in (parser.archive_kinds if from_archive else parser.history)


def day_of(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC).strftime("%Y-%m-%d")

"""What a backfill would cost, from a sample of the venue's own pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product

import msgspec
from msgspec import Struct

from etl.adapter.carried import apart
from etl.adapter.contract import Exchange, Request
from etl.exchanges import load as load_exchange
from etl.ingest.backfill_jobs import WHOLE, Job, archive_date, chunks, groups, plan, rests
from etl.ingest.bulk_rates import measured
from etl.model.records import Frame, Kind, Record
from etl.settings import Settings
from etl.sources.access import VenueAccess
from etl.sources.archive import ArchiveFile, folder_path, is_folder
from etl.sources.history import History

PROBE_PAGES_MAX = 4
SAMPLE_FILES = 5
BAR = Kind.BAR.name.lower()
"""What the bytes of a row were measured of."""
REQUEST_S = 0.25
"""What a request takes where the venue publishes no limit: for estimates."""


class Estimate(Struct, frozen=True):
    """Of one symbol (several where one request asks for them) and kind, from a sample of the venue's own pages."""

    symbol: str
    kind: str
    requests: int
    rows: int
    seconds: float
    file_bytes: int = 0
    """Of files that are here already, as they are packed."""
    store_bytes: dict[str, int] = {}
    """What each store will take, where it was measured."""


async def estimate(settings: Settings, job: Job, in_bulk: bool = False) -> list[Estimate]:
    """Requests, rows, time and bytes of each symbol and kind, from one sample page at the start of the range."""
    found = await _estimate(settings, job, in_bulk)
    return [
        msgspec.structs.replace(
            one,
            store_bytes={
                store: round(size * one.rows)
                for store, size in measured().bytes_per_row.items()
                if one.kind == BAR and settings.keeps(store)
            },
        )
        for one in found
    ]


async def _estimate(settings: Settings, job: Job, in_bulk: bool) -> list[Estimate]:
    exchange = load_exchange(job.exchange)
    if job.archive and is_folder(settings.venues.archive_url):
        return [_of_folder(settings, exchange, job, kind, in_bulk) for kind in job.kinds]
    if job.archive:
        files = Counter((chunk.symbol, chunk.kind) for chunk in plan(job))
        return [Estimate(*place, 2 * files[place], 0, 0.0) for place in product(job.symbols, job.kinds)]
    found = []
    group_of = {
        (symbol, kind): group for kind in job.kinds for group in groups(job, kind) for symbol in apart(group)
    }
    asked = dict.fromkeys((group_of[place], place[1]) for place in product(job.symbols, job.kinds))
    least = _least_requests(exchange(), job)
    async with VenueAccess.from_settings(settings, exchange) as access:
        for symbol, kind in asked:
            found.append(await _estimated(exchange, access.history, job, symbol, kind, least[symbol, kind]))
    return found


def _of_folder(
    settings: Settings, exchange: type[Exchange], job: Job, kind_name: str, in_bulk: bool
) -> Estimate:
    """By the sizes of all files that are there, and the lines of some of them; where none is there, by what the venue's
    files hold as a rule."""
    parser, kind = exchange(), Kind[kind_name.upper()]
    of_kind = [chunk for chunk in plan(job) if chunk.kind == kind_name]
    urls = [
        settings.venues.archive_url + parser.archive_path(kind, one.symbol, archive_date(exchange, one))
        for one in of_kind
    ]
    there = [path for path in map(folder_path, urls) if path.is_file()]
    samples = there[:: max(1, len(there) // SAMPLE_FILES)][:SAMPLE_FILES]
    lines = sum(ArchiveFile(path.as_uri(), path, "").lines() for path in samples)
    total, sampled = (sum(path.stat().st_size for path in some) for some in (there, samples))
    rows, files = lines * total // sampled if sampled else 0, len(there)
    if not there and exchange.bulk_bars is not None:
        files = sum(not rests(exchange, one) for one in of_kind)
        rows = files * exchange.bulk_bars.rows_per_day
    rates = measured()
    per_s = rates.line_by_line_rows_per_s
    if in_bulk:  # stores are written side by side: the slowest counts
        per_s = min((rates.rows_per_s[store] for store in settings.stores), default=per_s)
    seconds = rows / per_s
    return Estimate(job.symbols[0], kind_name, files, rows, round(seconds, 1), total)


async def _estimated(
    exchange: type[Exchange], history: History, job: Job, symbol: str, kind_name: str, least: int
) -> Estimate:
    """By what the venue says of its pages, or by the rows a second of the first full page; ``least`` requests."""
    parser, kind = exchange(), Kind[kind_name.upper()]
    firsts = iter(parser.history_requests(kind, symbol, job.start_ns, job.end_ns))
    request: Request | None = next(firsts, None)
    times: list[int] = []
    whose: list[str] = []
    told: int | None = None
    weight, asked = 1, 0
    for number in range(PROBE_PAGES_MAX):
        if request is None or times:
            break
        asked += 1
        answer = await history.fetch(request)
        frame = Frame(
            exchange.name, "estimate", number + 1, answer.endpoint, answer.receive_time_ns, answer.payload
        )
        outcomes = parser.parse(frame)
        rows_of_page = [one for one in outcomes if isinstance(one, Record) and one.kind is kind]
        times = [one.event_time_ns or one.publish_time_ns for one in rows_of_page]
        whose = [one.venue_symbol for one in rows_of_page]
        told = parser.told_rows(request, frame)
        weight, request = request.weight, parser.next_request(request, frame)
        if request is None and kind_name == WHOLE and not times:  # what came was about the series
            request = next(firsts, None)
    page_rows = len(times)
    if told is not None and page_rows:
        rows, requests = told, asked - 1 + -(-told // page_rows)
    elif request is None or not page_rows:
        rows = (
            sum(job.start_ns <= time_ns < job.end_ns for time_ns in times)
            if kind is not Kind.BOOK
            else page_rows
        )
        requests = 1 + sum(1 for _ in firsts)
        rows *= requests
    else:
        rows = _of_first_page(job, apart(symbol), times, whose)
        requests = -(-rows // page_rows)
    requests = max(requests, least)
    waits_s = [requests * weight * budget.per_s / budget.weight for budget in exchange.budgets]
    seconds = max(waits_s, default=requests * REQUEST_S)
    return Estimate(symbol, kind_name, requests, rows, round(seconds, 1))


def _of_first_page(job: Job, symbols: Sequence[str], times: Sequence[int], whose: Sequence[str]) -> int:
    """Rows of the whole range, by a first page that is not the last. One symbol comes after the other, in the order of
    their names: those before the page's last are whole on it, also those of which there is nothing."""
    before = sorted(symbols).index(whose[-1]) if len(symbols) > 1 else 0
    if before:
        return sum(one != whose[-1] for one in whose) * len(symbols) // before
    covered_ns = max(1, max(times) - min(times))
    return int(len(times) * (job.end_ns - job.start_ns) / covered_ns) * len(symbols)


def _least_requests(parser: Exchange, job: Job) -> Counter[tuple[str, str]]:
    """The first pages of all chunks, by symbol and kind: a range is asked for in pieces, none of which need be full."""
    found: Counter[tuple[str, str]] = Counter()
    for one in chunks(job):
        firsts = parser.history_requests(Kind[one.kind.upper()], one.symbol, one.start_ns, one.end_ns)
        found[one.symbol, one.kind] += sum(1 for _ in firsts)
    return found

"""What OKX is asked for by request, and where its daily files lie.

https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-trades-history
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec.structs import replace

from etl.adapter.contract import Request
from etl.adapter.fields import ABSENT, INT64_MAX, inside, text_of
from etl.adapter.paging import NOT_A_ROW, Before, id_pages, query_of, rows_of, with_query
from etl.errors import VenueError
from etl.exchanges._okx_books import BOOK_LEVELS
from etl.exchanges._okx_wire import time_of
from etl.model.records import Frame, Kind
from etl.model.times import NS_PER_MS

PAGE_ROWS = 100


def requests(
    kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
    first_id: int | None = None, channel: str = "",
) -> Iterator[Request]:  # fmt: skip
    """From the newest on. Of trades the first page goes by time, those after it by id."""
    start_ms, end_ms = start_ns // NS_PER_MS, -(-end_ns // NS_PER_MS)
    request: Request | None = None
    if kind is Kind.BOOK:
        request = book_request(venue_symbol)
    elif kind is Kind.BAR:
        span = {"after": end_ms, "before": start_ms - 1, "limit": PAGE_ROWS}
        bar = channel.removeprefix("candle") or "1m"
        request = _asked("history-candles", kind, venue_symbol, bar=bar, **span)
    elif kind is Kind.TRADE:
        place = {"type": 2, "after": end_ms} if first_id is None else {"type": 1, "before": first_id - 1}
        request = _asked("history-trades", kind, venue_symbol, **place, limit=PAGE_ROWS)
    if request is not None:
        yield replace(request, start_ns=start_ns, end_ns=end_ns)


def id_requests(kind: Kind, venue_symbol: str, first_id: int, last_id: int) -> Iterator[Request]:
    """Both bounds lie outside. The id after the last comes too: it tells a hole of the venue's from ids to come."""
    if kind is Kind.TRADE:
        for first, rows in id_pages(first_id, last_id, PAGE_ROWS - 1):
            place = {"type": 1, "after": first + rows + 1, "before": first - 1, "limit": PAGE_ROWS}
            yield replace(_asked("history-trades", kind, venue_symbol, **place), end_ns=INT64_MAX)


def next_request(request: Request, frame: Frame) -> Request | None:
    path, query = query_of(request.path)
    pages = _PAGES.get(path.rpartition("/")[2])
    if pages is None:
        return None
    if text_of(inside(frame.payload).get("code", ABSENT)) != "0":
        raise VenueError(f"{request.path}: no page: {frame.payload[:80]!r}")
    rows = rows_of(frame.payload, "data")
    if "before" in query and request.kind is Kind.TRADE:
        return _down_to(int(query["before"]), request, rows)
    following = pages.following(request, rows)
    return with_query(following, {"type": 1}) if following and "type" in query else following


def archive_path(venue_symbol: str, day: str) -> str:
    """``day`` begins at midnight in Hong Kong; the file comes two or three days later."""
    folder = f"/cdn/okex/traderecords/trades/daily/{day.replace('-', '')}"
    return f"{folder}/{venue_symbol}-trades-{day}.zip"


def book_request(venue_symbol: str) -> Request:
    """Its snapshot now."""
    return _asked("books", Kind.BOOK, venue_symbol, sz=BOOK_LEVELS)


def _asked(name: str, kind: Kind, symbol: str, **query: int | str) -> Request:
    parameters = "".join(f"&{key}={value}" for key, value in query.items())
    return Request(f"/api/v5/market/{name}?instId={symbol}{parameters}", kind, symbol)


def _down_to(before: int, request: Request, rows: Sequence[Any]) -> Request | None:
    """The page behind ``rows``, however few they are: a page that the venue cut lacks the oldest."""
    try:
        last_id = int(rows[-1]["tradeId"]) if rows else 0
    except NOT_A_ROW as error:
        raise VenueError(f"{request.path}: the last row tells no id: {error!r:.80}") from None
    return with_query(request, {"after": last_id}) if last_id > before + 1 else None


_PAGES = {
    "history-trades": Before("after", "tradeId", "ts", time_of),
    "history-candles": Before("after", 0, 0, time_of),
}

"""The ways in which venues let one leaf through their history."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from etl.model.times import NS_PER_DAY, NS_PER_MS, NS_PER_S, NS_PER_US
from etl.simulator.history import Entry, FactKind, History

END_OF_TIME_NS = 1 << 62
END_OF_TIME_MS = END_OF_TIME_NS // NS_PER_MS


def span_ms(query: Mapping[str, str]) -> tuple[int, int]:
    """``startTime`` and ``endTime`` in ms, both included → [start, end) in ns. Raises ``ValueError``."""
    start, end = int(query.get("startTime", "0")), int(query.get("endTime", END_OF_TIME_MS))
    return start * NS_PER_MS, (end + 1) * NS_PER_MS


def by_id_or_time(
    history: History, symbol: str, kind: FactKind, query: Mapping[str, str], limit: int
) -> Sequence[Entry]:
    """From an id, between two times, or the last ones. Raises ``ValueError``."""
    if "fromId" in query:
        return history.from_number(symbol, kind, int(query["fromId"]), limit)
    if "startTime" in query or "endTime" in query:
        return history.between(symbol, kind, *span_ms(query), 0, limit)
    return history.last(symbol, kind, limit)


def bars_by_time(
    history: History, symbol: str, length_ns: int, query: Mapping[str, str], limit: int, now_ns: int
) -> Sequence[Entry]:
    """Between two times; without a first one, the last ones. Raises ``ValueError``."""
    start_ns, end_ns = span_ms(query)
    if "startTime" not in query:
        start_ns = max(start_ns, min(end_ns, now_ns) - limit * length_ns)
    return history.between(symbol, length_ns, start_ns, end_ns, 0, limit)


def read_moment(text: str, *, end_of_day: bool = False) -> int:
    """A date, milliseconds or nanoseconds → ns. Raises ``ValueError``."""
    if text.isdecimal():
        return int(text) * (NS_PER_MS if len(text) < 16 else 1)
    day = datetime.fromisoformat(text.replace("Z", "+00:00"))
    day = day if day.tzinfo else day.replace(tzinfo=UTC)
    if end_of_day and len(text) == 10:
        day += timedelta(days=1, milliseconds=-1)
    return int(day.timestamp()) * NS_PER_S + day.microsecond * NS_PER_US


def compared_span(query: Mapping[str, str], name: str) -> tuple[int, int]:
    """``name``, ``name.gte``, ``.gt``, ``.lt`` and ``.lte`` → [start, end) in ns. Raises ``ValueError``."""
    start_ns, end_ns = 0, END_OF_TIME_NS
    if name in query:
        start_ns = read_moment(query[name])
        end_ns = start_ns + (NS_PER_DAY if "-" in query[name] else 1)
    for suffix, after_ns in ((".gte", 0), (".gt", 1)):
        if name + suffix in query:
            start_ns = max(start_ns, read_moment(query[name + suffix]) + after_ns)
    for suffix, after_ns in ((".lt", 0), (".lte", 1)):
        if name + suffix in query:
            end_ns = min(end_ns, read_moment(query[name + suffix]) + after_ns)
    return start_ns, end_ns


def by_cursor(
    query: Mapping[str, str], read: Callable[[Mapping[str, str], int], Sequence[Entry]], limit: int
) -> tuple[Sequence[Entry], str]:
    """A page, and the cursor of the next one, "" = that was all. ``read`` gives entries after so many."""
    skip = int(query.get("skip", 0))
    found = read(query, skip)
    if len(found) <= limit:
        return found, ""
    return found[:limit], cursor_of({**query, "skip": str(skip + limit)})


def cursor_of(query: Mapping[str, str]) -> str:
    """What ``read_cursor`` reads."""
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(query: Mapping[str, str]) -> Mapping[str, str]:
    """The query that a cursor stands for; one without a cursor stands for itself."""
    if "cursor" not in query:
        return query
    cursor = query["cursor"]
    text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    return dict(pair.split("=", 1) for pair in text.split("&"))


def by_symbol_token(
    symbols: Sequence[str],
    token: str,
    limit: int,
    read: Callable[[str, int, int], Sequence[Entry]],
) -> tuple[dict[str, Sequence[Entry]], str]:
    """One symbol after the other, ``limit`` rows in all, and the token of the next page. ``read`` gives a symbol's
    entries after so many, so many at most. Raises ``ValueError``."""
    first, skip = symbols[0], 0
    if token:
        first, _, after = base64.urlsafe_b64decode(token).decode().partition("|")
        skip = int(after)
    pages: dict[str, Sequence[Entry]] = {}
    for symbol in symbols[symbols.index(first) :]:
        found = read(symbol, skip, limit + 1)
        if found[:limit]:
            pages[symbol] = found[:limit]
        if len(found) > limit:
            return pages, base64.urlsafe_b64encode(f"{symbol}|{skip + limit}".encode()).decode()
        limit, skip = limit - len(found), 0
    return pages, ""

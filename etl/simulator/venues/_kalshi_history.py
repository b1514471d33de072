"""What a simulated Kalshi answers to requests."""

from __future__ import annotations

from collections.abc import Mapping

from etl.model.times import NS_PER_MINUTE, NS_PER_S
from etl.simulator.history import PRINTS
from etl.simulator.session import Session
from etl.simulator.truth import EMPTY
from etl.simulator.venue import Response, Venue, page
from etl.simulator.venues._kalshi_words import BAR_ROW, ROW, TRADE_ROW
from etl.simulator.words import time_text


def answer(
    venue: Venue, name: str, query: Mapping[str, str], session: Session, now_ns: int
) -> Response | None:
    """What the history says on a path below ``/trade-api/v2``; the venue's series begin when they are asked for."""
    if "series_ticker" in query:
        return _contracts(venue, query, now_ns)
    if name == "/markets":
        return venue.listings('{"markets":[$rows],"cursor":""}', '{"ticker":"$symbol","status":"active"}')
    if name == "/historical/trades":
        return Response(200, b'{"trades":[],"cursor":""}', [EMPTY])
    if name == "/markets/candlesticks":
        symbol, first_s, last_s = query["market_tickers"], int(query["start_ts"]), int(query["end_ts"])
        start_ns, end_ns = first_s * NS_PER_S - NS_PER_MINUTE, (last_s + 1) * NS_PER_S - NS_PER_MINUTE
        bars = session.history.between(symbol, NS_PER_MINUTE, start_ns, end_ns, 0, 10_000)
        text = f'{{"markets":[{{"market_ticker":"{symbol}","candlesticks":[$rows]}}]}}'
        return page(text, *venue.rows(BAR_ROW, symbol, bars))
    if name != "/markets/trades":
        return Response(404, b'{"error":{"code":"not_found","message":"not found"}}')
    limit, symbol, below = venue.page_limit(query, 100, 1_000), query["ticker"], query.get("cursor")
    start_ns, end_ns = (
        int(query.get("min_ts", 0)) * NS_PER_S,
        int(query.get("max_ts", 1 << 32)) * NS_PER_S,
    )
    found = session.history.below(symbol, PRINTS, limit + 1, int(below) if below else None, end_ns)
    newest_first = [each for each in reversed(found) if each.time_ns >= start_ns]
    cursor = newest_first[limit - 1].number if len(newest_first) > limit else ""
    text = f'{{"trades":[$rows],"cursor":"{cursor}"}}'
    return page(text, *venue.rows(TRADE_ROW, symbol, newest_first[:limit]))


def _contracts(venue: Venue, query: Mapping[str, str], now_ns: int) -> Response:
    """By pages; a cursor that is none gives the first again."""
    is_open, cursor, limit = (
        query["status"] == "open",
        query.get("cursor", ""),
        venue.page_limit(query, 100, 1_000),
    )
    rows = []
    for series in venue.series:
        if series.prefix == f"{query['series_ticker']}-":
            series.begin(now_ns)
            rows += [
                ROW.format(
                    turn.symbol,
                    "active" if is_open else "initialized",
                    *map(time_text, (turn.opens_ns, turn.closes_ns)),
                )
                for turn in series.listed(now_ns, is_open)
            ]
    start = int(cursor) if cursor.isdecimal() else 0
    following = str(start + limit) if start + limit < len(rows) else ""
    text = f'{{"markets":[{",".join(rows[start : start + limit])}],"cursor":"{following}"}}'
    return Response(200, text.encode(), is_reference=True)

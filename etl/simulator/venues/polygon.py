"""A simulated Polygon (Massive): stocks.

    ws /polygon/stocks   connected → {"action":"auth"} → auth_success → {"action":"subscribe"} → a line per stream
    GET /polygon/v3/{trades,quotes}/{ticker}   next_url paging
    GET /polygon/v2/aggs/ticker/{ticker}/range/1/{second,minute}/{from}/{to}
    GET /polygon/v2/aggs/grouped/locale/us/market/stocks/{day}    a row a stock that traded; none of a day without trading
    GET /polygon/v3/reference/{splits,dividends}
    GET /polygon/vX/reference/tickers/{ticker}/events

One connection per key and path: a newer one closes the older.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

from etl.adapter.market_calendar import NEW_YORK as NEW_YORK_CALENDAR
from etl.adapter.market_calendar import is_closed
from etl.model.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_MS, as_ns, interval_ns
from etl.simulator.address import Address
from etl.simulator.connection import Connection
from etl.simulator.dialect import NEWER_STAYS, Dialect
from etl.simulator.history import PRINTS, TOPS, Entry, FactKind
from etl.simulator.paging import by_cursor, compared_span, cursor_of, read_cursor, read_moment
from etl.simulator.session import Session
from etl.simulator.splits import dividends_between, splits_between
from etl.simulator.stocks import FIGIS, LISTED, one_of, stock_words
from etl.simulator.truth import TruthEvent
from etl.simulator.venue import BAR, PRINT, TOP, Channel, Response, Venue, page
from etl.simulator.words import NEW_YORK, Form, Words

MARKETS = (4, 8, 10, 11, 12, 15, 19)
FACILITY_MARKET = 4
"""FINRA's trade reporting facilities; only their prints carry ``trfi``."""
CONDITIONS = ("", "[37]", "[14,41]", "[12,37]", "")
REPORTING_DELAY_NS = 350_000
SPANS = {"second": "1s", "minute": "1m", "hour": "1h", "day": "1d"}
NEXT_HOST = "https://api.polygon.io"
"""As the venue writes ``next_url``; clients keep its path and query."""


def _where_reported(text: str) -> Any:
    """``text`` for prints of the trade reporting facilities, nothing for others."""
    return lambda words: text % words if words["market"] == FACILITY_MARKET else ""


def _where_conditions(name: str) -> Any:
    return lambda words: f'"{name}":{words["codes"]},' if words["codes"] else ""


POLYGON_WORDS: dict[str, Callable[[Words], Any]] = stock_words(MARKETS, vwap_digits=4) | {
    "codes": one_of(CONDITIONS),
    "c": _where_conditions("c"),
    "conditions": _where_conditions("conditions"),
    "facility": lambda words: 202 if words["market"] == FACILITY_MARKET else "",
    "trf": _where_reported(',"trfi":202,"trft":%(ms)s'),
    "trf_row": _where_reported(',"trf_id":202,"trf_timestamp":%(time_ns)s'),
    "participant_ns": lambda words: words["time_ns"] - REPORTING_DELAY_NS,
    "mean_size": lambda words: words.size(words.fact.volume // words.fact.count),
}
RENAMED: Mapping[str, bytes] = {
    "META": b'{"status":"OK","results":{"name":"Meta Platforms, Inc. Class A","composite_figi":"BBG000MM2P62",'
    b'"cik":"0001326801","events":[{"type":"ticker_change","date":"2022-06-09","ticker_change":{"ticker":"META"}},'
    b'{"type":"ticker_change","date":"2012-05-18","ticker_change":{"ticker":"FB"}}]}}',
    "METV": b'{"status":"OK","results":{"name":"Roundhill Ball Metaverse ETF","composite_figi":"BBG011MJ3PT2",'
    b'"events":[{"type":"ticker_change","date":"2022-01-31","ticker_change":{"ticker":"METV"}},'
    b'{"type":"ticker_change","date":"2021-06-30","ticker_change":{"ticker":"META"}}]}}',
}
"""By the ticker of today; what is not here had no other."""
LISTED_ROW = '{"ticker":"%s","name":"%s Inc.","market":"stocks","locale":"us","primary_exchange":"XNAS","type":"CS","active":%s,"currency_name":"usd","composite_figi":"%s"%s}'  # fmt: skip
GONE = [("GONE", "2026-03-02"), ("MSFT", "1986-03-13")]
"""Tickers that stocks had which are listed no more; the second is another's now."""
GONE_ON = ',"delisted_utc":"%sT05:00:00Z"'
STATUS = '[{"ev":"status","status":"%s","message":"%s"}]'
TRADE = Form("trade", "$day/$market/$facility/$number", '{"ev":"T","sym":"$symbol","x":$market,"i":"$number","z":3,"p":$price,"s":$size,$c"t":$ms,"q":$sequence$trf}', NS_PER_MS)  # fmt: skip
QUOTE = Form("quote", "$day/$sequence", '{"ev":"Q","sym":"$symbol","bx":$bid_market,"bp":$bid,"bs":$bid_size,"ax":$ask_market,"ap":$ask,"as":$ask_size,"c":0,"t":$ms,"q":$sequence,"z":3}', NS_PER_MS)  # fmt: skip
AGGREGATE = Form("bar", "$interval/$start_ns", '{"ev":"$channel","sym":"$symbol","v":$volume,"av":$volume,"op":$open,"vw":$vwap,"o":$open,"c":$close,"h":$high,"l":$low,"a":$vwap,"z":$mean_size,"s":$start_ms,"e":$end_ms}', 1)  # fmt: skip
ROWS: Mapping[str, Form] = {
    "trades": Form("trade", "$day/$market/$facility/$number", '{$conditions"exchange":$market,"id":"$number","participant_timestamp":$participant_ns,"price":$price,"sequence_number":$sequence,"sip_timestamp":$time_ns,"size":$size,"tape":3$trf_row}', 1),
    "quotes": Form("quote", "$day/$sequence", '{"ask_exchange":$ask_market,"ask_price":$ask,"ask_size":$ask_size,"bid_exchange":$bid_market,"bid_price":$bid,"bid_size":$bid_size,"conditions":[0],"participant_timestamp":$participant_ns,"sequence_number":$sequence,"sip_timestamp":$time_ns,"tape":3}', 1),
    "grouped": Form("bar", "$interval/$midnight_ns", '{"T":"$symbol","v":$volume,"vw":$vwap,"o":$open,"c":$close,"h":$high,"l":$low,"t":$close_ms,"n":$count}', 1),
    "aggs": Form("bar", "$interval/$start_ns", '{"v":$volume,"vw":$vwap,"o":$open,"c":$close,"h":$high,"l":$low,"t":$start_ms,"n":$count}', 1),
}  # fmt: skip
SPLIT = '{"execution_date":"$day","id":"E$day","split_from":$before,"split_to":$after,"ticker":"$symbol"}'
DIVIDEND = '{"cash_amount":$amount,"currency":"USD","dividend_type":"CD","ex_dividend_date":"$day","frequency":4,"id":"D$day","ticker":"$symbol"}'  # fmt: skip
SPLITS = '{"results":[$rows],"status":"OK","request_id":"0"}'
GROUPED = ["v2", "aggs", "grouped", "locale", "us", "market", "stocks"]
CLOSES_AFTER_NS = 16 * NS_PER_HOUR
PAST: Mapping[str, FactKind] = {"trades": PRINTS, "quotes": TOPS}


class Polygon(Venue):
    exchange = "polygon"
    symbols = LISTED
    words = POLYGON_WORDS
    events_per_frame_max = 4
    address = Address(
        channel=("ev",), symbol=("sym",), symbols=(("pair",), ("T",)), spoken=frozenset(("status",))
    )
    past = ROWS
    dialect = Dialect(
        login="auth",
        secrets=("params",),
        rivals=NEWER_STAYS,
        replies={
            "greeting": STATUS % ("connected", "Connected Successfully"),
            "welcome": STATUS % ("auth_success", "authenticated"),
            "auth_failed": STATUS % ("auth_failed", "authentication failed"),
            "too_many": STATUS % ("max_connections", "Maximum number of websocket connections exceeded."),
            "not_logged_in": STATUS % ("error", "not authorized"),
            "bad_request": STATUS % ("error", "invalid message"),
            "unknown_event": '[{"ev":"ZZ","sym":"AAPL","t":$ms}]',
        },
    )
    channels: Mapping[str, Channel] = {
        "T": Channel(PRINT, TRADE, 0.35),
        "Q": Channel(TOP, QUOTE, 0.65),
        "A": Channel(BAR, AGGREGATE, interval="1s"),
        "AM": Channel(BAR, AGGREGATE, interval="1m"),
    }

    def asked(self, request: Any) -> Sequence[str]:
        return [name for name in str(request.get("params", "")).split(",") if name]

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        if action not in (self.dialect.subscribe, self.dialect.unsubscribe):
            return []
        return [(STATUS % ("success", f"{action}d to: {name}")).encode() for name in self.asked(request)]

    # history

    def asked_for(self, ticker: str) -> str:
        """The symbol that a request's ticker means."""
        return ticker

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        parts = path.strip("/").split("/")
        if parts[0] == "v3" and len(parts) == 3 and parts[1] in PAST.keys() & self.past.keys():
            return self._ticks(parts[1], parts[2], read_cursor(query), session)
        if parts[:3] == ["v2", "aggs", "ticker"] and len(parts) == 9:
            return self._bars(parts, query, session)
        if parts[:-1] == GROUPED:
            return self._grouped(parts[-1], query, session)
        if parts == ["v3", "reference", "splits"]:
            days = query["execution_date.gte"], query["execution_date.lte"]
            rows = ",".join(row for _, row in splits_between(SPLIT, now_ns, *days))
            return Response(200, SPLITS.replace("$rows", rows).encode(), is_reference=True)
        if parts == ["v3", "reference", "dividends"]:
            days = query["ex_dividend_date.gte"], query["ex_dividend_date.lte"]
            rows = ",".join(dividends_between(DIVIDEND, now_ns, *days))
            return Response(200, SPLITS.replace("$rows", rows).encode(), is_reference=True)
        if parts == ["v3", "reference", "tickers"]:
            return self._listed(read_cursor(query))
        if parts[:3] == ["vX", "reference", "tickers"] and parts[-1] == "events" and parts[3] in RENAMED:
            return Response(200, RENAMED[parts[3]], is_reference=True)
        return Response(404, b'{"status":"NOT_FOUND","message":"Page not found"}')

    def _listed(self, query: Mapping[str, str]) -> Response:
        """A ticker after the other; what is gone has no FIGI."""
        is_active, limit, skip = query["active"] == "true", int(query["limit"]), int(query.get("skip", "0"))
        names = [(symbol, "") for symbol in sorted(self.symbols)] if is_active else GONE
        rows = [
            LISTED_ROW
            % (name, name, *(("true", FIGIS[name]) if is_active else ("false", "")), day and GONE_ON % day)
            for name, day in names[skip : skip + limit]
        ]
        following = ""
        if skip + limit < len(names):
            cursor = cursor_of({**query, "skip": str(skip + limit)})
            following = f',"next_url":"{NEXT_HOST}/v3/reference/tickers?cursor={cursor}"'
        text = '{"results":[%s],"status":"OK","request_id":"0"%s}' % (",".join(rows), following)  # noqa: UP031
        return Response(200, text.encode(), is_reference=True)

    def _ticks(self, kind: str, ticker: str, query: Mapping[str, str], session: Session) -> Response:
        symbol, limit = self.asked_for(ticker), self.page_limit(query, 1_000, 50_000)

        def read(query: Mapping[str, str], skip: int) -> Sequence[Entry]:
            return session.history.between(
                symbol, PAST[kind], *compared_span(query, "timestamp"), skip, limit + 1
            )

        found, cursor = by_cursor(query, read, limit)
        following = f',"next_url":"{NEXT_HOST}/v3/{kind}/{ticker}?cursor={cursor}"' if cursor else ""
        text = '{"results":[$rows],"status":"OK","request_id":"0"' + following + "}"
        return page(text, *self.rows(self.past[kind], symbol, found))

    def _grouped(self, text: str, query: Mapping[str, str], session: Session) -> Response:
        """A row of each stock, told at the close; the day's bar is the market's of that day in UTC."""
        day = date.fromisoformat(text)
        start_ns, midnight_ns = (as_ns(datetime.combine(day, time(), zone)) for zone in (UTC, NEW_YORK))
        given = {"interval": "1d", "time_ns": midnight_ns, "midnight_ns": midnight_ns}
        given["close_ms"] = (midnight_ns + CLOSES_AFTER_NS) // NS_PER_MS
        rows: list[str] = []
        events: list[TruthEvent] = []
        for symbol in () if is_closed(NEW_YORK_CALENDAR, day) else self.symbols:
            found = session.history.between(symbol, NS_PER_DAY, start_ns, start_ns + NS_PER_DAY, 0, 1)
            written = self.rows(self.past["grouped"], symbol, found, **given)
            rows, events = rows + written[0], events + written[1]
        count = f'"queryCount":{len(rows)},"resultsCount":{len(rows)}'
        results = '"results":[$rows],' if rows else ""
        adjusted = query.get("adjusted", "true")
        head = (
            f'{{{count},"adjusted":{adjusted},{results}"status":"OK","request_id":"0","count":{len(rows)}}}'
        )
        return page(head, rows, events)

    def _bars(self, parts: list[str], query: Mapping[str, str], session: Session) -> Response:
        symbol, interval = self.asked_for(parts[3]), SPANS[parts[6]]
        start_ns, end_ns = read_moment(parts[7]), read_moment(parts[8], end_of_day=True) + NS_PER_MS
        limit = self.page_limit(query, 5_000, 50_000)
        found = session.history.between(symbol, interval_ns(interval), start_ns, end_ns, 0, limit)
        count = f'"queryCount":{len(found)},"resultsCount":{len(found)}'
        text = f'{{"ticker":"{parts[3]}",{count},"adjusted":true,"results":[$rows],"status":"OK","request_id":"0","count":{len(found)}}}'  # fmt: skip
        return page(text, *self.rows(self.past["aggs"], symbol, found, interval=interval))

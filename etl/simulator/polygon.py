"""A simulated Polygon (Massive): stocks.

    ws /polygon/stocks   connected → {"action":"auth"} → auth_success → {"action":"subscribe"} → a line per stream
    GET /polygon/v3/{trades,quotes}/{ticker}   next_url paging
    GET /polygon/v2/aggs/ticker/{ticker}/range/1/{second,minute}/{from}/{to}
    GET /polygon/v3/reference/splits

One connection per key and path: a newer one closes the older.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from etl.simulator.market import Bar, Instrument, Listing, Print, Top, number_text
from etl.simulator.session import Entry, History, Item, Session
from etl.simulator.venue import Answer, Connection, Venue, splits_between

MS = 1_000_000
SECOND = 1_000_000_000
FACILITY_MARKET = 4
"""FINRA's trade reporting facilities; only their prints carry ``trfi``."""
MARKETS = (4, 8, 10, 11, 12, 15, 19)
CONDITIONS = ((), (37,), (14, 41), (12, 37), ())
PRICE_DIGITS = 2
VWAP_DIGITS = 4
REPORTING_DELAY_NS = 350_000
NEXT_HOST = "https://api.polygon.io"
"""As the venue writes ``next_url``; clients keep its path and query."""

SPANS = {"second": SECOND, "minute": 60 * SECOND, "hour": 3_600 * SECOND, "day": 86_400 * SECOND}
CHANNEL_SPANS = {"A": "second", "AM": "minute"}

KNOWN = {"AAPL": 23_750, "MSFT": 47_120, "NVDA": 18_830, "AMZN": 22_045, "TSLA": 41_260, "SPY": 66_340}


class PolygonVenue(Venue):
    default_symbols = tuple(KNOWN)
    weights: Mapping[str, float] = {"T": 0.35, "Q": 0.65}
    bar_channels = {"A": SECOND, "AM": 60 * SECOND}
    events_per_frame_max = 4
    past_kinds = {"trades": "prints", "quotes": "tops", **SPANS}

    # protocol

    def opened(self, connection: Connection) -> None:
        connection.outbox.append(_status("connected", "Connected Successfully"))

    def received(self, connection: Connection, text: str, others: Sequence[Connection]) -> None:
        try:
            request = msgspec.json.decode(text.encode())
            action, parameters = request["action"], str(request.get("params", ""))
        except (msgspec.DecodeError, KeyError, TypeError):
            connection.outbox.append(_status("error", "invalid message"))
            return
        if action == "auth":
            self._login(connection, parameters, others)
        elif not connection.authenticated:
            connection.outbox.append(_status("error", "not authorized"))
        elif action in ("subscribe", "unsubscribe"):
            self._subscribe(connection, action, parameters.split(","))

    def _login(self, connection: Connection, key: str, others: Sequence[Connection]) -> None:
        if self.refuse_logins or not key:
            self.refuse_logins = max(0, self.refuse_logins - 1)
            connection.outbox.append(_status("auth_failed", "authentication failed"))
            connection.closing = True
            return
        if self.refuse_connections:
            self.refuse_connections -= 1
            connection.outbox.append(self.farewell("too_many", 0) or b"")
            connection.closing = True
            return
        connection.key, connection.authenticated = key, True
        for other in others:
            if other.key == key and other.path == connection.path:
                other.outbox.append(self.farewell("too_many", 0) or b"")
                other.closing = True
        connection.outbox.append(_status("auth_success", "authenticated"))

    def _subscribe(self, connection: Connection, action: str, names: list[str]) -> None:
        for name in filter(None, names):
            channel, _, symbol = name.partition(".")
            streams = {f"{channel}.{one}" for one in KNOWN} if symbol == "*" else {name}
            if action == "subscribe":
                connection.streams |= streams
            else:
                connection.streams -= streams
            connection.outbox.append(_status("success", f"{action}d to: {name}"))

    def farewell(self, kind: str, now_ns: int) -> bytes | None:
        if kind == "too_many":
            return _status("max_connections", "Maximum number of websocket connections exceeded.")
        return None

    def join(self, items: Sequence[Item], connection: Connection | None = None) -> bytes:
        return b"[" + b",".join([item.payload for item in items]) + b"]"

    def unknown_event(self, now_ns: int) -> bytes:
        return b'[{"ev":"ZZ","sym":"AAPL","t":%d}]' % (now_ns // MS)

    # writing

    def instrument(self, symbol: str) -> Instrument:
        return Instrument(symbol, PRICE_DIGITS, 0, KNOWN.get(symbol, 10_000))

    def split(self, stream: str) -> tuple[str, str]:
        channel, _, symbol = stream.partition(".")
        return symbol, channel

    def draw(
        self, listing: Listing, channel: str, time_ns: int, streams: frozenset[str], history: History
    ) -> list[Item]:
        symbol = listing.instrument.symbol
        if channel == "T":
            event = listing.print(time_ns)
            history.add(symbol, "trades", Entry(event.number, time_ns, event))
            return [Item(f"T.{symbol}", _trade(symbol, event))]
        quote = listing.top(time_ns)
        history.add(symbol, "quotes", Entry(quote.sequence, time_ns, quote))
        return [Item(f"Q.{symbol}", _quote(symbol, quote))]

    def bar(
        self, listing: Listing, channel: str, bar: Bar, now_ns: int, closed: bool, history: History
    ) -> list[Item]:
        """A stock without an eligible trade has no bar."""
        if not bar.count:
            return []
        symbol, values = listing.instrument.symbol, _bar_values(bar)
        history.add(symbol, CHANNEL_SPANS[channel], Entry(bar.start_ns, bar.start_ns, bar))
        text = (
            f'{{"ev":"{channel}","sym":"{symbol}","v":{bar.volume},"av":{bar.volume},"op":{values["o"]},'
            f'"vw":{values["vw"]},"o":{values["o"]},"c":{values["c"]},"h":{values["h"]},"l":{values["l"]},'
            f'"a":{values["vw"]},"z":{bar.volume // bar.count},"s":{bar.start_ns // MS},"e":{bar.end_ns // MS}}}'
        )
        return [Item(f"{channel}.{symbol}", text.encode())]

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Answer | None:
        parts = path.strip("/").split("/")
        if parts[:2] in (["v3", "trades"], ["v3", "quotes"]) and len(parts) == 3:
            return self._ticks(parts[1], parts[2], query, session)
        if parts[:3] == ["v2", "aggs", "ticker"] and len(parts) == 9:
            return self._bars(parts, query, session)
        if parts == ["v3", "reference", "splits"]:
            return _splits(query, now_ns)
        return Answer(404, b'{"status":"NOT_FOUND","message":"Page not found"}')

    def _ticks(self, kind: str, symbol: str, query: Mapping[str, str], session: Session) -> Answer:
        query = _read_cursor(query["cursor"]) if "cursor" in query else dict(query)
        limit = self.page_limit(query, 1_000, 50_000)
        start, end = _tick_bounds(query)
        skip = int(query.get("skip", 0))
        found = session.history.between(symbol, kind, start, end, skip, limit + 1)
        write = _trade_row if kind == "trades" else _quote_row
        body = f'{{"results":[{",".join(write(entry.fact) for entry in found[:limit])}],"status":"OK","request_id":"0"'
        if len(found) > limit:
            cursor = _cursor({**query, "skip": str(skip + limit)})
            body += f',"next_url":"{NEXT_HOST}/v3/{kind}/{symbol}?cursor={cursor}"'
        return Answer(200, (body + "}").encode())

    def _bars(self, parts: list[str], query: Mapping[str, str], session: Session) -> Answer:
        symbol, span = parts[3], parts[6]
        start = _time_of(parts[7])
        end = _time_of(parts[8], end_of_day=True) + MS
        found = session.history.between(symbol, span, start, end, 0, self.page_limit(query, 5_000, 50_000))
        rows = []
        for entry in found:
            bar, v = entry.fact, _bar_values(entry.fact)
            rows.append(
                f'{{"v":{bar.volume},"vw":{v["vw"]},"o":{v["o"]},"c":{v["c"]},"h":{v["h"]},"l":{v["l"]},'
                f'"t":{bar.start_ns // MS},"n":{bar.count}}}'
            )
        body = (
            f'{{"ticker":"{symbol}","queryCount":{len(rows)},"resultsCount":{len(rows)},"adjusted":true,'
            f'"results":[{",".join(rows)}],"status":"OK","request_id":"0","count":{len(rows)}}}'
        )
        return Answer(200, body.encode())


def _splits(query: Mapping[str, str], now_ns: int) -> Answer:
    found = splits_between(now_ns, query["execution_date.gte"], query["execution_date.lte"])
    rows = [
        {
            "execution_date": day,
            "id": f"E{day}",
            "split_from": s.before,
            "split_to": s.after,
            "ticker": s.symbol,
        }
        for day, s in found
    ]
    body = msgspec.json.encode({"results": rows, "status": "OK", "request_id": "0"})
    return Answer(200, body, is_reference=True)


def _status(status: str, message: str) -> bytes:
    return msgspec.json.encode([{"ev": "status", "status": status, "message": message}])


def _price(ticks: int) -> str:
    return number_text(ticks, PRICE_DIGITS)


def _market(event: Print) -> int:
    return MARKETS[event.draw % len(MARKETS)]


def _conditions(event: Print) -> str:
    codes = CONDITIONS[event.draw % len(CONDITIONS)]
    return f"[{','.join(map(str, codes))}]" if codes else ""


def _trade(symbol: str, event: Print) -> bytes:
    market, conditions = _market(event), _conditions(event)
    facility = f',"trfi":202,"trft":{event.time_ns // MS}' if market == FACILITY_MARKET else ""
    codes = f'"c":{conditions},' if conditions else ""
    return (
        f'{{"ev":"T","sym":"{symbol}","x":{market},"i":"{event.number}","z":3,"p":{_price(event.price)},'
        f'"s":{event.size},{codes}"t":{event.time_ns // MS},"q":{event.sequence}{facility}}}'
    ).encode()


def _trade_row(event: Print) -> str:
    market, conditions = _market(event), _conditions(event)
    facility = f',"trf_id":202,"trf_timestamp":{event.time_ns}' if market == FACILITY_MARKET else ""
    codes = f'"conditions":{conditions},' if conditions else ""
    return (
        f'{{{codes}"exchange":{market},"id":"{event.number}",'
        f'"participant_timestamp":{event.time_ns - REPORTING_DELAY_NS},"price":{_price(event.price)},'
        f'"sequence_number":{event.sequence},"sip_timestamp":{event.time_ns},"size":{event.size},"tape":3{facility}}}'
    )


def _quote(symbol: str, event: Top) -> bytes:
    bid_market, ask_market = MARKETS[event.draw % 7], MARKETS[event.draw // 7 % 7]
    return (
        f'{{"ev":"Q","sym":"{symbol}","bx":{bid_market},"bp":{_price(event.bid)},"bs":{event.bid_size},'
        f'"ax":{ask_market},"ap":{_price(event.ask)},"as":{event.ask_size},"c":0,"t":{event.time_ns // MS},'
        f'"q":{event.sequence},"z":3}}'
    ).encode()


def _quote_row(event: Top) -> str:
    bid_market, ask_market = MARKETS[event.draw % 7], MARKETS[event.draw // 7 % 7]
    return (
        f'{{"ask_exchange":{ask_market},"ask_price":{_price(event.ask)},"ask_size":{event.ask_size},'
        f'"bid_exchange":{bid_market},"bid_price":{_price(event.bid)},"bid_size":{event.bid_size},"conditions":[0],'
        f'"participant_timestamp":{event.time_ns - REPORTING_DELAY_NS},"sequence_number":{event.sequence},'
        f'"sip_timestamp":{event.time_ns},"tape":3}}'
    )


def _bar_values(bar: Bar) -> dict[str, str]:
    """``vw`` is rounded down to ``VWAP_DIGITS``: the venue's own rounding is not documented."""
    scale = 10 ** (VWAP_DIGITS - PRICE_DIGITS)
    return {
        "o": _price(bar.open),
        "h": _price(bar.high),
        "l": _price(bar.low),
        "c": _price(bar.close),
        "vw": number_text(bar.turnover * scale // bar.volume, VWAP_DIGITS),
    }


def _tick_bounds(query: Mapping[str, str]) -> tuple[int, int]:
    """The ``timestamp`` filters → [start, end) in ns."""
    start, end = 0, 1 << 62
    for name, text in query.items():
        time_ns = _time_of(text) if name.startswith("timestamp") else 0
        match name:
            case "timestamp":
                start, end = time_ns, time_ns + (86_400 * SECOND if "-" in text else 1)
            case "timestamp.gte":
                start = max(start, time_ns)
            case "timestamp.gt":
                start = max(start, time_ns + 1)
            case "timestamp.lt":
                end = min(end, time_ns)
            case "timestamp.lte":
                end = min(end, time_ns + 1)
    return start, end


def _time_of(text: str, *, end_of_day: bool = False) -> int:
    """A date, milliseconds or nanoseconds → ns."""
    if not text.isdecimal():
        day = datetime.fromisoformat(text.replace("Z", "+00:00"))
        day = day if day.tzinfo else day.replace(tzinfo=UTC)
        if end_of_day and len(text) == 10:
            day += timedelta(days=1, milliseconds=-1)
        return int(day.timestamp()) * SECOND + day.microsecond * 1_000
    return int(text) * (MS if len(text) < 16 else 1)


def _cursor(query: Mapping[str, str]) -> str:
    text = "&".join(f"{name}={value}" for name, value in query.items())
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> dict[str, str]:
    text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    return dict(pair.split("=", 1) for pair in text.split("&"))

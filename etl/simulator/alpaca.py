"""A simulated Alpaca: stocks.

    ws /alpaca/v2/{sip,iex,test}   connected → {"action":"auth"} → authenticated → {"action":"subscribe"} → subscription
    GET /alpaca/v2/stocks/{trades,quotes,bars}   several symbols, next_page_token
    GET /alpaca/v1/corporate-actions             splits

One connection per endpoint: a second one gets 406.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from etl.simulator.market import Bar, Instrument, Listing, Print, Top, number_text
from etl.simulator.polygon import KNOWN
from etl.simulator.session import Entry, History, Item, Session
from etl.simulator.venue import Answer, Connection, Venue, splits_between

SECOND = 1_000_000_000
PRICE_DIGITS = 2
VWAP_DIGITS = 6
MARKETS = "VQPKZDX"
CONDITIONS = ('"@"', '"@","I"', '"@","F","T","I"')
CHANNELS = {
    "trades": "t",
    "quotes": "q",
    "bars": "b",
    "updatedBars": "u",
    "dailyBars": "d",
    "statuses": "s",
    "lulds": "l",
    "corrections": "c",
    "cancelErrors": "x",
}
FRAMES = {"1Min": 60 * SECOND, "5Min": 300 * SECOND, "1Hour": 3_600 * SECOND, "1Day": 86_400 * SECOND}
ERRORS = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
    500: "internal error",
}


class AlpacaVenue(Venue):
    default_symbols = tuple(KNOWN)
    weights: Mapping[str, float] = {"trades": 0.35, "quotes": 0.65}
    bar_channels = {"bars": 60 * SECOND}
    events_per_frame_max = 4
    past_kinds = {"trades": "prints", "quotes": "tops", **FRAMES}

    # protocol

    def opened(self, connection: Connection) -> None:
        connection.outbox.append(b'[{"T":"success","msg":"connected"}]')

    def received(self, connection: Connection, text: str, others: Sequence[Connection]) -> None:
        try:
            request = msgspec.json.decode(text.encode())
            action = request["action"]
        except (msgspec.DecodeError, KeyError, TypeError):
            connection.outbox.append(error(400))
            return
        if action == "auth":
            self._login(connection, request, others)
        elif not connection.authenticated:
            connection.outbox.append(error(401))
        elif action in ("subscribe", "unsubscribe"):
            self._subscribe(connection, action, request)
        else:
            connection.outbox.append(error(400))

    def _login(
        self, connection: Connection, request: Mapping[str, str], others: Sequence[Connection]
    ) -> None:
        code = 0
        if connection.authenticated:
            connection.outbox.append(error(403))
            return
        if self.refuse_logins or not request.get("key") or not request.get("secret"):
            self.refuse_logins, code = max(0, self.refuse_logins - 1), 402
        elif self.refuse_connections:
            self.refuse_connections, code = self.refuse_connections - 1, 406
        elif any(other.authenticated and other.path == connection.path for other in others):
            code = 406
        if code:
            connection.outbox.append(error(code))
            connection.closing = True
            return
        connection.key, connection.authenticated = request["key"], True
        connection.outbox.append(b'[{"T":"success","msg":"authenticated"}]')

    def _subscribe(self, connection: Connection, action: str, request: Mapping[str, list[str]]) -> None:
        for channel in CHANNELS:
            for symbol in request.get(channel, []):
                streams = {f"{channel}.{one}" for one in (KNOWN if symbol == "*" else [symbol])}
                if action == "subscribe":
                    connection.streams |= streams
                else:
                    connection.streams -= streams
        active: dict[str, list[str]] = {channel: [] for channel in CHANNELS}
        for stream in sorted(connection.streams):
            symbol, channel = self.split(stream)
            active[channel].append(symbol)
        connection.outbox.append(msgspec.json.encode([{"T": "subscription", **active}]))

    def farewell(self, kind: str, now_ns: int) -> bytes | None:
        return {"slow_client": error(407), "too_many": error(406), "error": error(500)}.get(kind)

    def join(self, items: Sequence[Item], connection: Connection | None = None) -> bytes:
        return b"[" + b",".join([item.payload for item in items]) + b"]"

    def unknown_event(self, now_ns: int) -> bytes:
        return f'[{{"T":"zz","S":"AAPL","t":"{time_text(now_ns)}"}}]'.encode()

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
        if channel == "trades":
            event = listing.print(time_ns)
            history.add(symbol, "trades", Entry(event.number, time_ns, event))
            text = _trade(event, f'"T":"t","S":"{symbol}",')
        else:
            quote = listing.top(time_ns)
            history.add(symbol, "quotes", Entry(quote.number, time_ns, quote))
            text = _quote(quote, f'"T":"q","S":"{symbol}",')
        return [Item(f"{channel}.{symbol}", text.encode())]

    def bar(
        self, listing: Listing, channel: str, bar: Bar, now_ns: int, closed: bool, history: History
    ) -> list[Item]:
        """A stock without an eligible trade has no bar."""
        if not bar.count:
            return []
        symbol = listing.instrument.symbol
        history.add(symbol, "1Min", Entry(bar.start_ns, bar.start_ns, bar))
        return [Item(f"{channel}.{symbol}", _bar(bar, f'"T":"b","S":"{symbol}",').encode())]

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Answer | None:
        if path.strip("/") == "v1/corporate-actions":
            return _splits(query, now_ns)
        prefix, _, kind = path.strip("/").rpartition("/")
        if prefix != "v2/stocks" or kind not in ("trades", "quotes", "bars"):
            return Answer(404, b'{"message":"endpoint not found."}')
        symbols = sorted(filter(None, query.get("symbols", "").split(",")))
        if not symbols:
            return Answer(400, b'{"message":"symbols is required"}')
        limit = self.page_limit(query, 1_000, 10_000)
        start = read_time(query["start"]) if "start" in query else 0
        end = read_time(query["end"]) + 1 if "end" in query else 1 << 62
        first, skip = _read_token(query["page_token"]) if query.get("page_token") else (symbols[0], 0)
        write = _WRITERS[kind]
        entries = query.get("timeframe", "1Min") if kind == "bars" else kind
        pages: dict[str, str] = {}
        token = "null"  # noqa: S105
        for symbol in symbols[symbols.index(first) :]:
            found = session.history.between(symbol, entries, start, end, skip, limit + 1)
            if found[:limit]:
                pages[symbol] = ",".join(write(entry.fact, "") for entry in found[:limit])
            if len(found) > limit:
                token = f'"{_token(symbol, skip + limit)}"'
                break
            limit, skip = limit - len(found), 0
        rows = ",".join(f'"{symbol}":[{page}]' for symbol, page in pages.items())
        return Answer(200, f'{{"{kind}":{{{rows}}},"next_page_token":{token}}}'.encode())


def _splits(query: Mapping[str, str], now_ns: int) -> Answer:
    actions: dict[str, list[dict[str, Any]]] = {"forward_splits": [], "reverse_splits": []}
    for day, split in splits_between(now_ns, query["start"], query["end"]):
        kind = "forward_splits" if split.after > split.before else "reverse_splits"
        row = {"symbol": split.symbol, "new_rate": split.after, "old_rate": split.before, "ex_date": day}
        actions[kind].append({**row, "process_date": day})
    body = msgspec.json.encode({"corporate_actions": actions, "next_page_token": None})
    return Answer(200, body, is_reference=True)


def error(code: int) -> bytes:
    return msgspec.json.encode([{"T": "error", "code": code, "msg": ERRORS[code]}])


def _price(ticks: int) -> str:
    return number_text(ticks, PRICE_DIGITS)


def _trade(event: Print, head: str) -> str:
    market = MARKETS[event.draw % len(MARKETS)]
    conditions = CONDITIONS[event.draw % len(CONDITIONS)]
    return (
        f'{{{head}"i":{event.number},"x":"{market}","p":{_price(event.price)},"s":{event.size},'
        f'"c":[{conditions}],"z":"C","t":"{time_text(event.time_ns)}"}}'
    )


def _quote(event: Top, head: str) -> str:
    bid_market, ask_market = MARKETS[event.draw % 7], MARKETS[event.draw // 7 % 7]
    return (
        f'{{{head}"bx":"{bid_market}","bp":{_price(event.bid)},"bs":{event.bid_size},"ax":"{ask_market}",'
        f'"ap":{_price(event.ask)},"as":{event.ask_size},"c":["R"],"z":"C","t":"{time_text(event.time_ns)}"}}'
    )


def _bar(bar: Bar, head: str) -> str:
    scale = 10 ** (VWAP_DIGITS - PRICE_DIGITS)
    vwap = number_text(bar.turnover * scale // bar.volume, VWAP_DIGITS)
    return (
        f'{{{head}"o":{_price(bar.open)},"h":{_price(bar.high)},"l":{_price(bar.low)},"c":{_price(bar.close)},'
        f'"v":{bar.volume},"t":"{time_text(bar.start_ns)}","n":{bar.count},"vw":{vwap}}}'
    )


@lru_cache(maxsize=64)
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def time_text(time_ns: int) -> str:
    """RFC 3339 with as many fraction digits as are needed, as the venue writes it."""
    second, fraction = divmod(time_ns, SECOND)
    digits = f".{fraction:09d}".rstrip("0").rstrip(".")
    return f"{_second_text(second)}{digits}Z"


def read_time(text: str) -> int:
    """RFC 3339 or a date → ns."""
    whole, _, fraction = text.removesuffix("Z").removesuffix("+00:00").partition(".")
    second = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return second * SECOND + int(fraction.ljust(9, "0")[:9] or 0)


def _token(symbol: str, skip: int) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{skip}".encode()).decode()


def _read_token(token: str) -> tuple[str, int]:
    symbol, _, skip = base64.urlsafe_b64decode(token).decode().partition("|")
    return symbol, int(skip)


_WRITERS: dict[str, Callable[[Any, str], str]] = {"trades": _trade, "quotes": _quote, "bars": _bar}

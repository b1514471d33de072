"""A simulated Hyperliquid: perpetuals.

ws /hyperliquid           {"method":"subscribe","subscription":{"type":"trades","coin":"BTC"}}, {"method":"ping"}; the last 30
                          fills come first, in one message
POST /hyperliquid/info    {"type":"candleSnapshot","req":{…}}, recentTrades, l2Book, allPerpMetas
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from etl.model.times import NS_PER_MS, interval_ns
from etl.simulator.address import Address
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.frame_faults import Outgoing
from etl.simulator.history import PRINTS, History
from etl.simulator.market import Instrument, Listing, number_text
from etl.simulator.session import Item, Session
from etl.simulator.truth import PLACED
from etl.simulator.venue import BAR, BEST, PRINT, TOP, Channel, Response, Venue, page
from etl.simulator.words import WORDS, Form, Words

WHOLE = "whole"
"""Draws all of the book's best levels."""
DEPTH, FAST_DEPTH, REPLAYED_MAX, ROWS_MAX = 20, 5, 30, 500
TID_FACTOR, TIDS = 6_364_136_223_846_793_005, 1 << 50
UNKNOWN_REQUEST = b"Failed to deserialize the JSON body into the target type"


def levels(name: str, levels_max: int) -> Callable[[Words], str]:
    """``{"px":"105055.0","sz":"3.03622","n":2},…``"""

    def write(words: Words) -> str:
        return ",".join(
            f'{{"px":"{words.price(price)}","sz":"{words.size(lots)}","n":{1 + lots % 7}}}'
            for price, lots in getattr(words.fact, name)[:levels_max]
        )

    return write


COIN_WORDS: dict[str, Callable[[Words], Any]] = WORDS | {
    "taker": lambda words: "B" if words.fact.buyer_takes else "A",
    "tid": lambda words: words["number"] * TID_FACTOR % TIDS,
    "bid_levels": levels("bids", DEPTH),
    "ask_levels": levels("asks", DEPTH),
    "fast_bids": levels("bids", FAST_DEPTH),
    "fast_asks": levels("asks", FAST_DEPTH),
}
FILL = '{"coin":"$symbol","side":"$taker","px":"$price","sz":"$size","time":$ms,"hash":"0x00","tid":$tid,"users":["0x01","0x02"]}'
CANDLE = '{"t":$start_ms,"T":$last_ms,"s":"$symbol","i":"$interval","o":"$open","c":"$close","h":"$high","l":"$low","v":"$volume","n":$count}'
LEVELS = '{"coin":"$symbol","time":$ms,"levels":[[$bid_levels],[$ask_levels]]}'
FAST = '{"coin":"$symbol","time":$ms,"levels":[[$fast_bids],[$fast_asks]],"fast":true}'
BBO = '{"coin":"$symbol","time":$ms,"bbo":[{"px":"$bid","sz":"$bid_size","n":2},{"px":"$ask","sz":"$ask_size","n":1}]}'
CONTEXT = '{"coin":"$symbol","ctx":{"funding":"0.0000125","openInterest":"$bid_size","prevDayPx":"$bid","dayNtlVlm":"1169046.29","premium":null,"oraclePx":"$bid","markPx":"$ask","midPx":"$bid","impactPxs":null,"dayBaseVlm":"11.5"}}'

TRADE_KEY, BAR_KEY = "$ms/$symbol/$tid", "$interval/$start_ns"
TRADE_ROW = Form("trade", TRADE_KEY, FILL, NS_PER_MS)
BAR_ROW = Form("bar", BAR_KEY, CANDLE, 1)
BOOK_ANSWER = Form("book", PLACED, LEVELS, NS_PER_MS)
LISTS = ("allPerpMetas", "spotMeta")
REQUESTS = (*LISTS, "candleSnapshot", "recentTrades", "l2Book")
CANDLE_PLACE = Address(channel=("data", "i"), symbol=("data", "s"))
FAST_PLACE = Address(channel=("data", "coin"), needs=("data", "fast"))


def said(channel: str, data: str) -> str:
    return f'{{"channel":"{channel}","data":{data}}}'


class Hyperliquid(Venue):
    exchange = "hyperliquid"
    symbols: Mapping[str, Instrument] = {
        "BTC": Instrument("BTC", "BTC-USD-PERP", 0, 5, 105_055),
        "ETH": Instrument("ETH", "ETH-USD-PERP", 1, 4, 33_521),
        "SOL": Instrument("SOL", "SOL-USD-PERP", 2, 2, 24_835),
        "xyz:TSLA": Instrument("xyz:TSLA", "xyz:TSLA-USD-PERP", 2, 3, 41_207),
    }
    words = COIN_WORDS
    address = Address(
        channel=("channel",), symbol=("data", "coin"), symbols=(("data", 0, "coin"), ("data", "s")), needs=("data",),
        spoken=frozenset(("subscriptionResponse", "pong", "error", "notification", "post")),
        channels={"activeSpotAssetCtx": "activeAssetCtx"},
    )  # fmt: skip
    sends_forming_bars = True
    dialect = Dialect(
        action="method",
        replies={
            "greeting": "Websocket connection established.",
            "bad_request": said("error", '"Error parsing JSON into valid websocket request"'),
            "unknown_event": said("mystery", "{}"),
        },
    )
    channels: Mapping[str, Channel] = {
        "trades": Channel(PRINT, Form("trade", TRADE_KEY, said("trades", f"[{FILL}]"), NS_PER_MS), 0.4, opening=TRADE_ROW, replayed_max=REPLAYED_MAX),
        "bbo": Channel(TOP, Form("quote", PLACED, said("bbo", BBO), NS_PER_MS), 0.3),
        "l2Book": Channel(WHOLE, Form("book", PLACED, said("l2Book", LEVELS), NS_PER_MS), 0.1),
        "l2Book_fast": Channel(WHOLE, Form("book", PLACED, said("l2Book", FAST), NS_PER_MS), 0.1),
        "candle_1m": Channel(BAR, Form("bar", BAR_KEY, said("candle", CANDLE), 1), interval="1m"),
        "activeAssetCtx": Channel(BEST, Form("stats", PLACED, said("activeAssetCtx", CONTEXT), 0), 0.1),
    }  # fmt: skip
    listing = (
        '[{"universe":[$rows],"marginTables":[],"collateralToken":0}]',
        '{"szDecimals":%d,"name":"%s","maxLeverage":20}',
    )

    def write(self, units: int, digits: int) -> str:
        text = number_text(units, digits)
        return text if "." in text else f"{text}.0"

    def split(self, stream: str) -> tuple[str, str]:
        channel, _, symbol = stream.partition("|")
        return symbol, channel

    def stream(self, symbol: str, channel: str) -> str:
        return f"{channel}|{symbol}"

    def stream_of(self, payload: bytes) -> str | None:
        """A candle's channel has its interval, a fast book its pace."""
        name = super().stream_of(payload)
        if not name:
            return name
        symbol, channel = self.split(name)
        if channel == "candle" and (candle := CANDLE_PLACE.read(payload)):
            return self.stream(symbol, f"candle_{candle[0]}")
        return self.stream(symbol, f"{channel}_fast") if FAST_PLACE.read(payload) else name

    def draw(
        self, listing: Listing, channel: str, time_ns: int, streams: frozenset[str], history: History
    ) -> list[Item]:
        """Each book's message is all of it; each of the two has its own pace."""
        if self.channels[channel].draws != WHOLE:
            return super().draw(listing, channel, time_ns, streams, history)
        listing.change(time_ns)
        symbol = listing.instrument.symbol
        return [self._item(symbol, channel, self.stream(symbol, channel), listing.snapshot(time_ns))]

    def opening(self, stream: str, session: Session, now_ns: int) -> list[Outgoing]:
        """One message, not one for each fill."""
        items = [item for one in super().opening(stream, session, now_ns) for item in one.items]
        fills = b",".join([item.payload for item in items])
        return [Outgoing(items, b'{"channel":"trades","data":[%b]}' % fills)] if items else []

    # conversation

    def asked(self, request: Any) -> Sequence[str]:
        said = request.get("subscription")
        if said is None:
            return []
        channel = f"{said['type']}_{said['interval']}" if "interval" in said else said["type"]
        return [self.stream(said["coin"], f"{channel}_fast" if said.get("fast") else channel)]

    def subscribe(self, connection: Connection, names: Sequence[str]) -> None:
        super().subscribe(connection, [name for name in names if self._is_listed(name)])

    def _is_listed(self, name: str) -> bool:
        symbol, channel = self.split(name)
        return symbol in self.symbols and channel in self.channels

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        if action == "ping":
            return [b'{"channel":"pong"}']
        names, asked = self.asked(request), request.get("subscription")
        if not all(map(self._is_listed, names)):
            text = f"Invalid subscription {msgspec.json.encode(asked).decode()}"
            return [msgspec.json.encode({"channel": "error", "data": text})]
        echo = {"method": action, "subscription": {"nSigFigs": None, **asked}}
        return [msgspec.json.encode({"channel": "subscriptionResponse", "data": echo})]

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        asked = msgspec.json.decode(query.get("body", "{}"))
        kind, span = asked.get("type"), asked.get("req", {})
        symbol = asked.get("coin") or span.get("coin", "")
        if path != "/info" or kind not in REQUESTS:
            return Response(422, UNKNOWN_REQUEST)
        if kind in LISTS:
            return self.listed()
        if symbol not in self.symbols:
            return Response(500, b"null")
        if kind == "l2Book":
            return self.book(BOOK_ANSWER, symbol, DEPTH, session, now_ns)
        if kind == "recentTrades":
            found = session.history.last(symbol, PRINTS, REPLAYED_MAX)[::-1]
            return page("[$rows]", *self.rows(TRADE_ROW, symbol, found))
        span_ns = span["startTime"] * NS_PER_MS, (span["endTime"] + 1) * NS_PER_MS
        found = session.history.between(symbol, interval_ns(span["interval"]), *span_ns, 0, ROWS_MAX)
        return page("[$rows]", *self.rows(BAR_ROW, symbol, found, interval=span["interval"]))

    def listed(self) -> Response:
        text, row = self.listing
        rows = ",".join(row % (one.size_digits, one.symbol) for one in self.symbols.values())
        return Response(200, text.replace("$rows", rows).encode(), is_reference=True)

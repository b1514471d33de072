"""A simulated KuCoin spot.

POST /kucoin/api/v1/bullet-public   the ticket of a connection
ws   /kucoin/?token=…               {"id":"1","type":"subscribe","topic":"/market/match:BTC-USDT","response":true}
GET  /kucoin/api/{v1/market/{histories,candles,orderbook/level2_100},v2/symbols}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from etl.model.times import NS_PER_MS, NS_PER_S, interval_ns
from etl.simulator.address import TO_ALL, Address
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.history import PRINTS
from etl.simulator.market import Instrument
from etl.simulator.session import Session
from etl.simulator.venue import BAR, CHANGE, PRINT, TOP, Channel, Response, Venue, page
from etl.simulator.words import WORDS, Form, Words

TRADES_MAX = 100
BARS_MAX = 1_500
INTERVALS = {"1min": "1m", "5min": "5m", "1hour": "1h", "1day": "1d"}
NO_SYMBOL = Response(200, b'{"code":"900001","msg":"symbol not exists"}')


def changes(name: str) -> Callable[[Words], str]:
    """``["61837.6","0.1","43"],…``: levels, each with the sequence that changed it."""
    return lambda words: ",".join(
        f'["{words.price(price)}","{words.size(lots)}","{words["last"]}"]'
        for price, lots in getattr(words.fact, name)
    )


KUCOIN_WORDS: dict[str, Callable[[Words], Any]] = WORDS | {
    "ms_in_ns": lambda words: words["ms"] * NS_PER_MS,
    "now_ns": lambda words: words["now_ms"] * NS_PER_MS,
    "taker": lambda words: "buy" if words.fact.buyer_takes else "sell",
    "start_s": lambda words: words.fact.start_ns // NS_PER_S,
    "bid_changes": changes("bids"),
    "ask_changes": changes("asks"),
}


def message(topic: str, subject: str, data: str) -> str:
    return f'{{"topic":"/market/{topic}","type":"message","subject":"{subject}","data":{data}}}'


def answer(data: str) -> str:
    return f'{{"code":"200000","data":{data}}}'


TICKET = '{"token":"%d","instanceServers":[{"endpoint":"wss://ws-api-spot.kucoin.com/","encrypt":true,"protocol":"websocket","pingInterval":18000,"pingTimeout":10000}]}'  # fmt: skip
MATCH = '{"makerOrderId":"671b5007389355000701b1d3","price":"$price","sequence":"$number","side":"$taker","size":"$size","symbol":"$symbol","takerOrderId":"671b50161777ff00074c168d","time":"$ms_in_ns","tradeId":"$number","type":"match"}'  # fmt: skip
TICKER = '{"bestAsk":"$ask","bestAskSize":"$ask_size","bestBid":"$bid","bestBidSize":"$bid_size","price":"$bid","sequence":"$number","size":"1","time":$ms}'  # fmt: skip
LEVEL2 = '{"changes":{"asks":[$ask_changes],"bids":[$bid_changes]},"sequenceEnd":$last,"sequenceStart":$first,"symbol":"$symbol","time":$ms}'  # fmt: skip
CANDLE = '{"symbol":"$symbol","candles":["$start_s","$open","$close","$high","$low","$volume","$turnover"],"time":$now_ns}'  # fmt: skip


class Kucoin(Venue):
    exchange = "kucoin"
    symbols: Mapping[str, Instrument] = {
        one[0]: Instrument(*one)
        for one in (
            ("BTC-USDT", "BTC-USDT", 1, 8, 618_376),
            ("ETH-USDT", "ETH-USDT", 2, 7, 268_512),
            ("ADA-USDT", "ADA-USDT", 4, 2, 6_513),
        )
    }
    words = KUCOIN_WORDS
    separator = "/"
    address = Address(channel=("topic",), needs=("data",))
    sends_forming_bars = sends_empty_bars = True
    dialect = Dialect(
        action="type",
        replies={
            "greeting": '{"id":"hQvf8jkno","type":"welcome"}',
            "no_ticket": '{"id":"hQvf8jkno","type":"error","code":401,"data":"token is invalid"}',
            "bad_request": '{"id":"hQvf8jkno","type":"error","code":400,"data":"bad request"}',
            "unknown_event": message("mystery:BTC-USDT", "trade.mystery", "{}"),
        },
    )
    channels: Mapping[str, Channel] = {
        "match": Channel(PRINT, Form("trade", "$number", message("match:$symbol", "trade.l3match", MATCH), NS_PER_MS), 0.25),
        "ticker": Channel(TOP, Form("quote", "$number", message("ticker:$symbol", "trade.ticker", TICKER), NS_PER_MS), 0.45),
        "level2": Channel(
            CHANGE, Form("book", "level2/d/$last", message("level2:$symbol", "trade.l2update", LEVEL2), NS_PER_MS), 0.25,
            is_counted=True,
        ),
        "candles_1min": Channel(
            BAR, Form("bar", "$interval/$start_ns", message("candles:${symbol}_1min", "trade.candles.update", CANDLE), 1),
            interval="1m",
        ),
    }  # fmt: skip
    snapshot = Form("book", "level2/s/$last", answer('{"time":$ms,"sequence":"$last","bids":[$bids],"asks":[$asks]}'), NS_PER_MS)  # fmt: skip
    trade_row = Form("trade", "$number", '{"sequence":"$number","price":"$price","size":"$size","side":"$taker","time":$ms_in_ns}', NS_PER_MS)  # fmt: skip
    bar_row = Form("bar", "$interval/$start_ns", '["$start_s","$open","$close","$high","$low","$volume","$turnover"]', 1)  # fmt: skip
    listing = '{"symbol":"$symbol","name":"$symbol","baseCurrency":"$base","quoteCurrency":"$quote","baseIncrement":"$step","priceIncrement":"$tick","enableTrading":true}'  # fmt: skip

    def __init__(self, exchange: str) -> None:
        super().__init__(exchange)
        self._tickets = 0
        """How many were handed out: each is its number."""

    # a socket

    def opened(self, connection: Connection) -> None:
        number = connection.query.get("token", "")
        if number.isdecimal() and 0 < int(number) <= self._tickets:
            super().opened(connection)
        else:
            self.say(connection, "no_ticket")
            connection.closing = True

    def stream_of(self, payload: bytes) -> str | None:
        """As a request for the frame's topic names it."""
        topic = super().stream_of(payload)
        return next(iter(self.asked({"topic": topic})), TO_ALL) if topic else topic

    def asked(self, request: Any) -> Sequence[str]:
        channel, _, names = str(request.get("topic", "")).removeprefix("/market/").partition(":")
        parts = [name.partition("_") for name in names.split(",") if name]
        return [self.stream(symbol, f"{channel}{mark}{interval}") for symbol, mark, interval in parts]

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        ack: dict[str, Any] = {
            "id": str(request.get("id", "")),
            "type": "pong" if action == "ping" else "ack",
        }
        places = [self.split(name) for name in self.asked(request)]
        if not all(symbol in self.symbols and channel in self.channels for symbol, channel in places):
            ack |= {"type": "error", "code": 404, "data": f"topic {request['topic']} is not found"}
        return [msgspec.json.encode(ack)]

    # requests

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        endpoint, symbol = path.rpartition("/")[2], query.get("symbol", "")
        if endpoint == "bullet-public":
            self._tickets += 1
            return Response(200, answer(TICKET % self._tickets).encode(), is_reference=True)
        if endpoint == "symbols":
            return self.listings(answer("[$rows]"), self.listing)
        if symbol not in self.symbols:
            return NO_SYMBOL
        if endpoint == "level2_100":
            return self.book(self.snapshot, symbol, 100, session, now_ns)
        if endpoint == "histories":
            found = session.history.last(symbol, PRINTS, TRADES_MAX)
            return page(answer("[$rows]"), *self.rows(self.trade_row, symbol, found))
        if endpoint == "candles":
            interval = INTERVALS[query["type"]]
            span = int(query.get("startAt", "0")) * NS_PER_S, (int(query["endAt"]) + 1) * NS_PER_S
            found = session.history.between(symbol, interval_ns(interval), *span, 0, BARS_MAX)
            return page(answer("[$rows]"), *self.rows(self.bar_row, symbol, found[::-1], interval=interval))
        return Response(404, b'{"code":"404000","msg":"Url Not Found"}')

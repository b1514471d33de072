"""A simulated Bybit v5: spot; the other markets are sisters.

ws /bybit   {"op":"subscribe","args":["orderbook.50.BTCUSDT",…]}, {"op":"ping"}
GET /bybit/v5/market/{kline,recent-trade,orderbook,instruments-info}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec

from etl.model.times import NS_PER_MS, interval_ns
from etl.simulator.address import Address
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.history import PRINTS
from etl.simulator.market import Instrument, decimal_text
from etl.simulator.paging import END_OF_TIME_MS
from etl.simulator.session import Session
from etl.simulator.venue import BAR, CHANGE, PRINT, TOP, Channel, Response, Venue, page
from etl.simulator.words import WORDS, Form, Words

INTERVALS = {"1": "1m", "5": "5m", "60": "1h", "D": "1d"}
BARS_MAX = 100_000
BYBIT_WORDS: dict[str, Callable[[Words], Any]] = WORDS | {
    "taker": lambda words: "Buy" if words.fact.buyer_takes else "Sell",
    "uuid": lambda words: uuid5(NAMESPACE_URL, f"{words['symbol']}/{words['number']}"),
}
ANSWER = '{"retCode":%d,"retMsg":"%s","result":%s,"retExtInfo":{},"time":%d}'
STAMP = '"ts":$ms,"data":{"s":"$symbol","b":[$bids],"a":[$asks],"u":$number,"seq":$last},"cts":$ms'


def listed(symbol: str, unified: str, price_digits: int, size_digits: int, start_ticks: int) -> Instrument:
    return Instrument(symbol, unified, price_digits, size_digits, start_ticks)


def trades(identity: str, topic: str = "$symbol", head: str = "") -> Channel:
    text = f'{{{head}"topic":"publicTrade.{topic}","type":"snapshot","ts":$ms,"data":[{{"T":$ms,"s":"$symbol","S":"$taker","v":"$size","p":"$price","L":"PlusTick","i":"{identity}","BT":false,"RPI":false,"seq":$sequence}}]}}'  # fmt: skip
    return Channel(PRINT, Form("trade", identity, text, NS_PER_MS), 0.35)


def book(head: str = "") -> Channel:
    change = f'{{{head}"topic":"$channel.$symbol","type":"delta",{STAMP}}}'
    whole = f'{{{head}"topic":"$channel.$symbol","type":"snapshot",{STAMP}}}'
    return Channel(
        CHANGE, Form("book", "$channel/d/$number", change, NS_PER_MS), 0.15, is_counted=True,
        opening=Form("book", "$channel/s/$number", whole, NS_PER_MS),
    )  # fmt: skip


TOPS_TEXT = '{"topic":"orderbook.1.$symbol","ts":$ms,"type":"snapshot","data":{"s":"$symbol","b":[["$bid","$bid_size"]],"a":[["$ask","$ask_size"]],"u":$number,"seq":$sequence},"cts":$ms}'  # fmt: skip
TOPS = Form("quote", "$number", TOPS_TEXT, NS_PER_MS)
BAR_TEXT = '{"topic":"$channel.$symbol","data":[{"start":$start_ms,"end":$last_ms,"interval":"1","open":"$open","close":"$close","high":"$high","low":"$low","volume":"$volume","turnover":"$turnover","confirm":$closed,"timestamp":$now_ms}],"ts":$now_ms,"type":"snapshot"}'  # fmt: skip


class Bybit(Venue):
    exchange = "bybit"
    category = "spot"
    symbols: Mapping[str, Instrument] = {
        one[0]: listed(*one)
        for one in (
            ("BTCUSDT", "BTC-USDT", 2, 6, 6_183_764),
            ("ETHUSDT", "ETH-USDT", 2, 5, 268_512),
            ("SOLUSDT", "SOL-USDT", 2, 3, 15_841),
        )
    }
    words = BYBIT_WORDS
    address = Address(channel=("topic",))
    sends_forming_bars = sends_empty_bars = True
    dialect = Dialect(
        action="op",
        replies={
            "bad_request": '{"success":false,"ret_msg":"Request not authorized","conn_id":"c","op":""}',
            "unknown_event": '{"topic":"mystery.BTCUSDT","type":"snapshot","ts":$ms,"data":{}}',
        },
    )
    channels: Mapping[str, Channel] = {
        "publicTrade": trades("$number"),
        "orderbook.1": Channel(TOP, TOPS, 0.45),
        "orderbook.50": book(),
        "kline.1": Channel(BAR, Form("bar", "$interval/$start_ns", BAR_TEXT, 1), interval="1m"),
    }
    trade_row = Form("trade", "$number", '{"execId":"$number","symbol":"$symbol","price":"$price","size":"$size","side":"$taker","time":"$ms","isBlockTrade":false,"isRPITrade":false,"seq":"$sequence"}', NS_PER_MS)  # fmt: skip
    bar_row = Form("bar", "$interval/$start_ns", '["$start_ms","$open","$high","$low","$close","$volume","$turnover"]', 1)  # fmt: skip
    snapshot = Form("book", "orderbook.1000/s/$last", '{"s":"$symbol","b":[$bids],"a":[$asks],"ts":$now_ms,"u":$last,"seq":$last,"cts":$ms}', NS_PER_MS)  # fmt: skip
    listing = '{"symbol":"$symbol","baseCoin":"$base","quoteCoin":"$quote","status":"Trading","priceFilter":{"tickSize":"$tick"},"lotSizeFilter":{"basePrecision":"$step"}}'  # fmt: skip

    def write(self, units: int, digits: int) -> str:
        return decimal_text(units, digits)

    def split(self, stream: str) -> tuple[str, str]:
        channel, _, symbol = stream.rpartition(".")
        return symbol, channel

    def asked(self, request: Any) -> Sequence[str]:
        return [str(name) for name in request.get("args", [])]

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        ack = {"success": True, "ret_msg": "", "conn_id": "c", "req_id": request.get("req_id", "")}
        if action == "ping":
            return [msgspec.json.encode(ack | {"ret_msg": "pong", "op": "ping"})]
        unknown = [name for name in self.asked(request) if self.split(name)[1] not in self.channels]
        if unknown:
            ack |= {"success": False, "ret_msg": f"error:handler not found,topic:{unknown[0]}"}
        return [msgspec.json.encode(ack | {"op": action})]

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        endpoint, symbol, now_ms = path.rpartition("/")[2], query.get("symbol", ""), now_ns // NS_PER_MS
        if endpoint == "instruments-info":
            result = f'{{"category":"{self.category}","list":[$rows],"nextPageCursor":""}}'
            return self.listings(ANSWER % (0, "OK", result, now_ms), self.listing)
        if not symbol or query.get("category") != self.category:
            return Response(200, (ANSWER % (10001, "params error", "{}", now_ms)).encode())
        if endpoint == "orderbook":
            form = Form(self.snapshot.kind, "orderbook.1000/s/$last", ANSWER % (0, "OK", self.snapshot.text.text, now_ms), NS_PER_MS)  # fmt: skip
            return self.book(form, symbol, int(query.get("limit", "25")), session, now_ns)
        text = ANSWER % (0, "OK", f'{{"category":"{self.category}","symbol":"{symbol}","list":[$rows]}}', now_ms)  # fmt: skip
        if endpoint == "recent-trade":
            found = session.history.last(symbol, PRINTS, self.page_limit(query, 60, 1_000))
            return page(text, *self.rows(self.trade_row, symbol, found[::-1]))
        if endpoint == "kline":
            interval = INTERVALS[query["interval"]]
            start, end = int(query.get("start", "0")), int(query.get("end", END_OF_TIME_MS))
            span = start * NS_PER_MS, (end + 1) * NS_PER_MS
            found = session.history.between(symbol, interval_ns(interval), *span, 0, BARS_MAX)
            rows = found[::-1][: self.page_limit(query, 200, 1_000)]
            return page(text, *self.rows(self.bar_row, symbol, rows, interval=interval))
        return Response(404, b"{}")

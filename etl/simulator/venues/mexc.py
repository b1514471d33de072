"""A simulated MEXC spot: binary messages whose fields have numbers, control messages and requests in JSON.

ws /mexc    {"method":"SUBSCRIPTION","params":["spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT",…],"id":1}, {"method":"PING"}
GET /mexc/api/v3/{depth,trades,aggTrades,klines,exchangeInfo}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from etl.model.times import NS_PER_MS, NS_PER_S, interval_ns
from etl.simulator.address import NumberedAddress
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.history import PRINTS
from etl.simulator.market import Instrument, decimal_text
from etl.simulator.paging import bars_by_time, by_id_or_time
from etl.simulator.protobuf import protobuf
from etl.simulator.session import Session
from etl.simulator.truth import CONTENT_END, PLACED
from etl.simulator.venue import BAR, CHANGE, PRINT, TOP, Channel, Response, Venue, page
from etl.simulator.words import WORDS, Form, Words

INTERVALS = {"1m": "1m", "5m": "5m", "60m": "1h", "1d": "1d"}
FINE_DIGITS = 25
"""Decimals of the cheapest coin's price."""


def numbered(name: str) -> Callable[[Words], str]:
    """Levels as messages: price 1, quantity 2."""

    def write(words: Words) -> str:
        pairs = getattr(words.fact, name)
        return ",".join(f'{{"1":"{words.price(price)}","2":"{words.size(lots)}"}}' for price, lots in pairs)

    return write


MEXC_WORDS: dict[str, Callable[[Words], Any]] = WORDS | {
    "taker": lambda words: "buy" if words.fact.buyer_takes else "sell",
    "taker_number": lambda words: 1 if words.fact.buyer_takes else 2,
    "bid_levels": numbered("bids"),
    "ask_levels": numbered("asks"),
    "start_s": lambda words: words.fact.start_ns // NS_PER_S,
    "end_s": lambda words: words.fact.end_ns // NS_PER_S,
    "key_price": lambda words: _shortest(words["price"]),
    "key_size": lambda words: _shortest(words["size"]),
}
CONTENT = f"$ms/$key_price/$key_size/$taker{CONTENT_END}"


def _shortest(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def message(topic: str, body: int, content: str, sent: str = '"6":$ms') -> str:
    """The channel stands last, as it may: without it what is left of a cut message is none."""
    return f'{{"3":"$symbol",{sent},"{body}":{content},"1":"spot@public.{topic}"}}'


class Mexc(Venue):
    exchange = "mexc"
    symbols: Mapping[str, Instrument] = {
        one[0]: Instrument(*one)
        for one in (
            ("BTCUSDT", "BTC-USDT", 2, 6, 6_183_764),
            ("ETHUSDT", "ETH-USDT", 2, 5, 268_512),
            ("SOLUSDT", "SOL-USDT", 2, 2, 15_841),
            ("BABYDOGEUSDT", "BABYDOGE-USDT", FINE_DIGITS, 0, 1_234_567_890_123_456),
        )
    }
    words = MEXC_WORDS
    address = NumberedAddress(field=1)
    sends_forming_bars = sends_empty_bars = True
    dialect = Dialect(
        action="method",
        subscribe="SUBSCRIPTION",
        unsubscribe="UNSUBSCRIPTION",
        streams_max=30,
        replies={
            "bad_request": '{"id":0,"code":700004,"msg":"mandatory parameter missing"}',
            "unknown_event": '{"id":0,"mystery":true}',
        },
    )
    channels: Mapping[str, Channel] = {
        "aggre.deals@100ms": Channel(PRINT, Form("trade", CONTENT, message("aggre.deals.v3.api.pb@100ms@$symbol", 314, '{"1":[{"1":"$price","2":"$size","3":$taker_number,"4":$ms,"5":"${number}X0_${sequence}X0"}],"2":"spot@public.aggre.deals.v3.api.pb@100ms"}'), NS_PER_MS), 0.35),
        "aggre.bookTicker@100ms": Channel(TOP, Form("quote", PLACED, message("aggre.bookTicker.v3.api.pb@100ms@$symbol", 315, '{"1":"$bid","2":"$bid_size","3":"$ask","4":"$ask_size","5":"$number"}'), NS_PER_MS), 0.45),
        "aggre.depth@100ms": Channel(CHANGE, Form("book", "$channel/d/$last", message("aggre.depth.v3.api.pb@100ms@$symbol", 313, '{"1":[$ask_levels],"2":[$bid_levels],"3":"spot@public.aggre.depth.v3.api.pb@100ms","4":"$first","5":"$last"}'), NS_PER_MS), 0.15, is_counted=True),
        "kline@Min1": Channel(BAR, Form("bar", "$interval/$start_ns", message("kline.v3.api.pb@$symbol@Min1", 308, '{"1":"Min1","2":$start_s,"3":"$open","4":"$close","5":"$high","6":"$low","7":"$volume","8":"$turnover","9":$end_s}', '"5":$now_ms'), 1), interval="1m"),
    }  # fmt: skip
    snapshot = Form("book", "aggre.depth/s/$last", '{"lastUpdateId":$last,"bids":[$bids],"asks":[$asks],"timestamp":$ms}', NS_PER_MS)  # fmt: skip
    aggregate_row = Form("trade", CONTENT, '{"a":null,"f":null,"l":null,"p":"$price","q":"$size","T":$ms,"m":$maker,"M":true}', NS_PER_MS)  # fmt: skip
    trade_row = Form("trade", CONTENT, '{"id":null,"price":"$price","qty":"$size","quoteQty":"$worth","time":$ms,"isBuyerMaker":$maker,"isBestMatch":true}', NS_PER_MS)  # fmt: skip
    bar_row = Form("bar", "$interval/$start_ns", '[$start_ms,"$open","$high","$low","$close","$volume",$end_ms,"$turnover"]', 1)  # fmt: skip
    listing = (
        '{"timezone":"CST","symbols":[$rows]}',
        '{"symbol":"$symbol","status":"1","baseAsset":"$base","quoteAsset":"$quote","quotePrecision":2,"baseSizePrecision":"$step"}',
    )

    def write(self, units: int, digits: int) -> str:
        return decimal_text(units, digits)

    def encoded(self, text: str) -> bytes:
        return protobuf(msgspec.json.decode(text))

    # protocol

    def stream(self, symbol: str, channel: str) -> str:
        family, _, parameter = channel.partition("@")
        places = (symbol, parameter) if family == "kline" else (parameter, symbol)
        return f"spot@public.{family}.v3.api.pb@{'@'.join(places)}"

    def split(self, stream: str) -> tuple[str, str]:
        name, first, second = stream.removeprefix("spot@public.").split("@")
        family = name.removesuffix(".v3.api.pb")
        symbol, parameter = (first, second) if family == "kline" else (second, first)
        return symbol, f"{family}@{parameter}"

    def asked(self, request: Any) -> Sequence[str]:
        return [str(name) for name in request.get("params", [])]

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        if action == "PING":
            return [b'{"id":0,"code":0,"msg":"PONG"}']
        names = self.asked(request)
        unknown = [name for name in names if self.split(name)[1] not in self.channels]
        said = (
            f"Not Subscribed successfully! [{','.join(unknown)}].  Reason\uff1a Blocked! "
            if unknown
            else ",".join(names)
        )
        return [msgspec.json.encode({"id": request.get("id", 0), "code": 0, "msg": said})]

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        endpoint, symbol, history = path.rpartition("/")[2], query.get("symbol", ""), session.history
        if endpoint == "exchangeInfo":
            return self.listings(*self.listing)
        if not symbol:
            return Response(400, b'{"code":700004,"msg":"Mandatory parameter \'symbol\' was not sent."}')
        if endpoint == "depth":
            return self.book(self.snapshot, symbol, int(query.get("limit", "100")), session, now_ns)
        if endpoint == "aggTrades":
            limit = self.page_limit(query, 500, 1_000)
            found = by_id_or_time(history, symbol, PRINTS, query, limit)
            return page("[$rows]", *self.rows(self.aggregate_row, symbol, found))
        if endpoint == "trades":
            found = history.last(symbol, PRINTS, self.page_limit(query, 500, 1_000))[::-1]
            return page("[$rows]", *self.rows(self.trade_row, symbol, found))
        if endpoint == "klines":
            interval, limit = INTERVALS[query["interval"]], self.page_limit(query, 500, 500)
            entries = bars_by_time(history, symbol, interval_ns(interval), query, limit, now_ns)
            return page("[$rows]", *self.rows(self.bar_row, symbol, entries, interval=interval))
        return Response(404, b"{}")

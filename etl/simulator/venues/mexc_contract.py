"""Simulated MEXC contracts: JSON, with acknowledgements that name no symbol.

ws /mexc_contract   {"method":"sub.depth","param":{"symbol":"BTC_USDT"}}, {"method":"ping"}
GET /mexc_contract/api/v1/contract/{depth,deals,kline}/BTC_USDT, /api/v1/contract/detail
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from etl.model.times import NS_PER_HOUR, NS_PER_MS, NS_PER_S, interval_ns
from etl.simulator.address import Address
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.history import PRINTS
from etl.simulator.market import Bar, Instrument, decimal_text
from etl.simulator.session import Session
from etl.simulator.truth import CONTENT_END
from etl.simulator.venue import BAR, BEST, CHANGE, PRINT, Channel, Response, Venue, page
from etl.simulator.words import WORDS, Form, Words

INTERVALS = {"Min1": "1m", "Min5": "5m", "Min60": "1h", "Day1": "1d"}
BARS_MAX = 2_000
FUNDING_NS = 8 * NS_PER_HOUR
COLUMNS = ("time", "open", "close", "high", "low", "vol", "amount")


CANDLE_PLACE = Address(channel=("data", "interval"))


def counted(name: str) -> Callable[[Words], str]:
    """Levels of price, contracts and orders; none where there are no contracts."""

    def write(words: Words) -> str:
        pairs = getattr(words.fact, name)
        return ",".join(f"[{words.price(price)},{words.size(lots)},{min(lots, 3)}]" for price, lots in pairs)

    return write


def _shortest(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


CONTRACT_WORDS: dict[str, Callable[[Words], Any]] = WORDS | {
    "taker": lambda words: "buy" if words.fact.buyer_takes else "sell",
    "taker_number": lambda words: 1 if words.fact.buyer_takes else 2,
    "bid_levels": counted("bids"),
    "ask_levels": counted("asks"),
    "start_s": lambda words: words.fact.start_ns // NS_PER_S,
    "key_price": lambda words: _shortest(words["price"]),
    "funding_ns": lambda words: (words["time_ns"] // FUNDING_NS + 1) * FUNDING_NS,
    "funding_ms": lambda words: words["funding_ns"] // NS_PER_MS,
}
CONTENT = f"$ms/$key_price/$size/$taker{CONTENT_END}"
STATS = "$channel/${ms}000000/$digest"


def pushed(data: str, channel: str = "$channel", stamp: str = "$ms") -> str:
    return f'{{"symbol":"$symbol","data":{data},"channel":"push.{channel}","ts":{stamp}}}'


class MexcContract(Venue):
    exchange = "mexc_contract"
    symbols: Mapping[str, Instrument] = {
        one[0]: Instrument(*one)
        for one in (
            ("BTC_USDT", "BTC-USDT-PERP", 1, 0, 618_376),
            ("ETH_USDT", "ETH-USDT-PERP", 2, 0, 268_512),
            ("SOL_USDT", "SOL-USDT-PERP", 3, 0, 158_410),
        )
    }
    words = CONTRACT_WORDS
    address = Address(channel=("channel",), symbol=("symbol",), needs=("data",))
    sends_forming_bars = sends_empty_bars = True
    dialect = Dialect(
        action="method",
        replies={
            "bad_request": '{"channel":"rs.error","data":"Request error","ts":$ms}',
            "unknown_event": '{"symbol":"BTC_USDT","data":{},"channel":"push.mystery","ts":$ms}',
        },
    )
    channels: Mapping[str, Channel] = {
        "deal": Channel(PRINT, Form("trade", CONTENT, pushed('[{"p":$price,"v":$size,"T":$taker_number,"O":3,"M":2,"t":$ms,"i":"$number","cts":"$ms"}]'), NS_PER_MS), 0.5),
        "depth": Channel(CHANGE, Form("book", "depth/d/$last", pushed('{"asks":[$ask_levels],"bids":[$bid_levels],"begin":$first,"end":$last,"version":$last,"cts":$ms}'), NS_PER_MS), 0.4, is_counted=True),
        "kline@Min1": Channel(BAR, Form("bar", "$interval/$start_ns", pushed('{"symbol":"$symbol","interval":"Min1","t":$start_s,"o":$open,"h":$high,"l":$low,"c":$close,"q":$volume,"a":$turnover}', "kline", "$now_ms"), 1), interval="1m"),
        "ticker": Channel(BEST, Form("stats", STATS, pushed('{"symbol":"$symbol","lastPrice":$bid,"bid1":$bid,"ask1":$ask,"fairPrice":$ask,"indexPrice":$bid,"holdVol":$bid_size,"fundingRate":0.0001,"timestamp":$ms}'), NS_PER_MS, "$ask/$bid/$bid_size/0.0001"), 0.04),
        "fair.price": Channel(BEST, Form("stats", STATS, pushed('{"symbol":"$symbol","price":$ask}'), NS_PER_MS, "$ask"), 0.02),
        "index.price": Channel(BEST, Form("stats", STATS, pushed('{"symbol":"$symbol","price":$bid}'), NS_PER_MS, "$bid"), 0.02),
        "funding.rate": Channel(BEST, Form("stats", STATS, pushed('{"symbol":"$symbol","rate":0.0001,"nextSettleTime":$funding_ms}'), NS_PER_MS, "0.0001/$funding_ns"), 0.02),
    }  # fmt: skip
    snapshot = Form("book", "depth/s/$last", '{"success":true,"code":0,"data":{"asks":[$ask_levels],"bids":[$bid_levels],"version":$last,"timestamp":$ms}}', NS_PER_MS)  # fmt: skip
    trade_row = Form(
        "trade", CONTENT, '{"p":$price,"v":$size,"T":$taker_number,"O":3,"M":2,"t":$ms}', NS_PER_MS
    )
    bar_row = Form("bar", "$interval/$start_ns", "[$start_s,$open,$close,$high,$low,$volume,$turnover]", 1)
    listing = (
        '{"success":true,"code":0,"data":[$rows]}',
        '{"symbol":"$symbol","baseCoin":"$base","quoteCoin":"$quote","settleCoin":"$quote","contractSize":0.0001,"priceUnit":$tick,"volUnit":$step,"state":0,"futureType":1}',
    )

    def write(self, units: int, digits: int) -> str:
        return decimal_text(units, digits)

    # protocol

    def split(self, stream: str) -> tuple[str, str]:
        channel, _, symbol = stream.rpartition("|")
        return symbol, channel

    def stream(self, symbol: str, channel: str) -> str:
        return f"{channel}|{symbol}"

    def stream_of(self, payload: bytes) -> str | None:
        """Only what is pushed is market data."""
        name = super().stream_of(payload)
        symbol, channel = self.split(name or "")
        family = channel.removeprefix("push.")
        if not symbol or family == channel:
            return None
        candle = CANDLE_PLACE.read(payload) if family == "kline" else None
        return self.stream(symbol, f"{family}@{candle[0]}" if candle else family)

    def asked(self, request: Any) -> Sequence[str]:
        param = request.get("param") or {}
        interval = f"@{param['interval']}" if "interval" in param else ""
        family = request["method"].partition(".")[2]
        return [self.stream(param["symbol"], family + interval)] if family else []

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        """An unknown method has no answer at all."""
        if action == "ping":
            return [b'{"channel":"pong","data":1795963800000,"ts":1795963800000}']
        names, verb = self.asked(request), action.partition(".")[0]
        if verb == "sub" and any(self.split(name)[1] in self.channels for name in names):
            symbol = request["param"]["symbol"]
            if symbol not in self.symbols:
                said = f"Contract [{symbol}] not exists"
                return [msgspec.json.encode({"channel": "rs.error", "data": said, "ts": 1795963800000})]
            self.subscribe(connection, names)
        elif verb == "unsub":
            connection.streams.difference_update(names)
        else:
            return []
        return [msgspec.json.encode({"channel": f"rs.{action}", "data": "success", "ts": 1795963800000})]

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        name, _, symbol = path.removeprefix("/api/v1/contract/").partition("/")
        if name == "detail":
            return self.listings(*self.listing)
        if symbol not in self.symbols:
            return Response(200, b'{"success":false,"code":1001,"message":"contract does not exist"}')
        if name == "depth":
            return self.book(self.snapshot, symbol, int(query.get("limit", "1000")), session, now_ns)
        if name == "deals":
            found = session.history.last(symbol, PRINTS, self.page_limit(query, 100, 100))[::-1]
            return page('{"success":true,"code":0,"data":[$rows]}', *self.rows(self.trade_row, symbol, found))
        if name == "kline":
            return self._klines(query, symbol, session)
        return Response(404, b"{}")

    def _klines(self, query: Mapping[str, str], symbol: str, session: Session) -> Response:
        """Columns, not rows."""
        interval = INTERVALS[query["interval"]]
        span = int(query["start"]) * NS_PER_S, (int(query["end"]) + 1) * NS_PER_S
        found = session.history.between(symbol, interval_ns(interval), *span, 0, BARS_MAX)
        assert all(isinstance(entry.fact, Bar) for entry in found)
        rows, events = self.rows(self.bar_row, symbol, found, interval=interval)
        cells = [row.strip("[]").split(",") for row in rows]
        columns = [f'"{name}":[{",".join(row[n] for row in cells)}]' for n, name in enumerate(COLUMNS)]
        return page(f'{{"success":true,"code":0,"data":{{{",".join(columns)}}}}}', [], events)

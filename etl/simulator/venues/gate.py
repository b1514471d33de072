"""A simulated Gate spot, websocket v4.

ws /gate/   {"time":…,"id":1,"channel":"spot.trades","event":"subscribe","payload":["BTC_USDT"]}
GET /gate/api/v4/spot/{order_book,trades,candlesticks,currency_pairs}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from etl.model.times import NS_PER_MS, NS_PER_S, NS_PER_US, interval_ns
from etl.simulator.address import Address
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.history import PRINTS
from etl.simulator.market import Instrument, decimal_text
from etl.simulator.paging import END_OF_TIME_NS
from etl.simulator.session import Session
from etl.simulator.venue import BAR, CHANGE, PRINT, TOP, Channel, Response, Venue, page
from etl.simulator.words import WORDS, Form, Words

BARS_MAX = 1_000
TRADES_MAX = 100_000
TOO_BROAD = b'{"label":"INVALID_PARAM_VALUE","message":"Candlestick range too broad. Maximum 1000 data points are allowed per request"}'
NO_PAIR = b'{"label":"INVALID_CURRENCY_PAIR","message":"Invalid currency pair"}'
GATE_WORDS: dict[str, Callable[[Words], Any]] = WORDS | {
    "second": lambda words: words["time_ns"] // NS_PER_S,
    "exact_ms": lambda words: f"{words['ms']}.{words['time_ns'] // NS_PER_US % 1_000:03}000",
    "taker": lambda words: "buy" if words.fact.buyer_takes else "sell",
    "start_s": lambda words: words.fact.start_ns // NS_PER_S,
    "now_s": lambda words: words["now_ms"] // 1_000,
}


def message(channel: str, result: str, time: str = '"time":$second,"time_ms":$ms') -> str:
    return f'{{{time},"channel":"{channel}","event":"update","result":{result}}}'


TRADE = '{"id":$number,"id_market":$number,"create_time":$second,"create_time_ms":"$exact_ms","side":"$taker","currency_pair":"$symbol","amount":"$size","price":"$price","range":"$number-$number","trade_mode":0}'  # fmt: skip
TICKER = '{"t":$ms,"u":$number,"s":"$symbol","b":"$bid","B":"$bid_size","a":"$ask","A":"$ask_size"}'
CHANGES = '{"t":$ms,"l":"100","e":"depthUpdate","E":$second,"s":"$symbol","U":$first,"u":$last,"b":[$bids],"a":[$asks]}'  # fmt: skip
WHOLE = '{"t":$ms,"full":true,"l":"100","e":"depthUpdate","E":$second,"s":"$symbol","u":$last,"b":[$bids],"a":[$asks]}'  # fmt: skip
CANDLE = '{"t":"$start_s","v":"$turnover","c":"$close","h":"$high","l":"$low","o":"$open","n":"${interval}_$symbol","a":"$volume","w":$closed}'  # fmt: skip
CANDLES = message("spot.candlesticks", CANDLE, '"time":$now_s,"time_ms":$now_ms')


class Gate(Venue):
    exchange = "gate"
    symbols: Mapping[str, Instrument] = {
        one[0]: Instrument(*one)
        for one in (
            ("BTC_USDT", "BTC-USDT", 1, 6, 618_376),
            ("ETH_USDT", "ETH-USDT", 2, 4, 268_512),
            ("SOL_USDT", "SOL-USDT", 2, 3, 15_841),
        )
    }
    words = GATE_WORDS
    address = Address(
        channel=("channel",), symbol=("result", "s"), symbols=(("result", "currency_pair"), ("result", "n")),
        channels={"spot.order_book_update": "spot.order_book_update@100ms"},
    )  # fmt: skip
    separator = "/"
    sends_forming_bars = sends_empty_bars = True
    dialect = Dialect(
        action="event",
        replies={
            "bad_request": '{"time_ms":$ms,"channel":"","event":"","error":{"code":1,"message":"invalid request body"},"result":null}',
            "unknown_event": message("spot.mystery", "{}", '"time_ms":$ms'),
        },
    )
    channels: Mapping[str, Channel] = {
        "spot.trades": Channel(PRINT, Form("trade", "$number", message("spot.trades", TRADE), NS_PER_MS), 0.35, is_counted=True),
        "spot.book_ticker": Channel(TOP, Form("quote", "$number", message("spot.book_ticker", TICKER), NS_PER_MS), 0.45),
        "spot.order_book_update@100ms": Channel(
            CHANGE, Form("book", "$channel/d/$last", message("spot.order_book_update", CHANGES), NS_PER_MS), 0.15, is_counted=True,
            opening=Form("book", "$channel/s/$last", message("spot.order_book_update", WHOLE), NS_PER_MS),
        ),
        "spot.candlesticks@1m": Channel(BAR, Form("bar", "$interval/$start_ns", CANDLES, 1), interval="1m"),
    }  # fmt: skip
    snapshot = Form("book", "spot.order_book_update/s/$last", '{"id":$last,"current":$now_ms,"update":$ms,"asks":[$asks],"bids":[$bids]}', NS_PER_MS)  # fmt: skip
    trade_row = Form("trade", "$number", '{"id":"$number","create_time":"$second","create_time_ms":"$exact_ms","currency_pair":"$symbol","side":"$taker","amount":"$size","price":"$price","sequence_id":"$number"}', NS_PER_MS)  # fmt: skip
    bar_row = Form("bar", "$interval/$start_ns", '["$start_s","$turnover","$close","$high","$low","$open","$volume","true"]', 1)  # fmt: skip
    listing = (
        "[$rows]",
        '{"id":"$symbol","base":"$base","quote":"$quote","fee":"0.2","min_base_amount":"$step","trade_status":"tradable"}',
    )

    def write(self, units: int, digits: int) -> str:
        return decimal_text(units, digits)

    def stream_of(self, payload: bytes) -> str | None:
        """What names no pair was said to who recorded. A candle's name begins with its interval; of a book's changes
        the frame does not tell the pace."""
        name = super().stream_of(payload)
        if not name:
            return None
        symbol, channel = self.split(name)
        if channel != "spot.candlesticks":
            return name
        interval, _, symbol = symbol.partition("_")
        return self.stream(symbol, f"{channel}@{interval}")

    def asked(self, request: Any) -> Sequence[str]:
        channel, payload = request["channel"], [str(one) for one in request["payload"]]
        if channel == "spot.candlesticks":
            channel, payload = f"{channel}@{''.join(payload[:1])}", payload[1:]
        elif channel == "spot.order_book_update":
            channel, payload = f"{channel}@{''.join(payload[1:])}", payload[:1]
        return [self.stream(symbol, channel) for symbol in payload]

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        ack = {name: request.get(name) for name in ("time", "id", "channel", "event", "payload")}
        unknown = [name for name in self.asked(request) if self.split(name)[1] not in self.channels]
        if unknown:
            error = {"code": 2, "message": f"unknown stream {unknown[0]}"}
            return [msgspec.json.encode(ack | {"error": error, "result": {"status": "fail"}})]
        return [msgspec.json.encode(ack | {"result": {"status": "success"}})]

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        endpoint, symbol = path.rpartition("/")[2], query.get("currency_pair", "")
        if endpoint == "currency_pairs":
            return self.listings(*self.listing)
        if not symbol:
            return Response(400, NO_PAIR)
        if endpoint == "order_book":
            return self.book(self.snapshot, symbol, int(query.get("limit", "10")), session, now_ns)
        start_ns = int(query.get("from", "0")) * NS_PER_S
        end_ns = (int(query["to"]) + 1) * NS_PER_S if "to" in query else END_OF_TIME_NS
        if endpoint == "trades":
            limit, last_id = self.page_limit(query, 100, 1_000), int(query.get("last_id", "0"))
            found = session.history.between(symbol, PRINTS, start_ns, end_ns, 0, TRADES_MAX)[-limit:]
            if last_id:
                found = session.history.below(symbol, PRINTS, limit, last_id)
            return page("[$rows]", *self.rows(self.trade_row, symbol, found[::-1]))
        if endpoint == "candlesticks":
            interval = query.get("interval", "30m")
            found = session.history.between(symbol, interval_ns(interval), start_ns, end_ns, 0, BARS_MAX + 1)
            if len(found) > BARS_MAX:
                return Response(400, TOO_BROAD)
            return page("[$rows]", *self.rows(self.bar_row, symbol, found, interval=interval))
        return Response(404, b"{}")

"""A simulated OKX: spot; perpetuals, dated futures and options are sisters.

ws /okx/ws/v5/public    books, books5, bbo-tbt, trades
ws /okx/ws/v5/business  trades-all and candles; a stream that is asked for on the wrong socket is refused
``ping`` as text; one answer for each stream of a subscription
GET /okx/api/v5/market/{history-trades,history-candles,books}, /okx/api/v5/public/instruments
GET /okx/cdn/okex/traderecords/trades/daily/…  daily files of trades, a day from midnight in Hong Kong on
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from etl.model.times import NS_PER_HOUR, NS_PER_MS, interval_ns
from etl.simulator import archive
from etl.simulator.address import Address
from etl.simulator.archive import Archive
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.history import PRINTS
from etl.simulator.market import Instrument
from etl.simulator.paging import END_OF_TIME_MS
from etl.simulator.session import Session
from etl.simulator.venue import BAR, CHANGE, PRINT, TOP, Channel, Response, Venue, page
from etl.simulator.words import WORDS, Form, Words

BUSINESS = ("trades-all", "candle")


def levels(name: str) -> Callable[[Words], str]:
    """``["61837.63","0.1","0","1"],…``: the last is the number of orders."""
    return lambda words: ",".join(
        f'["{words.price(price)}","{words.size(lots)}","0","{int(lots > 0)}"]'
        for price, lots in getattr(words.fact, name)
    )


def push(kind: str, key: str, row: str, says: str = "", action: str = "", unit_ns: int = NS_PER_MS) -> Form:
    head = f'{{"arg":{{"channel":"$channel","instId":"$symbol"}},{action}"data":['
    return Form(kind, key, f"{head}{row}]}}", unit_ns, says)


TRADE_ROW = '{"instId":"$symbol","tradeId":"$number","px":"$price","sz":"$size","side":"$side","source":"0","ts":"$ms"}'
BOOK = '{"asks":[$asks],"bids":[$bids],"ts":"$ms","checksum":0,"seqId":$last,"prevSeqId":'
CANDLE_ROW = '["$start_ms","$open","$high","$low","$close","$volume","$volume","$turnover","$confirm"]'
TRADE, BAR_ROW = (
    Form("trade", "$number", TRADE_ROW, NS_PER_MS),
    Form("bar", "$interval/$start_ns", CANDLE_ROW, 1),
)
CANDLE = push("bar", "$interval/$start_ns", CANDLE_ROW, unit_ns=1)
CANDLES = {"candle1s": "1s", "candle1m": "1m", "candle5m": "5m", "candle1H": "1h", "candle1Dutc": "1d"}
ANSWER = '{"code":"0","msg":"","data":[$rows]}'
SNAPSHOT = Form("book", "books/s/$last", '{"code":"0","msg":"","data":[{"asks":[$asks],"bids":[$bids],"ts":"$ms","seqId":$last}]}', NS_PER_MS)  # fmt: skip
FILES = Archive(
    path=r"/cdn/okex/traderecords/(?P<kind>trades)/daily/\d{8}/(?P<name>(?P<symbol>[\w-]+)-trades-(?P<day>\d{4}-\d\d-\d\d))\.zip",
    lines={"trades": Form("trade", "$number", "$symbol,$number,$side,$price,$size,$ms,0", NS_PER_MS)},
    headings={"trades": "instrument_name,trade_id,side,price,size,created_time,source"},
    day_ns=-8 * NS_PER_HOUR,
)
SPOT_CHANNELS: Mapping[str, Channel] = {
    "trades-all": Channel(PRINT, push("trade", "$number", TRADE_ROW), 0.4, is_counted=True),
    "trades": Channel(PRINT, push("agg_trade", "$number", '{"instId":"$symbol","tradeId":"$number","px":"$price","sz":"$size","side":"$side","count":"1","source":"0","seqId":$sequence,"ts":"$ms"}'), 0.1),
    "bbo-tbt": Channel(TOP, push("quote", "$number", '{"asks":[["$ask","$ask_size","0","1"]],"bids":[["$bid","$bid_size","0","1"]],"ts":"$ms","seqId":$number}'), 0.4),
    "books": Channel(CHANGE, push("book", "books/d/$last", BOOK + "$previous}", action='"action":"update",'), 0.1, is_counted=True,
                     opening=push("book", "books/s/$last", BOOK + "-1}", action='"action":"snapshot",')),
    **{name: Channel(BAR, CANDLE, interval=interval) for name, interval in CANDLES.items()},
}  # fmt: skip


def listed(*rows: tuple[str, int, int, int]) -> Mapping[str, Instrument]:
    """``BTC-USDT-SWAP`` trades as ``BTC-USDT-PERP``, ``BTC-USD-261225`` as ``BTC-USD-20261225``."""
    named = ((row[0].replace("SWAP", "PERP").replace("-2612", "-202612"), row) for row in rows)
    return {row[0]: Instrument(row[0], unified, *row[1:]) for unified, row in named}


class Okx(Venue):
    exchange = "okx"
    symbols = listed(("BTC-USDT", 1, 8, 618_376), ("ETH-USDT", 2, 6, 268_512), ("SOL-USDT", 2, 6, 15_841))
    channels = SPOT_CHANNELS
    words = WORDS | {
        "bids": levels("bids"),
        "asks": levels("asks"),
        "side": lambda words: "buy" if words.fact.buyer_takes else "sell",
        "confirm": lambda words: int(words["is_closed"]),
    }
    sends_forming_bars = sends_empty_bars = True
    address = Address(channel=("arg", "channel"), symbol=("arg", "instId"), needs=("data",))
    instrument_type = "SPOT"
    dialect = Dialect(
        action="op",
        texts={"ping": "pong"},
        replies={
            **dict.fromkeys(("bad_request", "unknown_action"), '{"event":"error","code":"60012","msg":"Invalid request"}'),
            "shutdown": '{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade. Please reconnect.","connId":"a4d3ae55"}',
            "unknown_event": '{"arg":{"channel":"mystery","instId":"BTC-USDT"},"data":[{"ts":"$ms"}]}',
        },
    )  # fmt: skip

    def asked(self, request: Any) -> Sequence[str]:
        return [f"{arg['channel']}.{arg.get('instId', '*')}" for arg in request["args"]]

    def subscribe(self, connection: Connection, names: Sequence[str]) -> None:
        super().subscribe(connection, [name for name in names if self._carries(connection, name)])

    def _carries(self, connection: Connection, name: str) -> bool:
        channel, is_business = self.split(name)[1], connection.path.endswith("business")
        return channel in self.channels and channel.startswith(BUSINESS) == is_business

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        answers: list[Mapping[str, Any]] = []
        for arg, name in zip(request["args"], self.asked(request), strict=True):
            words = ",".join(f"{key}:{value}" for key, value in arg.items())
            granted = {"event": action, "arg": arg}
            refused = {"event": "error", "code": "60018", "msg": f"Wrong URL or {words} doesn't exist."}
            answers.append(granted if self._carries(connection, name) else refused)
        return [msgspec.json.encode({**answer, "connId": "a4d3ae55"}) for answer in answers]

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        if path.startswith("/cdn/"):
            return archive.answer(self, FILES, path, session)
        endpoint, symbol = path.rpartition("/")[2], query.get("instId", "")
        if endpoint == "instruments":
            if query.get("instType", self.instrument_type) != self.instrument_type:
                return Response(200, ANSWER.replace("$rows", "").encode(), is_reference=True)
            row = (
                f'{{"instType":"{self.instrument_type}",'
                + '"instId":"$symbol","baseCcy":"$base","quoteCcy":"$quote","tickSz":"$tick","lotSz":"$step","state":"live"}'
            )
            return self.listings(ANSWER, row)
        if endpoint == "books":
            return self.book(SNAPSHOT, symbol, int(query.get("sz", "1")), session, now_ns)
        limit, history = self.page_limit(query, 100, 100), session.history
        after, before = int(query.get("after", END_OF_TIME_MS)), int(query.get("before", -1))
        if endpoint == "history-trades":
            bound = {"end_ns": after * NS_PER_MS} if query.get("type") == "2" else {"number": after}
            found = [one for one in history.below(symbol, PRINTS, limit, **bound) if one.number > before]
            return page(ANSWER, *self.rows(TRADE, symbol, found[::-1]))
        if endpoint == "history-candles":
            interval = CANDLES["candle" + query.get("bar", "1m")]
            bars = history.below(symbol, interval_ns(interval), limit, end_ns=after * NS_PER_MS)
            found = [one for one in bars if one.time_ns > before * NS_PER_MS]
            return page(ANSWER, *self.rows(BAR_ROW, symbol, found[::-1], interval=interval, is_closed=True))
        return Response(404, b'{"code":"404","msg":"Not Found","data":[]}')

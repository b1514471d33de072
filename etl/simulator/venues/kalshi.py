"""A simulated Kalshi.

ws /kalshi/trade-api/ws/v2   signed in its headers; each channel gets a sid, within which its messages are counted. Bids for
NO are told by the price of YES: who does not ask for that is refused
GET /kalshi/trade-api/v2/markets[/trades,/candlesticks], /historical/trades   newest first, by cursor
The contracts of KXBTC15M begin to come and go once ``/markets?series_ticker=KXBTC15M`` was asked for
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from etl.model.times import NS_PER_MINUTE, NS_PER_MS, NS_PER_S, NS_PER_US
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.history import PRINTS, History
from etl.simulator.market import Instrument, Listing, decimal_text
from etl.simulator.series import LISTED, OVER, ContractSeries, Turn
from etl.simulator.session import Item, Session
from etl.simulator.truth import EMPTY, PLACED
from etl.simulator.venue import CHANGE, PRINT, TOP, Channel, Response, Venue, page
from etl.simulator.words import WORDS, Form, Words, levels, prices, sizes, time_text

BOOK, LIFECYCLE = "orderbook_delta", "market_lifecycle_v2"
ALL = f"{LIFECYCLE}.ALL"
SIDS = {1: "trade", 2: "ticker", 3: BOOK, 4: LIFECYCLE}
SID_OF = {name: sid for sid, name in SIDS.items()}
EVENTS = {LISTED: "created", OVER: "determined"}  # a contract opens without a word
DOLLAR = 10_000  # ticks
COUNTED = b'"sid":0,"seq":0'  # in place of the numbers that a message gets on its connection
SYMBOLS = (("KXBTCD-26FEB1217-T67749.99", 5_700), ("KXSOLD-26FEB1217-T79.9999", 4_300), ("KXBTCMINMON-BTC-26FEB28-5750000", 2_800))  # fmt: skip
TRADE = '"trade_id":"$uuid","yes_price_dollars":"$price","no_price_dollars":"$no_price","count_fp":"$size","taker_side":"$taker","taker_outcome_side":"$taker","taker_book_side":"$taker_side","is_block_trade":false'  # fmt: skip
BAR = '{"end_period_ts":$end_s,"yes_bid":{},"yes_ask":{},"price":{"open_dollars":"$open","high_dollars":"$high","low_dollars":"$low","close_dollars":"$close"},"volume_fp":"$volume","open_interest_fp":"0.00"}'  # fmt: skip

LIFE = '{"type":"market_lifecycle_v2","sid":0,"seq":0,"msg":{"event_type":"$event","market_ticker":"$symbol","open_ts":$opens_s,"close_ts":$closes_s,"result":"$result","determination_ts":$at_s}}'  # fmt: skip
ROW = '{{"ticker":"{}","status":"{}","open_time":"{}","close_time":"{}"}}'


def uuid(words: Words) -> str:
    digits = f"{words.fact.number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def counted(kind: str, key: str, tag: str, msg: str, unit_ns: int) -> Form:
    text = f'{{"type":"{tag}","sid":0,"seq":0,"msg":{{"market_ticker":"$symbol",{msg}}}}}'
    return Form(kind, key, text, unit_ns)


class Kalshi(Venue):
    exchange = "kalshi"
    symbols: Mapping[str, Instrument] = {one: Instrument(one, one, 4, 2, start) for one, start in SYMBOLS}
    words = WORDS | {
        "uuid": uuid,
        "no_price": lambda words: words.price(DOLLAR - words.fact.price),
        "taker": lambda words: "yes" if words.fact.buyer_takes else "no",
        "taker_side": lambda words: "bid" if words.fact.buyer_takes else "ask",
        "seconds": lambda words: words["time_ns"] // NS_PER_S,
        "time_us": lambda words: time_text(words["time_ns"] // NS_PER_US * NS_PER_US),
        "end_s": lambda words: words.fact.end_ns // NS_PER_S,
        "leg": lambda words: "yes" if words.fact.side == "bid" else "no",
        "level": prices("price"),
        "delta": sizes("delta"),
        "yes": levels("bids", is_ascending=True),
        "no": levels("asks", is_ascending=True),
    }
    dialect = Dialect(
        action="cmd",
        subscribe="add_markets",
        unsubscribe="delete_markets",
        upgrade_headers=("KALSHI-ACCESS-KEY", "KALSHI-ACCESS-TIMESTAMP", "KALSHI-ACCESS-SIGNATURE"),
        upgrade_refusals=(401, 429),
        replies={
            "bad_request": '{"type":"error","msg":{"code":8,"msg":"Unknown channel name"}}',
            "slow_client": '{"type":"error","msg":{"code":25,"msg":"Subscription buffer overflow"}}',
            "error": '{"type":"error","msg":{"code":10,"msg":"Internal error"}}',
            "unknown_event": '{"type":"mystery","sid":0,"msg":{"ts_ms":$ms}}',
        },
    )
    channels: Mapping[str, Channel] = {
        "trade": Channel(PRINT, counted("trade", "$uuid", "trade", TRADE + ',"ts":$seconds,"ts_ms":$ms', NS_PER_MS), 0.4),
        "ticker": Channel(TOP, Form("quote", PLACED, '{"type":"ticker","sid":0,"msg":{"market_ticker":"$symbol","yes_bid_dollars":"$bid","yes_ask_dollars":"$ask","yes_bid_size_fp":"$bid_size","yes_ask_size_fp":"$ask_size","ts":$seconds,"ts_ms":$ms}}', NS_PER_MS), 0.35),
        BOOK: Channel(
            CHANGE, counted("book", PLACED, BOOK, '"price_dollars":"$level","delta_fp":"$delta","side":"$leg","ts":"$time_us"', NS_PER_US), 0.25,
            opening=counted("book", PLACED, "orderbook_snapshot", '"yes_dollars_fp":[$yes],"no_dollars_fp":[$no]', 0),
        ),
        LIFECYCLE: Channel("", Form("status", f"{LIFECYCLE}/$at_ns/$digest", LIFE, 1, "$event/$opens_s/$closes_s/$result//")),
    }  # fmt: skip
    trade_row = Form(
        "trade", "$uuid", "{" + TRADE + ',"ticker":"$symbol","created_time":"$time_us"}', NS_PER_MS
    )
    bar_row = Form("bar", "1m/$start_ns", BAR, 1)

    def __init__(self, exchange: str) -> None:
        super().__init__(exchange)
        self.series = (ContractSeries("KXBTC15M-", 2),)

    def unlisted(self, symbol: str) -> Instrument:
        return Instrument(symbol, symbol, 4, 2, 5_000)

    def turned(self, turn: Turn, now_ns: int) -> list[Item]:
        if turn.event not in EVENTS:
            return []
        at_s = turn.closes_ns // NS_PER_S if turn.event == OVER else 0
        opens_s, closes_s, at_ns = turn.opens_ns // NS_PER_S, turn.closes_ns // NS_PER_S, at_s * NS_PER_S
        fact = {
            "event": EVENTS[turn.event],
            "opens_s": opens_s,
            "closes_s": closes_s,
            "result": "yes" if at_s else "",
        }
        fact |= {"at_s": at_s, "at_ns": at_ns, "time_ns": at_ns}
        return [self._item(turn.symbol, LIFECYCLE, ALL, fact)]

    def action(self, request: Any) -> str:
        return "add_markets" if request["cmd"] == "subscribe" else str(request["params"]["action"])

    def write(self, units: int, digits: int) -> str:
        return decimal_text(units, digits)

    def asked(self, request: Any) -> Sequence[str]:
        asked = request["params"]
        names = asked.get("channels") or [SIDS[sid] for sid in asked["sids"]]
        if BOOK in names and self.action(request) == "add_markets" and not asked.get("use_yes_price"):
            raise KeyError("use_yes_price")
        symbols = asked.get("market_tickers", self.symbols)
        streams = [self.stream(one, name) for name in names if self.channels[name] for one in symbols]
        return [ALL] if LIFECYCLE in names else streams

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        asked, number = request["params"], request["id"]
        if request["cmd"] == "subscribe":
            ack = '{"id":%d,"type":"subscribed","msg":{"channel":"%s","sid":%d}}'
            return [(ack % (number, name, SID_OF[name])).encode() for name in asked["channels"]]
        symbols = asked.get("market_tickers", [])
        if asked.get("action") == "get_snapshot":
            connection.opened_streams += [self.stream(one, BOOK) for one in symbols]
        ok = b'{"id":%d,"type":"ok",%b,"msg":{"market_tickers":%b}}'
        return [
            self._numbered(
                connection, SIDS[asked["sids"][0]], ok % (number, COUNTED, msgspec.json.encode(symbols))
            )
        ]

    def stamped(self, connection: Connection, payload: bytes, stream: str) -> bytes:
        return self._numbered(connection, self.split(stream)[1], payload) if stream else payload

    def _numbered(self, connection: Connection, channel: str, payload: bytes) -> bytes:
        sid, name = SID_OF[channel], f"seq {channel}"
        if COUNTED in payload:
            connection.counts[name] = connection.counts.get(name, 0) + 1
            return payload.replace(COUNTED, b'"sid":%d,"seq":%d' % (sid, connection.counts[name]), 1)
        return payload.replace(b'"sid":0', b'"sid":%d' % sid, 1)

    def draw(
        self, listing: Listing, channel: str, time_ns: int, streams: frozenset[str], history: History
    ) -> list[Item]:
        """One level a message."""
        if channel != BOOK:
            return super().draw(listing, channel, time_ns, streams, history)
        symbol, levels = listing.instrument.symbol, listing.change(time_ns).by_level()
        return [self._item(symbol, BOOK, self.stream(symbol, BOOK), each, listing=listing) for each in levels]

    def contracts(self, query: Mapping[str, str], now_ns: int) -> Response:
        """By pages; a cursor that is none gives the first again."""
        is_open, cursor, limit = (
            query["status"] == "open",
            query.get("cursor", ""),
            self.page_limit(query, 100, 1_000),
        )
        rows = []
        for series in self.series:
            if series.prefix == f"{query['series_ticker']}-":
                series.begin(now_ns)
                rows += [
                    ROW.format(
                        turn.symbol,
                        "active" if is_open else "initialized",
                        *map(time_text, (turn.opens_ns, turn.closes_ns)),
                    )
                    for turn in series.listed(now_ns, is_open)
                ]
        start = int(cursor) if cursor.isdecimal() else 0
        following = str(start + limit) if start + limit < len(rows) else ""
        text = f'{{"markets":[{",".join(rows[start : start + limit])}],"cursor":"{following}"}}'
        return Response(200, text.encode(), is_reference=True)

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        name = path.removeprefix("/trade-api/v2")
        if "series_ticker" in query:
            return self.contracts(query, now_ns)
        if name == "/markets":
            return self.listings('{"markets":[$rows],"cursor":""}', '{"ticker":"$symbol","status":"active"}')
        if name == "/historical/trades":
            return Response(200, b'{"trades":[],"cursor":""}', [EMPTY])
        if name == "/markets/candlesticks":
            symbol, first_s, last_s = query["market_tickers"], int(query["start_ts"]), int(query["end_ts"])
            start_ns, end_ns = first_s * NS_PER_S - NS_PER_MINUTE, (last_s + 1) * NS_PER_S - NS_PER_MINUTE
            bars = session.history.between(symbol, NS_PER_MINUTE, start_ns, end_ns, 0, 10_000)
            text = f'{{"markets":[{{"market_ticker":"{symbol}","candlesticks":[$rows]}}]}}'
            return page(text, *self.rows(self.bar_row, symbol, bars))
        if name != "/markets/trades":
            return Response(404, b'{"error":{"code":"not_found","message":"not found"}}')
        limit, symbol, below = self.page_limit(query, 100, 1_000), query["ticker"], query.get("cursor")
        start_ns, end_ns = (
            int(query.get("min_ts", 0)) * NS_PER_S,
            int(query.get("max_ts", 1 << 32)) * NS_PER_S,
        )
        found = session.history.below(symbol, PRINTS, limit + 1, int(below) if below else None, end_ns)
        newest_first = [each for each in reversed(found) if each.time_ns >= start_ns]
        cursor = newest_first[limit - 1].number if len(newest_first) > limit else ""
        text = f'{{"trades":[$rows],"cursor":"{cursor}"}}'
        return page(text, *self.rows(self.trade_row, symbol, newest_first[:limit]))

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

from etl.model.times import NS_PER_S
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.history import History
from etl.simulator.market import Instrument, Listing, decimal_text
from etl.simulator.series import LISTED, OVER, ContractSeries, Turn
from etl.simulator.session import Item, Session
from etl.simulator.venue import Response, Venue
from etl.simulator.venues._kalshi_history import answer
from etl.simulator.venues._kalshi_words import (
    BOOK,
    CHANNELS,
    COUNTED,
    KALSHI_WORDS,
    LIFECYCLE,
)

ALL = f"{LIFECYCLE}.ALL"
SIDS = {1: "trade", 2: "ticker", 3: BOOK, 4: LIFECYCLE}
SID_OF = {name: sid for sid, name in SIDS.items()}
EVENTS = {LISTED: "created", OVER: "determined"}  # a contract opens without a word
SYMBOLS = (("KXBTCD-26FEB1217-T67749.99", 5_700), ("KXSOLD-26FEB1217-T79.9999", 4_300), ("KXBTCMINMON-BTC-26FEB28-5750000", 2_800))  # fmt: skip


class Kalshi(Venue):
    exchange = "kalshi"
    symbols: Mapping[str, Instrument] = {one: Instrument(one, one, 4, 2, start) for one, start in SYMBOLS}
    words = KALSHI_WORDS
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
    channels = CHANNELS

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

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        return answer(self, path.removeprefix("/trade-api/v2"), query, session, now_ns)

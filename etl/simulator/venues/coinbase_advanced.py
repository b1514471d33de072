"""A simulated Coinbase Advanced Trade.

ws /coinbase_advanced   {"type":"subscribe","product_ids":["BTC-USD"],"channel":"level2"}, one channel a message, answered
                        with all that is subscribed to; every frame is counted on its connection, heartbeats too
GET /coinbase_advanced/api/v3/brokerage/market/products
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from etl.model.times import NS_PER_US
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.market import Instrument, decimal_text
from etl.simulator.session import Session
from etl.simulator.truth import PLACED
from etl.simulator.venue import CHANGE, PRINT, TOP, Channel, Response, Venue
from etl.simulator.venues.coinbase import Coinbase, micros_text
from etl.simulator.words import WORDS, Form, Words

FRAME = '{"channel":"%s","client_id":"","timestamp":"$micros","sequence_num":0,"events":[%s]}'
CONTROL = FRAME.replace("$micros", "$time")
BOOK = FRAME % ("l2_data", '{"type":"%s","product_id":"$symbol","updates":[$updates]}')
TRADES = FRAME % (
    "market_trades",
    '{"type":"%s","trades":[{"trade_id":"$number","product_id":"$symbol","price":"$price","size":"$size","side":"$maker_side","time":"$micros"}]}',
)
TICKER = FRAME % ("ticker", '{"type":"update","tickers":[{"type":"ticker","product_id":"$symbol","price":"$bid","best_bid":"$bid","best_bid_quantity":"$bid_size","best_ask":"$ask","best_ask_quantity":"$ask_size"}]}')  # fmt: skip
ACKNOWLEDGED = "2026-04-07T14:30:00.123456789Z"
COUNT = b'"sequence_num":0,'
HEARTBEAT = '{"current_time":"2026-04-07 14:30:10.000000000 +0000 UTC m=+12.3","heartbeat_counter":42}'


def _updates(words: Words) -> str:
    """The offers first, and each side from its worst level on: the venue promises no order."""
    when, sides = words["micros"], (("offer", words.fact.asks), ("bid", words.fact.bids))
    return ",".join(
        f'{{"side":"{side}","event_time":"{when}","price_level":"{words.price(price)}","new_quantity":"{words.size(lots)}"}}'
        for side, rows in sides
        for price, lots in reversed(rows)
    )


class CoinbaseAdvanced(Venue):
    exchange = "coinbase_advanced"
    symbols: Mapping[str, Instrument] = Coinbase.symbols
    words = WORDS | {
        "micros": lambda words: micros_text(words["time_ns"]),
        "maker_side": lambda words: "SELL" if words.fact.buyer_takes else "BUY",
        "updates": _updates,
    }
    dialect = Dialect(
        action="type",
        heartbeat_s=1.0,
        replies={
            "heartbeat": CONTROL % ("heartbeats", HEARTBEAT),
            "bad_request": '{"type":"error","message":"failed to decode message"}',
            "unknown_action": '{"type":"error","message":"unknown type"}',
            "unknown_event": CONTROL % ("mystery", ""),
        },
    )
    channels: Mapping[str, Channel] = {
        "level2": Channel(
            CHANGE, Form("book", PLACED, BOOK % "update", NS_PER_US), 0.5,
            opening=Form("book", PLACED, BOOK % "snapshot", NS_PER_US),
        ),
        "market_trades": Channel(
            PRINT, Form("trade", "$number", TRADES % "update", NS_PER_US), 0.3, is_counted=True,
            opening=Form("trade", "$number", TRADES % "snapshot", NS_PER_US), replayed_max=5,
        ),
        "ticker": Channel(TOP, Form("quote", PLACED, TICKER, 0), 0.2),
    }  # fmt: skip
    listing = (
        '{"products":[$rows]}',
        '{"product_id":"$symbol","base_currency_id":"$base","quote_currency_id":"$quote","price_increment":"$tick","base_increment":"$step","product_type":"SPOT","alias":""}',
    )

    def write(self, units: int, digits: int) -> str:
        return decimal_text(units, digits)

    def stamped(self, connection: Connection, payload: bytes, stream: str) -> bytes:
        """Errors have no number."""
        if COUNT not in payload:
            return payload
        number = connection.counts.get("", 0)
        connection.counts[""] = number + 1
        return payload.replace(COUNT, b'"sequence_num":%d,' % number)

    def asked(self, request: Any) -> Sequence[str]:
        return [self.stream(symbol, request["channel"]) for symbol in request.get("product_ids", [])]

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        active: dict[str, list[str]] = {"heartbeats": ["heartbeats"]}
        for symbol, name in map(self.split, sorted(connection.streams)):
            active.setdefault(name, []).append(symbol)
        event = msgspec.json.encode({"subscriptions": active}).decode()
        return [(FRAME % ("subscriptions", event)).replace("$micros", ACKNOWLEDGED).encode()]

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        if path.endswith("/market/products"):
            return self.listings(*self.listing)
        return Response(404, b'{"error":"NOT_FOUND"}')

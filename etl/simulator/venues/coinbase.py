"""A simulated Coinbase Exchange.

ws /coinbase   {"type":"subscribe","product_ids":["BTC-USD"],"channels":["matches"]}, answered with all that is subscribed
               to; the last trade and the whole book come first; a heartbeat a second and product
GET /coinbase/products   GET /coinbase/products/BTC-USD/trades?limit=1000&after=ID   newest first, ids below ``after``
GET /coinbase/products/BTC-USD/candles?granularity=60&start=…&end=…   newest first, 300 at most
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from etl.model.times import NS_PER_S, NS_PER_US
from etl.simulator.address import Address
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.history import PRINTS, History
from etl.simulator.market import Instrument, Listing, decimal_text
from etl.simulator.paging import read_moment
from etl.simulator.session import Item, Session
from etl.simulator.truth import PLACED
from etl.simulator.venue import CHANGE, PRINT, TOP, Channel, Response, Venue, page
from etl.simulator.words import WORDS, Form, Words, time_text

MATCH = '"trade_id":$number,"maker_order_id":"27fff20b-af29-4f45-8744-56dd1ef57dc0","taker_order_id":"1da6ce16-c8da-4732-9f71-6049f4c6aaf8","side":"$maker_side","size":"$size","price":"$price","product_id":"$symbol","sequence":$sequence,"time":"$micros"}'  # fmt: skip
TICKER = '{"type":"ticker","sequence":$sequence,"product_id":"$symbol","price":"$bid","open_24h":"$bid","volume_24h":"94381.28000000","low_24h":"$bid","high_24h":"$ask","volume_30d":"2295579.57000000","best_bid":"$bid","best_bid_size":"$bid_size","best_ask":"$ask","best_ask_size":"$ask_size","side":"buy","time":"$micros","trade_id":1,"last_size":"0.04"}'  # fmt: skip
HEARTBEAT = '{"type":"heartbeat","sequence":%d,"last_trade_id":%d,"product_id":"%s","time":"2014-11-07T08:19:28.464459Z"}'
INTERVALS = {"60": "1m", "300": "5m", "900": "15m", "3600": "1h", "21600": "6h", "86400": "1d"}
BARS_MAX = 300
BAR_ROW = Form("bar", "$interval/$start_ns", "[$start_s,$low,$high,$open,$close,$volume]", 1)
NOT_FOUND = Response(404, b'{"message":"NotFound"}')


def micros_text(time_ns: int) -> str:
    """RFC 3339 with six digits, as this venue always writes it."""
    return f"{time_text(time_ns - time_ns % NS_PER_S)[:-1]}.{time_ns % NS_PER_S // NS_PER_US:06d}Z"


def _changes(words: Words) -> str:
    sides = (("buy", words.fact.bids), ("sell", words.fact.asks))
    return ",".join(
        f'["{side}","{words.price(price)}","{words.size(lots)}"]'
        for side, rows in sides
        for price, lots in rows
    )


class Coinbase(Venue):
    exchange = "coinbase"
    symbols: Mapping[str, Instrument] = {
        "BTC-USD": Instrument("BTC-USD", "BTC-USD", 2, 8, 6_183_764),
        "ETH-USD": Instrument("ETH-USD", "ETH-USD", 2, 8, 268_512),
        "SOL-USD": Instrument("SOL-USD", "SOL-USD", 2, 8, 15_841),
    }
    words = WORDS | {
        "micros": lambda words: micros_text(words["time_ns"]),
        "maker_side": lambda words: "sell" if words.fact.buyer_takes else "buy",
        "changes": _changes,
        "start_s": lambda words: words["start_ns"] // NS_PER_S,
    }
    address = Address(
        channel=("type",),
        symbol=("product_id",),
        needs=("product_id",),
        spoken=frozenset({"heartbeat"}),
        channels={
            **dict.fromkeys(("match", "last_match"), "matches"),
            **dict.fromkeys(("snapshot", "l2update"), "level2_batch"),
        },
    )
    dialect = Dialect(
        action="type",
        heartbeat_s=1.0,
        replies={
            "bad_request": '{"type":"error","message":"Failed to subscribe","reason":"No channels provided"}',
            "unknown_action": '{"type":"error","message":"Malformed JSON"}',
            "unknown_event": '{"type":"mystery","product_id":"BTC-USD"}',
        },
    )
    channels: Mapping[str, Channel] = {
        "matches": Channel(
            PRINT, Form("trade", "$number", '{"type":"match",' + MATCH, NS_PER_US), 0.4, is_counted=True,
            opening=Form("trade", "$number", '{"type":"last_match",' + MATCH, NS_PER_US), replayed_max=1,
        ),
        "ticker": Channel(TOP, Form("quote", "$sequence", TICKER, NS_PER_US), 0.3),
        "level2_batch": Channel(
            CHANGE, Form("book", PLACED, '{"type":"l2update","product_id":"$symbol","changes":[$changes],"time":"$micros"}', NS_PER_US), 0.3,
            opening=Form("book", PLACED, '{"type":"snapshot","product_id":"$symbol","asks":[$asks],"bids":[$bids]}', 0),
        ),
    }  # fmt: skip
    row = Form("trade", "$number", '{"trade_id":$number,"side":"$maker_side","size":"$size","price":"$price","time":"$micros"}', NS_PER_US)  # fmt: skip
    listing = (
        "[$rows]",
        '{"id":"$symbol","base_currency":"$base","quote_currency":"$quote","quote_increment":"$tick","base_increment":"$step","status":"online"}',
    )

    def __init__(self, exchange: str) -> None:
        super().__init__(exchange)
        self._last_trades: dict[str, int] = {}

    def write(self, units: int, digits: int) -> str:
        return decimal_text(units, digits)

    def draw(
        self, listing: Listing, channel: str, time_ns: int, streams: frozenset[str], history: History
    ) -> list[Item]:
        items = super().draw(listing, channel, time_ns, streams, history)
        self._last_trades[listing.instrument.symbol] = listing.last_print
        return items

    # protocol

    def asked(self, request: Any) -> Sequence[str]:
        return [
            self.stream(symbol, name) for name in request["channels"] for symbol in request["product_ids"]
        ]

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        active: dict[str, list[str]] = {}
        for stream in sorted(connection.streams):
            symbol, name = self.split(stream)
            active.setdefault(name, []).append(symbol)
        channels = [{"name": name, "product_ids": symbols} for name, symbols in active.items()]
        return [msgspec.json.encode({"type": "subscriptions", "channels": channels})]

    def beat(self, connection: Connection, now_ns: int) -> None:
        if now_ns - connection.heartbeat_ns < self.dialect.heartbeat_s * NS_PER_S:
            return
        connection.heartbeat_ns = now_ns
        for symbol, name in map(self.split, sorted(connection.streams)):
            if name == "heartbeat" and (number := self._last_trades.get(symbol)):
                connection.outbox.append((HEARTBEAT % (number, number, symbol)).encode())

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        match path.strip("/").split("/"):
            case ["products"]:
                return self.listings(*self.listing)
            case ["products", symbol, "trades"]:
                limit = self.page_limit(query, 1_000, 1_000)
                after = int(query["after"]) if "after" in query else None
                entries = session.history.below(symbol, PRINTS, limit, after)
                return page("[$rows]", *self.rows(self.row, symbol, entries[::-1]))
            case ["products", symbol, "candles"]:
                length_ns = int(query["granularity"]) * NS_PER_S
                start_ns, end_ns = read_moment(query["start"]), read_moment(query["end"])
                if end_ns - start_ns >= BARS_MAX * length_ns:
                    return Response(400, b'{"message":"granularity too small for the requested time range."}')
                entries = session.history.between(symbol, length_ns, start_ns, end_ns + 1, 0, BARS_MAX)
                interval = INTERVALS[query["granularity"]]
                return page("[$rows]", *self.rows(BAR_ROW, symbol, entries[::-1], interval=interval))
        return NOT_FOUND

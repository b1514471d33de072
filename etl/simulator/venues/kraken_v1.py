"""A simulated Kraken as it was: spot, websocket v1.

ws /kraken_v1   {"event":"subscribe","pair":["XBT/USD"],"subscription":{"name":"book","depth":1000}} → an answer a pair
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from etl.model.times import NS_PER_MS, NS_PER_S, NS_PER_US
from etl.simulator.address import Address
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.market import Instrument, decimal_text, number_text
from etl.simulator.session import Session
from etl.simulator.truth import PLACED
from etl.simulator.venue import BAR, CHANGE, PRINT, TOP, Channel, Response, Venue
from etl.simulator.venues._kraken_book import checksum
from etl.simulator.words import WORDS, Form, Words


def _seconds(time_ns: int) -> str:
    return f"{time_ns // NS_PER_S}.{time_ns % NS_PER_S // NS_PER_US:06d}"


def _levels(name: str) -> Callable[[Words], str]:
    def write(words: Words) -> str:
        levels = getattr(words.fact, name)
        return ",".join(
            f'["{words.price(price)}","{words.size(lots)}","{words["seconds"]}"]' for price, lots in levels
        )

    return write


def _changed(words: Words) -> str:
    """An object a side that changed, the checksum in the last."""
    names = [name for name in ("asks", "bids") if getattr(words.fact, name)]
    sides = [f'{{"{name[0]}":[{words[name]}]' for name in names]
    return "},".join(sides) + f',"c":"{words["checksum"]}"}}'


V1_WORDS: dict[str, Callable[[Words], Any]] = WORDS | {
    "letter": lambda words: "b" if words.fact.buyer_takes else "s",
    "seconds": lambda words: _seconds(words["time_ns"]),
    "end": lambda words: _seconds(words.fact.end_ns),
    "bids": _levels("bids"),
    "asks": _levels("asks"),
    "changed": _changed,
    "checksum": checksum,
    "canonical_price": lambda words: number_text(words.fact.price, words.instrument.price_digits),
    "canonical_size": lambda words: number_text(words.fact.size, words.instrument.size_digits),
}
TRADE_KEY = "${us}000/$canonical_price/$canonical_size/$letter/#"
BAR_EVENT = (
    '[1,["$seconds","$end","$open","$high","$low","$close","$close","$volume",$count],"ohlc-1","$symbol"]'
)


class KrakenV1(Venue):
    exchange = "kraken_v1"
    symbols: Mapping[str, Instrument] = {
        "XBT/USD": Instrument("XBT/USD", "BTC-USD", 1, 8, 562_183),
        "ETH/USD": Instrument("ETH/USD", "ETH-USD", 2, 8, 219_268),
    }
    words = V1_WORDS
    address = Address(channel=(-2,), symbol=(-1,))
    dialect = Dialect(
        action="event",
        heartbeat_s=1.0,
        replies={
            "greeting": '{"connectionID":18239578009413566319,"event":"systemStatus","status":"online","version":"1.8.3"}',
            "heartbeat": '{"event":"heartbeat"}',
            "bad_request": '{"errorMessage":"Malformed request","event":"error"}',
            "unknown_event": '[1,{},"level9","XBT/USD"]',
        },
    )
    channels: Mapping[str, Channel] = {
        "trade": Channel(PRINT, Form("trade", TRADE_KEY, '[1,[["$price","$size","$seconds","$letter","l",""]],"trade","$symbol"]', NS_PER_MS), 0.3),
        "book-1000": Channel(
            CHANGE, Form("book", PLACED, '[2,$changed,"book-1000","$symbol"]', NS_PER_MS), 0.5,
            opening=Form("book", PLACED, '[2,{"as":[$asks],"bs":[$bids]},"book-1000","$symbol"]', NS_PER_MS),
        ),
        "spread": Channel(TOP, Form("quote", PLACED, '[3,["$bid","$ask","$seconds","$bid_size","$ask_size"],"spread","$symbol"]', NS_PER_MS), 0.2),
        "ohlc-1": Channel(BAR, Form("bar", "$interval/$start_ns", BAR_EVENT, 1), interval="1m"),
    }  # fmt: skip

    def write(self, units: int, digits: int) -> str:
        return decimal_text(units, digits)

    def asked(self, request: Any) -> Sequence[str]:
        """Of the pairs that are listed."""
        if request["event"] == "ping":
            return []
        return [self.stream(pair, _name(request)) for pair in request["pair"] if pair in self.symbols]

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        if action == "ping":
            return [b'{"event":"pong"}']
        asked = request["subscription"]
        named = msgspec.json.encode(asked).decode()
        answers = []
        for pair in request["pair"]:
            said = f'"channelID":1,"channelName":"{_name(request)}","status":"{action}d"'
            if pair not in self.symbols:
                said = f'"errorMessage":"Currency pair not supported {pair}","status":"error"'
            answers.append(
                f'{{{said},"event":"subscriptionStatus","pair":"{pair}","subscription":{named}}}'.encode()
            )
        return answers

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        return Response(404, b"{}")


def _name(request: Any) -> str:
    asked = request["subscription"]
    parameter = asked.get("depth") or asked.get("interval")
    return f"{asked['name']}-{parameter}" if parameter else str(asked["name"])

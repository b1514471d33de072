"""Simulated options of Alpaca: everything on the socket is msgpack, trades have no id and quotes one condition.

ws /alpaca_options/v1beta1/opra
GET /alpaca_options/v1beta1/options/{trades,bars}   JSON

``alpaca_options_indicative`` is served by it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.msgpack import Ext

from etl.model.times import NS_PER_S
from etl.simulator.connection import Connection
from etl.simulator.market import Instrument
from etl.simulator.session import Item
from etl.simulator.stocks import PRICE_DIGITS, one_of, stock_words
from etl.simulator.truth import CONTENT_END
from etl.simulator.venue import PRINT, TOP, Channel
from etl.simulator.venues.alpaca import ROWS, Alpaca
from etl.simulator.words import Form, read_time

TRADE_KEY = f"$time_ns/$price/$size//$market/$condition{CONTENT_END}"
TRADE = '"t":"$time","p":$price,"s":$size,"x":"$market","c":"$condition"}'
QUOTE_KEY = f"$time_ns/$bid/$bid_size/$bid_market/$ask/$ask_size/$ask_market/A{CONTENT_END}"
QUOTE = '{"T":"q","S":"$symbol","t":"$time","bx":"$bid_market","bp":$bid,"bs":$bid_size,"ax":"$ask_market","ap":$ask,"as":$ask_size,"c":"A"}'  # fmt: skip
TIMESTAMP = -1
"""https://github.com/msgpack/msgpack/blob/master/spec.md#timestamp-extension-type"""
SECOND_BITS = 34


def packed(events: bytes) -> bytes:
    """An array of events in JSON as msgpack, times as 30 bits of nanoseconds and 34 of seconds."""
    found = msgspec.json.decode(events, type=list[dict[str, object]])
    for event in found:
        if isinstance(time := event.get("t"), str):
            seconds, fraction = divmod(read_time(time), NS_PER_S)
            event["t"] = Ext(TIMESTAMP, (fraction << SECOND_BITS | seconds).to_bytes(8))
    return msgspec.msgpack.encode(found)


def listed(symbol: str, start_ticks: int) -> Instrument:
    return Instrument(symbol, symbol, PRICE_DIGITS, 0, start_ticks)


class AlpacaOptions(Alpaca):
    exchange = "alpaca_options"
    address = None
    symbols: Mapping[str, Instrument] = {
        symbol: listed(symbol, start_ticks)
        for symbol, start_ticks in (
            ("SPY261218C00600000", 7_515),
            ("SPY261218P00600000", 6_210),
            ("AAPL261218C00250000", 9_040),
        )
    }
    words = stock_words("ABCMNX", vwap_digits=6) | {"condition": one_of("aIjg")}
    channels: Mapping[str, Channel] = {
        "trades": Channel(PRINT, Form("trade", TRADE_KEY, '{"T":"t","S":"$symbol",' + TRADE, 1), 0.35),
        "quotes": Channel(TOP, Form("quote", QUOTE_KEY, QUOTE, 1), 0.65),
        "bars": Alpaca.channels["bars"],
    }
    lists = ("trades", "quotes", "bars")
    past: Mapping[str, Form] = {"trades": Form("trade", TRADE_KEY, "{" + TRADE, 1), "bars": ROWS["bars"]}
    past_path = "v1beta1/options"

    def unlisted(self, symbol: str) -> Instrument:
        return listed(symbol, 1_000)

    # in msgpack

    def decoded(self, text: str | bytes) -> Any:
        return msgspec.msgpack.decode(text)  # type: ignore[arg-type]  # of a text too, which is refused

    def join(self, items: Sequence[Item], connection: Connection | None = None) -> bytes:
        return packed(super().join(items, connection))

    def stamped(self, connection: Connection, payload: bytes, stream: str) -> bytes:
        """Events were packed when they were joined; what the dialect says is still JSON."""
        return packed(payload) if payload[:1] == b"[" else payload

"""Simulated Bybit options: as linear, with trades by coin and acknowledgements of another form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from etl.model.times import NS_PER_MS
from etl.simulator.address import TO_ALL, Address
from etl.simulator.connection import Connection
from etl.simulator.market import Instrument
from etl.simulator.venue import BEST, Channel, Response
from etl.simulator.venues.bybit import book, listed, trades
from etl.simulator.venues.bybit_linear import CONTENT, BybitLinear
from etl.simulator.words import Form, Template

EXPIRY_MS = 1_798_185_600_000
"""2026-12-25, 08:00 UTC."""
TRADED = Address(channel=("topic",), symbol=("data", 0, "s"))
OPTION_TICKER_TEXT = '{"id":"tickers.$symbol-$sequence-$ms","topic":"tickers.$symbol","ts":$ms,"data":{"symbol":"$symbol","bidPrice":"0","markPrice":"$bid","indexPrice":"$ask","delta":"-0.1","openInterest":"$bid_size"},"type":"snapshot"}'  # fmt: skip


class BybitOption(BybitLinear):
    exchange = "bybit_option"
    category = "option"
    symbols: Mapping[str, Instrument] = {
        symbol: listed(symbol, unified, 1, 2, start_ticks)
        for symbol, unified, start_ticks in (
            ("BTC-25DEC26-100000-C-USDT", "BTC-USDT-20261225-100000-C", 13_000),
            ("BTC-25DEC26-100000-P-USDT", "BTC-USDT-20261225-100000-P", 87_000),
            ("ETH-25DEC26-4000-C-USDT", "ETH-USDT-20261225-4000-C", 2_114),
        )
    }
    channels: Mapping[str, Channel] = {
        "publicTrade": trades("$uuid", "$coin", '"id":"publicTrade.$coin-$sequence-$ms",'),
        "orderbook.100": book('"id":"$channel.$symbol-$last-$ms",'),
        "tickers": Channel(BEST, Form("stats", CONTENT, OPTION_TICKER_TEXT, NS_PER_MS, "$bid/$ask/$bid_size//0"), 0.02),
    }  # fmt: skip
    row = '{"symbol":"$symbol","optionsType":"$side","baseCoin":"$base","quoteCoin":"USD","settleCoin":"USDT","status":"Trading","deliveryTime":"$expiry","priceFilter":{"tickSize":"5"},"lotSizeFilter":{"qtyStep":"0.01"}}'  # fmt: skip

    def listings(self, text: str, row: str) -> Response:
        template, rows = Template(self.row), []
        for symbol in self.symbols:
            base, side = symbol.partition("-")[0], "Call" if "-C-" in symbol else "Put"
            rows.append(template({"symbol": symbol, "side": side, "base": base, "expiry": EXPIRY_MS}))
        return Response(200, text.replace("$rows", ",".join(rows)).encode(), is_reference=True)

    def stream_of(self, payload: bytes) -> str | None:
        """Trades are named by coin; the first one's contract is asked for with all of its coin."""
        name = super().stream_of(payload)
        if name is None or self.split(name)[1] != "publicTrade":
            return name
        found = TRADED.read(payload)
        return self.stream(found[1], "publicTrade") if found and found[1] else TO_ALL

    def expand(self, name: str) -> set[str]:
        """Trades are asked for by coin."""
        coin, channel = self.split(name)
        if channel != "publicTrade":
            return {name}
        return {self.stream(one, channel) for one in self.symbols if one.partition("-")[0] == coin}

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        if action == "ping":
            return [b'{"args":["1672916271846"],"op":"pong"}']
        asked = self.asked(request)
        failed = [name for name in asked if self.split(name)[1] not in self.channels]
        topics = {"failTopics": failed, "successTopics": [name for name in asked if name not in failed]}
        return [
            msgspec.json.encode({"success": True, "conn_id": "c", "data": topics, "type": "COMMAND_RESP"})
        ]

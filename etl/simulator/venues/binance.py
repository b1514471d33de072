"""A simulated Binance, spot.

ws /binance/stream?streams=btcusdt@trade/…   combined;  ws /binance/ws/btcusdt@trade   raw
SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS as messages
GET /binance/api/v3/{depth,historicalTrades,trades,aggTrades,klines,exchangeInfo}
GET /binance/data/spot/daily/{trades,aggTrades,klines}/…  the archive of daily files
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from etl.model.times import NS_PER_MS, interval_ns
from etl.simulator import archive
from etl.simulator.archive import Archive
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.history import PRINTS
from etl.simulator.market import Instrument, decimal_text
from etl.simulator.paging import bars_by_time, by_id_or_time
from etl.simulator.session import Item, Session
from etl.simulator.venue import BAR, CHANGE, PRINT, TOP, Channel, Response, Venue, page
from etl.simulator.venues._binance_track import TOLD
from etl.simulator.words import Form

DECIMAL_DIGITS = 8
QUOTE_COINS = ("USDT", "USDC", "FDUSD", "BTC", "ETH", "EUR", "TRY")
NO_SYMBOL = (
    b"""{"code":-1102,"msg":"Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."}"""
)


def listed(symbol: str, price_digits: int, size_digits: int, start_ticks: int, end: str = "") -> Instrument:
    quote = next((coin for coin in QUOTE_COINS if symbol.endswith(coin) and symbol != coin), "")
    unified = f"{symbol.removesuffix(quote)}-{quote}{end}" if quote else symbol
    return Instrument(symbol, unified, price_digits, size_digits, start_ticks)


def combined(kind: str, key: str, data: str, time_unit_ns: int = NS_PER_MS, says: str = "") -> Form:
    """An event of a combined stream."""
    return Form(kind, key, f'{{"stream":"$lower@$channel","data":{data}}}', time_unit_ns, says)


KLINE = combined("bar", "$interval/$start_ns", '{"e":"kline","E":$now_ms,"s":"$symbol","k":{"t":$start_ms,"T":$last_ms,"s":"$symbol","i":"$interval","f":$first_number,"L":$last_number,"o":"$open","h":"$high","l":"$low","c":"$close","v":"$volume","q":"$turnover","V":"$bought","Q":"$turnover_bought","n":$count,"x":$closed,"B":"0"}}', 1)  # fmt: skip
KLINES = {f"kline_{name}": Channel(BAR, KLINE, interval=name) for name in ("1s", "1m", "5m", "1h", "1d")}
KLINE_ROW = Form("bar", "$interval/$start_ns", '[$start_ms,"$open","$high","$low","$close","$volume",$last_ms,"$turnover",$count,"$bought","$turnover_bought","0"]', 1)  # fmt: skip
KLINE_LINE = Form("bar", "$interval/$start_ns", "$at,$open,$high,$low,$close,$volume,$last_at,$turnover,$count,$bought,$turnover_bought,0", 1)  # fmt: skip


LISTED = '{"symbol":"$symbol","status":"TRADING","baseAsset":"$base","quoteAsset":"$quote",%s"filters":[{"filterType":"PRICE_FILTER","tickSize":"$tick"},{"filterType":"LOT_SIZE","stepSize":"$step"}]}'  # fmt: skip


class Binance(Venue):
    exchange = "binance"
    symbols: Mapping[str, Instrument] = {
        one[0]: listed(*one)
        for one in (
            ("BTCUSDT", 2, 5, 6_183_764),
            ("ETHUSDT", 2, 4, 268_512),
            ("SOLUSDT", 2, 3, 15_841),
            ("BNBUSDT", 2, 3, 51_230),
            ("XRPUSDT", 4, 1, 61_240),
        )
    }
    words = archive.WORDS_OF_LINES
    separator, symbol_leads = "@", True
    sends_forming_bars = sends_empty_bars = True
    told = TOLD
    dialect = Dialect(
        action="method",
        subscribe="SUBSCRIBE",
        unsubscribe="UNSUBSCRIBE",
        streams_max=1_024,
        replies={
            "bad_request": '{"error":{"code":3,"msg":"Invalid JSON"}}',
            "shutdown": '{"e":"serverShutdown","E":$ms}',
            "unknown_event": '{"stream":"btcusdt@mystery","data":{"e":"mystery","E":$ms,"s":"BTCUSDT"}}',
        },
    )
    channels: Mapping[str, Channel] = {
        "trade": Channel(PRINT, combined("trade", "$number", '{"e":"trade","E":$ms,"T":$ms,"s":"$symbol","t":$number,"p":"$price","q":"$size","m":$maker,"M":true}'), 0.35, is_counted=True),
        "aggTrade": Channel(PRINT, combined("agg_trade", "$number", '{"e":"aggTrade","E":$ms,"s":"$symbol","a":$number,"p":"$price","q":"$size","f":$number,"l":$number,"T":$ms,"m":$maker,"M":true}'), 0.10),
        "bookTicker": Channel(TOP, combined("quote", "$number", '{"u":$number,"s":"$symbol","b":"$bid","B":"$bid_size","a":"$ask","A":"$ask_size"}', 0), 0.45),
        "depth": Channel(CHANGE, combined("book", "$channel/d/$last", '{"e":"depthUpdate","E":$ms,"s":"$symbol","U":$first,"u":$last,"b":[$bids],"a":[$asks]}'), 0.10, is_counted=True),
        **KLINES,
    }  # fmt: skip
    snapshot = Form("book", "depth/s/$last", '{"lastUpdateId":$last,"bids":[$bids],"asks":[$asks]}', 0)
    trade_row = Form("trade", "$number", '{"id":$number,"price":"$price","qty":"$size","quoteQty":"$worth","time":$ms,"isBuyerMaker":$maker,"isBestMatch":true}', NS_PER_MS)  # fmt: skip
    aggregate_row = Form("agg_trade", "$number", '{"a":$number,"p":"$price","q":"$size","f":$number,"l":$number,"T":$ms,"m":$maker,"M":true}', NS_PER_MS)  # fmt: skip
    listing = ('{"timezone":"UTC","symbols":[$rows]}', LISTED % "")
    files = Archive(
        is_finer=True,
        lines={
            "trades": Form("trade", "$number", "$number,$price,$size,$worth,$at,$Maker,True", NS_PER_MS),
            "aggTrades": Form("agg_trade", "$number", "$number,$price,$size,$number,$number,$at,$Maker,True", NS_PER_MS),
            "klines": KLINE_LINE,
        },
    )  # fmt: skip

    def __init__(self, exchange: str) -> None:
        super().__init__(exchange)
        self._depth_names: dict[str, str] = {}

    def unlisted(self, symbol: str) -> Instrument:
        return listed(symbol, 4, 2, 12_345)

    def write(self, units: int, digits: int) -> str:
        return decimal_text(units, digits, DECIMAL_DIGITS)

    # protocol

    def opened(self, connection: Connection) -> None:
        names, path = connection.query.get("streams", ""), self.path_in_group(connection.path)
        connection.is_raw = path.partition("/")[0] == "ws"
        if connection.is_raw:
            names = path.removeprefix("ws")
        self.subscribe(connection, [name for name in names.split("/") if name])

    def path_in_group(self, path: str) -> str:
        return path

    def asked(self, request: Any) -> Sequence[str]:
        request["id"]
        return [str(name) for name in request.get("params", [])]

    def expand(self, name: str) -> set[str]:
        """Depth comes at several speeds; the session has one, under the name the client knows."""
        symbol, channel = self.split(name)
        if not channel.startswith("depth") or channel.partition("@")[0] != "depth":
            return {name}
        self._depth_names[symbol] = channel
        return {self.stream(symbol, "depth")}

    def spelled(self, symbol: str, channel: str) -> str:
        return self._depth_names.get(symbol, channel) if channel == "depth" else channel

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        result = sorted(connection.streams) if action == "LIST_SUBSCRIPTIONS" else None
        return [msgspec.json.encode({"result": result, "id": request["id"]})]

    def join(self, items: Sequence[Item], connection: Connection | None = None) -> bytes:
        (item,) = items
        if connection is not None and connection.is_raw:
            return item.payload[item.payload.index(b'"data":') + 7 : -1]
        return item.payload

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        if path.startswith("/data/"):
            return archive.answer(self, self.files, path, session)
        endpoint, symbol = path.rpartition("/")[2], query.get("symbol", "").upper()
        if endpoint == "exchangeInfo":
            return self.listings(*self.listing)
        if not symbol:
            return Response(400, NO_SYMBOL)
        if endpoint == "depth":
            return self.book(self.snapshot, symbol, int(query.get("limit", "100")), session, now_ns)
        limit, history = self.page_limit(query, 500, 1_000), session.history
        if endpoint in ("historicalTrades", "trades", "aggTrades"):
            form = self.aggregate_row if endpoint == "aggTrades" else self.trade_row
            return page(
                "[$rows]", *self.rows(form, symbol, by_id_or_time(history, symbol, PRINTS, query, limit))
            )
        if endpoint == "klines":
            interval = query.get("interval", "1m")
            entries = bars_by_time(history, symbol, interval_ns(interval), query, limit, now_ns)
            return page("[$rows]", *self.rows(KLINE_ROW, symbol, entries, interval=interval))
        return Response(404, b"{}")

"""A simulated Kraken: spot, websocket v2.

    ws /kraken   status → {"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}} → an answer a symbol
    GET /kraken/0/public/{Trades,OHLC,AssetPairs}

A book holds ten levels: what falls behind them goes without a word, what comes up from behind is told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from etl.model.times import NS_PER_MS, NS_PER_S, interval_ns
from etl.simulator.address import Address
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.history import PRINTS, Entry, History
from etl.simulator.market import Instrument, Listing
from etl.simulator.paging import END_OF_TIME_NS
from etl.simulator.session import Item, Session
from etl.simulator.truth import PLACED
from etl.simulator.venue import BAR, BEST, CHANGE, PRINT, TOP, Channel, Response, Venue, page
from etl.simulator.venues._kraken_book import DEPTH, checksum, levels
from etl.simulator.words import WORDS, Form, Words, time_text

PAGE_ROWS, BARS_MAX, ROWS_MAX = 1_000, 720, 1_000_000
MINUTES = {"1": "1m", "5": "5m", "60": "1h"}

KRAKEN_WORDS: dict[str, Callable[[Words], Any]] = WORDS | {
    "taker": lambda words: "buy" if words.fact.buyer_takes else "sell",
    "letter": lambda words: words["taker"][0],
    "seconds": lambda words: f"{words['time_ns'] // NS_PER_S}.{words['time_ns'] % NS_PER_S // 100:07d}",
    "start": lambda words: time_text(words.fact.start_ns),
    "start_s": lambda words: words.fact.start_ns // NS_PER_S,
    "bid_levels": levels("bid", -1),
    "ask_levels": levels("ask", 1),
    "checksum": checksum,
    "price_digits": lambda words: words.instrument.price_digits,
    "size_digits": lambda words: words.instrument.size_digits,
}


def _told(channel: str, type_: str, event: str) -> str:
    return f'{{"channel":"{channel}","type":"{type_}","data":[{event}]}}'


def _channel(
    draws: str, name: str, kind: str, key: str, event: str, unit_ns: int, share: float, **more: Any
) -> Channel:
    """With what begins a subscription in the same words."""
    form, opening = (Form(kind, key, _told(name, type_, event), unit_ns) for type_ in ("update", "snapshot"))
    return Channel(draws, form, share, opening=opening, **more)


PAIR = '{"channel":"instrument","type":"%s","data":{"assets":[],"pairs":[{"symbol":"$symbol","status":"online","price_precision":$price_digits,"qty_precision":$size_digits}]}}'  # fmt: skip
BAR_EVENT = '{"symbol":"$symbol","open":$open,"high":$high,"low":$low,"close":$close,"trades":$count,"volume":$volume,"vwap":$close,"interval_begin":"$start","interval":1}'  # fmt: skip
TRADE_ROW = Form("trade", "$number", '["$price","$size",$seconds,"$letter","l","",$number]', NS_PER_MS)
BAR_ROW = Form(
    "bar", "$interval/$start_ns", '[$start_s,"$open","$high","$low","$close","$close","$volume",$count]', 1
)
LISTED = '"%s":{"altname":"%s","wsname":"%s","pair_decimals":%d,"lot_decimals":%d,"status":"online"}'
ANSWER = '"time_in":"2026-11-29T12:00:00.000001Z","time_out":"2026-11-29T12:00:00.000002Z","req_id":%d}'


class Kraken(Venue):
    exchange = "kraken"
    symbols: Mapping[str, Instrument] = {
        "BTC/USD": Instrument("BTC/USD", "BTC-USD", 1, 8, 1_059_442),
        "ETH/USD": Instrument("ETH/USD", "ETH-USD", 2, 8, 402_175),
        "SOL/USD": Instrument("SOL/USD", "SOL-USD", 2, 8, 15_120),
    }
    words = KRAKEN_WORDS
    address = Address(
        channel=("channel",), symbol=("data", 0, "symbol"), needs=("data",), spoken=frozenset({"status"})
    )
    dialect = Dialect(
        action="method",
        heartbeat_s=1.0,
        replies={
            "greeting": '{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2","connection_id":18239578009413566319}]}',
            "heartbeat": '{"channel":"heartbeat"}',
            "bad_request": '{"error":"Malformed request","success":false}',
            "unknown_event": '{"channel":"level9","type":"update","data":[]}',
        },
    )  # fmt: skip
    channels: Mapping[str, Channel] = {
        "instrument": Channel(BEST, Form("status", PLACED, PAIR % "update", 0), 0.01, opening=Form("status", PLACED, PAIR % "snapshot", 0)),
        "trade": _channel(PRINT, "trade", "trade", "$number", '{"symbol":"$symbol","side":"$taker","price":$price,"qty":$size,"ord_type":"limit","trade_id":$number,"timestamp":"$time"}', NS_PER_MS, 0.3, is_counted=True, replayed_max=50),
        "book": _channel(CHANGE, "book", "book", PLACED, '{"symbol":"$symbol","bids":[$bid_levels],"asks":[$ask_levels],"checksum":$checksum,"timestamp":"$time"}', NS_PER_MS, 0.5),
        "ticker": _channel(TOP, "ticker", "quote", PLACED, '{"symbol":"$symbol","bid":$bid,"bid_qty":$bid_size,"ask":$ask,"ask_qty":$ask_size,"last":$bid,"timestamp":"$time"}', NS_PER_MS, 0.19),
        "ohlc": Channel(BAR, Form("bar", "$interval/$start_ns", _told("ohlc", "update", BAR_EVENT), 1), interval="1m"),
    }  # fmt: skip

    def asked(self, request: Any) -> Sequence[str]:
        """Of the symbols that are listed."""
        params = request.get("params", {})
        named = self.symbols if params.get("channel") == "instrument" else params.get("symbol", ())
        return [self.stream(symbol, params["channel"]) for symbol in named if symbol in self.symbols]

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        params, end = request.get("params", {}), ANSWER % request.get("req_id", 0)
        if action == "ping":
            return [f'{{"method":"pong",{end}'.encode()]
        channel = params["channel"]
        if channel == "instrument":
            return [
                f'{{"method":"{action}","result":{{"channel":"instrument"}},"success":true,{end}'.encode()
            ]
        depth = f'"depth":{DEPTH},' if channel == "book" else ""
        answers = []
        for symbol in params["symbol"]:
            said = f'"result":{{"channel":"{channel}",{depth}"symbol":"{symbol}"}},"success":true'
            if symbol not in self.symbols:
                said = f'"error":"Currency pair not supported {symbol}","success":false,"symbol":"{symbol}"'
            answers.append(f'{{"method":"{action}",{said},{end}'.encode())
        return answers

    def draw(
        self, listing: Listing, channel: str, time_ns: int, streams: frozenset[str], history: History
    ) -> list[Item]:
        """A change behind the tenth level is no message."""
        items = super().draw(listing, channel, time_ns, streams, history)
        return [item for item in items if b'"bids":[],"asks":[]' not in item.payload]

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        endpoint, pair = path.rpartition("/")[2], query.get("pair", "")
        names = {symbol.replace("BTC", "XBT").replace("/", ""): symbol for symbol in self.symbols}
        if endpoint == "AssetPairs":
            listed = [(name, name, symbol, self.symbols[symbol]) for name, symbol in names.items()]
            rows = [LISTED % (*each, one.price_digits, one.size_digits) for *each, one in listed]
            return Response(200, f'{{"error":[],"result":{{{",".join(rows)}}}}}'.encode(), is_reference=True)
        if pair not in names:
            return Response(200, b'{"error":["EQuery:Unknown asset pair"]}')
        since = int(query.get("since", 0))
        if endpoint == "Trades":
            entries = self._trades(session.history, names[pair], since, query)
            last = entries[-1].time_ns if entries else since
            text = f'{{"error":[],"result":{{"X{pair}":[$rows],"last":"{last}"}}}}'
            return page(text, *self.rows(TRADE_ROW, names[pair], entries))
        interval = MINUTES[query.get("interval", "1")]
        start_ns = (since + 1) * NS_PER_S
        bars = session.history.between(names[pair], interval_ns(interval), start_ns, now_ns, 0, ROWS_MAX)
        text = f'{{"error":[],"result":{{"X{pair}":[$rows],"last":{since}}}}}'
        return page(text, *self.rows(BAR_ROW, names[pair], bars[-BARS_MAX:], interval=interval))

    def _trades(self, history: History, symbol: str, since: int, query: Mapping[str, str]) -> Sequence[Entry]:
        """A page ends with all trades of its last time, as the next one begins after it."""
        limit = min(PAGE_ROWS, int(query.get("count", PAGE_ROWS)))
        found = history.between(symbol, PRINTS, since + 1, END_OF_TIME_NS, 0, limit)
        if len(found) < limit:
            return found
        return history.between(symbol, PRINTS, since + 1, found[-1].time_ns + 1, 0, ROWS_MAX)

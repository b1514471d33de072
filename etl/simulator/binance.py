"""A simulated Binance: spot and USD-M futures.

ws /binance/stream?streams=btcusdt@trade/…   combined;  ws /binance/ws/btcusdt@trade   raw
SUBSCRIBE, UNSUBSCRIBE and LIST_SUBSCRIPTIONS as messages, at most 5 a second
GET /binance/api/v3/{depth,historicalTrades,trades,aggTrades,klines,exchangeInfo}  (USD-M: /fapi/v1/…)
GET /binance/data/spot/daily/{trades,aggTrades,klines}/…  the archive of daily files (USD-M: /data/futures/um/…)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from etl.simulator import archive
from etl.simulator.market import Bar, Instrument, Listing, Print, Snapshot, decimal_text
from etl.simulator.session import Entry, History, Item, Session
from etl.simulator.venue import Answer, Connection, Venue

MS = 1_000_000
MINUTE = 60_000_000_000
INTERVALS = {"1s": MINUTE // 60, "1m": MINUTE, "5m": 5 * MINUTE, "1h": 60 * MINUTE, "1d": 1_440 * MINUTE}
STREAMS_MAX = 1_024
SPOT_DIGITS = 8
"""Spot writes every decimal with eight digits, futures with those of the instrument."""
END_OF_TIME_MS = 1 << 62

_KNOWN = {
    "BTCUSDT": (2, 5, 6_183_764),
    "ETHUSDT": (2, 4, 268_512),
    "SOLUSDT": (2, 3, 15_841),
    "BNBUSDT": (2, 3, 51_230),
    "XRPUSDT": (4, 1, 61_240),
}
_TRADE, _AGGREGATE = "trade", "aggTrade"
MARK_PRICE, FORCED_ORDER = "markPrice@1s", "forceOrder"
FUNDING_NS = 8 * 60 * MINUTE


class BinanceVenue(Venue):
    default_symbols = tuple(_KNOWN)
    weights: Mapping[str, float] = {_TRADE: 0.35, _AGGREGATE: 0.10, "bookTicker": 0.45, "depth": 0.10}
    bar_channels = {f"kline_{name}": length for name, length in INTERVALS.items()}
    sends_forming_bars = True
    past_kinds = {_TRADE: "prints", **{f"kline_{name}": length for name, length in INTERVALS.items()}}

    def __init__(self, exchange: str) -> None:
        super().__init__(exchange)
        self.futures = exchange == "binance_usdm"
        if self.futures:
            self.weights = {**self.weights, MARK_PRICE: 0.02, FORCED_ORDER: 0.01}
        self._width = 0 if self.futures else SPOT_DIGITS
        self._depth_names: dict[str, str] = {}

    # protocol

    def refuse_upgrade(self) -> int:
        if self.refuse_logins:
            self.refuse_logins -= 1
            return 403
        if self.refuse_connections:
            self.refuse_connections -= 1
            return 429
        return 0

    def opened(self, connection: Connection) -> None:
        names = connection.query.get("streams", "").split("/")
        connection.is_raw = connection.path.partition("/")[0] == "ws"
        if connection.is_raw:
            names = connection.path.removeprefix("ws").strip("/").split("/")
        self._subscribe(connection, [name for name in names if name])

    def received(self, connection: Connection, text: str, others: Sequence[Connection]) -> None:
        try:
            request = msgspec.json.decode(text.encode())
            method, number = request["method"], request["id"]
            names = list(map(str, request.get("params", [])))
        except (msgspec.DecodeError, KeyError, TypeError):
            connection.outbox.append(b'{"error":{"code":3,"msg":"Invalid JSON"}}')
            return
        result: Any = None
        if method == "SUBSCRIBE":
            self._subscribe(connection, names)
        elif method == "UNSUBSCRIBE":
            connection.streams -= {self._stream(name) for name in names}
        elif method == "LIST_SUBSCRIPTIONS":
            result = sorted(connection.streams)
        connection.outbox.append(msgspec.json.encode({"result": result, "id": number}))

    def _subscribe(self, connection: Connection, names: list[str]) -> None:
        connection.streams |= {self._stream(name) for name in names}
        if len(connection.streams) > STREAMS_MAX:
            connection.closing = True

    def _stream(self, name: str) -> str:
        """Depth comes at several speeds; the session has one, under the name the client knows."""
        symbol, _, channel = name.partition("@")
        if channel.split("@")[0] != "depth":
            return name
        self._depth_names[symbol] = channel
        return f"{symbol}@depth"

    def farewell(self, kind: str, now_ns: int) -> bytes | None:
        return b'{"e":"serverShutdown","E":%d}' % (now_ns // MS) if kind == "shutdown" else None

    def join(self, items: Sequence[Item], connection: Connection | None = None) -> bytes:
        (item,) = items
        if connection is not None and connection.is_raw:
            return item.payload[item.payload.index(b'"data":') + 7 : -1]
        return item.payload

    def unknown_event(self, now_ns: int) -> bytes:
        return b'{"stream":"btcusdt@mystery","data":{"e":"mystery","E":%d,"s":"BTCUSDT"}}' % (now_ns // MS)

    # writing

    def instrument(self, symbol: str) -> Instrument:
        price_digits, size_digits, start = _KNOWN.get(symbol, (4, 2, 12_345))
        return Instrument(symbol, price_digits, size_digits, start)

    def split(self, stream: str) -> tuple[str, str]:
        symbol, _, channel = stream.partition("@")
        return symbol.upper(), channel

    def draw(
        self, listing: Listing, channel: str, time_ns: int, streams: frozenset[str], history: History
    ) -> list[Item]:
        symbol, ms = listing.instrument.symbol, time_ns // MS
        if channel == "bookTicker":
            return [self._quote(listing, symbol, time_ns)]
        if channel == "depth":
            return [self._depth(listing, symbol, time_ns)]
        if channel == MARK_PRICE:
            return [self._mark_price(listing, symbol, time_ns)]
        if channel == FORCED_ORDER:
            return [self._forced_order(listing, symbol, time_ns)]
        event = listing.print(time_ns)
        entry = Entry(event.number, time_ns, event)
        history.add(symbol, _TRADE, entry)
        items = []
        for name, write in ((_TRADE, self._trade), (_AGGREGATE, self._aggregate)):
            stream = f"{symbol.lower()}@{name}"
            if stream in streams:
                items.append(Item(stream, _wrap(stream, write(listing.instrument, symbol, event, ms))))
        return items

    def _price(self, instrument: Instrument, ticks: int) -> str:
        return decimal_text(ticks, instrument.price_digits, self._width)

    def _size(self, instrument: Instrument, lots: int) -> str:
        return decimal_text(lots, instrument.size_digits, self._width)

    def _trade(self, instrument: Instrument, symbol: str, event: Print, ms: int) -> str:
        maker = "false" if event.buyer_takes else "true"
        end = f'"X":"MARKET","m":{maker}' if self.futures else f'"m":{maker},"M":true'
        price, size = self._price(instrument, event.price), self._size(instrument, event.size)
        return f'{{"e":"trade","E":{ms},"T":{ms},"s":"{symbol}","t":{event.number},"p":"{price}","q":"{size}",{end}}}'

    def _aggregate(self, instrument: Instrument, symbol: str, event: Print, ms: int) -> str:
        maker = "false" if event.buyer_takes else "true"
        end = "" if self.futures else ',"M":true'
        number = event.number
        return (
            f'{{"e":"aggTrade","E":{ms},"s":"{symbol}","a":{number},"p":"{self._price(instrument, event.price)}",'
            f'"q":"{self._size(instrument, event.size)}","f":{number},"l":{number},"T":{ms},"m":{maker}{end}}}'
        )

    def _quote(self, listing: Listing, symbol: str, time_ns: int) -> Item:
        event, ms, instrument = listing.top(time_ns), time_ns // MS, listing.instrument
        sides = (
            f'"b":"{self._price(instrument, event.bid)}","B":"{self._size(instrument, event.bid_size)}",'
            f'"a":"{self._price(instrument, event.ask)}","A":"{self._size(instrument, event.ask_size)}"'
        )
        stream = f"{symbol.lower()}@bookTicker"
        if self.futures:
            data = f'{{"e":"bookTicker","u":{event.number},"s":"{symbol}",{sides},"T":{ms},"E":{ms}}}'
        else:
            data = f'{{"u":{event.number},"s":"{symbol}",{sides}}}'
        return Item(stream, _wrap(stream, data))

    def _depth(self, listing: Listing, symbol: str, time_ns: int) -> Item:
        event, ms, instrument = listing.change(time_ns), time_ns // MS, listing.instrument
        futures_time = f'"T":{ms},' if self.futures else ""
        back = f'"pu":{event.previous},' if self.futures else ""
        data = (
            f'{{"e":"depthUpdate","E":{ms},{futures_time}"s":"{symbol}","U":{event.first},"u":{event.last},{back}'
            f'"b":{self._levels(instrument, event.bids)},"a":{self._levels(instrument, event.asks)}}}'
        )
        name = symbol.lower()
        return Item(f"{name}@depth", _wrap(f"{name}@{self._depth_names.get(name, 'depth')}", data))

    def _mark_price(self, listing: Listing, symbol: str, time_ns: int) -> Item:
        """Mark and index lie beside the best prices; funding is due every eight hours."""
        instrument, funding_ns = listing.instrument, (time_ns // FUNDING_NS + 1) * FUNDING_NS
        mark, index = (
            decimal_text(ticks, instrument.price_digits, SPOT_DIGITS)
            for ticks in (listing.best_bid, listing.best_ask)
        )
        stream = f"{symbol.lower()}@{MARK_PRICE}"
        data = (
            f'{{"e":"markPriceUpdate","E":{time_ns // MS},"s":"{symbol}","p":"{mark}","i":"{index}","P":"{index}",'
            f'"r":"0.00010000","T":{funding_ns // MS}}}'
        )
        return Item(stream, _wrap(stream, data))

    def _forced_order(self, listing: Listing, symbol: str, time_ns: int) -> Item:
        """Somebody's position is closed at the best bid."""
        instrument, ms = listing.instrument, time_ns // MS
        price = self._price(instrument, listing.best_bid)
        size = self._size(instrument, listing.bids[listing.best_bid])
        stream = f"{symbol.lower()}@{FORCED_ORDER}"
        data = (
            f'{{"e":"forceOrder","E":{ms},"o":{{"s":"{symbol}","S":"SELL","o":"LIMIT","f":"IOC","q":"{size}",'
            f'"p":"{price}","ap":"{price}","X":"FILLED","l":"{size}","z":"{size}","T":{ms}}}}}'
        )
        return Item(stream, _wrap(stream, data))

    def _levels(self, instrument: Instrument, levels: Sequence[tuple[int, int]]) -> str:
        texts = (
            f'["{self._price(instrument, price)}","{self._size(instrument, lots)}"]' for price, lots in levels
        )
        return f"[{','.join(texts)}]"

    def bar(
        self, listing: Listing, channel: str, bar: Bar, now_ns: int, closed: bool, history: History
    ) -> list[Item]:
        symbol, interval = listing.instrument.symbol, channel.removeprefix("kline_")
        values = self._bar_values(listing.instrument, bar)
        if closed:
            history.add(symbol, channel, Entry(bar.start_ns, bar.start_ns, bar))
        names = ("o", "h", "l", "c", "v", "q", "V", "Q")
        fields = ",".join(f'"{name}":"{values[name]}"' for name in names)
        stream = f"{symbol.lower()}@{channel}"
        data = (
            f'{{"e":"kline","E":{now_ns // MS},"s":"{symbol}","k":{{"t":{bar.start_ns // MS},'
            f'"T":{bar.end_ns // MS - 1},"s":"{symbol}","i":"{interval}","f":{bar.first_number},'
            f'"L":{bar.last_number},{fields},"n":{bar.count},"x":{"true" if closed else "false"},"B":"0"}}}}'
        )
        return [Item(stream, _wrap(stream, data))]

    def _bar_values(self, instrument: Instrument, bar: Bar) -> dict[str, str]:
        digits = instrument.price_digits + instrument.size_digits
        return {
            "o": self._price(instrument, bar.open),
            "h": self._price(instrument, bar.high),
            "l": self._price(instrument, bar.low),
            "c": self._price(instrument, bar.close),
            "v": self._size(instrument, bar.volume),
            "q": decimal_text(bar.turnover, digits),
            "V": self._size(instrument, bar.bought),
            "Q": decimal_text(bar.turnover_bought, digits),
        }

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Answer | None:
        if path.startswith(archive.PREFIX):
            return self._archive_answer(path, session)
        endpoint = path.rpartition("/")[2]
        symbol = query.get("symbol", "").upper()
        if endpoint == "exchangeInfo":
            return Answer(200, self._exchange_info())
        if not symbol:
            return _refusal(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if endpoint == "depth":
            return self._depth_answer(symbol, query, session, now_ns)
        if endpoint in ("historicalTrades", "trades", "aggTrades"):
            return self._trades_answer(endpoint, symbol, query, session)
        if endpoint == "klines":
            return self._klines_answer(symbol, query, session, now_ns)
        return Answer(404, b"{}")

    def _depth_answer(
        self, symbol: str, query: Mapping[str, str], session: Session, now_ns: int
    ) -> Answer | None:
        book = session.snapshot(symbol, now_ns)
        if book is None or isinstance(book, bytes):
            return None if book is None else Answer(200, book)
        assert isinstance(book, Snapshot)
        instrument, limit = self.instrument(symbol), int(query.get("limit", "100"))
        times = f'"E":{now_ns // MS},"T":{now_ns // MS},' if self.futures else ""
        text = (
            f'{{"lastUpdateId":{book.last},{times}"bids":{self._levels(instrument, book.bids[:limit])},'
            f'"asks":{self._levels(instrument, book.asks[:limit])}}}'
        )
        return Answer(200, text.encode())

    def _trades_answer(
        self, endpoint: str, symbol: str, query: Mapping[str, str], session: Session
    ) -> Answer:
        limit = self.page_limit(query, 500, 1_000)
        if "fromId" in query:
            entries = session.history.from_number(symbol, _TRADE, int(query["fromId"]), limit)
        elif "startTime" in query or "endTime" in query:
            start, end = _bounds(query)
            entries = session.history.between(symbol, _TRADE, start, end, 0, limit)
        else:
            entries = session.history.last(symbol, _TRADE, limit)
        write = self._aggregate_row if endpoint == "aggTrades" else self._trade_row
        rows = ",".join(write(symbol, entry) for entry in entries)
        return Answer(200, f"[{rows}]".encode())

    def _print_of(self, symbol: str, entry: Entry) -> dict[str, Any]:
        """Price, size, maker flag and time of a trade: of the market, or of a recorded frame."""
        if isinstance(entry.fact, dict):
            return entry.fact
        event, instrument = entry.fact, self.instrument(symbol)
        return {
            "p": self._price(instrument, event.price),
            "q": self._size(instrument, event.size),
            "m": not event.buyer_takes,
            "T": entry.time_ns // MS,
        }

    def _trade_row(self, symbol: str, entry: Entry) -> str:
        fact = self._print_of(symbol, entry)
        worth = f"{Decimal(fact['p']) * Decimal(fact['q']):.8f}"
        end = "" if self.futures else ',"isBestMatch":true'
        return (
            f'{{"id":{entry.number},"price":"{fact["p"]}","qty":"{fact["q"]}","quoteQty":"{worth}",'
            f'"time":{fact["T"]},"isBuyerMaker":{"true" if fact["m"] else "false"}{end}}}'
        )

    def _aggregate_row(self, symbol: str, entry: Entry) -> str:
        fact, number = self._print_of(symbol, entry), entry.number
        end = "" if self.futures else ',"M":true'
        return (
            f'{{"a":{number},"p":"{fact["p"]}","q":"{fact["q"]}","f":{number},"l":{number},'
            f'"T":{fact["T"]},"m":{"true" if fact["m"] else "false"}{end}}}'
        )

    def _klines_answer(self, symbol: str, query: Mapping[str, str], session: Session, now_ns: int) -> Answer:
        interval = query.get("interval", "1m")
        channel, limit = f"kline_{interval}", self.page_limit(query, 500, 1_000)
        start, end = _bounds(query)
        if "startTime" not in query:
            start = max(start, min(end, now_ns) - limit * INTERVALS[interval])
        rows = []
        for entry in session.history.between(symbol, channel, start, end, 0, limit):
            bar, v = entry.fact, self._bar_values(self.instrument(symbol), entry.fact)
            rows.append(
                f'[{bar.start_ns // MS},"{v["o"]}","{v["h"]}","{v["l"]}","{v["c"]}","{v["v"]}",'
                f'{bar.end_ns // MS - 1},"{v["q"]}",{bar.count},"{v["V"]}","{v["Q"]}","0"]'
            )
        return Answer(200, f"[{','.join(rows)}]".encode())

    def _archive_answer(self, path: str, session: Session) -> Answer:
        """A day is published when it is over: of the days before the session."""
        file = archive.file_of(path)
        end_ns = 0 if file is None else file.start_ns + archive.DAY_NS
        if file is None or end_ns > session.history.past_end_ns:
            return Answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        kind = f"kline_{file.interval}" if file.interval else _TRADE
        entries = session.history.between(file.symbol, kind, file.start_ns, end_ns, 0, archive.DAY_NS)
        is_finer = not self.futures and file.start_ns >= archive.SPOT_MICROSECONDS_FROM_NS
        lines = [self._archive_line(file, entry, 1_000 if is_finer else MS) for entry in entries]
        if self.futures:
            lines.insert(0, archive.HEADINGS[file.kind])
        content = archive.zipped(file, lines)
        return Answer(200, archive.checksum(file, content) if path.endswith(archive.CHECKSUM) else content)

    def _archive_line(self, file: archive.File, entry: Entry, unit_ns: int) -> str:
        number = entry.number
        if file.interval:
            bar, v = entry.fact, self._bar_values(self.instrument(file.symbol), entry.fact)
            span = bar.start_ns // unit_ns, (bar.end_ns - 1) // unit_ns
            prices = ",".join(v[name] for name in "ohlcv")
            return f"{span[0]},{prices},{span[1]},{v['q']},{bar.count},{v['V']},{v['Q']},0"
        fact, time = self._print_of(file.symbol, entry), entry.time_ns // unit_ns
        maker, end = (str(fact["m"]).lower(), "") if self.futures else (str(fact["m"]), ",True")
        if file.kind == "aggTrades":
            return f"{number},{fact['p']},{fact['q']},{number},{number},{time},{maker}{end}"
        worth = f"{Decimal(fact['p']) * Decimal(fact['q']):.8f}"
        return f"{number},{fact['p']},{fact['q']},{worth},{time},{maker}{end}"

    def _exchange_info(self) -> bytes:
        symbols = [
            {
                "symbol": symbol,
                "status": "TRADING",
                "baseAsset": symbol.removesuffix("USDT"),
                "quoteAsset": "USDT",
                "contractType": "PERPETUAL",
                "filters": [
                    {"filterType": "PRICE_FILTER", "tickSize": decimal_text(1, price_digits)},
                    {"filterType": "LOT_SIZE", "stepSize": decimal_text(1, size_digits)},
                ],
            }
            for symbol, (price_digits, size_digits, _) in _KNOWN.items()
        ]
        return msgspec.json.encode({"timezone": "UTC", "symbols": symbols})


def _wrap(stream: str, data: str) -> bytes:
    return f'{{"stream":"{stream}","data":{data}}}'.encode()


def _bounds(query: Mapping[str, str]) -> tuple[int, int]:
    """``startTime`` and ``endTime`` in ms, both included → [start, end) in ns."""
    start, end = int(query.get("startTime", "0")), int(query.get("endTime", END_OF_TIME_MS))
    return start * MS, (end + 1) * MS


def _refusal(code: int, text: str) -> Answer:
    return Answer(400, msgspec.json.encode({"code": code, "msg": text}))

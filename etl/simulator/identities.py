"""The identity of every event in a frame's text, as the contract's section 2 words it. Pure.

Nothing here comes from ``etl/exchanges``: a parser that reads a field wrongly must disagree with this file,
not agree with itself. It knows no more of a venue than its identities need.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from etl.simulator import archive

IGNORED = "ignored"
INVALID = "invalid"

MS = 1_000_000
SECOND = 1_000_000_000
NEW_YORK = ZoneInfo("America/New_York")


class TruthEvent(Struct, frozen=True, array_like=True, gc=False):
    """``kind`` is a record's kind, ``ignored`` (left aside on purpose; ``symbol`` is then its name) or ``invalid``
    (must be quarantined; ``record_key`` is then a digest of the frame and the event's place in it)."""

    kind: str
    symbol: str
    record_key: str
    time_ns: int = 0


Contents = dict[str, int]
"""How often a content has been seen on a connection: events without an id are told apart by it."""
CONTENTS_MAX = 65_536


def events(
    exchange: str, payload: bytes, endpoint: str = "", contents: Contents | None = None
) -> list[TruthEvent]:
    """Every event of the frame that came from ``endpoint`` (path and query, for requests). Never raises.

    ``contents`` remembers what the same connection brought before; without it, only the frame itself counts.
    """
    try:
        found = _READERS[exchange.split("_")[0]](exchange, endpoint, payload)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return [_invalid(payload)]
    if any(event.record_key.endswith(CONTENT_END) for event in found):
        return _numbered(found, {} if contents is None else contents)
    return found


CONTENT_END = "/#"
"""Ends a key made of content; the number of equal ones before it takes the place of ``#``."""


def _numbered(found: list[TruthEvent], contents: Contents) -> list[TruthEvent]:
    numbered = []
    for event in found:
        if event.record_key.endswith(CONTENT_END):
            name = f"{event.kind} {event.symbol} {event.record_key}"
            count = contents.get(name, 0)
            contents[name] = count + 1
            event = TruthEvent(event.kind, event.symbol, f"{event.record_key[:-1]}{count}", event.time_ns)
        numbered.append(event)
    if len(contents) > CONTENTS_MAX:
        for oldest in list(islice(contents, CONTENTS_MAX // 2)):
            del contents[oldest]
    return numbered


def _invalid(payload: bytes, index: int = 0) -> TruthEvent:
    digest = hashlib.blake2b(payload, digest_size=12).hexdigest()
    return TruthEvent(INVALID, "", f"{digest}/{index}")


def _ignored(name: str) -> TruthEvent:
    return TruthEvent(IGNORED, name, "")


def _bar(symbol: str, interval: str, start_ns: int) -> TruthEvent:
    return TruthEvent("bar", symbol, f"{interval}/{start_ns}", start_ns)


def _path(endpoint: str) -> tuple[str, dict[str, str]]:
    """Path and query of a request's endpoint."""
    path, _, query = endpoint.partition("?")
    return path, dict(pair.split("=", 1) for pair in query.split("&") if "=" in pair)


# Binance

QUOTE_COINS = ("USDT", "USDC", "FDUSD", "BTC", "ETH", "EUR", "TRY")


def binance_symbol(exchange: str, venue_symbol: str) -> str:
    """The simulator's own short list: enough for what it serves."""
    for quote in QUOTE_COINS:
        if venue_symbol.endswith(quote) and venue_symbol != quote:
            pair = f"{venue_symbol.removesuffix(quote)}-{quote}"
            return f"{pair}-PERP" if exchange == "binance_usdm" else pair
    return venue_symbol


def _binance(exchange: str, endpoint: str, payload: bytes) -> list[TruthEvent]:
    if "/data/" in endpoint:
        return _binance_archive(exchange, endpoint, payload)
    message = msgspec.json.decode(payload)
    if "/api/v3/" in endpoint or "/fapi/v1/" in endpoint:
        return _binance_answer(exchange, endpoint, message, payload)
    if "data" not in message and "result" in message:
        return [_ignored("response")]
    stream, data = message.get("stream", ""), message.get("data", message)
    kind = data.get("e", "bookTicker" if "A" in data else "")
    if kind == "serverShutdown":
        return [_ignored(kind)]
    symbol = binance_symbol(exchange, data["o"]["s"] if kind == "forceOrder" else data["s"])
    time_ns = int(data.get("T") or data.get("E") or 0) * MS
    match kind:
        case "trade":
            return [TruthEvent("trade", symbol, str(int(data["t"])), time_ns)]
        case "aggTrade":
            return [TruthEvent("agg_trade", symbol, str(int(data["a"])), time_ns)]
        case "bookTicker":
            return [TruthEvent("quote", symbol, str(int(data["u"])), time_ns)]
        case "depthUpdate":
            key = f"{stream.partition('@')[2] or 'depth'}/d/{int(data['u'])}"
            return [TruthEvent("book", symbol, key, int(data["E"]) * MS)]
        case "kline":
            return [_bar(symbol, data["k"]["i"], int(data["k"]["t"]) * MS)]
        case "markPriceUpdate":
            says = (data["p"], data["i"], data["r"], str(int(data["T"]) * MS))
            return [_by_content("stats", symbol, stream, int(data["E"]) * MS, says)]
        case "forceOrder":
            order = data["o"]
            told = (order["S"], order["p"], order["q"], order["X"], order["z"])
            return [_by_content("liquidation", symbol, stream, int(order["T"]) * MS, told)]
    return [_invalid(payload)]


def _by_content(kind: str, symbol: str, stream: str, time_ns: int, parts: Sequence[str]) -> TruthEvent:
    """What has no id is told by its channel, its time and a hash of what it says."""
    digest = hashlib.blake2b("/".join(parts).encode(), digest_size=8).hexdigest()
    return TruthEvent(kind, symbol, f"{stream.partition('@')[2]}/{time_ns}/{digest}", time_ns)


def _binance_answer(exchange: str, endpoint: str, message: Any, payload: bytes) -> list[TruthEvent]:
    path, query = _path(endpoint)
    symbol = binance_symbol(exchange, query["symbol"])
    match path.rpartition("/")[2]:
        case "depth":
            return [TruthEvent("book", symbol, f"depth/s/{int(message['lastUpdateId'])}", 0)]
        case "historicalTrades" | "trades":
            found = [TruthEvent("trade", symbol, str(int(t["id"])), int(t["time"]) * MS) for t in message]
        case "aggTrades":
            found = [TruthEvent("agg_trade", symbol, str(int(t["a"])), int(t["T"]) * MS) for t in message]
        case "klines":
            found = [_bar(symbol, query["interval"], int(bar[0]) * MS) for bar in message]
        case _:
            return [_invalid(payload)]
    return found or [_ignored("empty")]


_ARCHIVE_TIMES = {"trades": 4, "aggTrades": 5}
"""The column of the time, by the kind in the file's name; another name is the interval of bars."""
_MICROSECONDS_FROM = 10**14


def _binance_archive(exchange: str, endpoint: str, payload: bytes) -> list[TruthEvent]:
    """Of a daily file, of lines cut from it, or none of its checksum."""
    file = endpoint.partition("#")[0].partition("?")[0].rpartition("/")[2]
    if file.endswith(archive.CHECKSUM):
        return []
    symbol, kind, _ = file.split("-", 2)
    symbol = binance_symbol(exchange, symbol)
    text = archive.unzipped(payload) if file.endswith(".zip") else payload
    found = []
    for line in text.decode().splitlines():
        cells = line.split(",")
        if not cells[0].isdecimal():
            found.append(_ignored("csv_header"))
            continue
        time = int(cells[_ARCHIVE_TIMES.get(kind, 0)])
        time_ns = time * (1_000 if time >= _MICROSECONDS_FROM else MS)
        if kind not in _ARCHIVE_TIMES:
            found.append(_bar(symbol, kind, time_ns))
        else:
            name = "trade" if kind == "trades" else "agg_trade"
            found.append(TruthEvent(name, symbol, cells[0], time_ns))
    return found


# Polygon

_POLYGON_STATUS = {"status"}
_POLYGON_LEFT_ASIDE = {"NOI", "FMV", "LV", "V", "C", "CA", "CAS", "XL2", "XAS"}
_POLYGON_BARS = {"A": "1s", "AM": "1m", "XA": "1m"}
_POLYGON_SPANS = {"second": "1s", "minute": "1m", "hour": "1h", "day": "1d"}


def new_york_day(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // SECOND, UTC).astimezone(NEW_YORK).date().isoformat()


def _polygon_symbol(venue_symbol: str) -> str:
    return venue_symbol.removeprefix("O:").removeprefix("X:")


def _polygon(exchange: str, endpoint: str, payload: bytes) -> list[TruthEvent]:
    message = msgspec.json.decode(payload)
    if "/v2/" in endpoint or "/v3/" in endpoint:
        return _polygon_answer(endpoint, message, payload)
    return [_polygon_event(event, payload, n) for n, event in enumerate(message)] or [_ignored("empty")]


def _polygon_event(event: Any, payload: bytes, index: int) -> TruthEvent:
    kind = event["ev"]
    if kind in _POLYGON_STATUS or kind in _POLYGON_LEFT_ASIDE:
        return _ignored(kind)
    symbol = _polygon_symbol(event.get("sym") or event.get("pair"))
    if kind in _POLYGON_BARS:
        return _bar(symbol, _POLYGON_BARS[kind], int(event["s"]) * MS)
    time_ns = int(event["t"]) * MS
    day = new_york_day(time_ns)
    if kind == "T":
        key = _polygon_trade_key(day, event["x"], event.get("trfi", ""), event.get("i"), event.get("q"))
        return TruthEvent("trade", symbol, key, time_ns)
    if kind == "Q":
        return TruthEvent("quote", symbol, f"{day}/{int(event['q'])}", time_ns)
    if kind == "XT":
        return TruthEvent("trade", symbol, f"{event['x']}/{event['i']}", time_ns)
    return _invalid(payload, index)


def _polygon_trade_key(
    day: str, market: int, facility: int | str, trade_id: str | None, sequence: int
) -> str:
    return f"{day}/{sequence}" if trade_id is None else f"{day}/{market}/{facility}/{trade_id}"


def _polygon_answer(endpoint: str, message: Any, payload: bytes) -> list[TruthEvent]:
    path = _path(endpoint)[0].split("/")
    results = message.get("results") or []
    if "aggs" in path:
        after = path.index("ticker")
        symbol, interval = _polygon_symbol(path[after + 1]), _POLYGON_SPANS[path[after + 4]]
        return [_bar(symbol, interval, int(bar["t"]) * MS) for bar in results] or [_ignored("empty")]
    symbol = _polygon_symbol(path[-1])
    found = []
    for item in results:
        time_ns = int(item["sip_timestamp"])
        day = new_york_day(time_ns)
        if "trades" in path:
            key = _polygon_trade_key(
                day, item["exchange"], item.get("trf_id", ""), item.get("id"), item.get("sequence_number")
            )
            found.append(TruthEvent("trade", symbol, key, time_ns))
        else:
            found.append(TruthEvent("quote", symbol, f"{day}/{int(item['sequence_number'])}", time_ns))
    return found or [_ignored("empty")]


# Alpaca

_TEXT_NUMBERS = msgspec.json.Decoder(float_hook=str)
_ALPACA_CONTROL = {"success", "error", "subscription"}


def _alpaca(exchange: str, endpoint: str, payload: bytes) -> list[TruthEvent]:
    message = _TEXT_NUMBERS.decode(payload)
    if isinstance(message, dict):
        return _alpaca_answer(endpoint, message)
    return [_alpaca_event(event, payload, n) for n, event in enumerate(message)] or [_ignored("empty")]


def _alpaca_event(event: Any, payload: bytes, index: int) -> TruthEvent:
    kind = event["T"]
    if kind in _ALPACA_CONTROL:
        return _ignored(kind)
    symbol = event["S"].replace("/", "-")
    if kind == "t":
        return _alpaca_trade(symbol, event)
    if kind == "q":
        return _alpaca_quote(symbol, event)
    if kind in ("b", "u"):
        return _bar(symbol, "1m", time_of(event["t"]))
    if kind == "d":
        return _bar(symbol, "1d", time_of(event["t"]))
    return _invalid(payload, index)


def _alpaca_trade(symbol: str, event: Any) -> TruthEvent:
    time_ns = time_of(event["t"])
    key = str(event["i"]) if "tks" in event else f"{new_york_day(time_ns)}/{event['x']}/{event['i']}"
    return TruthEvent("trade", symbol, key, time_ns)


def _alpaca_quote(symbol: str, event: Any) -> TruthEvent:
    """No id: the content is the identity."""
    time_ns = time_of(event["t"])
    content = [event.get(name, "") for name in ("bp", "bs", "bx", "ap", "as", "ax")]
    conditions = ",".join(event.get("c") or ())
    return TruthEvent("quote", symbol, "/".join(map(str, (time_ns, *content, conditions, "#"))), time_ns)


def _alpaca_answer(endpoint: str, message: Any) -> list[TruthEvent]:
    path, query = _path(endpoint)
    kind = path.rpartition("/")[2]
    found: list[TruthEvent] = []
    for venue_symbol, items in (message.get(kind) or {}).items():
        symbol = venue_symbol.replace("/", "-")
        for item in items or ():
            if kind == "trades":
                found.append(_alpaca_trade(symbol, item))
            elif kind == "quotes":
                found.append(_alpaca_quote(symbol, item))
            else:
                found.append(_bar(symbol, _ALPACA_FRAMES[query["timeframe"]], time_of(item["t"])))
    return found or [_ignored("empty")]


_ALPACA_FRAMES = {"1Min": "1m", "1T": "1m", "5Min": "5m", "1Hour": "1h", "1Day": "1d"}


def time_of(text: str) -> int:
    """RFC 3339 with 0 to 9 fraction digits and Z → ns."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    second = int(datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp())
    return second * SECOND + int(fraction.ljust(9, "0") or 0)


_READERS: dict[str, Callable[[str, str, bytes], list[TruthEvent]]] = {
    "binance": _binance,
    "polygon": _polygon,
    "alpaca": _alpaca,
}

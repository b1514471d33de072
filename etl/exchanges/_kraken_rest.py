"""Kraken's requests: trades since a time, the last bars, the list of instruments. https://docs.kraken.com/api

``{"error":[],"result":{"XXBTZUSD":[…],"last":"1688671969993150842"}}``: the pair has one name in the request, and
another in the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation

import msgspec
from msgspec import Raw, Struct

from etl.adapter import build, fields
from etl.adapter.build import StreamCache
from etl.adapter.contract import Fault, FaultCode, FaultKind, Ignored, Outcome, Rejected, Request
from etl.adapter.dispatch import Reader, elements, read_rows
from etl.adapter.fields import UNDECODABLE, ContentCounts, FieldFault, Id, canonical
from etl.adapter.handshake import kind_of_words, told
from etl.adapter.paging import by_token, query_of
from etl.errors import VenueError
from etl.model.codes import Code
from etl.model.decimals import plain
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Bar, BarState, Frame, Kind, Side, Trade
from etl.model.times import NS_PER_S, NS_PER_US, interval_ns

PAGE_ROWS = 1_000
TRADES, BARS, LIST = "/0/public/Trades", "/0/public/OHLC", "/0/public/AssetPairs"
_ALIASES = {"XBT": "BTC", "XDG": "DOGE"}
"""What v1 and the requests call them → what everybody else does."""
_REST_NAMES = {ours: theirs for theirs, ours in _ALIASES.items()}

FAULTS = (
    ("invalid key", FaultKind.AUTHENTICATION),
    ("invalid signature", FaultKind.AUTHENTICATION),
    ("invalid nonce", FaultKind.AUTHENTICATION),
    ("eauth:", FaultKind.AUTHENTICATION),
    ("permission denied", FaultKind.ENTITLEMENT),
    ("esession:", FaultKind.ENTITLEMENT),
    ("temporary lockout", FaultKind.BANNED),
    ("rate limit", FaultKind.RATE_LIMIT),
    ("too many requests", FaultKind.RATE_LIMIT),
    ("exceeded msg rate", FaultKind.RATE_LIMIT),
    ("eservice:", FaultKind.TRANSIENT),
    ("internal error", FaultKind.TRANSIENT),
)
"""Words in what the venue says; whatever else it says is about what we asked."""
_WAITS_S = {FaultKind.RATE_LIMIT: 5.0, FaultKind.BANNED: 600.0}
FAULT_CODES = (
    FaultCode(403, FaultKind.BANNED, wait_s=_WAITS_S[FaultKind.BANNED]),  # rights are told in words
    FaultCode(429, FaultKind.BANNED, "1015", _WAITS_S[FaultKind.BANNED]),
    FaultCode(429, FaultKind.RATE_LIMIT, wait_s=_WAITS_S[FaultKind.RATE_LIMIT]),
)


class _TradeRow(Struct, gc=False, array_like=True):
    price: str
    size: str
    time: Raw
    side: str
    order_type: str
    other: str
    trade_id: Id | None = None


class _BarRow(Struct, gc=False, array_like=True):
    time: int
    open: str
    high: str
    low: str
    close: str
    vwap: str
    volume: str
    count: Id


class _Pair(Struct, gc=False):
    wsname: str = ""
    """Dark pools have none."""
    pair_decimals: Id = 0
    lot_decimals: Id = 0
    tick_size: str = ""
    status: str = ""


class _List(Struct, gc=False):
    result: dict[str, _Pair]


class _Page(Struct, gc=False):
    result: dict[str, Raw]


class Answers:
    """Reads them on one connection; ``streams`` by (venue symbol, channel)."""

    def __init__(self, instruments: Instruments, streams: StreamCache[tuple[str, str]]) -> None:
        self._instruments = instruments
        self._streams = streams
        self._counts = ContentCounts()
        self._symbols: dict[str, str] = {}

    def read(self, frame: Frame, message: Mapping[str, Raw]) -> Sequence[Outcome]:
        if said := said_by(message):
            return told("error", 0, fault_of("error", said))
        path, query = query_of(frame.endpoint)
        if path.endswith(LIST):
            return (Ignored("pairs"),)
        if not path.endswith((TRADES, BARS)):
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an answer to {path!r:.80}"),)
        pair = query.get("pair", "")
        if not pair:
            return (Rejected(Code.SYMBOL_MISSING, f"rows of {frame.endpoint!r:.80}"),)
        symbol, rows = self._symbol(pair), _rows_of(fields.members(message["result"]))
        if path.endswith(TRADES):
            reader, channel = Reader(_TradeRow, self._read_trade), "trade"
        else:
            minutes = query.get("interval", "1")
            reader, channel = Reader(_BarRow, _read_bar), "ohlc" if minutes == "1" else f"ohlc-{minutes}"
        return read_rows(frame, rows, reader, self._streams[symbol, channel], symbol) or (Ignored("empty"),)

    def _symbol(self, pair: str) -> str:
        if not self._symbols:
            self._symbols = {pair_of(symbol): symbol for symbol in self._instruments.by_symbol().values()}
        return self._symbols.get(pair, pair)

    def _read_trade(self, frame: Frame, index: int, row: _TradeRow, stream: build.Stream) -> Trade:
        """``["30243.40000","0.34507674",1688669597.8277369,"b","m","",61044952]``: ``b`` is the taker's side; before
        2022-11 without the id."""
        price, size = fields.two(row.price, row.size)
        return trade(
            self._counts,
            frame,
            index,
            stream,
            seconds_ns(bytes(row.time).decode()),
            price,
            size,
            row.side,
            row.trade_id,
        )


def trade(
    counts: ContentCounts, frame: Frame, index: int, stream: build.Stream, time_ns: int, price: str, size: str,
    side: str, trade_id: int | None = None,
) -> Trade:  # fmt: skip
    """One that has no id is known by what it says."""
    taker = Side.BUY if side == "b" else Side.SELL
    if side not in ("b", "s"):
        raise FieldFault(Code.FIELD_MALFORMED, f"side {side!r:.20}")
    if trade_id is not None:
        return build.trade(stream, frame, index, time_ns, price, size, taker, str(trade_id), trade_id)
    key = counts.key(stream.venue_symbol, f"{time_ns}/{canonical(price)}/{canonical(size)}/{side}")
    return build.trade(stream, frame, index, time_ns, price, size, taker, key=key)


def _read_bar(frame: Frame, index: int, row: _BarRow, stream: build.Stream) -> Bar:
    """``[1688671200,"30306.1","30306.2","30305.7","30305.7","30306.1","3.39243896",23]``; the running bar comes last.
    A minute without trades is flat, with vwap 0."""
    start_ns = fields.time_ns(row.time, NS_PER_S)
    is_over = start_ns + interval_ns(stream.interval) <= frame.receive_time_ns
    *prices, vwap, volume = fields.decimals(row.open, row.high, row.low, row.close, row.vwap, row.volume)
    return build.bar(
        stream, frame, index, start_ns, BarState.CLOSED if is_over else BarState.OPEN, prices, volume,
        vwap if vwap.strip("0.") else None, trade_count=row.count,
    )  # fmt: skip


def seconds_ns(text: str) -> int:
    """``1688669597.8277369`` → ns, down to the µs: what is behind it is a float's."""
    said = plain(text)
    if said is None:
        raise FieldFault(Code.FIELD_MALFORMED, f"no time: {text!r:.40}")
    seconds, _, fraction = said.partition(".")
    return fields.time_ns(int(seconds) * 1_000_000 + int(fraction[:6].ljust(6, "0")), NS_PER_US)


def history_requests(
    kind: Kind, venue_symbol: str, start_ns: int, end_ns: int, interval: str
) -> Iterator[Request]:
    """``since`` is not among what is given; ``interval`` in minutes."""
    pair = pair_of(venue_symbol)
    if kind is Kind.TRADE:
        path = f"{TRADES}?pair={pair}&since={start_ns - 1}&count={PAGE_ROWS}"
        yield Request(path, kind, venue_symbol, 1, end_ns)
    elif kind is Kind.BAR:
        path = f"{BARS}?pair={pair}&interval={interval}&since={start_ns // NS_PER_S - 1}"
        yield Request(path, kind, venue_symbol, 1, end_ns)


def next_request(request: Request, frame: Frame) -> Request | None:
    """Trades go on since ``last``, the time of the last one. Of bars there are the last 720, on one page."""
    if request.kind is not Kind.TRADE:
        return None
    try:
        result = msgspec.json.decode(frame.payload, type=_Page).result
        rows, last = elements(_rows_of(result)), int(fields.text_of(result["last"]))
    except (*UNDECODABLE, FieldFault, KeyError, ValueError):
        raise VenueError(f"an answer without rows: {frame.payload[:80]!r}") from None
    if len(rows) < int(query_of(request.path)[1]["count"]) or (request.end_ns and last >= request.end_ns):
        return None
    return by_token(request, "since", str(last))


def _rows_of(result: Mapping[str, Raw]) -> Raw:
    """By the only name that is not ``last``."""
    rows = next((rows for name, rows in result.items() if name != "last"), None)
    if rows is None:
        raise FieldFault(Code.FIELD_MISSING, "an answer without rows")
    return rows


def said_by(message: Mapping[str, Raw]) -> str:
    """The words of an error, "" if there is none: what is neither a text nor several is not the venue's."""
    raw = message.get("error", message.get("Error"))
    if raw is None:
        return ""
    try:
        said = msgspec.json.decode(raw, type=str | list[str])
    except msgspec.ValidationError:
        return ""
    return said if isinstance(said, str) else ", ".join(said)


def fault_of(code: str, said: str) -> Fault:
    kind = kind_of_words(FAULTS, said) or FaultKind.REQUEST
    return Fault(kind, code, said, _WAITS_S.get(kind, 0.0))


def pair_of(venue_symbol: str) -> str:
    """``BTC/USD`` → ``XBTUSD``."""
    return "".join(_REST_NAMES.get(name, name) for name in venue_symbol.split("/"))


def our_name(wsname: str, between: str) -> str:
    """``XBT/USD`` → ``BTC/USD`` or ``BTC-USD``."""
    return between.join(_ALIASES.get(name, name) for name in wsname.split("/"))


def read_instruments(payload: bytes) -> Iterable[tuple[str, Instrument]]:
    """``{"error":[],"result":{"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD",
    "pair_decimals":1,"lot_decimals":8,"tick_size":"0.1",…}}}``, each with its ``wsname``. Prices are printed with
    ``pair_decimals``, of which a tick may fill fewer."""
    for pair in fields.listing(payload, _List).result.values():
        if not pair.wsname:
            continue
        try:
            step, lot = (Decimal(1).scaleb(-places) for places in (pair.pair_decimals, pair.lot_decimals))
            tick = Decimal(pair.tick_size or step) + 0 * step  # with all its decimals
        except InvalidOperation:
            raise ValueError(f"not an instrument list: steps of {pair.wsname!r:.40}") from None
        yield (
            pair.wsname,
            Instrument(
                our_name(pair.wsname, "/"),
                our_name(pair.wsname, "-"),
                f"{tick:f}",
                f"{lot:f}",
                status=pair.status,
            ),
        )

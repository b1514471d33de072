"""Polygon, now also called Massive: US stocks and options, crypto. https://massive.com/docs/websocket

One socket per asset class and key: a second connection closes the older one, so a feed is one connection and
a restart never overlaps. Feeds: ``polygon`` (stocks), ``polygon_options``, ``polygon_crypto``. They differ in
address and symbols only; each parses every frame of the venue, stream and history, of any asset class.

Decided from the frames:
- A trade and its history answer meet in the same method: the wire types at the foot give both the same names.
- ``t`` is the SIP's time (stream ms, history ns); crypto and forex history have the participant's time only.
- A price of 0 with a size of 0 (or none) is an absent side of a quote.
- The venue never says the taker's side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from enum import Enum
from typing import Annotated, ClassVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import msgspec
from msgspec import Meta, Raw, Struct, field

from etl.adapter.contract import (
    Budget,
    Channel,
    Credentials,
    Exchange,
    Fault,
    FaultKind,
    History,
    Ignored,
    Outcome,
    Rejected,
    Reply,
    Request,
    SequenceRule,
    Split,
    Subscription,
    shipped_instruments,
)
from etl.adapter.fields import (
    BOUNDED_TIMES,
    INT64_MAX,
    KNOWN_TEXTS_MAX,
    QUOTES_IN_SHARES_FROM_NS,
    UNDECODABLE,
    UNREADABLE,
    CodeTexts,
    ContentCounts,
    DecimalTexts,
    FieldFault,
    bar_state_of_history,
    canonical,
    content_hash,
    inferred_interval,
    is_no_order,
    new_york_day_of_hour,
    readable,
    rejected,
    require_name,
    text_of,
    time_of_any_unit_ns,
)
from etl.model.codes import Code
from etl.model.instruments import UNKNOWN_SYMBOL, Instrument, Instruments, occ_symbol
from etl.model.records import (
    Bar,
    BarState,
    Frame,
    Kind,
    Quote,
    Record,
    Side,
    SizeUnit,
    Status,
    Trade,
)
from etl.model.times import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS, NS_PER_S

PAGE_ROWS_MAX = 3_000
"""The venue allows 50,000; so few, an answer stays below 1 MiB and is one frame."""

Unsigned = Annotated[int, Meta(ge=0, le=INT64_MAX)]
Nanoseconds = Unsigned
Milliseconds = Annotated[int, Meta(ge=0, le=INT64_MAX // NS_PER_MS)]


class Asset(Enum):
    """What a symbol's prefix says; its value is (prefix, size unit of trades and bars)."""

    STOCK = ("", SizeUnit.SHARE)
    OPTION = ("O:", SizeUnit.CONTRACT)
    CRYPTO = ("X:", SizeUnit.BASE)
    FOREX = ("C:", SizeUnit.BASE)
    INDEX = ("I:", SizeUnit.NONE)

    def __init__(self, prefix: str, size_unit: SizeUnit) -> None:
        self.prefix = prefix
        self.size_unit = size_unit


class _Listing(Struct, frozen=True, gc=False):
    symbol: str
    flags: tuple[str, ...]
    asset: Asset
    size_unit: SizeUnit
    is_stock: bool


class _Listings(dict[str, _Listing]):
    """Venue symbol with its prefix → what it is; remembers within ``KNOWN_TEXTS_MAX``."""

    def __init__(self, instruments: Instruments) -> None:
        super().__init__()
        self._instruments = instruments

    def __missing__(self, venue_symbol: str) -> _Listing:
        listing = _list(venue_symbol, self._instruments)
        if len(self) >= KNOWN_TEXTS_MAX:
            self.clear()
        self[venue_symbol] = listing
        return listing


def _list(venue_symbol: str, instruments: Instruments) -> _Listing:
    """``O:`` and ``X:`` go; ``X:BTCUSD`` is cut by the instrument list only, ``BTC-USD`` by its own dash. Without
    a symbol there is no record: ids are unique within a symbol only."""
    prefix = venue_symbol[:2]
    asset = next((a for a in Asset if a.prefix and a.prefix == prefix), Asset.STOCK)
    name, known = venue_symbol.removeprefix(asset.prefix), True
    if not name:
        raise FieldFault(Code.SYMBOL_MISSING, "neither the event nor its page names a symbol")
    require_name(name)
    if asset is Asset.OPTION:
        symbol, known = name, occ_symbol(name) is not None
    elif asset in (Asset.CRYPTO, Asset.FOREX) and "-" not in name:
        listed, flags = instruments.names[venue_symbol]
        symbol, known = (venue_symbol, False) if flags else (listed, True)
    elif asset is Asset.INDEX:
        symbol = venue_symbol
    else:
        symbol = name
    return _Listing(symbol, () if known else (UNKNOWN_SYMBOL,), asset, asset.size_unit, asset is Asset.STOCK)


class Polygon(Exchange):
    name = "polygon"
    websocket_url = "wss://socket.massive.com/stocks"
    websocket_url_others = ("wss://socket.polygon.io/stocks",)
    rest_url = "https://api.massive.com"
    channels: ClassVar[tuple[Channel, ...]] = (
        Channel("T", Kind.TRADE, SequenceRule.RISING, repair=Kind.TRADE, stale_after_s=30),
        Channel("Q", Kind.QUOTE, SequenceRule.RISING, repair=Kind.QUOTE, stale_after_s=30),
        Channel("A", Kind.BAR, SequenceRule.NONE, repair=Kind.BAR, interval_ns=NS_PER_S),
        Channel(
            "AM", Kind.BAR, SequenceRule.NONE, repair=Kind.BAR, stale_after_s=180, interval_ns=NS_PER_MINUTE
        ),
        Channel("LULD", Kind.STATUS, SequenceRule.NONE),
    )
    ignored_names: ClassVar[Mapping[str, str]] = {
        "status": "control messages of the connection and errors of the history interface",
        "empty_frame": "an array without events",
        "empty_page": "a history answer without rows",
        "NOI": "auction imbalance",
        "FMV": "fair market value, a model's price",
        "LV": "launchpad's last value, no trade behind it",
        "V": "an index's value",
        "C": "forex quote",
        "CA": "forex minute bar",
        "CAS": "forex second bar",
        "XL2": "crypto book of single venues, without a sequence",
        "XAS": "crypto second bar",
        "forex_tick": "forex quote of the old history interface",
        "snapshot": "the venue's own summary of a day, a chain or a market",
    }
    default_symbols: ClassVar[tuple[str, ...]] = ("AAPL", "MSFT", "NVDA", "AMZN", "TSLA", "SPY")
    key_variables = (("POLYGON_API_KEY", "MASSIVE_API_KEY"),)
    connections_max = 1
    budgets = (Budget(6_000, 60.0),)
    """The venue asks paid plans to stay below 100 requests a second."""
    history: ClassVar[Mapping[Kind, History]] = dict.fromkeys(
        (Kind.TRADE, Kind.QUOTE, Kind.BAR), History("time")
    )
    event_time_min_ns = 1_041_379_200_000_000_000
    """2003-01-01; the venue's history begins in September 2003."""
    calendar = "XNYS"
    splits_path = (
        "/v3/reference/splits?execution_date.gte={from_day}&execution_date.lte={to_day}&limit=1000"
        "&order=asc&sort=execution_date"
    )

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        if instruments is None:
            instruments = shipped_instruments(PolygonCrypto)  # the only names that need a list
        super().__init__(credentials, instruments)
        self._subscription: Subscription | None = None
        self._ready = False
        self._listings = _Listings(self.instruments)
        self._decimals = DecimalTexts()
        self._conditions = CodeTexts()
        self._contents = ContentCounts()
        self._readers: dict[type[Struct], Callable[..., Record]] = {
            **dict.fromkeys(_TRADE_TYPES, self._trade),
            **dict.fromkeys(_QUOTE_TYPES, self._quote),
            **dict.fromkeys(_BAR_TYPES, self._bar),
            _Bands: self._bands,
        }

    @classmethod
    def read_splits(cls, payload: bytes) -> Iterable[Split]:
        """``{"results":[{"execution_date":"2020-08-31","split_from":1,"split_to":4,"ticker":"AAPL"}],"status":"OK"}``

        https://massive.com/docs/rest/stocks/corporate-actions/splits
        """
        rows = msgspec.json.decode(payload, type=_Splits).results
        return [Split(row.ticker, str(row.execution_date), row.split_from / row.split_to) for row in rows]

    # the connection

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return base_url

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        """The server speaks first; ``parse`` answers its ``connected`` and ``auth_success``."""
        self._subscription = subscription
        return ()

    def headers(self, request: Request, now_ns: int) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.credentials.key}"} if self.credentials.key else {}

    def _status(self, event: _ControlMessage, index: int) -> Iterator[Outcome]:
        """``{"ev":"status","status":"auth_success","message":"authenticated"}``"""
        status, text = event.status, event.message
        fault_kind = None if status in _STATUSES else _fault_kind(status, text)
        if status not in _STATUSES and fault_kind is None:
            yield Rejected(Code.UNKNOWN_MESSAGE, f"status {status[:40]!r}", index)
            return
        yield Ignored("status", index)
        if fault_kind is not None:
            yield Fault(fault_kind, status, text)
        elif status == "connected" and self._subscription:
            yield Reply(_json({"action": "auth", "params": self.credentials.key}))
        elif status == "auth_success" and self._subscription:
            yield Reply(_json({"action": "subscribe", "params": self._streams(self._subscription)}))
        elif text.startswith("subscribed") and not self._ready:
            self._ready = True
            yield Fault(FaultKind.READY, status, text)

    def _streams(self, subscription: Subscription) -> str:
        symbols = [self._spellings(symbol).stream for symbol in subscription.symbols]
        return ",".join(f"{channel}.{symbol}" for channel in subscription.channels for symbol in symbols)

    # frames

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        """About 2.2 µs for a trade, 3 µs for a quote, in frames of several."""
        try:
            events = _decode_events(frame.payload)
        except UNDECODABLE:
            frame = readable(frame)
            is_answer = frame.payload.lstrip()[:1] == b"{"
            return self._parse_answer(frame) if is_answer else self._parse_each(frame)
        return self._read_all(frame, events, _STREAM) if events else [Ignored("empty_frame")]

    def _read_all(self, frame: Frame, events: Iterable[_Event], page: _Page) -> list[Outcome]:
        outcomes: list[Outcome] = []
        readers = self._readers
        for index, event in enumerate(events):
            try:
                outcomes.append(readers[type(event)](frame, index, event, page))
            except (FieldFault, UnicodeDecodeError) as error:
                outcomes.append(rejected(error, index, event.sym or page.venue_symbol, BOUNDED_TIMES))
        return outcomes

    def _parse_each(self, frame: Frame) -> list[Outcome]:
        """The frame holds something else than the data we ask for: one event at a time."""
        try:
            elements = _decode_elements(frame.payload)
        except UNDECODABLE as error:
            return [Rejected(Code.UNDECODABLE, str(error))]
        outcomes: list[Outcome] = []
        for index, element in enumerate(elements):
            outcomes.extend(self._parse_element(frame, index, element))
        return outcomes

    def _parse_element(self, frame: Frame, index: int, element: Raw | bytes) -> Iterable[Outcome]:
        symbol = ""
        try:
            head = _decode_head(element)
            symbol = text_of(head.sym) or text_of(head.pair) or text_of(head.T)
            if head.ev == "status":
                return list(self._status(_decode_control(element), index))
            if head.ev in self.ignored_names:
                return [Ignored(head.ev, index)]
            if head.ev not in _EVENT_NAMES:
                return [Rejected(Code.UNKNOWN_MESSAGE, f"ev {head.ev[:40]!r}", index, symbol)]
            event = _decode_event(element)
            return [self._readers[type(event)](frame, index, event, _STREAM)]
        except UNREADABLE as error:
            return [rejected(error, index, symbol, BOUNDED_TIMES)]

    # history

    def _parse_answer(self, frame: Frame) -> Sequence[Outcome]:
        """``{"results":[…],"status":"OK","request_id":"…","next_url":"…"}`` and its older relatives."""
        try:
            answer = _decode_answer(frame.payload)
            array = _as_array(answer.results, answer.ticks, answer.last)
            rows = _decode_elements(array)
        except UNDECODABLE as error:
            return [rejected(error, 0, "", BOUNDED_TIMES)]
        if answer.ev:
            return list(self._parse_element(frame, 0, frame.payload))
        if not rows:
            return list(_answer_without_rows(answer))
        row_type = _row_type(rows[0])
        page = _page(frame.endpoint, answer, rows if row_type is _HistoryBar else ())
        if row_type in self._readers:
            try:
                return self._read_all(frame, _ROW_DECODERS[row_type].decode(array), page)
            except UNDECODABLE:
                pass  # one row of the page is bad: find it
        return [self._parse_row(frame, index, row, page) for index, row in enumerate(rows)]

    def _parse_row(self, frame: Frame, index: int, row: Raw, page: _Page) -> Outcome:
        row_type = _row_type(row)
        if isinstance(row_type, str):
            return Ignored(row_type, index)
        if row_type is None:
            return Rejected(Code.UNKNOWN_MESSAGE, "a row of unknown shape", index, page.venue_symbol)
        try:
            return self._readers[row_type](frame, index, msgspec.json.decode(row, type=row_type), page)
        except UNREADABLE as error:
            return rejected(error, index, page.venue_symbol, BOUNDED_TIMES)

    # kinds

    def _trade(self, frame: Frame, index: int, event: _TradeFields, page: _Page) -> Trade:
        """``{"ev":"T","sym":"AAPL","i":"5096","x":10,"p":161.87,"s":300,"c":[14,41],"t":1651684192462,
        "q":4009402,"z":3}``; with ``trfi`` (trade reporting facility), ``pt`` (participant's time) and ``ds``
        (the exact size, of which ``s`` is the whole part) where they apply."""
        unit_ns = event.unit_ns
        time = (event.t or event.pt) * unit_ns
        if not time:
            raise FieldFault(Code.TIME_OUT_OF_RANGE, "no time")
        venue_symbol = event.sym or page.venue_symbol
        listing = self._listings[event.prefix + venue_symbol]
        price = self._decimals[str(event.p, "ascii")]
        size = self._decimals[str(event.s if event.ds is _ABSENT else event.ds, "ascii")]
        if price is None or size is None:
            raise FieldFault(Code.FIELD_MISSING, "no price or no size")
        conditions = () if event.c is _ABSENT else self._conditions[str(event.c, "ascii")]
        venue, trf, trade_id = _CODES[event.x], _CODES[event.trfi], str(event.i)
        key_time = time - time % NS_PER_MS
        if listing.is_stock and (trade_id or event.q):
            day = new_york_day_of_hour(time // NS_PER_HOUR)
            key = f"{day}/{venue}/{trf}/{trade_id}" if trade_id else f"{day}/{event.q}"
        elif listing.asset is Asset.CRYPTO and trade_id:
            key = f"{venue}/{trade_id}"
        else:
            content = (
                f"{key_time // NS_PER_MS}/{canonical(price)}/{canonical(size)}/{venue}/{','.join(conditions)}"
            )
            key = self._contents.key(f"T {venue_symbol}", content)
        if event.correction:
            conditions = (*conditions, f"correction_{event.correction}")
        channel = event.channel or ("XT" if listing.asset is Asset.CRYPTO else "T")
        return Trade(
            self.name, listing.symbol, venue_symbol, channel, time, frame.receive_time_ns, frame.source,
            frame.connection_id, frame.frame_sequence, index, key, key_time, self.parser_version,
            event.q or None, None, None, event.r * unit_ns, event.pt * unit_ns, listing.flags,
            price, size, _UNKNOWN, trade_id, listing.size_unit, venue, trf, conditions, _TAPES[event.z],
        )  # fmt: skip

    def _quote(self, frame: Frame, index: int, event: _QuoteFields, page: _Page) -> Quote:
        """``{"ev":"Q","sym":"MSFT","bx":4,"bp":114.125,"bs":100,"ax":7,"ap":114.128,"as":160,"c":0,"i":[604],
        "t":1536036818784,"q":50385480,"z":3}``"""
        unit_ns = event.unit_ns
        time = (event.t or event.pt) * unit_ns
        if not time:
            raise FieldFault(Code.TIME_OUT_OF_RANGE, "no time")
        venue_symbol = event.sym or page.venue_symbol
        listing = self._listings[event.prefix + venue_symbol]
        decimals = self._decimals
        bid, bid_size = decimals[str(event.bp, "ascii")], decimals[str(event.bs, "ascii")]
        ask, ask_size = decimals[str(event.ap, "ascii")], decimals[str(event.ask_size, "ascii")]
        bid_venue, ask_venue = _CODES[event.bx], _CODES[event.ax]
        if bid is None or (bid[0] == "0" and is_no_order(bid, bid_size)):
            bid, bid_size, bid_venue = None, None, ""
        if ask is None or (ask[0] == "0" and is_no_order(ask, ask_size)):
            ask, ask_size, ask_venue = None, None, ""
        key_time = time - time % NS_PER_MS
        if event.q:
            key = f"{new_york_day_of_hour(time // NS_PER_HOUR)}/{event.q}"
        else:
            sides = f"{canonical(bid)}/{canonical(bid_size)}/{canonical(ask)}/{canonical(ask_size)}"
            content = f"{key_time // NS_PER_MS}/{sides}/{bid_venue}/{ask_venue}/{_CODES[event.x]}"
            key = self._contents.key(f"Q {venue_symbol}", content)
        size_unit = listing.size_unit
        if size_unit is _SHARE and time < QUOTES_IN_SHARES_FROM_NS:
            size_unit = _ROUND_LOT
        conditions = () if event.c is _ABSENT else self._conditions[str(event.c, "ascii")]
        indicators = () if event.i is _ABSENT else self._conditions[str(event.i, "ascii")]
        channel = event.channel or ("XQ" if listing.asset is Asset.CRYPTO else "Q")
        return Quote(
            self.name, listing.symbol, venue_symbol, channel, time, frame.receive_time_ns, frame.source,
            frame.connection_id, frame.frame_sequence, index, key, key_time, self.parser_version,
            event.q or None, None, None, event.r * unit_ns, event.pt * unit_ns, listing.flags,
            bid, bid_size, ask, ask_size, size_unit, bid_venue, ask_venue,
            conditions, indicators, _TAPES[event.z], _CODES[event.x],
        )  # fmt: skip

    def _bar(self, frame: Frame, index: int, event: _BarFields, page: _Page) -> Bar:
        """``{"ev":"AM","sym":"GTE","v":4110,"av":9470157,"op":0.4372,"vw":0.4488,"o":0.4488,"c":0.4486,
        "h":0.4489,"l":0.4486,"a":0.4352,"z":685,"s":1610144640000,"e":1610144700000}``; ``z`` is the average
        size. Sent again when late trades change it: the later receipt wins, history of a past day over all."""
        start = event.s * NS_PER_MS
        if not start:
            raise FieldFault(Code.TIME_OUT_OF_RANGE, "no start")
        venue_symbol = event.sym or page.venue_symbol
        listing = self._listings[event.prefix + venue_symbol]
        decimals = self._decimals
        interval = event.interval or page.interval
        if event.interval:
            channel, state = event.channel, BarState.CLOSED
        else:
            channel = _BAR_CHANNELS.get((listing.asset, interval), "aggs")
            state = bar_state_of_history(start, frame.receive_time_ns)
        return Bar(
            self.name, listing.symbol, venue_symbol, channel, start, frame.receive_time_ns, frame.source,
            frame.connection_id, frame.frame_sequence, index, f"{interval}/{start}", start,
            self.parser_version, None, None, None, 0, 0, listing.flags + page.flags, interval,
            decimals[str(event.o, "ascii")], decimals[str(event.h, "ascii")],
            decimals[str(event.l, "ascii")], decimals[str(event.c, "ascii")],
            decimals[str(event.v, "ascii")], state, listing.size_unit,
            decimals[str(event.vw, "ascii")], None, None, event.n,
        )  # fmt: skip

    def _bands(self, frame: Frame, index: int, event: _Bands, page: _Page) -> Status:
        """``{"ev":"LULD","T":"MSFT","h":218.96,"l":198.11,"i":[21],"z":3,"t":1601316752683746,"q":290317}``;
        seen with ``t`` in µs, documented in ns."""
        time = time_of_any_unit_ns(event.t)
        listing = self._listings[event.sym]
        upper, lower = self._decimals[str(event.h, "ascii")], self._decimals[str(event.l, "ascii")]
        indicators = self._conditions[str(event.i, "ascii")]
        content = f"{upper}/{lower}/{','.join(indicators)}/{event.q}"
        return Status(
            exchange=self.name, symbol=listing.symbol, venue_symbol=event.sym, channel="LULD",
            event_time_ns=time, receive_time_ns=frame.receive_time_ns, source=frame.source,
            connection_id=frame.connection_id, frame_sequence=frame.frame_sequence, frame_index=index,
            record_key=f"LULD/{time}/{content_hash(content)}",
            key_time_ns=time - time % NS_PER_MS, parser_version=self.parser_version,
            sequence=event.q or None, flags=listing.flags, status_code="LULD",
            limit_down=lower, limit_up=upper, indicators=indicators, tape=_TAPES[event.z],
        )  # fmt: skip

    # requests

    def _spellings(self, venue_symbol: str) -> _Spellings:
        return _Spellings(venue_symbol, venue_symbol, venue_symbol)

    def history_requests(
        self,
        kind: Kind,
        venue_symbol: str,
        start_ns: int,
        end_ns: int,
        first_id: int | None = None,
        channel: str = "",
    ) -> Iterator[Request]:
        """Trades and quotes by SIP time, widened to whole ms (the stream's unit); bars not adjusted for splits,
        as the stream sends them."""
        if kind not in self.history:
            return
        start_ms, end_ms = start_ns // NS_PER_MS, -(-end_ns // NS_PER_MS)
        names = self._spellings(venue_symbol)
        if kind in (Kind.TRADE, Kind.QUOTE):
            query: dict[str, str | int] = {
                "timestamp.gte": start_ms * NS_PER_MS, "timestamp.lt": end_ms * NS_PER_MS,
                "order": "asc", "sort": "timestamp", "limit": PAGE_ROWS_MAX,
            }  # fmt: skip
            path = f"/v3/{'trades' if kind is Kind.TRADE else 'quotes'}/{quote(names.ticks, safe=':')}"
        else:
            span = "second" if channel == "A" else "minute"
            query = {"adjusted": "false", "sort": "asc", "limit": PAGE_ROWS_MAX}
            ticker = quote(names.bars, safe=":")
            path = f"/v2/aggs/ticker/{ticker}/range/1/{span}/{start_ms}/{end_ms - 1}"
        yield Request(f"{path}?{urlencode(query)}", kind, venue_symbol, 1, end_ns)

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        """By ``next_url``; the key it may carry does not get into the path."""
        try:
            url = urlsplit(_decode_answer(frame.payload).next_url or "")
        except (ValueError, RecursionError):
            return None
        query = [(name, value) for name, value in parse_qsl(url.query) if name.lower() != "apikey"]
        path = f"{url.path}?{urlencode(query)}"
        return msgspec.structs.replace(request, path=path) if query and path != request.path else None


class PolygonOptions(Polygon):
    name = "polygon_options"
    websocket_url = "wss://socket.massive.com/options"
    websocket_url_others = ("wss://socket.polygon.io/options",)
    channels = tuple(channel for channel in Polygon.channels if channel.name != "LULD")
    default_symbols = ("O:SPY261218C00600000",)
    splits_path = ""

    def _spellings(self, venue_symbol: str) -> _Spellings:
        name = f"O:{venue_symbol.removeprefix('O:')}"
        return _Spellings(name, name, name)


class PolygonCrypto(Polygon):
    name = "polygon_crypto"
    websocket_url = "wss://socket.massive.com/crypto"
    websocket_url_others = ("wss://socket.polygon.io/crypto",)
    channels = (
        Channel("XT", Kind.TRADE, SequenceRule.NONE, repair=Kind.TRADE, stale_after_s=60),
        Channel("XQ", Kind.QUOTE, SequenceRule.NONE, stale_after_s=60),
        Channel(
            "XA",
            Kind.BAR,
            SequenceRule.INTERVAL,
            repair=Kind.BAR,
            stale_after_s=180,
            interval_ns=NS_PER_MINUTE,
        ),
    )
    default_symbols = ("BTC-USD", "ETH-USD")
    history = dict.fromkeys((Kind.TRADE, Kind.BAR), History("time"))
    splits_path = ""
    event_time_min_ns = 1_262_304_000_000_000_000
    """2010-01-01."""
    calendar = "24/7"
    instruments_path = "/v3/reference/tickers?market=crypto&limit=1000"

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        """``{"results":[{"ticker":"X:BTCUSD","base_currency_symbol":"BTC","currency_symbol":"USD",…},…]}``"""
        answer = msgspec.json.decode(payload, type=_Tickers)
        return [
            Instrument(row.ticker, f"{row.base_currency_symbol}-{row.currency_symbol}")
            for row in answer.results
            if row.base_currency_symbol and row.currency_symbol
        ]

    def _spellings(self, venue_symbol: str) -> _Spellings:
        """The stream and the ticks say ``BTC-USD``, the bars ``BTCUSD``."""
        name = venue_symbol.removeprefix("X:")
        pair = name if "-" in name else self._listings[f"X:{name}"].symbol
        return _Spellings(pair, f"X:{pair}", f"X:{pair.replace('-', '')}")


class _Spellings(Struct, frozen=True):
    """One symbol as the stream, the tick history and the bar history write it."""

    stream: str
    ticks: str
    bars: str


class _Page(Struct, frozen=True, gc=False):
    """What the answer says about all of its rows; empty for the stream."""

    venue_symbol: str = ""
    interval: str = ""
    flags: tuple[str, ...] = ()


def _page(endpoint: str, answer: _Answer, bars: Sequence[Raw]) -> _Page:
    addresses = [endpoint, answer.next_url or ""]
    symbol = text_of(answer.ticker) or text_of(answer.symbol) or text_of(answer.pair)
    for address in addresses:
        named = _TICKER.search(address)
        if not symbol and named:
            symbol = unquote(named[1])
    for address in addresses:
        if span := _RANGE.search(address):
            return _Page(symbol, span[1] + _SPANS.get(span[2], span[2]))
        if "/grouped/" in address or "/prev" in address:
            return _Page(symbol, "1d")
    try:
        starts = [_decode_start(row).s * NS_PER_MS for row in bars]
    except UNDECODABLE:
        return _Page(symbol)
    return _Page(symbol, inferred_interval([starts]), ("interval_inferred",))


def _row_type(row: Raw) -> type[_Event] | str | None:
    """The wire type of a history row by the keys it has, the name under which it is left aside, or ``None``."""
    try:
        keys = _decode_keys(row).keys()
    except UNDECODABLE:
        return None
    for needed, row_type in _ROW_SHAPES:
        if needed <= keys:
            return row_type
    return None


def _answer_without_rows(answer: _Answer) -> Iterator[Outcome]:
    if _bytes(answer.tickers) or _bytes(answer.ticker)[:1] == b"{" or _bytes(answer.open):
        yield Ignored("snapshot")
        return
    text = answer.error or answer.message or ""
    fault_kind = _fault_kind(answer.status or "", text)
    if fault_kind is not None:
        yield Ignored("status")
        yield Fault(fault_kind, answer.status or "", text)
    elif answer.status in ("OK", "DELAYED", "success") or answer.resultsCount == 0:
        yield Ignored("empty_page")
    else:
        yield Rejected(Code.UNKNOWN_MESSAGE, f"an answer of unknown shape: status {answer.status!r}")


def _fault_kind(status: str, text: str) -> FaultKind | None:
    said = f"{status} {text}".lower()
    return next((kind for words, kind in _FAULTS if words in said), None)


_FAULTS = (
    ("your plan", FaultKind.ENTITLEMENT),
    ("not_authorized", FaultKind.ENTITLEMENT),
    ("not authorized", FaultKind.ENTITLEMENT),
    ("not entitled", FaultKind.ENTITLEMENT),
    ("auth_failed", FaultKind.AUTHENTICATION),
    ("api key", FaultKind.AUTHENTICATION),
    ("max_connections", FaultKind.CONNECTION_LIMIT),
    ("maximum number of websocket connections", FaultKind.CONNECTION_LIMIT),
    ("exceeded the maximum requests", FaultKind.RATE_LIMIT),
    ("too many requests", FaultKind.RATE_LIMIT),
    ("slow", FaultKind.SLOW_CLIENT),
    ("auth_timeout", FaultKind.TRANSIENT),
    ("force_disconnect", FaultKind.TRANSIENT),
    ("error", FaultKind.TRANSIENT),
)
"""Words in a status and its message, the more telling first."""
_STATUSES = frozenset({"connected", "auth_success", "success"})


def _json(message: Mapping[str, str]) -> str:
    return msgspec.json.encode(message).decode()


def _bytes(raw: Raw) -> bytes:
    return b"" if raw is _ABSENT or bytes(raw) == b"null" else bytes(raw)


def _as_array(*candidates: Raw) -> bytes:
    rows = next((value for value in map(_bytes, candidates) if value), b"[]")
    return b"[" + rows + b"]" if rows[:1] == b"{" else rows


class _Codes(dict[int, str]):
    """An id as text; 0 is "none"."""

    def __missing__(self, number: int) -> str:
        return str(number)


_UNKNOWN, _SHARE, _ROUND_LOT = Side.NONE, SizeUnit.SHARE, SizeUnit.ROUND_LOT
_ABSENT = Raw()
_STREAM = _Page()
_CODES = _Codes({0: "", **{number: str(number) for number in range(1, 1024)}})
_TAPES = _Codes({0: "", 1: "A", 2: "B", 3: "C"})
_SPANS = {"second": "s", "minute": "m", "hour": "h", "day": "d", "week": "w", "month": "mo", "year": "y"}
_BAR_CHANNELS = {
    (Asset.STOCK, "1s"): "A",
    (Asset.STOCK, "1m"): "AM",
    (Asset.OPTION, "1s"): "A",
    (Asset.OPTION, "1m"): "AM",
    (Asset.CRYPTO, "1m"): "XA",
}
_TICKER = re.compile(
    r"/(?:v3/trades|v3/quotes|v2/aggs/ticker|v2/last/trade|v2/last/nbbo|v2/ticks/stocks/(?:trades|nbbo))/([^/?{}]+)"
)
_RANGE = re.compile(r"/range/([0-9]+)/([a-z]+)")


# The wire. The types of one kind have the same names whatever the source calls them. ``unit_ns`` is the unit of
# their times; ``channel`` is empty in history; ``prefix`` completes a symbol whose event name tells that it is crypto.


class _Event(Struct, gc=False, kw_only=True):
    unit_ns: ClassVar[int] = NS_PER_MS
    prefix: ClassVar[str] = ""
    channel: ClassVar[str] = ""
    sym: str = ""


class _TradeFields(_Event, gc=False, kw_only=True):
    p: Raw
    s: Raw = _ABSENT
    ds: Raw = _ABSENT
    t: Milliseconds = 0
    pt: Milliseconds = 0
    r: Milliseconds = 0
    q: Unsigned = 0
    i: str | int = ""
    x: Unsigned = 0
    z: Unsigned = 0
    c: Raw = _ABSENT
    trfi: Unsigned = 0
    correction: Unsigned = 0


class _Trade(_TradeFields, gc=False, kw_only=True, tag_field="ev", tag="T"):
    channel: ClassVar[str] = "T"
    sym: str
    t: Milliseconds


class _CryptoTrade(_TradeFields, gc=False, kw_only=True, tag_field="ev", tag="XT"):
    channel: ClassVar[str] = "XT"
    prefix: ClassVar[str] = "X:"
    sym: str = field(name="pair")
    t: Milliseconds


class _HistoryTrade(_TradeFields, gc=False, kw_only=True):
    """/v3/trades"""

    unit_ns: ClassVar[int] = 1
    p: Raw = field(name="price")
    s: Raw = field(name="size", default=_ABSENT)
    ds: Raw = field(name="decimal_size", default=_ABSENT)
    t: Nanoseconds = field(name="sip_timestamp", default=0)
    pt: Nanoseconds = field(name="participant_timestamp", default=0)
    q: Unsigned = field(name="sequence_number", default=0)
    i: str | int = field(name="id", default="")
    x: Unsigned = field(name="exchange", default=0)
    z: Unsigned = field(name="tape", default=0)
    c: Raw = field(name="conditions", default=_ABSENT)
    trfi: Unsigned = field(name="trf_id", default=0)


class _TickTrade(_TradeFields, gc=False, kw_only=True):
    """/v2/ticks/stocks/trades, /v2/last/trade: ``r`` is the reporting facility here, not a time."""

    unit_ns: ClassVar[int] = 1
    sym: str = field(name="T", default="")
    t: Nanoseconds = 0
    pt: Nanoseconds = field(name="y", default=0)
    trfi: Unsigned = field(name="r", default=0)
    r: Nanoseconds = field(name="received", default=0)
    correction: Unsigned = field(name="e", default=0)


class _CryptoTick(_TradeFields, gc=False, kw_only=True):
    """/v1/historic/crypto"""

    prefix: ClassVar[str] = "X:"


class _LastCryptoTrade(_TradeFields, gc=False, kw_only=True):
    """/v1/last/crypto"""

    prefix: ClassVar[str] = "X:"
    p: Raw = field(name="price")
    s: Raw = field(name="size", default=_ABSENT)
    t: Milliseconds = field(name="timestamp", default=0)
    x: Unsigned = field(name="exchange", default=0)
    c: Raw = field(name="conditions", default=_ABSENT)


class _QuoteFields(_Event, gc=False, kw_only=True):
    bp: Raw = _ABSENT
    bs: Raw = _ABSENT
    bx: Unsigned = 0
    ap: Raw = _ABSENT
    ask_size: Raw = field(name="as", default=_ABSENT)
    ax: Unsigned = 0
    x: Unsigned = 0
    t: Milliseconds = 0
    pt: Milliseconds = 0
    r: Milliseconds = 0
    q: Unsigned = 0
    z: Unsigned = 0
    c: Raw = _ABSENT
    i: Raw = _ABSENT


class _Quote(_QuoteFields, gc=False, kw_only=True, tag_field="ev", tag="Q"):
    channel: ClassVar[str] = "Q"
    sym: str
    t: Milliseconds


class _CryptoQuote(_QuoteFields, gc=False, kw_only=True, tag_field="ev", tag="XQ"):
    channel: ClassVar[str] = "XQ"
    prefix: ClassVar[str] = "X:"
    sym: str = field(name="pair")
    t: Milliseconds


class _HistoryQuote(_QuoteFields, gc=False, kw_only=True):
    """/v3/quotes"""

    unit_ns: ClassVar[int] = 1
    bp: Raw = field(name="bid_price", default=_ABSENT)
    bs: Raw = field(name="bid_size", default=_ABSENT)
    bx: Unsigned = field(name="bid_exchange", default=0)
    ap: Raw = field(name="ask_price", default=_ABSENT)
    ask_size: Raw = field(name="ask_size", default=_ABSENT)
    ax: Unsigned = field(name="ask_exchange", default=0)
    t: Nanoseconds = field(name="sip_timestamp", default=0)
    pt: Nanoseconds = field(name="participant_timestamp", default=0)
    q: Unsigned = field(name="sequence_number", default=0)
    z: Unsigned = field(name="tape", default=0)
    c: Raw = field(name="conditions", default=_ABSENT)
    i: Raw = field(name="indicators", default=_ABSENT)


class _TickQuote(_QuoteFields, gc=False, kw_only=True):
    """/v2/ticks/stocks/nbbo, /v2/last/nbbo: small letters bid, capitals ask."""

    unit_ns: ClassVar[int] = 1
    sym: str = field(name="T", default="")
    bp: Raw = field(name="p", default=_ABSENT)
    bs: Raw = field(name="s", default=_ABSENT)
    bx: Unsigned = field(name="x", default=0)
    ap: Raw = field(name="P", default=_ABSENT)
    ask_size: Raw = field(name="S", default=_ABSENT)
    ax: Unsigned = field(name="X", default=0)
    x: Unsigned = field(name="market_center", default=0)
    t: Nanoseconds = 0
    pt: Nanoseconds = field(name="y", default=0)


class _BarFields(_Event, gc=False, kw_only=True):
    interval: ClassVar[str] = ""
    s: Milliseconds
    o: Raw
    h: Raw
    l: Raw  # noqa: E741
    c: Raw
    v: Raw = _ABSENT
    vw: Raw = _ABSENT
    n: Unsigned = 0


class _SecondBar(_BarFields, gc=False, kw_only=True, tag_field="ev", tag="A"):
    channel: ClassVar[str] = "A"
    interval: ClassVar[str] = "1s"
    sym: str


class _MinuteBar(_BarFields, gc=False, kw_only=True, tag_field="ev", tag="AM"):
    channel: ClassVar[str] = "AM"
    interval: ClassVar[str] = "1m"
    sym: str


class _CryptoBar(_BarFields, gc=False, kw_only=True, tag_field="ev", tag="XA"):
    channel: ClassVar[str] = "XA"
    prefix: ClassVar[str] = "X:"
    interval: ClassVar[str] = "1m"
    sym: str = field(name="pair")


class _HistoryBar(_BarFields, gc=False, kw_only=True):
    """/v2/aggs"""

    sym: str = field(name="T", default="")
    s: Milliseconds = field(name="t")


class _Bands(_Event, gc=False, kw_only=True, tag_field="ev", tag="LULD"):
    sym: str = field(name="T")
    t: Unsigned
    h: Raw = _ABSENT
    l: Raw = _ABSENT  # noqa: E741
    i: Raw = _ABSENT
    z: Unsigned = 0
    q: Unsigned = 0


class _Head(Struct, gc=False):
    ev: str
    sym: Raw = _ABSENT
    pair: Raw = _ABSENT
    T: Raw = _ABSENT


class _ControlMessage(Struct, gc=False):
    status: str
    message: str = ""


class _SplitRow(Struct):
    ticker: Annotated[str, Meta(min_length=1)]
    execution_date: date
    split_from: Annotated[float, Meta(gt=0)]
    split_to: Annotated[float, Meta(gt=0)]


class _Splits(Struct):
    results: list[_SplitRow]


class _Answer(Struct, gc=False):
    results: Raw = _ABSENT
    ticks: Raw = _ABSENT
    last: Raw = _ABSENT
    tickers: Raw = _ABSENT
    ticker: Raw = _ABSENT
    symbol: Raw = _ABSENT
    pair: Raw = _ABSENT
    open: Raw = _ABSENT
    ev: str = ""
    next_url: str | None = None
    status: str | None = None
    error: str | None = None
    message: str | None = None
    resultsCount: int | None = None


class _Start(Struct, gc=False):
    s: Milliseconds = field(name="t", default=0)


class _Ticker(Struct, gc=False):
    ticker: str
    base_currency_symbol: str = ""
    currency_symbol: str = ""


class _Tickers(Struct, gc=False):
    results: list[_Ticker]


_TRADE_TYPES = (_Trade, _CryptoTrade, _HistoryTrade, _TickTrade, _CryptoTick, _LastCryptoTrade)
_QUOTE_TYPES = (_Quote, _CryptoQuote, _HistoryQuote, _TickQuote)
_BAR_TYPES = (_SecondBar, _MinuteBar, _CryptoBar, _HistoryBar)
_EVENT_NAMES = frozenset({"T", "Q", "A", "AM", "XT", "XQ", "XA", "LULD"})
_StreamEvent = _Trade | _Quote | _SecondBar | _MinuteBar | _CryptoTrade | _CryptoQuote | _CryptoBar | _Bands

_ROW_SHAPES: tuple[tuple[frozenset[str], type[_Event] | str], ...] = (
    (frozenset({"session"}), "snapshot"),
    (frozenset({"last_quote"}), "snapshot"),
    (frozenset({"last_trade"}), "snapshot"),
    (frozenset({"market_status"}), "snapshot"),
    (frozenset({"ticker", "error"}), "snapshot"),
    (frozenset({"details", "day"}), "snapshot"),
    (frozenset({"bid_price"}), _HistoryQuote),
    (frozenset({"ask_price"}), _HistoryQuote),
    (frozenset({"price", "sip_timestamp"}), _HistoryTrade),
    (frozenset({"price", "participant_timestamp"}), _HistoryTrade),
    (frozenset({"price", "timestamp"}), _LastCryptoTrade),
    (frozenset({"o", "h", "l", "c", "t"}), _HistoryBar),
    (frozenset({"P"}), _TickQuote),
    (frozenset({"X", "p"}), _TickQuote),
    (frozenset({"p", "s", "y"}), _TickTrade),
    (frozenset({"p", "s", "q"}), _TickTrade),
    (frozenset({"p", "s", "t"}), _CryptoTick),
    (frozenset({"ap"}), "forex_tick"),
    (frozenset({"bp"}), "forex_tick"),
    (frozenset({"ask"}), "forex_tick"),
    (frozenset({"bid"}), "forex_tick"),
)
"""Keys that a row has → what it is; the first that fits."""
_ROW_DECODERS = {
    row_type: msgspec.json.Decoder(list[row_type])  # type: ignore[valid-type]
    for _, row_type in _ROW_SHAPES
    if isinstance(row_type, type)
}

_decode_events = msgspec.json.Decoder(list[_StreamEvent]).decode
_decode_event = msgspec.json.Decoder(_StreamEvent).decode
_decode_elements = msgspec.json.Decoder(list[Raw]).decode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_control = msgspec.json.Decoder(_ControlMessage).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_start = msgspec.json.Decoder(_Start).decode
_decode_keys = msgspec.json.Decoder(dict[str, Raw]).decode

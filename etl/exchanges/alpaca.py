"""Alpaca: US stocks (SIP, IEX, a test stream), options, crypto. https://docs.alpaca.markets/docs/streaming-market-data

Feeds: ``alpaca`` (SIP), ``alpaca_iex``, ``alpaca_test``, ``alpaca_options``, ``alpaca_crypto``. They differ in
addresses and symbols; each parses every frame of the venue, of any asset class, which the symbol tells:
``BTC/USD``, ``AAPL240126P00050000``, ``AAPL``.

Decided from the frames:
- Times are RFC 3339 with 0 to 9 fraction digits, in stream and history alike: key times are whole ns.
- A trade's id is unique per exchange and New York day; option trades and all quotes have none: their content is
  the key, in the digits sent, which stream and history write alike.
- History marks voided prints with ``u``: such a print gives the trade and the CORRECTION that voids it.
- The options stream is msgpack; it is read as the JSON it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any, ClassVar
from urllib.parse import parse_qsl, unquote, urlencode

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
    content_hash,
    date_ns,
    inferred_interval,
    is_no_order,
    new_york_day,
    new_york_day_of_hour,
    readable,
    rejected,
    require_name,
    rfc3339_ns,
    text_of,
)
from etl.model.codes import Code
from etl.model.instruments import Instruments, occ_symbol
from etl.model.records import (
    Bar,
    BarState,
    Book,
    BookAction,
    Correction,
    CorrectionKind,
    Frame,
    Kind,
    Quote,
    Record,
    Side,
    SizeUnit,
    Status,
    Trade,
    TradingStatus,
)
from etl.model.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S

PAGE_ROWS_MAX = 5_000
"""The venue allows 10,000; so few, an answer stays below 1 MiB and is one frame."""

Unsigned = Annotated[int, Meta(ge=0, le=INT64_MAX)]


class Alpaca(Exchange):
    name = "alpaca"
    websocket_url = "wss://stream.data.alpaca.markets/v2/sip"
    rest_url = "https://data.alpaca.markets"
    channels: ClassVar[tuple[Channel, ...]] = (
        Channel("trades", Kind.TRADE, SequenceRule.NONE, repair=Kind.TRADE, stale_after_s=30),
        Channel("quotes", Kind.QUOTE, SequenceRule.NONE, repair=Kind.QUOTE, stale_after_s=30),
        Channel(
            "bars", Kind.BAR, SequenceRule.NONE, repair=Kind.BAR, stale_after_s=180, interval_ns=NS_PER_MINUTE
        ),
        Channel("updatedBars", Kind.BAR, SequenceRule.NONE, repair=Kind.BAR, interval_ns=NS_PER_MINUTE),
        Channel("dailyBars", Kind.BAR, SequenceRule.NONE, repair=Kind.BAR, interval_ns=NS_PER_DAY),
        Channel("statuses", Kind.STATUS, SequenceRule.NONE),
        Channel("lulds", Kind.STATUS, SequenceRule.NONE),
        Channel("corrections", Kind.CORRECTION, SequenceRule.NONE, repair=Kind.TRADE),
        Channel("cancelErrors", Kind.CORRECTION, SequenceRule.NONE, repair=Kind.TRADE),
    )
    default_channels: ClassVar[tuple[str, ...]] = (
        "trades", "quotes", "bars", "updatedBars", "dailyBars", "statuses", "lulds",
    )  # fmt: skip
    ignored_names: ClassVar[Mapping[str, str]] = {
        "success": "control message: connected, authenticated",
        "subscription": "control message: what the connection is subscribed to",
        "error": "control message or a refused request; what it means is told as a Fault",
        "empty_frame": "an array without events",
        "empty_page": "a history answer without rows",
        "i": "auction imbalance",
        "n": "news",
        "snapshot": "the venue's own summary: latest trade, quote and bars of a symbol",
    }
    default_symbols: ClassVar[tuple[str, ...]] = ("AAPL", "MSFT", "NVDA", "AMZN", "TSLA", "SPY")
    key_variables = (("ALPACA_API_KEY", "APCA_API_KEY_ID"), ("ALPACA_API_SECRET", "APCA_API_SECRET_KEY"))
    connections_max = 1
    budgets = (Budget(200, 60.0),)
    """Of the basic plan; the larger one has 10,000."""
    history: ClassVar[Mapping[Kind, History]] = dict.fromkeys(
        (Kind.TRADE, Kind.QUOTE, Kind.BAR), History("time")
    )
    event_time_min_ns = 1_451_606_400_000_000_000
    """2016-01-01, where the venue's history begins."""
    calendar = "XNYS"
    splits_path = (
        "/v1/corporate-actions?types=forward_split,reverse_split"
        "&start={from_day}&end={to_day}&limit=1000&sort=asc"
    )
    history_path: ClassVar[str] = "/v2/stocks"
    history_query: ClassVar[Mapping[str, str]] = {"feed": "sip"}

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._subscription: Subscription | None = None
        self._listings = _Listings()
        self._decimals = DecimalTexts()
        self._conditions = CodeTexts()
        self._contents = ContentCounts()
        self._readers: dict[type[_Event], Callable[..., Record]] = {
            _Trade: self._trade,
            _HistoryTrade: self._trade,
            _Quote: self._quote,
            _HistoryQuote: self._quote,
            _MinuteBar: self._bar,
            _UpdatedBar: self._bar,
            _DailyBar: self._bar,
            _HistoryBar: self._bar,
            _Correction: self._correction,
            _Cancel: self._cancel,
            _Status: self._status,
            _Bands: self._bands,
            _OrderBook: self._book,
            _HistoryBook: self._book,
        }

    @classmethod
    def read_splits(cls, payload: bytes) -> Iterable[Split]:
        """``{"corporate_actions":{"forward_splits":[{"symbol":"AAPL","new_rate":4,"old_rate":1,"ex_date":
        "2020-08-31"}],"reverse_splits":[]},"next_page_token":null}``

        https://docs.alpaca.markets/reference/corporateactions-1
        """
        actions = msgspec.json.decode(payload, type=_CorporateActions).corporate_actions
        rows = [*actions.forward_splits, *actions.reverse_splits]
        return [Split(row.symbol, str(row.ex_date), row.old_rate / row.new_rate) for row in rows]

    # the connection

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return base_url

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        """The server speaks first; ``parse`` answers its ``connected`` and ``authenticated``."""
        self._subscription = subscription
        return ()

    def headers(self, request: Request, now_ns: int) -> Mapping[str, str]:
        if not self.credentials.key:
            return {}
        return {"APCA-API-KEY-ID": self.credentials.key, "APCA-API-SECRET-KEY": self.credentials.secret}

    def _control(self, message: _ControlMessage, index: int) -> Iterator[Outcome]:
        """``{"T":"success","msg":"connected"}``, ``{"T":"error","code":406,"msg":"connection limit exceeded"}``"""
        yield Ignored(message.T, index)
        if message.T == "subscription":
            yield Fault(FaultKind.READY, "subscription", "")
        elif message.T == "error":
            fault_kind = _FAULTS.get(message.code, FaultKind.TRANSIENT)
            if fault_kind is not None:
                yield Fault(fault_kind, str(message.code), message.msg)
        elif message.msg == "connected" and self._subscription:
            key, secret = self.credentials.key, self.credentials.secret
            yield self._reply({"action": "auth", "key": key, "secret": secret})
        elif message.msg == "authenticated" and self._subscription:
            symbols = self._subscription.symbols
            asked = [name for name in self._subscription.channels if name not in _COME_WITH_TRADES]
            yield self._reply({"action": "subscribe"} | dict.fromkeys(asked, symbols))

    def _reply(self, message: Mapping[str, Any]) -> Reply:
        return Reply(msgspec.json.encode(message).decode())

    # frames

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        """About 2.4 µs for a trade, 3.3 µs for a quote, in frames of several."""
        try:
            events = _decode_events(frame.payload)
        except UNDECODABLE:
            return self._parse_other(frame)
        return self._read_all(frame, events, _STREAM) if events else [Ignored("empty_frame")]

    def _parse_other(self, frame: Frame) -> Sequence[Outcome]:
        """Not an array of market data in JSON: msgpack, an answer, or an array with something else in it."""
        payload = frame.payload
        if payload[:1] >= b"\x80":
            try:
                payload = _json_of_msgpack(payload)
            except UNDECODABLE as error:
                return [Rejected(Code.UNDECODABLE, str(error))]
        else:
            payload = readable(frame).payload
        if payload.lstrip()[:1] == b"{":
            return self._parse_answer(frame, payload)
        return self._parse_each(frame, payload)

    def _read_all(
        self, frame: Frame, events: Iterable[_Event], page: _Page, first_index: int = 0
    ) -> list[Outcome]:
        outcomes: list[Outcome] = []
        readers = self._readers
        for index, event in enumerate(events, first_index):
            try:
                outcomes.append(readers[type(event)](frame, index, event, page))
                if page.rows and isinstance(event, _HistoryTrade) and event.u in _VOIDS:
                    outcomes.append(self._voided(frame, page.rows + index, event, page))
            except (FieldFault, UnicodeDecodeError) as error:
                outcomes.append(rejected(error, index, event.S or page.venue_symbol, BOUNDED_TIMES))
        return outcomes

    def _parse_each(self, frame: Frame, payload: bytes) -> list[Outcome]:
        """The frame holds something else than data: one event at a time."""
        try:
            elements = _decode_elements(payload)
        except UNDECODABLE as error:
            return [Rejected(Code.UNDECODABLE, str(error))]
        outcomes: list[Outcome] = []
        for index, element in enumerate(elements):
            outcomes.extend(self._parse_element(frame, index, element))
        return outcomes or [Ignored("empty_frame")]

    def _parse_element(self, frame: Frame, index: int, element: Raw | bytes) -> Iterable[Outcome]:
        symbol = ""
        try:
            head = _decode_head(element)
            symbol = text_of(head.S)
            if head.T in _CONTROLS:
                return list(self._control(_decode_control(element), index))
            if head.T in self.ignored_names:
                return [Ignored(head.T, index)]
            if head.T not in _EVENT_NAMES:
                return [Rejected(Code.UNKNOWN_MESSAGE, f"T {head.T[:40]!r}", index, symbol)]
            event = _decode_event(element)
            return [self._readers[type(event)](frame, index, event, _STREAM)]
        except UNREADABLE as error:
            return [rejected(error, index, symbol, BOUNDED_TIMES)]

    # history

    def _parse_answer(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        """``{"trades":{"AAPL":[…],"TSLA":null},"next_page_token":…}``, the latest of each symbol
        ``{"trades":{"AAPL":{…}}}``, and of one symbol ``{"symbol":"AAPL","trades":[…]}``."""
        try:
            answer = _decode_answer(payload)
            if answer.T:
                return list(self._parse_element(frame, 0, payload))
            row_type, value = _content(answer)
            if row_type is None:
                return list(_answer_without_rows(answer))
            groups = _by_symbol(value, text_of(answer.symbol) or _symbol_in(frame.endpoint))
        except UNDECODABLE as error:
            return [rejected(error, 0, "", BOUNDED_TIMES)]
        interval, flags = _interval(frame.endpoint, groups) if row_type is _HistoryBar else ("", ())
        outcomes: list[Outcome] = []
        index, count = 0, sum(len(rows) for _, rows in groups)
        for symbol, rows in groups:
            page = _Page(symbol, count, interval, flags)
            outcomes.extend(self._read_rows(frame, index, rows, row_type, page))
            index += len(rows)
        return outcomes or [Ignored("empty_page")]

    def _read_rows(
        self, frame: Frame, first_index: int, rows: Sequence[Raw], row_type: type[_Event], page: _Page
    ) -> Iterable[Outcome]:
        decode = _ROW_DECODERS[row_type]
        for index, row in enumerate(rows, first_index):
            try:
                event = decode(row)
            except UNDECODABLE as error:
                yield rejected(error, index, page.venue_symbol, BOUNDED_TIMES)
            else:
                yield from self._read_all(frame, (event,), page, index)

    # kinds

    def _trade(self, frame: Frame, index: int, event: _TradeFields, page: _Page) -> Trade:
        """``{"T":"t","i":96921,"S":"AAPL","x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z",
        "c":["@","I"],"z":"C"}``; crypto has the taker's side, ``"tks":"B"``, and neither ``x`` nor ``c``."""
        time = rfc3339_ns(event.t)
        venue_symbol = event.S or page.venue_symbol
        listing = self._listings[venue_symbol]
        price = self._decimals[str(event.p, "ascii")]
        size = self._decimals[str(event.s, "ascii")]
        if price is None or size is None:
            raise FieldFault(Code.FIELD_MISSING, "no price or no size")
        conditions = () if event.c is _ABSENT else self._conditions[str(event.c, "ascii")]
        trade_id, side = str(event.i), _SIDES.get(event.tks, _UNKNOWN)
        if trade_id and listing.is_stock:
            key = f"{new_york_day_of_hour(time // NS_PER_HOUR)}/{event.x}/{trade_id}"
        elif trade_id:
            key = trade_id
        else:
            content = f"{time}/{price}/{size}/{event.tks}/{event.x}/{','.join(conditions)}"
            key = self._contents.key(f"t {venue_symbol}", content)
        return Trade(
            self.name, listing.symbol, venue_symbol, "trades", time, frame.receive_time_ns, frame.source,
            frame.connection_id, frame.frame_sequence, index, key, time, self.parser_version,
            None, None, None, 0, 0, (),
            price, size, side, trade_id, listing.size_unit, event.x, "", conditions, event.z,
        )  # fmt: skip

    def _quote(self, frame: Frame, index: int, event: _QuoteFields, page: _Page) -> Quote:
        """``{"T":"q","S":"AMD","bx":"U","bp":87.66,"bs":1,"ax":"X","ap":87.67,"as":1,
        "t":"2021-02-22T15:51:45.3355677Z","c":["R"],"z":"C"}``"""
        time = rfc3339_ns(event.t)
        venue_symbol = event.S or page.venue_symbol
        listing = self._listings[venue_symbol]
        decimals = self._decimals
        bid, bid_size = decimals[str(event.bp, "ascii")], decimals[str(event.bs, "ascii")]
        ask, ask_size = decimals[str(event.ap, "ascii")], decimals[str(event.ask_size, "ascii")]
        bid_venue, ask_venue = event.bx, event.ax
        if bid is None or (bid[0] == "0" and is_no_order(bid, bid_size)):
            bid, bid_size, bid_venue = None, None, ""
        if ask is None or (ask[0] == "0" and is_no_order(ask, ask_size)):
            ask, ask_size, ask_venue = None, None, ""
        conditions = () if event.c is _ABSENT else self._conditions[str(event.c, "ascii")]
        content = (
            f"{time}/{bid or ''}/{bid_size or ''}/{bid_venue}/{ask or ''}/{ask_size or ''}/{ask_venue}"
            f"/{','.join(conditions)}"
        )
        size_unit = listing.size_unit
        if size_unit is _SHARE and time < QUOTES_IN_SHARES_FROM_NS:
            size_unit = _ROUND_LOT
        return Quote(
            self.name, listing.symbol, venue_symbol, "quotes", time, frame.receive_time_ns, frame.source,
            frame.connection_id, frame.frame_sequence, index,
            self._contents.key(f"q {venue_symbol}", content), time, self.parser_version,
            None, None, None, 0, 0, (),
            bid, bid_size, ask, ask_size, size_unit, bid_venue, ask_venue, conditions, (), event.z,
        )  # fmt: skip

    def _bar(self, frame: Frame, index: int, event: _BarFields, page: _Page) -> Bar:
        """``{"T":"b","S":"SPY","o":388.985,"h":389.13,"l":388.975,"c":389.12,"v":49378,
        "t":"2021-02-22T19:15:00Z","n":…,"vw":…}``; ``u`` replaces a minute's bar after late trades, ``d`` is the
        running day."""
        start = rfc3339_ns(event.t)
        venue_symbol = event.S or page.venue_symbol
        listing = self._listings[venue_symbol]
        decimals = self._decimals
        interval = event.interval or page.interval
        state, channel = event.state, event.channel or _BAR_CHANNELS.get(interval, "aggregates")
        if state is BarState.NONE:
            state = bar_state_of_history(start, frame.receive_time_ns)
        return Bar(
            self.name, listing.symbol, venue_symbol, channel, start, frame.receive_time_ns, frame.source,
            frame.connection_id, frame.frame_sequence, index, f"{interval}/{start}", start,
            self.parser_version, None, None, None, 0, 0, page.flags, interval,
            decimals[str(event.o, "ascii")], decimals[str(event.h, "ascii")],
            decimals[str(event.l, "ascii")], decimals[str(event.c, "ascii")],
            decimals[str(event.v, "ascii")], state, listing.size_unit,
            decimals[str(event.vw, "ascii")], None, None, event.n,
        )  # fmt: skip

    def _correction(self, frame: Frame, index: int, event: _Correction, page: _Page) -> Correction:
        """``{"T":"c","S":"AAPL","x":"V","oi":1,"op":150,"os":100,"oc":["@"],"ci":2,"cp":150.5,"cs":100,
        "cc":["@"],"t":"2024-01-02T15:30:00Z","z":"C"}``: trade ``oi`` becomes ``ci``."""
        return self._void(
            frame, index, event.S, rfc3339_ns(event.t), event.x, str(event.oi), CorrectionKind.CORRECT,
            trade_id=str(event.ci), last_price=self._decimals[str(event.cp, "ascii")],
            volume=self._decimals[str(event.cs, "ascii")], tape=event.z,
            conditions=self._conditions[str(event.cc, "ascii")], channel="corrections",
        )  # fmt: skip

    def _cancel(self, frame: Frame, index: int, event: _Cancel, page: _Page) -> Correction:
        """``{"T":"x","S":"AAPL","i":1,"x":"V","p":150,"s":100,"a":"C","t":"2024-01-02T15:30:00Z","z":"C"}``;
        ``a`` is C(ancelled) or E(rror)."""
        correction = CorrectionKind.ERROR if event.a == "E" else CorrectionKind.CANCEL
        return self._void(
            frame, index, event.S, rfc3339_ns(event.t), event.x, str(event.i), correction,
            tape=event.z, channel="cancelErrors",
        )  # fmt: skip

    def _voided(self, frame: Frame, index: int, event: _HistoryTrade, page: _Page) -> Correction:
        """``u`` of history: ``canceled``, ``incorrect`` (another trade replaces it), ``corrected`` (it is that
        other trade, and good). The corrections of a page take their places behind its rows."""
        return self._void(
            frame, index, event.S or page.venue_symbol, rfc3339_ns(event.t), event.x, str(event.i),
            _VOIDS[event.u], tape=event.z, channel="cancelErrors",
        )  # fmt: skip

    def _void(
        self, frame: Frame, index: int, venue_symbol: str, time: int, market_center: str,
        trade_id_voided: str, correction: CorrectionKind, **fields: Any,
    ) -> Correction:  # fmt: skip
        """Stream and history name the same voided trade but not the same moment: the day is the key time."""
        listing, day = self._listings[venue_symbol], new_york_day(time)
        return Correction(
            exchange=self.name, symbol=listing.symbol, venue_symbol=venue_symbol, event_time_ns=time,
            receive_time_ns=frame.receive_time_ns, source=frame.source, connection_id=frame.connection_id,
            frame_sequence=frame.frame_sequence, frame_index=index, parser_version=self.parser_version,
            record_key=f"{day}/{market_center}/{trade_id_voided}/{correction.name.lower()}",
            key_time_ns=date_ns(day), original_trade_id=trade_id_voided,
            correction=correction, size_unit=listing.size_unit, market_center=market_center, **fields,
        )  # fmt: skip

    def _status(self, frame: Frame, index: int, event: _Status, page: _Page) -> Status:
        """``{"T":"s","S":"AAPL","sc":"H","sm":"Trading Halt","rc":"T12","rm":"…","t":"…","z":"C"}``"""
        return self._status_record(
            frame, index, event.S, event.t, f"{event.sc}/{event.rc}", channel="statuses",
            status=_STATUSES.get(event.sc, TradingStatus.NONE), status_code=event.sc,
            reason=f"{event.rc} {event.rm}".strip(), tape=event.z,
        )  # fmt: skip

    def _bands(self, frame: Frame, index: int, event: _Bands, page: _Page) -> Status:
        """``{"T":"l","S":"IONM","u":3.24,"d":2.65,"i":"B","t":"2023-04-06T13:34:45.565004401Z","z":"C"}``"""
        upper, lower = self._decimals[str(event.u, "ascii")], self._decimals[str(event.d, "ascii")]
        return self._status_record(
            frame, index, event.S, event.t, f"{upper}/{lower}/{event.i}", channel="lulds",
            status_code="LULD", limit_up=upper, limit_down=lower,
            indicators=(event.i,) if event.i else (), tape=event.z,
        )  # fmt: skip

    def _status_record(
        self,
        frame: Frame,
        index: int,
        venue_symbol: str,
        sent: str,
        content: str,
        channel: str,
        **fields: Any,
    ) -> Status:
        time, listing = rfc3339_ns(sent), self._listings[venue_symbol]
        return Status(
            exchange=self.name, symbol=listing.symbol, venue_symbol=venue_symbol, channel=channel,
            event_time_ns=time, receive_time_ns=frame.receive_time_ns, source=frame.source,
            connection_id=frame.connection_id, frame_sequence=frame.frame_sequence, frame_index=index,
            record_key=f"{channel}/{time}/{content_hash(content)}", key_time_ns=time,
            parser_version=self.parser_version, **fields,
        )  # fmt: skip

    def _book(self, frame: Frame, index: int, event: _BookFields, page: _Page) -> Book:
        """``{"T":"o","S":"BTC/USD","t":"2024-03-12T10:38:50.79613221Z","b":[{"p":71859.53,"s":0.27994}],
        "a":[…],"r":true}``: ``r`` starts anew, otherwise sizes are absolute and 0 removes. No sequence at all."""
        time = rfc3339_ns(event.t)
        venue_symbol = event.S or page.venue_symbol
        listing = self._listings[venue_symbol]
        bid_prices, bid_sizes = self._levels(event.b)
        ask_prices, ask_sizes = self._levels(event.a)
        return Book(
            exchange=self.name, symbol=listing.symbol, venue_symbol=venue_symbol, channel="orderbooks",
            event_time_ns=time, receive_time_ns=frame.receive_time_ns, source=frame.source,
            connection_id=frame.connection_id, frame_sequence=frame.frame_sequence, frame_index=index,
            record_key=f"{frame.connection_id}/{frame.frame_sequence}/{index}", key_time_ns=time,
            parser_version=self.parser_version,
            book_action=BookAction.SNAPSHOT if event.r or page.rows else BookAction.ABSOLUTE,
            bid_prices=bid_prices, bid_sizes=bid_sizes, ask_prices=ask_prices, ask_sizes=ask_sizes,
            size_unit=listing.size_unit,
        )  # fmt: skip

    def _levels(self, levels: Sequence[_Level]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        prices = tuple(self._decimals[str(level.p, "ascii")] for level in levels)
        sizes = tuple(self._decimals[str(level.s, "ascii")] for level in levels)
        if None in prices or None in sizes:
            raise FieldFault(Code.LEVELS_UNEVEN, "a level without price or size")
        return prices, sizes  # type: ignore[return-value]

    # requests

    def history_requests(
        self,
        kind: Kind,
        venue_symbol: str,
        start_ns: int,
        end_ns: int,
        first_id: int | None = None,
        channel: str = "",
    ) -> Iterator[Request]:
        """By time, to the ns; bars of one minute, not adjusted for splits, as the stream sends them."""
        if kind not in self.history:
            return
        query = {
            "symbols": venue_symbol, "start": _rfc3339(start_ns), "end": _rfc3339(end_ns - 1),
            "limit": str(PAGE_ROWS_MAX), "sort": "asc", **self.history_query,
        }  # fmt: skip
        if kind is Kind.BAR:
            query["timeframe"] = "1Day" if channel == "dailyBars" else "1Min"
            query |= {"adjustment": "raw"} if self.history_path == "/v2/stocks" else {}
        path = f"{self.history_path}/{_HISTORY_NAMES[kind]}?{urlencode(query)}"
        yield Request(path, kind, venue_symbol, 1, end_ns)

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        """By ``next_page_token``."""
        try:
            token = _decode_answer(frame.payload).next_page_token
        except UNDECODABLE:
            return None
        if not token:
            return None
        path, _, text = request.path.partition("?")
        query = dict(parse_qsl(text)) | {"page_token": token}
        following = f"{path}?{urlencode(query)}"
        return msgspec.structs.replace(request, path=following) if following != request.path else None


class AlpacaIex(Alpaca):
    """Trades and quotes of one exchange only, on the free plan: 30 symbols for each of the two."""

    name = "alpaca_iex"
    websocket_url = "wss://stream.data.alpaca.markets/v2/iex"
    history_query: ClassVar[Mapping[str, str]] = {"feed": "iex"}


class AlpacaTest(Alpaca):
    """The stream that never closes, with one invented stock."""

    name = "alpaca_test"
    websocket_url = "wss://stream.data.alpaca.markets/v2/test"
    default_symbols = ("FAKEPACA",)
    splits_path = ""
    default_channels = ("trades", "quotes", "bars")
    calendar = "24/7"


class AlpacaOptions(Alpaca):
    """The stream speaks msgpack only. History has trades and bars, no quotes."""

    name = "alpaca_options"
    websocket_url = "wss://stream.data.alpaca.markets/v1beta1/opra"
    channels = (
        Channel("trades", Kind.TRADE, SequenceRule.NONE, repair=Kind.TRADE, stale_after_s=60),
        Channel("quotes", Kind.QUOTE, SequenceRule.NONE, stale_after_s=60),
        Channel("bars", Kind.BAR, SequenceRule.NONE, repair=Kind.BAR, interval_ns=NS_PER_MINUTE),
    )
    default_channels = ("trades", "quotes")
    default_symbols = ("SPY261218C00600000",)
    history = dict.fromkeys((Kind.TRADE, Kind.BAR), History("time"))
    history_path = "/v1beta1/options"
    splits_path = ""
    history_query: ClassVar[Mapping[str, str]] = {}

    def handshake_headers(self, now_ns: int) -> Mapping[str, str]:
        return {"Content-Type": "application/msgpack"}

    def _reply(self, message: Mapping[str, Any]) -> Reply:
        return Reply(msgspec.msgpack.encode(message))


class AlpacaCrypto(Alpaca):
    name = "alpaca_crypto"
    websocket_url = "wss://stream.data.alpaca.markets/v1beta3/crypto/us"
    channels = (
        Channel("trades", Kind.TRADE, SequenceRule.NONE, repair=Kind.TRADE, stale_after_s=300),
        Channel("quotes", Kind.QUOTE, SequenceRule.NONE, repair=Kind.QUOTE, stale_after_s=60),
        Channel(
            "bars", Kind.BAR, SequenceRule.NONE, repair=Kind.BAR, stale_after_s=300, interval_ns=NS_PER_MINUTE
        ),
        Channel("updatedBars", Kind.BAR, SequenceRule.NONE, repair=Kind.BAR, interval_ns=NS_PER_MINUTE),
        Channel("dailyBars", Kind.BAR, SequenceRule.NONE, repair=Kind.BAR, interval_ns=NS_PER_DAY),
        Channel("orderbooks", Kind.BOOK, SequenceRule.NONE),
    )
    default_channels = ("trades", "quotes", "bars", "updatedBars", "dailyBars", "orderbooks")
    default_symbols = ("BTC/USD", "ETH/USD")
    calendar = "24/7"
    history_path = "/v1beta3/crypto/us"
    splits_path = ""
    history_query: ClassVar[Mapping[str, str]] = {}


_FAULTS: dict[int, FaultKind | None] = {
    400: FaultKind.REQUEST,  # invalid syntax
    401: FaultKind.AUTHENTICATION,  # not authenticated
    402: FaultKind.AUTHENTICATION,  # auth failed
    403: None,  # already authenticated: nothing is wrong
    404: FaultKind.AUTHENTICATION,  # auth timeout
    405: FaultKind.SUBSCRIPTION_LIMIT,  # symbol limit exceeded
    406: FaultKind.CONNECTION_LIMIT,  # connection limit exceeded
    407: FaultKind.SLOW_CLIENT,  # slow client
    408: FaultKind.ENTITLEMENT,  # v2 not enabled
    409: FaultKind.ENTITLEMENT,  # insufficient subscription
    410: FaultKind.REQUEST,  # invalid subscribe action for this feed
    411: FaultKind.ENTITLEMENT,  # insufficient scope
    412: FaultKind.REQUEST,  # options only in msgpack
    413: FaultKind.REQUEST,  # star subscription refused for option quotes
    500: FaultKind.TRANSIENT,  # internal error
}
"""https://docs.alpaca.markets/docs/streaming-market-data#errors"""

_REFUSALS = (
    ("subscription", FaultKind.ENTITLEMENT),
    ("too many requests", FaultKind.RATE_LIMIT),
    ("rate limit", FaultKind.RATE_LIMIT),
    ("forbidden", FaultKind.AUTHENTICATION),
    ("authoriz", FaultKind.AUTHENTICATION),
    ("invalid", FaultKind.REQUEST),
)
"""Words in a refused history request's message."""

_STATUSES = {
    "H": TradingStatus.HALTED,
    "2": TradingStatus.HALTED,
    "P": TradingStatus.PAUSED,
    "Q": TradingStatus.AUCTION,
    "T": TradingStatus.TRADING,
    "3": TradingStatus.TRADING,
}
"""Letters are the UTP plan's, digits the CTA's; quotes without trades (Q) come before a reopening auction."""

_SIDES = {"B": Side.BUY, "S": Side.SELL}
_VOIDS = {"canceled": CorrectionKind.CANCEL, "incorrect": CorrectionKind.CORRECT}
_COME_WITH_TRADES = frozenset({"corrections", "cancelErrors"})
_BAR_CHANNELS = {"1m": "bars", "1d": "dailyBars"}
_HISTORY_NAMES = {Kind.TRADE: "trades", Kind.QUOTE: "quotes", Kind.BAR: "bars"}
_TIMEFRAME = re.compile(r"timeframe=([0-9]+)(Min|T|Hour|H|Day|D|Week|W|Month|M)", re.I)
_SPANS = {"min": "m", "t": "m", "hour": "h", "h": "h", "day": "d", "d": "d", "week": "w", "w": "w"}
_SYMBOL = re.compile(r"/v2/stocks/([^/?{}]+)/(?:trades|quotes|bars)")


class _Listing(Struct, frozen=True, gc=False):
    symbol: str
    is_stock: bool
    size_unit: SizeUnit


class _Listings(dict[str, _Listing]):
    """Venue symbol → what it is; remembers within ``KNOWN_TEXTS_MAX``. The venue cuts its pairs itself."""

    def __missing__(self, venue_symbol: str) -> _Listing:
        if not venue_symbol:
            raise FieldFault(Code.SYMBOL_MISSING, "neither the event nor its page names a symbol")
        require_name(venue_symbol)
        if "/" in venue_symbol:
            listing = _Listing(venue_symbol.replace("/", "-"), False, SizeUnit.BASE)
        elif occ_symbol(venue_symbol):
            listing = _Listing(venue_symbol, False, SizeUnit.CONTRACT)
        else:
            listing = _Listing(venue_symbol, True, SizeUnit.SHARE)
        if len(self) >= KNOWN_TEXTS_MAX:
            self.clear()
        self[venue_symbol] = listing
        return listing


class _Page(Struct, frozen=True, gc=False):
    """What an answer says about all rows of one symbol; empty for the stream. ``rows`` counts the whole answer's."""

    venue_symbol: str = ""
    rows: int = 0
    interval: str = ""
    flags: tuple[str, ...] = ()


def _content(answer: _Answer) -> tuple[type[_Event] | None, Raw]:
    """Which rows the answer has, and them."""
    for row_type, values in (
        (_HistoryTrade, (answer.trades, answer.trade)),
        (_HistoryQuote, (answer.quotes, answer.quote)),
        (_HistoryBar, (answer.bars, answer.bar)),
        (_HistoryBook, (answer.orderbooks,)),
    ):
        for value in values:
            if value is not _ABSENT:
                return row_type, value
    return None, _ABSENT


def _by_symbol(value: Raw, symbol: str) -> list[tuple[str, list[Raw]]]:
    """``value`` is a row, a list of rows, or either of these for each symbol; null has none."""
    kind = bytes(value)[:1]
    if kind == b"[":
        return [(symbol, _decode_elements(value))]
    if kind != b"{":
        return _decode_nothing(value) or []
    parts = _decode_parts(value)
    if bytes(parts.get("t", _ABSENT))[:1] == b'"':
        return [(symbol, [value])]
    return [
        (name, [part] if bytes(part)[:1] == b"{" else _decode_rows(part) or [])
        for name, part in parts.items()
    ]


def _interval(endpoint: str, groups: Sequence[tuple[str, Sequence[Raw]]]) -> tuple[str, tuple[str, ...]]:
    if asked := _TIMEFRAME.search(endpoint):
        return asked[1] + _SPANS.get(asked[2].lower(), "mo"), ()
    if "/latest" in endpoint:
        return "1m", ()
    return inferred_interval(_starts(rows) for _, rows in groups), ("interval_inferred",)


def _starts(rows: Sequence[Raw]) -> Iterator[int]:
    for row in rows:
        try:
            yield rfc3339_ns(_decode_start(row).t)
        except UNREADABLE:
            continue  # it gets its code when it is read


def _symbol_in(endpoint: str) -> str:
    named = _SYMBOL.search(endpoint)
    return unquote(named[1]) if named else ""


def _answer_without_rows(answer: _Answer) -> Iterator[Outcome]:
    if answer.snapshots is not _ABSENT:
        yield Ignored("snapshot")
    elif answer.message:
        said = answer.message.lower()
        fault_kind = next((kind for words, kind in _REFUSALS if words in said), FaultKind.TRANSIENT)
        yield Ignored("error")
        yield Fault(fault_kind, str(answer.code), answer.message)
    else:
        yield Rejected(Code.UNKNOWN_MESSAGE, "an answer of unknown shape")


def _rfc3339(ns: int) -> str:
    seconds, fraction = divmod(ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"


def _json_of_msgpack(payload: bytes) -> bytes:
    """The same events as JSON; an event that cannot be told becomes ``null``, which is no event either. Numbers
    are binary there: theirs is the shortest text that means the same."""
    return b"[" + b",".join(map(_json_of_event, _unpack_elements(payload))) + b"]"


def _json_of_event(packed: Raw) -> bytes:
    try:
        event = _unpack_event(packed)
        return msgspec.json.encode({name: _jsonable(value) for name, value in event.items()})
    except UNREADABLE:
        return b"null"


def _jsonable(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return _time_of_msgpack(value) if isinstance(value, msgspec.msgpack.Ext) else value


def _time_of_msgpack(extension: msgspec.msgpack.Ext) -> str:
    """A timestamp (type -1, 32, 64 or 96 bits) as RFC 3339."""
    data = bytes(extension.data)
    if extension.code != -1 or len(data) not in (4, 8, 12):
        raise FieldFault(Code.UNDECODABLE, f"msgpack extension {extension.code} of {len(data)} bytes")
    if len(data) == 12:
        seconds, fraction = int.from_bytes(data[4:], signed=True), int.from_bytes(data[:4])
    else:
        number = int.from_bytes(data)
        seconds, fraction = (number & (1 << 34) - 1, number >> 34) if len(data) == 8 else (number, 0)
    if not 0 <= seconds <= INT64_MAX // NS_PER_S:
        raise FieldFault(Code.TIME_OUT_OF_RANGE, f"time {seconds} s")
    return _rfc3339(seconds * NS_PER_S + fraction)


_UNKNOWN, _SHARE, _ROUND_LOT = Side.NONE, SizeUnit.SHARE, SizeUnit.ROUND_LOT
_ABSENT = Raw()
_STREAM = _Page()


# The wire: one type per event, and its twin without ``T`` and ``S`` for the rows of history.


_TradeId = (
    Annotated[int, Meta(ge=0, le=INT64_MAX)] | Annotated[str, Meta(pattern="^([0-9A-Za-z][0-9A-Za-z-]*)?$")]
)


class _Event(Struct, gc=False, kw_only=True):
    S: str = ""


class _TradeFields(_Event, gc=False, kw_only=True):
    t: str
    p: Raw
    s: Raw
    i: _TradeId = ""
    x: str = ""
    c: Raw = _ABSENT
    z: str = ""
    tks: str = ""


class _Trade(_TradeFields, gc=False, kw_only=True, tag_field="T", tag="t"):
    S: str


class _HistoryTrade(_TradeFields, gc=False, kw_only=True):
    u: str = ""


class _QuoteFields(_Event, gc=False, kw_only=True):
    t: str
    bp: Raw = _ABSENT
    bs: Raw = _ABSENT
    bx: str = ""
    ap: Raw = _ABSENT
    ask_size: Raw = field(name="as", default=_ABSENT)
    ax: str = ""
    c: Raw = _ABSENT
    z: str = ""


class _Quote(_QuoteFields, gc=False, kw_only=True, tag_field="T", tag="q"):
    S: str


class _HistoryQuote(_QuoteFields, gc=False, kw_only=True):
    pass


class _BarFields(_Event, gc=False, kw_only=True):
    channel: ClassVar[str] = ""
    interval: ClassVar[str] = ""
    state: ClassVar[BarState] = BarState.NONE
    t: str
    o: Raw
    h: Raw
    l: Raw  # noqa: E741
    c: Raw
    v: Raw = _ABSENT
    vw: Raw = _ABSENT
    n: Unsigned = 0


class _MinuteBar(_BarFields, gc=False, kw_only=True, tag_field="T", tag="b"):
    channel: ClassVar[str] = "bars"
    interval: ClassVar[str] = "1m"
    state: ClassVar[BarState] = BarState.CLOSED
    S: str


class _UpdatedBar(_BarFields, gc=False, kw_only=True, tag_field="T", tag="u"):
    channel: ClassVar[str] = "updatedBars"
    interval: ClassVar[str] = "1m"
    state: ClassVar[BarState] = BarState.REVISED
    S: str


class _DailyBar(_BarFields, gc=False, kw_only=True, tag_field="T", tag="d"):
    channel: ClassVar[str] = "dailyBars"
    interval: ClassVar[str] = "1d"
    state: ClassVar[BarState] = BarState.OPEN
    S: str


class _HistoryBar(_BarFields, gc=False, kw_only=True):
    pass


class _Correction(_Event, gc=False, kw_only=True, tag_field="T", tag="c"):
    S: str
    t: str
    x: str
    oi: int | str
    ci: int | str
    cp: Raw
    cs: Raw
    cc: Raw = _ABSENT
    z: str = ""


class _Cancel(_Event, gc=False, kw_only=True, tag_field="T", tag="x"):
    S: str
    t: str
    x: str
    i: int | str
    a: str = ""
    z: str = ""


class _Status(_Event, gc=False, kw_only=True, tag_field="T", tag="s"):
    S: str
    t: str
    sc: str
    rc: str = ""
    rm: str = ""
    z: str = ""


class _Bands(_Event, gc=False, kw_only=True, tag_field="T", tag="l"):
    S: str
    t: str
    u: Raw = _ABSENT
    d: Raw = _ABSENT
    i: str = ""
    z: str = ""


class _Level(Struct, gc=False):
    p: Raw
    s: Raw


class _BookFields(_Event, gc=False, kw_only=True):
    t: str
    b: list[_Level] = []
    a: list[_Level] = []
    r: bool = False


class _OrderBook(_BookFields, gc=False, kw_only=True, tag_field="T", tag="o"):
    S: str


class _HistoryBook(_BookFields, gc=False, kw_only=True):
    pass


class _Head(Struct, gc=False):
    T: str
    S: Raw = _ABSENT


class _ControlMessage(Struct, gc=False):
    T: str
    msg: str = ""
    code: int = 0


class _SplitRow(Struct):
    symbol: Annotated[str, Meta(min_length=1)]
    ex_date: date
    old_rate: Annotated[float, Meta(gt=0)]
    new_rate: Annotated[float, Meta(gt=0)]


class _SplitRows(Struct):
    forward_splits: list[_SplitRow] = []
    reverse_splits: list[_SplitRow] = []


class _CorporateActions(Struct):
    corporate_actions: _SplitRows


class _Answer(Struct, gc=False):
    T: str = ""
    trades: Raw = _ABSENT
    trade: Raw = _ABSENT
    quotes: Raw = _ABSENT
    quote: Raw = _ABSENT
    bars: Raw = _ABSENT
    bar: Raw = _ABSENT
    orderbooks: Raw = _ABSENT
    snapshots: Raw = _ABSENT
    symbol: Raw = _ABSENT
    next_page_token: str | None = None
    message: str | None = None
    code: int | None = None


class _Start(Struct, gc=False):
    t: str


_StreamEvent = (
    _Trade
    | _Quote
    | _MinuteBar
    | _UpdatedBar
    | _DailyBar
    | _Correction
    | _Cancel
    | _Status
    | _Bands
    | _OrderBook
)
_EVENT_NAMES = frozenset({"t", "q", "b", "u", "d", "c", "x", "s", "l", "o"})
_CONTROLS = frozenset({"success", "subscription", "error"})
_ROW_DECODERS: dict[type[_Event], Callable[[Raw], _Event]] = {
    row_type: msgspec.json.Decoder(row_type).decode
    for row_type in (_HistoryTrade, _HistoryQuote, _HistoryBar, _HistoryBook)
}
_PackedEvent = dict[str, str | int | float | bool | msgspec.msgpack.Ext | list[str] | None]
_unpack_elements = msgspec.msgpack.Decoder(list[Raw]).decode
_unpack_event = msgspec.msgpack.Decoder(_PackedEvent).decode

_decode_events = msgspec.json.Decoder(list[_StreamEvent]).decode
_decode_event = msgspec.json.Decoder(_StreamEvent).decode
_decode_elements = msgspec.json.Decoder(list[Raw]).decode
_decode_nothing = msgspec.json.Decoder(None).decode
_decode_rows = msgspec.json.Decoder(list[Raw] | None).decode
_decode_parts = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_head = msgspec.json.Decoder(_Head).decode
_decode_control = msgspec.json.Decoder(_ControlMessage).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_start = msgspec.json.Decoder(_Start).decode

"""What becomes of Polygon's events; their types are in ``_polygon_wire.py``.

Identity: stock trades ``day/venue/facility/id``, quotes ``day/sequence`` (the day in New York), crypto trades
``venue/id``, bars ``interval/start in ns``; what has neither id nor sequence by its content and the number of equal
ones before. Key times are whole ms, the stream's unit; history has ns.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from etl.adapter import build, fields, sessions
from etl.adapter.build import Stream, StreamCache
from etl.adapter.contract import Exchange, Ignored, Outcome
from etl.adapter.dispatch import Read
from etl.adapter.fields import ABSENT, INT64_MAX, FieldFault, canonical, new_york_day_of_hour
from etl.adapter.market_calendar import ALWAYS, NEW_YORK
from etl.exchanges import _polygon_grouped as grouped
from etl.exchanges._polygon_wire import (
    BARS,
    QUOTES,
    TRADES,
    Bands,
    BarEvent,
    Event,
    IndexValue,
    Page,
    QuoteEvent,
    TradeEvent,
)  # fmt: skip
from etl.model.codes import CORRECTED, Code
from etl.model.instruments import UNKNOWN_SYMBOL, occ_symbol
from etl.model.records import (
    Bar,
    BarState,
    Correction,
    CorrectionKind,
    Frame,
    Quote,
    Side,
    SizeUnit,
    Stats,
    Status,
    Trade,
    TradingStatus,
)  # fmt: skip
from etl.model.times import NS_PER_HOUR, NS_PER_MS, NS_PER_S

_SHARE, _ROUND_LOT, _NO_SIDE = SizeUnit.SHARE, SizeUnit.ROUND_LOT, Side.NONE


class _Source:
    """How the events of one type become records."""

    def __init__(
        self, kind: type[Event], parser: Exchange, decimals: fields.DecimalTexts, codes: fields.CodeTexts,
        contents: fields.ContentCounts,
    ) -> None:  # fmt: skip
        self._sent_as, self._unit_ns, self._parser = kind.sent_as, kind.unit_ns, parser
        self._decimals, self._codes, self._contents = decimals, codes, contents
        self._delay_ns = int(parser.delay_s * NS_PER_S)
        self._streams = StreamCache(self._stream)

    def _stream(self, key: str | tuple[str, str]) -> Stream:
        """Of a venue symbol, and the interval of bars of history. ``O:`` and ``X:`` go from the symbol; ``X:BTCUSD`` is
        cut by the instrument list only, ``BTC-USD`` by its own dash. Without a symbol there is no record: ids are
        unique within a symbol only."""
        venue_symbol, interval = (key, "") if isinstance(key, str) else key
        sent_as = self._sent_as or interval
        is_bare_pair = sent_as[:1] == "X" and venue_symbol[:2] != "X:"
        full = f"X:{venue_symbol}" if is_bare_pair else venue_symbol
        prefix = full[:2] if full[:2] in _ASSETS else ""
        size_unit, channels = _ASSETS[prefix]
        symbol, flags = full.removeprefix(prefix), _NO_FLAGS
        if not symbol:
            raise FieldFault(Code.SYMBOL_MISSING, "neither the event nor its page names a symbol")
        fields.require_name(symbol)
        if prefix == "I:":
            symbol = full
        elif prefix == "O:" and occ_symbol(symbol) is None:
            flags = (UNKNOWN_SYMBOL,)
        elif prefix in ("X:", "C:") and "/" in symbol:
            symbol = symbol.replace("/", "-")
        elif prefix in ("X:", "C:") and "-" not in symbol:
            symbol, flags = self._parser.instruments.names[full]
        channel = sent_as if sent_as in _INTERVALS else channels.get(sent_as, "aggs")
        return Stream(
            self._parser.name, symbol, venue_symbol, channel, self._parser.parser_version, size_unit, flags,
            _INTERVALS.get(sent_as, ""), key_unit_ns=NS_PER_MS,
        )  # fmt: skip

    def trade(self, frame: Frame, index: int, event: TradeEvent, page: Page) -> Trade | Correction | Ignored:
        """``{"ev":"T","sym":"AAPL","i":"5096","x":10,"p":161.87,"s":300,"c":[14,41],"t":1651684192462,
        "q":4009402,"z":3}``; with ``trfi`` (trade reporting facility), ``pt`` (participant's time) and ``ds``
        (the exact size, of which ``s`` is the whole part) where they apply. A condition tells crypto's taker: 1 sold, 2
        bought."""
        unit_ns, participant_ns, publish_ns = self._unit_ns, event.pt, event.r
        time_ns = (event.t or participant_ns) * unit_ns
        if not 0 < time_ns <= INT64_MAX:
            raise FieldFault(Code.TIME_OUT_OF_RANGE, f"time {event.t or participant_ns}")
        if participant_ns:
            participant_ns = fields.time_ns(participant_ns, unit_ns)
        if publish_ns:
            publish_ns = fields.time_ns(publish_ns, unit_ns)
        stream = self._streams[event.sym or page.venue_symbol]
        price = self._decimals[str(event.p, "ascii")]
        size = self._decimals[str(event.s if event.ds is ABSENT else event.ds, "ascii")]
        if price is None or size is None:
            raise FieldFault(Code.FIELD_MISSING, "no price or no size")
        conditions = () if event.c is ABSENT else self._codes[str(event.c, "ascii")]
        venue, facility, trade_id = _IDS[event.x], _IDS[event.trfi], str(event.i)
        if stream.size_unit is _SHARE and (trade_id or event.q):
            day = new_york_day_of_hour(time_ns // NS_PER_HOUR)
            key = f"{day}/{venue}/{facility}/{trade_id}" if trade_id else f"{day}/{event.q}"
        elif trade_id and (stream.channel[:1] == "X" or stream.venue_symbol[:2] == "X:"):
            key = f"{venue}/{trade_id}"
        else:
            said = f"{canonical(price)}/{canonical(size)}/{venue}/{','.join(conditions)}"
            key = self._contents.key(f"T {stream.venue_symbol}", f"{time_ns // NS_PER_MS}/{said}")
        side = _NO_SIDE
        if conditions and stream.channel == "XT":
            side = _TAKERS.get(conditions, _NO_SIDE)
        flags = _NO_FLAGS
        if event.correction:
            conditions = (*conditions, f"{_CORRECTION}{event.correction}")
            flags = (CORRECTED,) if event.correction == _IN_PLACE else _NO_FLAGS
        trade = build.trade(
            stream, frame, index, time_ns, price, size, side, trade_id, event.q or None, publish_ns,
            conditions, key, participant_ns, venue, facility, _TAPES[event.z], flags,
        )  # fmt: skip
        return trade if event.correction not in _RECORDS else _record_of_correction(trade, event.correction)

    def quote(self, frame: Frame, index: int, event: QuoteEvent, page: Page) -> Quote:
        """``{"ev":"Q","sym":"MSFT","bx":4,"bp":114.125,"bs":100,"ax":7,"ap":114.128,"as":160,"c":0,"i":[604],
        "t":1536036818784,"q":50385480,"z":3}``. A price of 0 with a size of 0 (or none) is an absent side."""
        unit_ns, participant_ns, publish_ns = self._unit_ns, event.pt, event.r
        time_ns = (event.t or participant_ns) * unit_ns
        if not 0 < time_ns <= INT64_MAX:
            raise FieldFault(Code.TIME_OUT_OF_RANGE, f"time {event.t or participant_ns}")
        if participant_ns:
            participant_ns = fields.time_ns(participant_ns, unit_ns)
        if publish_ns:
            publish_ns = fields.time_ns(publish_ns, unit_ns)
        stream = self._streams[event.sym or page.venue_symbol]
        decimals = self._decimals
        bid, bid_size = decimals[str(event.bp, "ascii")], decimals[str(event.bs, "ascii")]
        ask, ask_size = decimals[str(event.ap, "ascii")], decimals[str(event.ask_size, "ascii")]
        bid_venue, ask_venue, venue = _IDS[event.bx], _IDS[event.ax], _IDS[event.x]
        if bid is None or (bid[0] == "0" and fields.is_no_order(bid, bid_size)):
            bid, bid_size, bid_venue = None, None, ""
        if ask is None or (ask[0] == "0" and fields.is_no_order(ask, ask_size)):
            ask, ask_size, ask_venue = None, None, ""
        if event.q:
            key = f"{new_york_day_of_hour(time_ns // NS_PER_HOUR)}/{event.q}"
        else:
            sides = f"{canonical(bid)}/{canonical(bid_size)}/{canonical(ask)}/{canonical(ask_size)}"
            content = f"{time_ns // NS_PER_MS}/{sides}/{bid_venue}/{ask_venue}/{venue}"
            key = self._contents.key(f"Q {stream.venue_symbol}", content)
        in_lots = stream.size_unit is _SHARE and time_ns < fields.QUOTES_IN_SHARES_FROM_NS
        return build.quote(
            stream, frame, index, key, time_ns, bid, bid_size, ask, ask_size, event.q or None, publish_ns,
            participant_ns, _ROUND_LOT if in_lots else None, bid_venue, ask_venue,
            () if event.c is ABSENT else self._codes[str(event.c, "ascii")],
            () if event.i is ABSENT else self._codes[str(event.i, "ascii")], _TAPES[event.z], venue,
        )  # fmt: skip

    def bar(self, frame: Frame, index: int, event: BarEvent, page: Page) -> Bar:
        """``{"ev":"AM","sym":"GTE","v":4110,"av":9470157,"op":0.4372,"vw":0.4488,"o":0.4488,"c":0.4486,
        "h":0.4489,"l":0.4486,"a":0.4352,"z":685,"s":1610144640000,"e":1610144700000}``; ``z`` is the average
        size. Sent again when late trades change it: the later receipt wins, history of a past day over all."""
        start_ns, decimals, venue_symbol = event.s * NS_PER_MS, self._decimals, event.sym or page.venue_symbol
        if page.start_ns:
            start_ns = grouped.start_ns(start_ns, page.start_ns)
        if not 0 < start_ns <= INT64_MAX:
            raise FieldFault(Code.TIME_OUT_OF_RANGE, f"time {event.s}")
        if self._sent_as:
            stream, state = self._streams[venue_symbol], BarState.CLOSED
        else:
            stream = self._streams[venue_symbol, page.interval]
            calendar = ALWAYS if stream.size_unit is SizeUnit.BASE else NEW_YORK
            asked_ns = frame.receive_time_ns - self._delay_ns
            state = sessions.bar_state_of_history(calendar, page.interval, start_ns, asked_ns)
        prices = (
            decimals[str(event.o, "ascii")], decimals[str(event.h, "ascii")],
            decimals[str(event.l, "ascii")], decimals[str(event.c, "ascii")],
        )  # fmt: skip
        volume, vwap = decimals[str(event.v, "ascii")], decimals[str(event.vw, "ascii")]
        if event.dv is not ABSENT:
            volume = _whole_volume(volume, decimals[str(event.dv, "ascii")])
        if vwap is not None and vwap[0] == "0" and not vwap.strip("0."):
            vwap = None  # not computed
        return build.bar(
            stream, frame, index, start_ns, state, prices, volume, vwap, None, None, event.n, 0, page.interval,
            page.flags,
        )  # fmt: skip

    def value(self, frame: Frame, index: int, event: IndexValue, page: Page) -> Stats:
        """``{"ev":"V","val":3988.5,"T":"I:SPX","t":1678220098130}``: an index, up to once a second."""
        value = self._decimals[str(event.val, "ascii")]
        if value is None:
            raise FieldFault(Code.FIELD_MISSING, "no value")
        time_ns, stream = fields.time_ns(event.t, NS_PER_MS), self._streams[event.sym]
        return build.stats(stream, frame, index, time_ns, index_price=value, content=canonical(value))

    def bands(self, frame: Frame, index: int, event: Bands, page: Page) -> Status:
        """``{"ev":"LULD","T":"MSFT","h":218.96,"l":198.11,"i":[21],"z":3,"t":1601316752683746,"q":290317}``;
        seen with ``t`` in µs, documented in ns. Indicator 17 halts, 18 resumes."""
        time_ns = fields.time_of_any_unit_ns(event.t)
        stream = self._streams[event.sym]
        upper, lower = self._decimals[str(event.h, "ascii")], self._decimals[str(event.l, "ascii")]
        indicators = self._codes[str(event.i, "ascii")]
        return build.status(
            stream, frame, index, time_ns, f"{upper}/{lower}/{','.join(indicators)}/{event.q}",
            next((_STATUSES[code] for code in indicators if code in _STATUSES), TradingStatus.NONE),
            "LULD", "", lower, upper, indicators, _TAPES[event.z], event.q or None,
        )  # fmt: skip


def _whole_volume(volume: str | None, decimal: str | None) -> str | None:
    """``dv`` where it is ``v`` with its fraction; of futures ``dv`` is the value traded."""
    if volume is None or decimal is None:
        return volume if decimal is None else decimal
    return decimal if abs(Decimal(decimal) - Decimal(volume)) < 1 else volume


def _record_of_correction(trade: Trade, code: int) -> Correction | Ignored:
    kind = _RECORDS[code]
    if kind is CorrectionKind.NONE:
        return Ignored("correction_record", trade.frame_index)
    return _void(trade, kind, trade.frame_index)


def _void(trade: Trade, kind: CorrectionKind, index: int) -> Correction:
    return Correction(
        **{name: getattr(trade, name) for name in _OF_BOTH},
        frame_index=index,
        record_key=f"{trade.record_key}/{kind.name.lower()}",
        original_trade_id=trade.trade_id,
        correction=kind,
        trade_id=trade.trade_id if kind is _CORRECT else "",
        conditions=trade.conditions[:-1] if kind is _CORRECT else (),
    )


def with_voids(outcomes: list[Outcome]) -> list[Outcome]:
    """Behind a page's rows, a correction for each print that its row says is void, or corrected in its place."""
    voids = [
        (outcome, kind)
        for outcome in outcomes
        if type(outcome) is Trade and outcome.conditions and (kind := _VOIDS.get(outcome.conditions[-1]))
    ]
    return [*outcomes, *(_void(trade, kind, len(outcomes) + n) for n, (trade, kind) in enumerate(voids))]


def readers(parser: Exchange) -> Mapping[type[Struct], Read]:
    """How each type of event becomes a record, on one connection."""
    shared = parser, fields.DecimalTexts(), fields.CodeTexts(), fields.ContentCounts()
    return {
        **{kind: _Source(kind, *shared).trade for kind in TRADES},
        **{kind: _Source(kind, *shared).quote for kind in QUOTES},
        **{kind: _Source(kind, *shared).bar for kind in BARS},
        Bands: _Source(Bands, *shared).bands,
        **({} if "V" in parser.ignored_names else {IndexValue: _Source(IndexValue, *shared).value}),
    }


class _Ids(dict[int, str]):
    """An id as text; 0 is "none"."""

    def __missing__(self, number: int) -> str:
        return str(number)


_IDS = _Ids({0: "", **{number: str(number) for number in range(1, 1024)}})
_TAPES = _Ids({0: "", 1: "A", 2: "B", 3: "C"})
_INTERVALS = {"V": "", "T": "", "Q": "", "XT": "", "XQ": "", "LULD": "", "A": "1s", "AM": "1m", "XA": "1m"}
"""The events of the stream; bars have one."""
_US_CHANNELS = {"trades": "T", "quotes": "Q", "1s": "A", "1m": "AM"}
_ASSETS: dict[str, tuple[SizeUnit, dict[str, str]]] = {
    "": (SizeUnit.SHARE, _US_CHANNELS),
    "O:": (SizeUnit.CONTRACT, _US_CHANNELS),
    "X:": (SizeUnit.BASE, {"trades": "XT", "quotes": "XQ", "1m": "XA"}),
    "C:": (SizeUnit.BASE, {"trades": "T", "quotes": "Q"}),
    "I:": (SizeUnit.NONE, {"1s": "A", "1m": "AM"}),
}
"""What a symbol's prefix says: the unit of sizes, and the channels that the history is of."""
_NO_FLAGS: tuple[str, ...] = ()
_TAKERS: dict[tuple[str, ...], Side] = {("1",): Side.SELL, ("2",): Side.BUY}
_STATUSES = {"17": TradingStatus.HALTED, "18": TradingStatus.TRADING}
_CORRECTION = "correction_"
_CORRECT, _IN_PLACE = CorrectionKind.CORRECT, 1
_VOIDS = {
    f"{_CORRECTION}{_IN_PLACE}": _CORRECT,
    f"{_CORRECTION}7": CorrectionKind.ERROR,
    f"{_CORRECTION}8": CorrectionKind.CANCEL,
}
"""Rows of prints that were corrected (they have the corrected price and size), found wrong, or cancelled, later."""
_RECORDS = {10: CorrectionKind.CANCEL, 11: CorrectionKind.ERROR, 12: CorrectionKind.NONE}
"""Rows that are no prints but tell of one: of its cancel, of its error, of what it was before it was corrected."""
_OF_BOTH = (
    "exchange", "symbol", "venue_symbol", "channel", "event_time_ns", "receive_time_ns", "source", "connection_id",
    "frame_sequence", "key_time_ns", "parser_version", "participant_time_ns", "flags", "last_price", "volume",
    "size_unit", "market_center", "tape",
)  # fmt: skip
"""What a correction has of the print that it voids."""

"""What becomes of Alpaca's events; their types are in ``_alpaca_wire.py``.

Identity: stock trades ``day/exchange/id`` (the day in New York), crypto trades their id, bars ``interval/start in ns``,
books their place among the raw frames; option trades and all quotes have no id: their content, in the digits sent,
which stream and history write alike, and the number of equal ones before. Key times are whole ns; corrections, of which
stream and history name other moments, have the day's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from msgspec import structs

from etl.adapter import build, fields, sessions
from etl.adapter.build import Stream, StreamCache
from etl.adapter.contract import Exchange
from etl.adapter.dispatch import Reader
from etl.adapter.fields import ABSENT, FieldFault, is_no_order, new_york_day_of_hour, rfc3339_ns
from etl.adapter.market_calendar import ALWAYS, NEW_YORK, OVERNIGHT
from etl.exchanges import _alpaca_wire as wire
from etl.model.codes import UNKNOWN_WORD, Code
from etl.model.instruments import UNKNOWN_SYMBOL, occ_symbol
from etl.model.records import (
    Bar,
    BarState,
    Book,
    BookAction,
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
from etl.model.times import NS_PER_HOUR, NS_PER_S

_SHARE, _ROUND_LOT, _UNKNOWN = SizeUnit.SHARE, SizeUnit.ROUND_LOT, Side.NONE


class Readers:
    """How each type of event becomes a record, on one connection. The symbol tells the asset: ``BTC/USD``,
    ``AAPL240126P00050000``, ``AAPL``; save where all of a feed's are perpetuals."""

    def __init__(self, parser: Exchange, are_perpetuals: bool) -> None:
        self._exchange, self._version = parser.name, parser.parser_version
        self._are_perpetuals = are_perpetuals
        self._delay_ns = int(parser.delay_s * NS_PER_S)
        self._calendar = OVERNIGHT if parser.calendar == OVERNIGHT else NEW_YORK
        self._trades = StreamCache(partial(self._stream, "trades"))
        self._quotes = StreamCache(partial(self._stream, "quotes"))
        self._others = StreamCache[tuple[str, str]](lambda place: self._stream(*place))
        self._decimals = fields.DecimalTexts()
        self._codes = fields.CodeTexts()
        self._trade_counts, self._quote_counts = fields.ContentCounts(), fields.ContentCounts()

    def _stream(self, channel: str, venue_symbol: str) -> Stream:
        """The venue cuts its pairs itself."""
        if not venue_symbol:
            raise FieldFault(Code.SYMBOL_MISSING, "neither the event nor its page names a symbol")
        fields.require_name(venue_symbol)
        symbol, size_unit = venue_symbol, _SHARE
        if "/" in venue_symbol:
            symbol, size_unit = venue_symbol.replace("/", "-"), SizeUnit.BASE
        elif occ_symbol(venue_symbol):
            size_unit = SizeUnit.CONTRACT
        flags: tuple[str, ...] = ()
        if self._are_perpetuals or _PERPETUAL.search(venue_symbol):  # of what, its name does not say
            symbol, size_unit, flags = venue_symbol, SizeUnit.BASE, (UNKNOWN_SYMBOL,)
        return Stream(self._exchange, symbol, venue_symbol, channel, self._version, size_unit, flags)

    def of_stream(self) -> list[Reader]:
        return [
            Reader(wire.sent(wire.TradeEvent, "t"), self.trade),
            Reader(wire.sent(wire.QuoteEvent, "q"), self.quote),
            Reader(wire.sent(wire.BarEvent, "b"), partial(self.bar, "bars", "1m", BarState.CLOSED)),
            Reader(wire.sent(wire.BarEvent, "u"), partial(self.bar, "updatedBars", "1m", BarState.REVISED)),
            Reader(wire.sent(wire.BarEvent, "d"), partial(self.bar, "dailyBars", "1d", BarState.OPEN)),
            Reader(wire.sent(wire.BookEvent, "o"), self.book),
            Reader(wire.sent(wire.CorrectionEvent, "c"), self.correction),
            Reader(wire.sent(wire.CancelEvent, "x"), self.cancel),
            Reader(wire.sent(wire.StatusEvent, "s"), self.status),
            Reader(wire.sent(wire.BandsEvent, "l"), self.bands),
            Reader(wire.sent(wire.PricingEvent, "p"), self.pricing),
        ]

    def of_history(self) -> dict[str, Reader]:
        """By the member of an answer that holds its rows, or its only one."""
        trades, quotes = Reader(wire.PastTrade, self.past_trade), Reader(wire.QuoteEvent, self.quote)
        bars = Reader(wire.BarEvent, partial(self.bar, "", "", BarState.NONE))
        return {
            "trades": trades, "trade": trades, "quotes": quotes, "quote": quotes, "bars": bars, "bar": bars,
            "orderbooks": Reader(wire.BookEvent, self.book), "pricing": Reader(wire.PricingEvent, self.pricing),
        }  # fmt: skip

    def trade(self, frame: Frame, index: int, event: wire.TradeEvent, page: wire.Page) -> Trade:
        """``{"T":"t","i":96921,"S":"AAPL","x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z",
        "c":["@","I"],"z":"C"}``; crypto has the taker's side, ``"tks":"B"``, and neither ``x`` nor ``c``."""
        time_ns = rfc3339_ns(event.t)
        stream = self._trades[event.S or page.venue_symbol]
        decimals = self._decimals
        price, size = decimals[bytes(event.p)], decimals[bytes(event.s)]
        if price is None or size is None:
            raise FieldFault(Code.FIELD_MISSING, "no price or no size")
        conditions = () if event.c is ABSENT else self._codes[bytes(event.c)]
        key = trade_id = str(event.i)
        if not trade_id:
            content = f"{time_ns}/{price}/{size}/{event.tks}/{event.x}/{','.join(conditions)}"
            key = self._trade_counts.key(stream.venue_symbol, content)
        elif stream.size_unit is _SHARE:
            key = f"{new_york_day_of_hour(time_ns // NS_PER_HOUR)}/{event.x}/{trade_id}"
        side = _SIDES.get(event.tks, _UNKNOWN) if event.tks else _UNKNOWN
        return Trade(  # as ``build.trade``, whose call would cost 4%
            stream.exchange, stream.symbol, stream.venue_symbol, stream.channel, time_ns, frame.receive_time_ns,
            frame.source, frame.connection_id, frame.frame_sequence, index, key, time_ns, stream.parser_version,
            None, None, None, 0, 0, stream.flags, price, size, side, trade_id, stream.size_unit, event.x, "",
            conditions, event.z,
        )  # fmt: skip

    def past_trade(self, frame: Frame, index: int, event: wire.PastTrade, page: wire.Page) -> Trade:
        trade = self.trade(frame, index, event, page)
        return trade if event.u in _UPDATES else structs.replace(trade, flags=(*trade.flags, UNKNOWN_WORD))

    def quote(self, frame: Frame, index: int, event: wire.QuoteEvent, page: wire.Page) -> Quote:
        """``{"T":"q","S":"AMD","bx":"U","bp":87.66,"bs":1,"ax":"X","ap":87.67,"as":1,
        "t":"2021-02-22T15:51:45.3355677Z","c":["R"],"z":"C"}``"""
        time_ns = rfc3339_ns(event.t)
        stream = self._quotes[event.S or page.venue_symbol]
        decimals = self._decimals
        bid, bid_size = decimals[bytes(event.bp)], decimals[bytes(event.bs)]
        ask, ask_size = decimals[bytes(event.ap)], decimals[bytes(event.ask_size)]
        bid_venue, ask_venue = event.bx, event.ax
        if bid is None or (bid[0] == "0" and is_no_order(bid, bid_size)):
            bid, bid_size, bid_venue = None, None, ""
        if ask is None or (ask[0] == "0" and is_no_order(ask, ask_size)):
            ask, ask_size, ask_venue = None, None, ""
        conditions = () if event.c is ABSENT else self._codes[bytes(event.c)]
        content = (
            f"{time_ns}/{bid or ''}/{bid_size or ''}/{bid_venue}/{ask or ''}/{ask_size or ''}/{ask_venue}"
            f"/{','.join(conditions)}"
        )
        size_unit = stream.size_unit
        if size_unit is _SHARE and time_ns < fields.QUOTES_IN_SHARES_FROM_NS:
            size_unit = _ROUND_LOT
        return Quote(  # as ``build.quote``, whose call would cost 3%
            stream.exchange, stream.symbol, stream.venue_symbol, stream.channel, time_ns, frame.receive_time_ns,
            frame.source, frame.connection_id, frame.frame_sequence, index,
            self._quote_counts.key(stream.venue_symbol, content), time_ns, stream.parser_version,
            None, None, None, 0, 0, stream.flags, bid, bid_size, ask, ask_size, size_unit, bid_venue, ask_venue,
            conditions, (), event.z,
        )  # fmt: skip

    def bar(
        self, channel: str, interval: str, state: BarState,
        frame: Frame, index: int, event: wire.BarEvent, page: wire.Page,
    ) -> Bar:  # fmt: skip
        """``{"T":"b","S":"SPY","o":388.985,"h":389.13,"l":388.975,"c":389.12,"v":49378,
        "t":"2021-02-22T19:15:00Z","n":…,"vw":…}``; ``u`` replaces a minute's bar after late trades, ``d`` is the
        running day. Of history neither channel, interval nor state is known before."""
        start_ns, decimals, interval = rfc3339_ns(event.t), self._decimals, interval or page.interval
        channel = channel or _BAR_CHANNELS.get(interval, "aggregates")
        stream = self._others[channel, event.S or page.venue_symbol]
        if state is BarState.NONE:
            calendar = ALWAYS if stream.size_unit is SizeUnit.BASE else self._calendar
            asked_ns = frame.receive_time_ns - self._delay_ns
            state = sessions.bar_state_of_history(calendar, interval, start_ns, asked_ns)
        prices = (
            decimals[bytes(event.o)], decimals[bytes(event.h)],
            decimals[bytes(event.l)], decimals[bytes(event.c)],
        )  # fmt: skip
        volume, vwap = decimals[bytes(event.v)], decimals[bytes(event.vw)]
        if vwap is not None and vwap[0] == "0" and not vwap.strip("0."):
            vwap = None  # not computed
        return build.bar(
            stream, frame, index, start_ns, state, prices, volume, vwap, None, None, event.n, 0, interval, page.flags
        )  # fmt: skip

    def correction(
        self, frame: Frame, index: int, event: wire.CorrectionEvent, page: wire.Page
    ) -> Correction:
        """``{"T":"c","S":"AAPL","x":"V","oi":1,"op":150,"os":100,"oc":["@"],"ci":2,"cp":150.5,"cs":100,
        "cc":["@"],"t":"2024-01-02T15:30:00Z","z":"C"}``: trade ``oi`` becomes ``ci``."""
        time_ns, decimals = rfc3339_ns(event.t), self._decimals
        price, size = decimals[bytes(event.cp)], decimals[bytes(event.cs)]
        return self._void(
            frame, index, event.S, "corrections", time_ns, event.x, str(event.oi), CorrectionKind.CORRECT, event.z,
            trade_id=str(event.ci), price=price, size=size, conditions=self._codes[bytes(event.cc)],
        )  # fmt: skip

    def cancel(self, frame: Frame, index: int, event: wire.CancelEvent, page: wire.Page) -> Correction:
        """``{"T":"x","S":"AAPL","i":1,"x":"V","p":150,"s":100,"a":"C","t":"2024-01-02T15:30:00Z","z":"C"}``;
        ``a`` is C(ancelled) or E(rror), which history calls canceled too; price and size are those of the voided
        trade."""
        kind = CorrectionKind.ERROR if event.a == "E" else CorrectionKind.CANCEL
        return self._void(
            frame, index, event.S, "cancelErrors", rfc3339_ns(event.t), event.x, str(event.i), kind, event.z,
            price=self._decimals[bytes(event.p)], size=self._decimals[bytes(event.s)],
            flags=() if event.a in _CANCELS else (UNKNOWN_WORD,),
        )  # fmt: skip

    def voided(self, frame: Frame, index: int, event: wire.PastTrade, page: wire.Page) -> Correction | None:
        """``u`` of history: ``canceled``, ``incorrect`` (another trade replaces it), ``corrected`` (it is that
        other trade, and good). The corrections of a page take their places behind its rows."""
        if event.u not in _VOIDS:
            return None
        kind, voided = _VOIDS[event.u], {}
        if kind is CorrectionKind.CANCEL:  # of a correction these would be the other trade's
            voided = {"price": self._decimals[bytes(event.p)], "size": self._decimals[bytes(event.s)]}
        return self._void(
            frame, page.rows + index, event.S or page.venue_symbol, "cancelErrors", rfc3339_ns(event.t), event.x,
            str(event.i), kind, event.z, **voided,
        )  # fmt: skip

    def _void(
        self, frame: Frame, index: int, venue_symbol: str, channel: str, time_ns: int, market_center: str,
        trade_id_voided: str, kind: CorrectionKind, tape: str, **replacement: Any,
    ) -> Correction:  # fmt: skip
        """Stream and history name the same voided trade but not the same moment: the day is the key time."""
        stream, day = self._others[channel, venue_symbol], fields.new_york_day(time_ns)
        return build.correction(
            stream, frame, index, time_ns, f"{day}/{market_center}/{trade_id_voided}/{_FACTS[kind]}",
            fields.date_ns(day), trade_id_voided, kind, market_center=market_center, tape=tape, **replacement,
        )  # fmt: skip

    def status(self, frame: Frame, index: int, event: wire.StatusEvent, page: wire.Page) -> Status:
        """``{"T":"s","S":"AAPL","sc":"H","sm":"Trading Halt","rc":"T12","rm":"…","t":"…","z":"C"}``"""
        time_ns, stream = rfc3339_ns(event.t), self._others["statuses", event.S]
        return build.status(
            stream, frame, index, time_ns, f"{event.sc}/{event.rc}", _STATUSES.get(event.sc, TradingStatus.NONE),
            event.sc, f"{event.rc} {event.rm}".strip(), tape=event.z,
        )  # fmt: skip

    def bands(self, frame: Frame, index: int, event: wire.BandsEvent, page: wire.Page) -> Status:
        """``{"T":"l","S":"IONM","u":3.24,"d":2.65,"i":"B","t":"2023-04-06T13:34:45.565004401Z","z":"C"}``"""
        upper, lower = self._decimals[bytes(event.u)], self._decimals[bytes(event.d)]
        time_ns, stream = rfc3339_ns(event.t), self._others["lulds", event.S]
        return build.status(
            stream, frame, index, time_ns, f"{upper}/{lower}/{event.i}", status_code="LULD", limit_down=lower,
            limit_up=upper, indicators=(event.i,) if event.i else (), tape=event.z,
        )  # fmt: skip

    def pricing(self, frame: Frame, index: int, event: wire.PricingEvent, page: wire.Page) -> Stats:
        """``{"T":"p","S":"BTC-PERP","t":"2024-12-19T09:33:36.311Z","x":"…","ip":50702.8,"mp":50652.3553,"fr":0.000565699,
        "oi":90.7367,"ft":"2024-12-19T10:33:36.311Z"}``: index, mark, funding and its next time, open interest."""
        time_ns, stream = rfc3339_ns(event.t), self._others["pricing", event.S or page.venue_symbol]
        said = mark, index_price, interest, rate = tuple(
            self._decimals[bytes(it)] for it in (event.mp, event.ip, event.oi, event.fr)
        )
        if said == (None,) * len(said):
            raise FieldFault(Code.FIELD_MISSING, "neither a price nor open interest nor funding")
        next_ns = rfc3339_ns(event.ft) if event.ft else 0
        content = "/".join((*map(fields.canonical, said), str(next_ns)))
        return build.stats(stream, frame, index, time_ns, content, mark, index_price, interest, rate, next_ns)

    def book(self, frame: Frame, index: int, event: wire.BookEvent, page: wire.Page) -> Book:
        """``{"T":"o","S":"BTC/USD","t":"2024-03-12T10:38:50.79613221Z","b":[{"p":71859.53,"s":0.27994}],
        "a":[…],"r":true}``: ``r`` starts anew, otherwise sizes are absolute and 0 removes. No sequence at all."""
        time_ns, stream = rfc3339_ns(event.t), self._others["orderbooks", event.S or page.venue_symbol]
        action = BookAction.SNAPSHOT if event.r or page.rows else BookAction.ABSOLUTE
        return build.book(
            stream, frame, index, action, time_ns, self._columns(event.b), self._columns(event.a)
        )

    def _columns(self, levels: Sequence[wire.Level]) -> fields.Columns:
        prices = tuple(self._decimals[bytes(level.p)] for level in levels)
        sizes = tuple(self._decimals[bytes(level.s)] for level in levels)
        if None in prices or None in sizes:
            raise FieldFault(Code.LEVELS_UNEVEN, "a level without price or size")
        return prices, sizes  # type: ignore[return-value]


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
_PERPETUAL = re.compile(r"[-/:_]PERP$")
_CANCELS = frozenset({"C", "E", ""})
_UPDATES = frozenset({"", "canceled", "incorrect", "corrected"})
_FACTS = {CorrectionKind.CORRECT: "correct", CorrectionKind.CANCEL: "cancel", CorrectionKind.ERROR: "cancel"}
"""What a correction's key says of its print: another took its place, or none did, whatever the word for it."""
_VOIDS = {"canceled": CorrectionKind.CANCEL, "incorrect": CorrectionKind.CORRECT}
_BAR_CHANNELS = {"1m": "bars", "1d": "dailyBars"}

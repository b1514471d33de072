"""What becomes of Hyperliquid's events.

Identity: trades ``time/coin/tid``, as ``tid`` is a hash of two orders that may come again elsewhere; bars
``interval/start``; all else its place on the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Raw, Struct
from msgspec.structs import replace

from etl.adapter import build, fields
from etl.adapter.build import STREAMS_KNOWN_MAX, Stream, StreamCache
from etl.adapter.contract import Ignored, Outcome
from etl.adapter.dispatch import Reader, Rows
from etl.adapter.fields import Columns, DecimalTexts, FieldFault
from etl.exchanges import _hyperliquid_wire as wire
from etl.model import records
from etl.model.codes import REPLAYED, Code
from etl.model.records import BarState, BookAction, Frame, Side
from etl.model.times import NS_PER_MS

_SIDES = {"B": Side.BUY, "A": Side.SELL}
_texts = DecimalTexts()


class Readers:
    """Of one connection, by the venue's channels. ``over`` are the bars that the last events closed: to be taken."""

    def __init__(self, streams: StreamCache[tuple[str, str]]) -> None:
        self._known = streams
        self._begun_ns = 0
        """When the first frame came: what is older is repeated, as long as no acknowledgement tells more."""
        self._replayed_until_ns: dict[str, int] = {}
        """By coin; 0 = its first trades are through."""
        self._forming: dict[Stream, records.Bar] = {}
        self.over: list[records.Bar] = []
        self._rows = {
            wire.TRADES: Rows(self._reader(wire.Trade, self._trade), "coin"),
            wire.BBO: Rows(self._reader(wire.Bbo, _quote), "coin"),
            wire.BOOK: Rows(self._reader(wire.Book, _book), "coin"),
            wire.CANDLES: Rows(self._reader(wire.Candle, self._candle), "s"),
            **dict.fromkeys(wire.CONTEXTS, Rows(self._reader(wire.CoinContext, _context), "coin")),
        }

    def knows(self, channel: str) -> bool:
        return channel in self._rows

    def begin(self, now_ns: int) -> None:
        self._begun_ns = self._begun_ns or now_ns

    def subscribed(self, coin: str, now_ns: int) -> None:
        """To trades: the next ones of this coin repeat what was before."""
        if coin in self._replayed_until_ns or len(self._replayed_until_ns) < STREAMS_KNOWN_MAX:
            self._replayed_until_ns[coin] = now_ns

    def read(self, frame: Frame, channel: str, data: bytes | Raw) -> Sequence[Outcome]:
        """Events of one channel: an array of them, or a single one. Raises one of ``UNDECODABLE``."""
        text = bytes(data)
        outcomes = self._rows[channel].read(frame, text if text[:1] == b"[" else b"[%b]" % text, None)
        for coin in {one.venue_symbol for one in outcomes if isinstance(one, records.Trade)}:
            self.subscribed(coin, 0)
        return outcomes or (Ignored("empty"),)

    def _reader(self, event_type: type[Struct], read: Callable[[Frame, int, Any, Stream], Outcome]) -> Reader:
        def read_one(frame: Frame, index: int, event: Any, _: None) -> Outcome:
            if name := wire.ignored_as(event):
                return Ignored(name, index)
            return read(frame, index, event, self._known[event.coin, event.channel])

        return Reader(event_type, read_one)

    def _trade(self, frame: Frame, index: int, event: wire.Trade, stream: Stream) -> records.Trade:
        """``{"coin":"BTC","side":"B","px":"105056.0","sz":"0.00219","time":1737918794873,"hash":"0xde47…","tid":
        121451470284048,"users":["0xe9ed…","0x6802…"]}``: ``side`` is the taker's, ``users`` are buyer and seller. Of
        the first trades of a coin those are repeated that happened before they were asked for."""
        side = _SIDES.get(event.side)
        if side is None:
            raise FieldFault(Code.FIELD_MALFORMED, f"side {event.side!r:.20}")
        price, size = fields.two(event.px, event.sz)
        time_ns = fields.time_ns(event.time, NS_PER_MS)
        until_ns = self._replayed_until_ns.get(event.coin, self._begun_ns)
        is_replayed = time_ns < until_ns and not frame.endpoint.startswith("http")
        return build.trade(
            stream, frame, index, time_ns, price, size, side, str(event.tid),
            key=f"{event.time}/{event.coin}/{event.tid}", flags=(REPLAYED,) if is_replayed else (),
        )  # fmt: skip

    def _candle(self, frame: Frame, index: int, event: wire.Candle, stream: Stream) -> records.Bar:
        """No message says that a candle is over: the first of the next one does, and so does the clock."""
        bar, before = _bar(frame, index, event, stream), self._forming.get(stream)
        if before and before.bar_state is BarState.OPEN and before.event_time_ns < bar.event_time_ns:
            told_by = {"receive_time_ns": bar.receive_time_ns, "frame_sequence": bar.frame_sequence}
            self.over.append(replace(before, bar_state=BarState.CLOSED, **told_by))
        if before or len(self._forming) < STREAMS_KNOWN_MAX:
            self._forming[stream] = bar
        return bar


def _book(frame: Frame, index: int, event: wire.Book, stream: Stream) -> records.Book:
    """``{"coin":"BTC","time":1737918843542,"levels":[[{"px":"105055.0","sz":"3.03622","n":5},…],[…]]}``: the best
    levels as a whole, bids and asks; ``n`` orders stand there."""
    bids, asks = event.levels
    return build.book(
        stream, frame, index, BookAction.SNAPSHOT, fields.time_ns(event.time, NS_PER_MS),
        _columns(bids), _columns(asks),
        bid_orders=tuple([level.n for level in bids]), ask_orders=tuple([level.n for level in asks]),
    )  # fmt: skip


def _quote(frame: Frame, index: int, event: wire.Bbo, stream: Stream) -> records.Quote:
    """``{"coin":"BTC","time":1750948919838,"bbo":[{"px":"107575.0","sz":"3.87947","n":17},null]}``: bid and ask; a side
    that is null, or left out, has no order."""
    bid, ask, *_ = (*event.bbo, None, None)
    return build.quote(
        stream,
        frame,
        index,
        _place_of(frame, index),
        fields.time_ns(event.time, NS_PER_MS),
        *_side(bid),
        *_side(ask),
    )


def _bar(frame: Frame, index: int, event: wire.Candle, stream: Stream) -> records.Bar:
    """``{"t":1681923600000,"T":1681923659999,"s":"BTC","i":"1m","o":"29295.0","c":"29258.0","h":"29309.0","l":"29250.0",
    "v":"0.98639","n":189}``: ``T`` is its last ms, ``v`` in coin."""
    start_ns, end_ns = fields.time_ns(event.t, NS_PER_MS), fields.time_ns(event.T + 1, NS_PER_MS)
    state = BarState.CLOSED if end_ns <= frame.receive_time_ns else BarState.OPEN
    *prices, volume = fields.decimals(event.o, event.h, event.l, event.c, event.v)
    return build.bar(stream, frame, index, start_ns, state, prices, volume, trade_count=event.n)


def _context(frame: Frame, index: int, event: wire.CoinContext, stream: Stream) -> records.Stats:
    """``{"coin":"BTC","ctx":{"markPx":"4.919","oraclePx":"4.9185","openInterest":"231067.2","funding":"0.0000125",…}}``:
    open interest in coin, ``funding`` the rate of the hour that runs. It tells no time, and comes again unchanged."""
    said = event.ctx
    mark, oracle, interest, funding = (
        _texts[bytes(raw)] for raw in (said.markPx, said.oraclePx, said.openInterest, said.funding)
    )
    return build.stats(
        stream, frame, index, 0, "", mark, oracle, interest, funding, key=_place_of(frame, index)
    )


def _place_of(frame: Frame, index: int) -> str:
    return f"{frame.connection_id}/{frame.frame_sequence}/{index}"


def _columns(levels: Sequence[wire.Level]) -> Columns:
    return fields.columns([(level.px, level.sz) for level in levels])


def _side(level: wire.Level | None) -> tuple[str | None, str | None]:
    if level is None:
        return None, None
    price, size = fields.two(level.px, level.sz)
    return price, size

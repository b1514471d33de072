"""What becomes of Deribit's events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Raw, Struct
from msgspec.structs import replace

from etl.adapter import build, fields
from etl.adapter.build import STREAMS_KNOWN_MAX, Stream, StreamCache
from etl.adapter.dispatch import Reader
from etl.adapter.fields import Columns, FieldFault
from etl.exchanges import _deribit_wire as wire
from etl.model import records
from etl.model.codes import UNKNOWN_WORD, Code
from etl.model.records import BarState, BookAction, Frame, Side, TradingStatus
from etl.model.times import NS_PER_MS, interval_ns

_SIDES = {"buy": Side.BUY, "sell": Side.SELL}


class Route(Struct, frozen=True, gc=False):
    """What holds for all events of a channel of the venue's. ``symbol`` "" = each event tells its own; ``interval`` is
    ``raw`` or ``100ms``."""

    channel: str
    symbol: str
    interval: str
    reader: Reader
    decode: Callable[[bytes | Raw], Any]


class Readers:
    """Of one connection. ``over`` are the bars that the last events have closed: to be taken."""

    def __init__(self, streams: StreamCache[tuple[str, str]]) -> None:
        self._known = streams
        self._decimals = fields.DecimalTexts()
        self._counts = fields.ContentCounts()
        self._forming: dict[Stream, records.Bar] = {}
        self.over: list[records.Bar] = []
        self.by_family: Mapping[str, Reader] = {
            "trades": Reader(wire.Trade, self._trade),
            "book": Reader(wire.Book, self._book),
            wire.GROUPED_BOOK: Reader(wire.GroupedBook, self._grouped_book),
            "quote": Reader(wire.Quote, self._quote),
            "ticker": Reader(wire.Ticker, self._ticker),
            wire.BARS: Reader(wire.Bar, self._bar),
            wire.INSTRUMENT_STATE: Reader(wire.State, self._state),
        }

    def _place(self, route: Route, named: str) -> Stream:
        if route.symbol and named != route.symbol:
            raise FieldFault(Code.SYMBOL_MISMATCH, f"{named!r:.60} in a channel of {route.symbol}")
        return self._known[named, route.channel]

    def _decimal(self, raw: Raw) -> str:
        text = self._decimals[bytes(raw)]
        if text is None:
            raise FieldFault(Code.FIELD_MISSING, "a number that is null")
        return text

    def _trade(self, frame: Frame, index: int, event: wire.Trade, route: Route) -> records.Trade:
        """``{"timestamp":1765531356452,"price":92294.5,"amount":10.0,"direction":"sell","instrument_name":
        "BTC-PERPETUAL","trade_seq":271252854,"trade_id":"403691824",…}``: the taker's direction. A combo is a trade of
        its own, with ``legs``; each leg is another, of the leg's instrument, with a ``combo_id``."""
        return build.trade(
            self._place(route, event.instrument_name), frame, index, fields.time_ns(event.timestamp, NS_PER_MS),
            self._decimal(event.price), self._decimal(event.amount), _SIDES[event.direction], event.trade_id,
            event.trade_seq, conditions=event.conditions, participant_ns=event.starbase_timestamp,
        )  # fmt: skip

    def _book(self, frame: Frame, index: int, event: wire.Book, route: Route) -> records.Book:
        """``{"type":"change","timestamp":1626993723632,"instrument_name":"ETH-30JUL21-2800-C","change_id":13169025693,
        "prev_change_id":13169025645,"bids":[["change",0.0015,4737.0],["delete",0.001,0.0]],"asks":[]}``: new amounts,
        but of what is deleted. Changes in batches go by other ids than the raw ones."""
        is_snapshot = event.type == "snapshot" or not (event.type or event.prev_change_id)
        if not (is_snapshot or event.prev_change_id):
            raise FieldFault(Code.FIELD_MISSING, "a change without prev_change_id")
        return build.book(
            self._place(route, event.instrument_name), frame, index,
            BookAction.SNAPSHOT if is_snapshot else BookAction.ABSOLUTE,
            fields.time_ns(event.timestamp, NS_PER_MS), self._side(event.bids), self._side(event.asks),
            event.change_id, previous_sequence=None if is_snapshot else event.prev_change_id,
            key=f"book.{route.interval}/{'s' if is_snapshot else 'd'}/{event.change_id}",
        )  # fmt: skip

    def _side(self, levels: Sequence[wire.Level]) -> Columns:
        prices = tuple([self._decimal(price) for _, price, _ in levels])
        return prices, tuple(
            ["0" if action == "delete" else self._decimal(amount) for action, _, amount in levels]
        )

    def _grouped_book(self, frame: Frame, index: int, event: wire.GroupedBook, route: Route) -> records.Book:
        """``{"timestamp":1554375447971,"instrument_name":"ETH-PERPETUAL","change_id":109615,"bids":[[160,40]],"asks":
        [[161,20]]}``: all of it, each time."""
        bids, asks = (
            (tuple([self._decimal(one) for one, _ in side]), tuple([self._decimal(one) for _, one in side]))
            for side in (event.bids, event.asks)
        )
        place, time_ns = self._place(route, event.instrument_name), fields.time_ns(event.timestamp, NS_PER_MS)
        return build.book(place, frame, index, BookAction.SNAPSHOT, time_ns, bids, asks, event.change_id)

    def _quote(self, frame: Frame, index: int, event: wire.Quote, route: Route) -> records.Quote:
        """``{"timestamp":1765531356452,"instrument_name":"BTC-PERPETUAL","best_ask_price":92288.5,"best_bid_price":92288.0,
        "best_ask_amount":99470.0,"best_bid_amount":133440.0}``: 0 or null is no order."""
        sides = (
            *self._best(event.best_bid_price, event.best_bid_amount),
            *self._best(event.best_ask_price, event.best_ask_amount),
        )
        content = "/".join((str(event.timestamp), *(text or "" for text in sides)))
        key = self._counts.key(event.instrument_name, content)
        time_ns = fields.time_ns(event.timestamp, NS_PER_MS)
        return build.quote(self._place(route, event.instrument_name), frame, index, key, time_ns, *sides)

    def _best(self, price: Raw, amount: Raw) -> tuple[str | None, str | None]:
        text, size = self._decimals[bytes(price)], self._decimals[bytes(amount)]
        return (None, None) if text is None or fields.is_no_order(text, size) else (text, size)

    def _ticker(self, frame: Frame, index: int, event: wire.Ticker, route: Route) -> records.Stats:
        """``{"timestamp":1626993723632,"instrument_name":"BTC-PERPETUAL","mark_price":32201.7,"index_price":32201.67,
        "open_interest":12685.0,"current_funding":0.00012,"best_bid_price":…}``: its quote is no second event."""
        mark, index_price, interest, funding = (
            self._decimals[bytes(raw)]
            for raw in (event.mark_price, event.index_price, event.open_interest, event.current_funding)
        )
        return build.stats(
            self._place(route, event.instrument_name), frame, index, fields.time_ns(event.timestamp, NS_PER_MS),
            "/".join(text or "" for text in (mark, index_price, interest, funding)),
            mark, index_price, interest, funding,
        )  # fmt: skip

    def _bar(self, frame: Frame, index: int, event: wire.Bar, route: Route) -> records.Bar:
        """No message says that a bar is over: the first of the next one does, and so does the clock."""
        stream = self._known[route.symbol, route.channel]
        bar, before = self.bar(frame, index, event, stream), self._forming.get(stream)
        if (
            before is not None
            and before.bar_state is BarState.OPEN
            and before.event_time_ns < bar.event_time_ns
        ):
            told_by = {"receive_time_ns": bar.receive_time_ns, "frame_sequence": bar.frame_sequence}
            closed = replace(before, bar_state=BarState.CLOSED, **told_by)
            self.over.append(closed)
        if before is not None or len(self._forming) < STREAMS_KNOWN_MAX:
            self._forming[stream] = bar
        return bar

    def bar(self, frame: Frame, index: int, event: wire.Bar, stream: Stream) -> records.Bar:
        """``{"tick":1767200040000,"open":87500.0,"high":87510.5,"low":87500.0,"close":87510.5,"volume":0.95978896,
        "cost":83970.0}``: volume in coin, also where trades count dollars; cost in the other currency."""
        start_ns = fields.time_ns(event.tick, NS_PER_MS)
        is_over = start_ns + interval_ns(stream.interval) <= frame.receive_time_ns
        prices = [self._decimal(raw) for raw in (event.open, event.high, event.low, event.close)]
        return build.bar(
            stream, frame, index, start_ns, BarState.CLOSED if is_over else BarState.OPEN, prices,
            self._decimal(event.volume), quote_volume=self._decimal(event.cost),
        )  # fmt: skip

    def _state(self, frame: Frame, index: int, event: wire.State, route: Route) -> records.Status:
        """``{"timestamp":1553080940000,"state":"created","instrument_name":"BTC-22MAR19"}``"""
        place, time_ns = self._place(route, event.instrument_name), fields.time_ns(event.timestamp, NS_PER_MS)
        status, flags = wire.STATES.get(event.state), () if event.state in wire.STATES else (UNKNOWN_WORD,)
        return build.status(
            place, frame, index, time_ns, event.state, status or TradingStatus.NONE, event.state, flags=flags
        )

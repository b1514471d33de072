"""Bars of the trades of one instrument as they come, by the rule of the stores' candles. Pure, bounded.

    open ──a print of a later bar, or CLOSE_AFTER_NS past its end──▶ closed, told ──more of its prints──▶ revised, told

The clock decides when a bar is told, never what is in it: prints revise a bar until those of later bars have come, for
a process under load reads seconds behind the clock.

A print sets what its conditions let it (``etl/model/sale_conditions.py``); open and close go by the venue's time and
order, not by that of arrival; only prints with a time of the venue count, and a bar in which none counted is not told.
Corrections are not applied: they come as records.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from etl.model.decimals import EXACT
from etl.model.derived import TradeBar
from etl.model.records import Trade
from etl.model.sale_conditions import Effect, effect_of
from etl.model.times import NS_PER_S

CLOSE_AFTER_NS = NS_PER_S
"""How long a bar of a quiet instrument is waited for: what was traded at its end is still on its way."""
HELD_BARS = 4
"""Bars of one length, before that of the newest print, that late prints still revise."""
IDENTITIES_MAX = 2_000
"""Of the newest prints: one that comes twice within so many counts once."""

Place = tuple[int, int]
"""Orders prints: the venue's time, then its sequence."""


class TradeBars:
    """``lengths_ns`` by the name of the interval. Bars that begin before ``whole_from_ns`` may lack prints; those that
    end before ``told_to_ns`` were told before this stream began."""

    def __init__(
        self,
        exchange: str,
        symbol: str,
        lengths_ns: Mapping[str, int],
        whole_from_ns: int = 0,
        told_to_ns: int = 0,
    ) -> None:
        self.whole_from_ns = whole_from_ns
        self._names = (exchange, symbol)
        self._series = [_Series(interval, length_ns) for interval, length_ns in lengths_ns.items()]
        self.settle(told_to_ns)
        self._seen: dict[str, None] = {}

    def take(self, trade: Trade) -> None:
        if not trade.event_time_ns or trade.record_key in self._seen:
            return
        self._seen[trade.record_key] = None
        if len(self._seen) > IDENTITIES_MAX:
            del self._seen[next(iter(self._seen))]
        effect = effect_of(trade)
        for series in self._series:
            series.take(trade, effect, self.whole_from_ns)

    def close(self, before_ns: int) -> None:
        """The bars that end at ``before_ns`` or earlier."""
        for series in self._series:
            series.close(before_ns)

    def settle(self, told_to_ns: int) -> None:
        """What closed so far, and bars that end at ``told_to_ns`` or earlier, were told."""
        for series in self._series:
            series.settle(told_to_ns)

    def told(self) -> Iterator[TradeBar]:
        """Closed or revised since the last call, in the order of their times."""
        for series in self._series:
            for bar in series.changed():
                yield bar.told(*self._names, series.interval, self.whole_from_ns, series.late_trades)
                series.late_trades = 0


class _Series:
    """The bars of one length."""

    def __init__(self, interval: str, length_ns: int) -> None:
        self.interval = interval
        self.late_trades = 0
        self._length_ns = length_ns
        self._held: dict[int, _Bar] = {}
        self._closed_to_ns = 0
        """Bars that begin before are closed."""
        self._settled_to_ns = 0
        """Bars that begin before were told before this stream began: one that is not whole here was so there."""
        self._newest_ns = 0
        self._changed: set[int] = set()

    def take(self, trade: Trade, effect: Effect, whole_from_ns: int) -> None:
        start_ns = trade.key_time_ns // self._length_ns * self._length_ns
        if start_ns < max(self._held_from_ns, min(whole_from_ns, self._settled_to_ns)):
            self.late_trades += 1
            return
        self._newest_ns = max(self._newest_ns, start_ns)
        self.close(start_ns)
        bar = self._held.get(start_ns)
        if bar is None:
            bar = self._held[start_ns] = _Bar(start_ns)
        bar.add(trade, effect)
        if start_ns < self._closed_to_ns:
            self._changed.add(start_ns)

    def close(self, before_ns: int) -> None:
        closed_to_ns = before_ns // self._length_ns * self._length_ns
        if closed_to_ns <= self._closed_to_ns:
            return
        self._changed |= {start for start in self._held if self._closed_to_ns <= start < closed_to_ns}
        self._closed_to_ns = closed_to_ns

    def settle(self, told_to_ns: int) -> None:
        self.close(told_to_ns)
        self._settled_to_ns = self._closed_to_ns
        self.late_trades = 0
        for bar in self.changed():
            bar.was_told = True

    @property
    def _held_from_ns(self) -> int:
        return self._newest_ns - HELD_BARS * self._length_ns

    def changed(self) -> Iterable[_Bar]:
        """The bars to be told now; who was told last is held, for late prints."""
        if not self._changed:
            return ()
        found = [self._held[start] for start in sorted(self._changed)]
        self._changed.clear()
        self._held = {start: bar for start, bar in self._held.items() if start >= self._held_from_ns}
        return [bar for bar in found if bar.trade_count]


class _Bar:
    def __init__(self, time_ns: int) -> None:
        self.trade_count = 0
        self._time_ns = time_ns
        self._volume = Decimal()
        self._turnover = Decimal()
        self._regular: _Prices | None = None
        self._extended: _Prices | None = None
        self.was_told = False

    def add(self, trade: Trade, effect: Effect) -> None:
        price = Decimal(trade.last_price) if trade.last_price is not None else None
        if effect.adds_volume:
            self.trade_count += 1
            if trade.volume is not None:
                volume = Decimal(trade.volume)
                self._volume = EXACT.add(self._volume, volume)
                if price is not None:
                    self._turnover = EXACT.fma(price, volume, self._turnover)
        if price is None or trade.last_price is None:
            return
        if effect.sets_price:
            self._regular = _with(self._regular, price, trade.last_price, _place(trade))
        if effect.sets_extended_price:
            self._extended = _with(self._extended, price, trade.last_price, _place(trade))

    def told(
        self, exchange: str, symbol: str, interval: str, whole_from_ns: int, late_trades: int
    ) -> TradeBar:
        prices = self._regular or self._extended
        was_told, self.was_told = self.was_told, True
        return TradeBar(
            exchange=exchange,
            symbol=symbol,
            interval=interval,
            time_ns=self._time_ns,
            open=prices.open if prices else None,
            high=prices.high if prices else None,
            low=prices.low if prices else None,
            close=prices.close if prices else None,
            volume=f"{self._volume:f}",
            turnover=f"{self._turnover:f}",
            trade_count=self.trade_count,
            extended_hours=self._regular is None and self._extended is not None,
            bar_state="revised" if was_told else "closed",
            is_whole=self._time_ns >= whole_from_ns,
            late_trades=late_trades,
        )


class _Prices:
    """First, highest, lowest and last, as the venue wrote them."""

    __slots__ = ("_first", "_last", "_max", "_min", "close", "high", "low", "open")

    def __init__(self, price: Decimal, text: str, place: Place) -> None:
        self.open = self.high = self.low = self.close = text
        self._max = self._min = price
        self._first = self._last = place

    def add(self, price: Decimal, text: str, place: Place) -> None:
        if price > self._max:
            self._max, self.high = price, text
        elif price < self._min:
            self._min, self.low = price, text
        if place >= self._last:
            self._last, self.close = place, text
        elif place < self._first:
            self._first, self.open = place, text


def _with(prices: _Prices | None, price: Decimal, text: str, place: Place) -> _Prices:
    if prices is None:
        return _Prices(price, text, place)
    prices.add(price, text, place)
    return prices


def _place(trade: Trade) -> Place:
    sequence = (
        trade.sequence if trade.sequence is not None else trade.frame_sequence * 10_000 + trade.frame_index
    )
    return trade.event_time_ns, sequence

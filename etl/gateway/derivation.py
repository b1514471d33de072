"""What one client has made of records on their way: bars of trades, the first levels of books, mid and spread. Pure.

    entries ─▶ TradeBars, BookTops, Mids of their instrument ─▶ told

Bars are told as soon as they are closed; the others as they stand when their time has come, every ``every_ms``. The
time is that by which records were received, for bars on their own partition, since partitions may be read one ahead of
the other; so the same past gives the same. Who is told what is live also hears the clock, for instruments that are
quiet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, structs

from etl.errors import UsageError
from etl.gateway.entry import Entry
from etl.gateway.selection import Selection
from etl.gateway.tops import BookTops, Mids
from etl.gateway.trade_bars import CLOSE_AFTER_NS, TradeBars
from etl.model.derived import AnyDerived
from etl.model.records import Book, Gap, Kind, Quote, Record, Trade
from etl.model.times import NS_PER_DAY, NS_PER_MS, NS_PER_S, interval_ns

INSTRUMENTS_MAX = 200
"""Of which something is made for one client."""
INTERVALS_MAX = 8
DEPTH_MAX = 100
EVERY_MS_MIN, EVERY_MS_MAX = 20, 60_000


class Plan(Struct, frozen=True):
    """What is to be made. ``depth`` 0: no levels."""

    lengths_ns: Mapping[str, int]
    depth: int
    mid: bool
    every_ns: int

    def kinds(self) -> frozenset[int]:
        """Of the records that it is made of."""
        wanted = ((self.lengths_ns, Kind.TRADE), (self.depth, Kind.BOOK), (self.mid, Kind.QUOTE))
        return frozenset(int(kind) for is_wanted, kind in wanted if is_wanted)


def make_plan(bars: Iterable[str], depth: int, mid: bool, every_ms: int) -> Plan:
    """Raises ``UsageError``."""
    lengths_ns = {interval: interval_ns(interval) for interval in bars}
    for wrong, reason in (
        (not lengths_ns and not depth and not mid, "derive: bars, book or mid"),
        (len(lengths_ns) > INTERVALS_MAX, f"derive: at most {INTERVALS_MAX} lengths of bars"),
        (
            any(not NS_PER_S <= length_ns <= NS_PER_DAY for length_ns in lengths_ns.values()),
            "derive: bars last 1s to 1d, such as 5s, 15m or 4h",
        ),
        (not 0 <= depth <= DEPTH_MAX, f"derive: a book of 1 to {DEPTH_MAX} levels"),
        (
            not EVERY_MS_MIN <= every_ms <= EVERY_MS_MAX,
            f"derive: every_ms of {EVERY_MS_MIN} to {EVERY_MS_MAX}",
        ),
    ):
        if wrong:
            raise UsageError(reason)
    return Plan(lengths_ns, depth, mid, every_ms * NS_PER_MS)


class _Instrument:
    def __init__(self, plan: Plan, exchange: str, symbol: str, whole_from_ns: int) -> None:
        self.partition: int | None = None
        self.bars = TradeBars(exchange, symbol, plan.lengths_ns, whole_from_ns)
        self.tops = BookTops(plan.depth)
        self.mids = Mids()

    def take(self, record: Record) -> None:
        if isinstance(record, Trade):
            self.bars.take(record)
        elif isinstance(record, Book | Gap):
            self.tops.take(record)
        elif isinstance(record, Quote):
            self.mids.take(record)


class Derivation:
    """``selection``: the instruments, and the kinds of ``plan``."""

    def __init__(self, plan: Plan, selection: Selection) -> None:
        self.plan = plan
        self.selection = selection
        self.bars_from_ns = 0
        """Bars that end there or before are not told: the stream begins later."""
        self.whole_from_ns = 0
        """Bars that begin before may lack prints."""
        self._instruments: dict[tuple[str, str], _Instrument] = {}
        self._changed: dict[_Instrument, None] = {}
        self._made: list[AnyDerived] = []
        self._clocks_ns: dict[int | None, int] = {}
        """By partition, when the newest of its records was received."""
        self._due_ns = 0
        self._is_torn = False

    def take(self, entries: Iterable[Entry]) -> list[AnyDerived]:
        """What is to be told now. Raises ``UsageError`` for too many instruments."""
        touched: dict[_Instrument, None] = {}
        for entry in entries:
            record = entry.record() if self.selection.matches(entry.route) else None
            if record is None:
                continue
            if self._is_due(record.receive_time_ns):
                self._close_by_partition(0)
                self._tell_changed()
            if (instrument := self.take_record(record, entry.partition)) is not None:
                touched[instrument] = None
        for instrument in touched:
            self._tell_bars(instrument)
        return self.told()

    def take_record(self, record: Record, partition: int | None = None) -> _Instrument | None:
        """Tells nothing. Raises ``UsageError`` for too many instruments."""
        if self._is_torn:
            self._mend(record.receive_time_ns)
        key = (record.exchange, record.symbol)
        instrument = self._instruments.get(key)
        if instrument is None:
            if int(record.kind) not in self.plan.kinds():
                return None
            if len(self._instruments) >= INSTRUMENTS_MAX:
                raise UsageError(f"derive: more than {INSTRUMENTS_MAX} instruments; name fewer symbols")
            instrument = self._instruments[key] = _Instrument(self.plan, *key, self.whole_from_ns)
        if partition is not None:
            instrument.partition = partition
            self._clocks_ns[partition] = max(self._clocks_ns.get(partition, 0), record.receive_time_ns)
        instrument.take(record)
        self._changed[instrument] = None
        return instrument

    def pass_over(self, entries: Iterable[Entry]) -> None:
        """They came before the stream begins. Raises ``UsageError`` as ``take``."""
        for entry in entries:
            if self.selection.matches(entry.route) and (record := entry.record()) is not None:
                self.take_record(record, entry.partition)

    def lack(self, before_ns: int) -> None:
        """Of what was received before, not all was taken."""
        self.whole_from_ns = max(self.whole_from_ns, before_ns)
        for instrument in self._instruments.values():
            instrument.bars.whole_from_ns = self.whole_from_ns

    def settle(self) -> None:
        """All that was taken so far was told to this client, or is older than its stream."""
        self._close_by_partition(self.plan.every_ns)  # in the last so long nothing may have been due
        self._made.clear()

    def advance(self, clock_ns: int) -> None:
        """Live: what is due by the clock is made."""
        if self._is_due(clock_ns):
            self._close(clock_ns - CLOSE_AFTER_NS)
            self._tell_changed()

    def finish(self, to_ns: int) -> None:
        """The stream ends there: of a bar that ends short before, prints may still have been on their way."""
        self._close(to_ns - CLOSE_AFTER_NS)
        sure = len(self._made)
        self._close(to_ns)
        self._made[sure:] = [structs.replace(bar, is_whole=False) for bar in self._made[sure:]]
        self._tell_changed()

    def miss(self) -> None:
        """Messages are missing here."""
        self._is_torn = True

    def told(self) -> list[AnyDerived]:
        made, self._made = self._made, []
        return made

    def _mend(self, from_ns: int) -> None:
        self._is_torn = False
        self.lack(from_ns)
        for instrument in self._instruments.values():
            instrument.tops.reset()
            self._changed[instrument] = None

    def _is_due(self, clock_ns: int) -> bool:
        if clock_ns < self._due_ns:
            return False
        self._due_ns = (clock_ns // self.plan.every_ns + 1) * self.plan.every_ns
        return True

    def _close_by_partition(self, margin_ns: int) -> None:
        for instrument in self._instruments.values():
            clock_ns = self._clocks_ns.get(instrument.partition, 0)
            instrument.bars.close(clock_ns - margin_ns - CLOSE_AFTER_NS)
            self._tell_bars(instrument)

    def _close(self, before_ns: int) -> None:
        for instrument in self._instruments.values():
            instrument.bars.close(before_ns)
            self._tell_bars(instrument)

    def _tell_bars(self, instrument: _Instrument) -> None:
        for bar in instrument.bars.told():
            if bar.time_ns + self.plan.lengths_ns[bar.interval] > self.bars_from_ns:
                self._made.append(bar)

    def _tell_changed(self) -> None:
        for instrument in self._changed:
            self._made += [*instrument.tops.told(), *instrument.mids.told()]
        self._changed.clear()

"""What one client has made of records on their way: bars of trades, the first levels of books, mid and spread. Pure.

    entries ─▶ TradeBars, BookTops, Mids of their instrument ─▶ told

Bars are told as soon as they are closed; the others as they stand when their time has come, every ``every_ms``. The
time is that by which the records of their partition were received, whoever wanted them, since partitions may be read
one ahead of the other; so the same past gives the same. Who is told what is live also hears the clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct, structs

from etl.errors import UsageError
from etl.gateway.entry import Entry
from etl.gateway.selection import Selection
from etl.gateway.tops import BookTops, Mids
from etl.gateway.trade_bars import CLOSE_AFTER_NS, TradeBars
from etl.model.derived import AnyDerived
from etl.model.records import Book, Gap, Kind, Quote, Record, Trade
from etl.model.times import NS_PER_DAY, NS_PER_MS, NS_PER_S, interval_ns

CLOCKS_APART_NS = NS_PER_S
"""So far one machine's clock, or a venue's, may be from another's."""

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
    def __init__(
        self, plan: Plan, exchange: str, symbol: str, whole_from_ns: int = 0, told_to_ns: int = 0
    ) -> None:
        self.partition: int | None = None
        self.bars = TradeBars(exchange, symbol, plan.lengths_ns, whole_from_ns, told_to_ns)
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
        self._instruments: dict[tuple[str, str], _Instrument] = {}
        self._changed: dict[_Instrument, None] = {}
        self._made: list[AnyDerived] = []
        self._whole_from_ns: dict[int | None, int] = {}
        """By partition: bars that begin before may lack prints."""
        self._told_to_ns: dict[int | None, int] = {}
        """By partition: bars that end before were told before this stream."""
        self._due_ns: dict[int | None, int] = {}
        self._torn: set[int | None] = set()

    def take(self, entries: Iterable[Entry], clocks_ns: Mapping[int, int] = {}) -> list[AnyDerived]:
        """What is to be told now. ``clocks_ns`` by partition: it was read up to what was received then.

        Raises ``UsageError`` for too many instruments."""
        touched: dict[_Instrument, None] = {}
        for entry in entries:
            record = entry.record() if self.selection.matches(entry.route) else None
            if record is None:
                continue
            self._pass_time(entry.partition, record.receive_time_ns)
            if (instrument := self.take_record(record, entry.partition)) is not None:
                touched[instrument] = None
        for instrument in touched:
            self._tell_bars(instrument)
        for partition, clock_ns in clocks_ns.items():
            self._pass_time(partition, clock_ns)
        return self.told()

    def take_record(self, record: Record, partition: int | None = None) -> _Instrument | None:
        """Tells nothing. Raises ``UsageError`` for too many instruments."""
        if partition in self._torn:
            self._mend(partition, record.receive_time_ns)
        key = (record.exchange, record.symbol)
        instrument = self._instruments.get(key)
        if instrument is None:
            if int(record.kind) not in self.plan.kinds():
                return None
            if len(self._instruments) >= INSTRUMENTS_MAX:
                raise UsageError(f"derive: more than {INSTRUMENTS_MAX} instruments; name fewer symbols")
            limits_ns = (self._whole_from_ns.get(partition, 0), self._told_to_ns.get(partition, 0))
            instrument = self._instruments[key] = _Instrument(self.plan, *key, *limits_ns)
        if partition is not None:
            instrument.partition = partition
        instrument.take(record)
        self._changed[instrument] = None
        return instrument

    def pass_over(self, entries: Iterable[Entry]) -> None:
        """They came before the stream begins. Raises ``UsageError`` as ``take``."""
        for entry in entries:
            if self.selection.matches(entry.route) and (record := entry.record()) is not None:
                self.take_record(record, entry.partition)

    def lack(self, partition: int | None, before_ns: int) -> None:
        """Of what was traded before, not all was taken."""
        whole_from_ns = max(self._whole_from_ns.get(partition, 0), before_ns)
        self._whole_from_ns[partition] = whole_from_ns
        for instrument in self._of(partition):
            instrument.bars.whole_from_ns = whole_from_ns

    def told_to_ns(self, clock_ns: int) -> int:
        """Where a stream that was told all that was received up to ``clock_ns`` was told all bars that end before."""
        return clock_ns - CLOSE_AFTER_NS - self.plan.every_ns - CLOCKS_APART_NS

    def settle(self, clocks_ns: Mapping[int, int]) -> None:
        """All that was taken so far was told to this client, or is older than its stream. ``clocks_ns`` by partition,
        as of ``take``."""
        for partition, clock_ns in clocks_ns.items():
            told_to_ns = self._told_to_ns[partition] = max(0, self.told_to_ns(clock_ns))
            for instrument in self._of(partition):
                instrument.bars.settle(told_to_ns)

    def advance(self, clock_ns: int) -> None:
        """Live: what is due by the clock is made."""
        for partition in {instrument.partition for instrument in self._instruments.values()}:
            self._pass_time(partition, clock_ns)

    def finish(self, to_ns: int) -> None:
        """The stream ends there: of a bar that ends short before, prints may still have been on their way."""
        self._close(to_ns - CLOSE_AFTER_NS)
        sure = len(self._made)
        self._close(to_ns)
        self._made[sure:] = [structs.replace(bar, is_whole=False) for bar in self._made[sure:]]
        self._tell(self._changed)

    def miss(self, partition: int) -> None:
        """Messages of it are missing here."""
        self._torn.add(partition)

    def told(self) -> list[AnyDerived]:
        made, self._made = self._made, []
        return made

    def _of(self, partition: int | None) -> Iterator[_Instrument]:
        return (one for one in self._instruments.values() if one.partition == partition)

    def _mend(self, partition: int | None, from_ns: int) -> None:
        self._torn.discard(partition)
        self.lack(partition, from_ns)
        for instrument in self._of(partition):
            instrument.tops.reset()
            self._changed[instrument] = None

    def _pass_time(self, partition: int | None, clock_ns: int) -> None:
        if clock_ns < self._due_ns.get(partition, 0):
            return
        self._due_ns[partition] = (clock_ns // self.plan.every_ns + 1) * self.plan.every_ns
        for instrument in self._of(partition):
            instrument.bars.close(clock_ns - CLOSE_AFTER_NS)
            self._tell_bars(instrument)
        self._tell([instrument for instrument in self._changed if instrument.partition == partition])

    def _close(self, before_ns: int) -> None:
        for instrument in self._instruments.values():
            instrument.bars.close(before_ns)
            self._tell_bars(instrument)

    def _tell_bars(self, instrument: _Instrument) -> None:
        for bar in instrument.bars.told():
            if bar.time_ns + self.plan.lengths_ns[bar.interval] > self.bars_from_ns:
                self._made.append(bar)

    def _tell(self, changed: Iterable[_Instrument]) -> None:
        for instrument in list(changed):
            del self._changed[instrument]
            self._made += [*instrument.tops.told(), *instrument.mids.told()]

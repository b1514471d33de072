"""What a derivation needs to know of the topic before its stream begins: the trades of the bars that stand open, and
the books, joined. Blocks, on a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from etl.gateway.books import BACK_MESSAGES_MAX, standing_books
from etl.gateway.derivation import CLOCKS_APART_NS, Derivation
from etl.gateway.entry import entry_of
from etl.gateway.trade_bars import HELD_BARS
from etl.model.records import Kind
from etl.transports.ranges import RangeReader
from etl.wire.codec import decode
from etl.wire.glance import glance

TRADE = int(Kind.TRADE)
Wants = Callable[[tuple[bytes, int]], bool]


def warm_up(reader: RangeReader, ends: Mapping[int, int], derivation: Derivation, wants: Wants) -> None:
    """Up to ``ends``. Raises ``TransportError``, and ``UsageError`` for too many instruments."""
    lows = {partition: bounds.low for partition, bounds in reader.bounds().items()}
    clocks_ns = {
        partition: _received_ns(reader, lows[partition], partition, end) for partition, end in ends.items()
    }
    if derivation.plan.lengths_ns:
        _take_trades(reader, lows, ends, clocks_ns, derivation, wants)
    if derivation.plan.depth:
        for partition, message in standing_books(reader, ends, wants):
            derivation.take_record(decode(message), partition)
    derivation.settle(clocks_ns)


def _take_trades(
    reader: RangeReader,
    lows: Mapping[int, int],
    ends: Mapping[int, int],
    clocks_ns: Mapping[int, int],
    derivation: Derivation,
    wants: Wants,
) -> None:
    """Of each partition, which may be read one ahead of the other, back to where the oldest bar begins that is still to
    be told or revised, but no more than ``BACK_MESSAGES_MAX``."""
    offsets_at = cache(reader.offsets_at)
    for partition, end in ends.items():
        begin_ns = _begin_ns(derivation, clocks_ns[partition])
        begin = offsets_at(max(0, begin_ns - CLOCKS_APART_NS)).get(partition, 0)
        start = max(lows[partition], begin, end - BACK_MESSAGES_MAX)
        is_cut = start > 0 and start in (lows[partition], end - BACK_MESSAGES_MAX)
        if start > 0:
            derivation.lack(partition, begin_ns)
        for message in reader.read_on(partition, start, end):
            entry = entry_of(message)
            if entry is None:
                continue
            if is_cut:
                derivation.lack(partition, glance(entry.value).receive_time_ns)
                is_cut = False
            if entry.route[1] == TRADE and wants(entry.route) and (record := entry.record()) is not None:
                derivation.take_record(record, partition)


def _begin_ns(derivation: Derivation, clock_ns: int) -> int:
    """Of the oldest bar that is to be known. Where a stream goes on, late prints may come for those before it."""
    back = 0 if derivation.bars_from_ns else HELD_BARS
    told_to_ns = derivation.told_to_ns(clock_ns)
    return min((told_to_ns // length - back) * length for length in derivation.plan.lengths_ns.values())


def _received_ns(reader: RangeReader, low: int, partition: int, end: int) -> int:
    """When the last record before ``end`` was received; 0 if there is none."""
    for message in reader.read_on(partition, max(low, end - 1), end):
        if (entry := entry_of(message)) is not None:
            return glance(entry.value).receive_time_ns
    return 0

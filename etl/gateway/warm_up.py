"""What a derivation needs to know of the topic before its stream begins: the trades of the bars that stand open, and
the books, joined. Blocks, on a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from etl.gateway.books import BACK_MESSAGES_MAX, standing_books
from etl.gateway.derivation import Derivation
from etl.gateway.entry import entry_of
from etl.model.records import Kind
from etl.model.times import NS_PER_S
from etl.transports.ranges import RangeReader
from etl.wire.codec import decode
from etl.wire.glance import glance

TRADE = int(Kind.TRADE)
CLOCKS_APART_NS = NS_PER_S
"""So much before a bar begins by the venue's clock, its first trades may have been received by ours."""
Wants = Callable[[tuple[bytes, int]], bool]


def warm_up(reader: RangeReader, ends: Mapping[int, int], derivation: Derivation, wants: Wants) -> None:
    """Up to ``ends``. Raises ``TransportError``, and ``UsageError`` for too many instruments."""
    if derivation.plan.lengths_ns:
        _take_trades(reader, ends, derivation, wants)
    if derivation.plan.depth:
        for message in standing_books(reader, ends, wants):
            derivation.take_record(decode(message))
    derivation.settle()


def _take_trades(reader: RangeReader, ends: Mapping[int, int], derivation: Derivation, wants: Wants) -> None:
    """Back to where the longest open bar begins, but no more than ``BACK_MESSAGES_MAX`` of a partition."""
    lows = {partition: bounds.low for partition, bounds in reader.bounds().items()}
    newest_ns = max(
        (_received_ns(reader, lows, partition, end) for partition, end in ends.items()), default=0
    )
    lengths_ns = derivation.plan.lengths_ns.values()
    begin_ns = min(newest_ns // length_ns * length_ns for length_ns in lengths_ns) - CLOCKS_APART_NS
    begins = reader.offsets_at(max(0, begin_ns))
    for partition, end in ends.items():
        start = max(lows[partition], begins.get(partition, 0), end - BACK_MESSAGES_MAX)
        is_cut = start > 0 and start in (lows[partition], end - BACK_MESSAGES_MAX)
        for message in reader.read_on(partition, start, end):
            entry = entry_of(message)
            if entry is None:
                continue
            if is_cut:
                derivation.lack(glance(entry.value).receive_time_ns)
                is_cut = False
            if entry.route[1] == TRADE and wants(entry.route) and (record := entry.record()) is not None:
                derivation.take_record(record, partition)


def _received_ns(reader: RangeReader, lows: Mapping[int, int], partition: int, end: int) -> int:
    """When the last record before ``end`` was received; 0 if there is none."""
    for message in reader.read_on(partition, max(lows[partition], end - 1), end):
        if (entry := entry_of(message)) is not None:
            return glance(entry.value).receive_time_ns
    return 0

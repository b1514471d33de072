"""Channels that are subscribed, or were left with an open gap, and have given no record yet. Pure."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from etl.adapter.carried import is_many
from etl.adapter.contract import Channel, Exchange
from etl.model.records import Bar, Gap, GapKind, GapState, Record, Source
from etl.model.times import NS_PER_MS, interval_ns
from etl.sequencing.gap import NO_EVENT_BEFORE, ended, first_state


class Awaited(Struct):
    """``gap`` since its connection was lost, open to the right. ``has_past``: it spoke before, so that its first record
    is no start."""

    venue_symbol: str
    channel: Channel
    since_ns: int
    gap: Gap | None = None
    has_past: bool = False
    was_resumed: bool = False

    def hear(self, newest_ns: int, now_ns: int) -> None:
        """Of all symbols, any was heard at ``newest_ns``: what came until then of the others came too. Not so before
        the first connection, where what lies behind ``since_ns`` is not known."""
        if self.was_resumed or not self.has_past:
            self.since_ns = max(self.since_ns, min(newest_ns, now_ns))

    def lose(
        self, exchange: type[Exchange], symbol: str, name: str, kind: GapKind, reason: str, now_ns: int
    ) -> Gap:
        """Nothing has come since the subscription: the gap begins there."""
        self.gap = Gap(
            exchange=exchange.name,
            symbol=symbol,
            venue_symbol=self.venue_symbol,
            channel=name,
            event_time_ns=self.since_ns,
            receive_time_ns=now_ns,
            source=Source.STREAM,
            connection_id="",
            frame_sequence=0,
            frame_index=0,
            record_key=f"{name}/awaited-{self.since_ns}",
            key_time_ns=self.since_ns - self.since_ns % NS_PER_MS,
            parser_version=exchange.parser_version,
            flags=(NO_EVENT_BEFORE,),
            gap_kind=kind,
            # no history can be asked for what is not known by name
            gap_state=GapState.UNREPAIRABLE if is_many(self.venue_symbol) else first_state(self.channel),
            # a bar's time is its start, which may lie before the subscription
            from_time_ns=self.since_ns - self.channel.interval_ns,
            reason=reason,
            detected_time_ns=now_ns,
        )
        return self.gap

    def resume(self, now_ns: int) -> Gap:
        """The channel is subscribed again: what was lost is bounded, and a new wait begins."""
        assert self.gap is not None
        gap, self.gap, self.since_ns, self.was_resumed = ended(self.gap, now_ns), None, now_ns, True
        return gap

    def bounded(self, gap: Gap, record: Record) -> Gap:
        """``gap`` as ``record``, the first that came, bounds it: a bar tells itself how long it is."""
        bar_ns = interval_ns(record.interval) if isinstance(record, Bar) else 0
        return msgspec.structs.replace(gap, from_time_ns=self.since_ns - bar_ns) if bar_ns else gap

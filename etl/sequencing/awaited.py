"""Channels that are subscribed and have given no record yet: their loss is declared too. Pure."""

from __future__ import annotations

from msgspec import Struct

from etl.adapter.contract import Channel, Exchange
from etl.model.records import Gap, GapKind, Kind, Source
from etl.model.times import NS_PER_MINUTE, NS_PER_MS, interval_ns
from etl.sequencing.gap import NO_EVENT_BEFORE, first_state


class Awaited(Struct):
    """``gap`` since its connection was lost, open to the right."""

    venue_symbol: str
    channel: Channel
    since_ns: int
    gap: Gap | None = None

    def lose(
        self, exchange: type[Exchange], symbol: str, name: str, kind: GapKind, reason: str, now_ns: int
    ) -> Gap:
        """Nothing has come since the subscription: the gap begins there."""
        # a bar's time is its start, which may lie before the subscription
        is_bar = self.channel.kind is Kind.BAR
        length_ns = (interval_ns(name.rpartition("_")[2]) or NS_PER_MINUTE) if is_bar else 0
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
            gap_state=first_state(self.channel),
            from_time_ns=self.since_ns - length_ns,
            reason=reason,
            detected_time_ns=now_ns,
        )
        return self.gap

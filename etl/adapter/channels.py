"""Channels whose names carry their parameters."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from etl.adapter.contract import Channel, SequenceRule
from etl.model.times import interval_ns


def variant(channels: Iterable[Channel], family: str, name: str, interval: str = "") -> Channel | None:
    """The channel of ``channels`` that begins this family, under another ``name``; with bars of ``interval`` where it
    has any. Bars of no fixed length (``1M``) prove nothing by their steps."""
    declared = next((channel for channel in channels if channel.family == family), None)
    if declared is None or bool(interval) != bool(declared.interval_ns):
        return None
    length_ns = interval_ns(interval)
    rule = SequenceRule.NONE if interval and not length_ns else declared.rule
    return msgspec.structs.replace(declared, name=name, rule=rule, interval_ns=length_ns)

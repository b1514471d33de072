"""What MEXC's spot market and its contracts have in common: streams, klines, and the network before them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from msgspec.structs import replace

from etl.adapter.build import Stream, StreamCache, stream_of
from etl.adapter.contract import (
    Channel,
    Credentials,
    Exchange,
    FaultCode,
    FaultKind,
    SequenceRule,
    Subscription,
)
from etl.adapter.fields import ContentCounts
from etl.model.instruments import Instruments
from etl.model.records import Kind, SizeUnit
from etl.model.times import NS_PER_MINUTE, NS_PER_MS, interval_ns

INTERVALS = {
    "Min1": "1m", "Min5": "5m", "Min15": "15m", "Min30": "30m", "Min60": "1h", "Hour4": "4h", "Hour8": "8h",
    "Day1": "1d", "Week1": "1w", "Month1": "1M",
}  # fmt: skip
BARS = Channel("kline@Min1", Kind.BAR, SequenceRule.INTERVAL, Kind.BAR, 180.0, "kline", NS_PER_MINUTE)


class MexcFamily(Exchange):
    rest_url = "https://api.mexc.com"
    ignored_names: ClassVar[Mapping[str, str]] = {
        "subscription_reply": "the answer to a subscription; a refusal is told as a Fault",
        "pong": "the answer to a keep-alive",
        "error_reply": "the venue refuses a request; told as a Fault",
        "exchange_info": "the instrument list",
    }
    size_unit: ClassVar[SizeUnit]
    event_time_min_ns = 1_522_540_800_000_000_000  # 2018-04, when the venue opened
    fault_codes = (FaultCode(403, FaultKind.BANNED),)  # of the network before it: a region, or an address

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._known = StreamCache(self._stream)
        self._contents = ContentCounts()

    def _stream(self, place: tuple[str, str]) -> Stream:
        channel = place[1]
        facts, interval = self.channel(channel), INTERVALS.get(channel.partition("@")[2], "")
        depth = facts.depth if facts else 0
        return stream_of(self, *place, self.size_unit, interval=interval, depth=depth, key_unit_ns=NS_PER_MS)

    @classmethod
    def match(cls, name: str) -> Channel | None:
        """``kline@Hour4``."""
        family, _, parameter = name.partition("@")
        if family != "kline" or parameter not in INTERVALS:
            return None
        length_ns = interval_ns(INTERVALS[parameter])
        rule = SequenceRule.INTERVAL if length_ns else SequenceRule.NONE
        return replace(BARS, name=name, rule=rule, interval_ns=length_ns)

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return base_url

"""Closed bars of any venue's channel, by their number since 1970."""

from __future__ import annotations

from etl.adapter.contract import Channel, Exchange, SequenceRule
from etl.exchanges import load, names
from etl.model.records import Bar, BarState, SizeUnit, Source
from etl.model.times import NS_PER_MS, interval_ns

INTERVALS = {interval_ns(name): name for name in ("1s", "1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w")}
DAY_NS = 1_723_161_600_000_000_000
SYMBOL, VENUE_SYMBOL = "BTC-USDT", "BTCUSDT"


def stepping_channels() -> list[tuple[str, str]]:
    """(venue, channel) of every declared channel whose bars must not skip one."""
    return [
        (name, channel.name)
        for name in names()
        for channel in load(name).channels
        if channel.rule is SequenceRule.INTERVAL
    ]


def channel_of(venue: type[Exchange], name: str) -> Channel:
    channel = venue.channel(name)
    assert channel is not None
    return channel


def bar(channel: Channel, number: int, exchange: str, source: Source = Source.STREAM) -> Bar:
    start_ns = number * channel.interval_ns
    interval = INTERVALS[channel.interval_ns]
    return Bar(
        exchange=exchange,
        symbol=SYMBOL,
        venue_symbol=VENUE_SYMBOL,
        channel=channel.name,
        event_time_ns=start_ns,
        receive_time_ns=start_ns + channel.interval_ns + 20 * NS_PER_MS,
        source=source,
        connection_id="c",
        frame_sequence=1,
        frame_index=0,
        record_key=f"{interval}/{start_ns}",
        key_time_ns=start_ns,
        parser_version=1,
        interval=interval,
        open="2",
        high="4",
        low="1",
        close="3",
        volume="10",
        bar_state=BarState.CLOSED,
        size_unit=SizeUnit.BASE,
    )

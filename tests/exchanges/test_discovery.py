from __future__ import annotations

import msgspec
import pytest

from etl.adapter.contract import Channel, Exchange, SequenceRule
from etl.errors import UsageError
from etl.exchanges import channel_family, load, names
from etl.exchanges.binance import Binance
from etl.model.records import Kind
from etl.model.times import NS_PER_MINUTE


def test_every_feed_is_found_by_its_name() -> None:
    assert {"binance", "binance_usdm", "polygon", "alpaca", "alpaca_iex"} <= set(names())
    for name in names():
        assert load(name).name == name


def test_an_unknown_venue_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"nowhere: no such venue; known are .*binance"):
        load("nowhere")
    with pytest.raises(UsageError):
        load("binance_")


def test_a_variant_of_a_channel_has_the_rule_of_its_family() -> None:
    declared = Binance.channel("depth@100ms")
    assert declared is not None
    for name in ("depth@1000ms", "depth"):
        assert Binance.channel(name) == msgspec.structs.replace(declared, name=name)
    assert Binance.channel("unheard") is None
    assert channel_family("binance", "depth@100ms") == "depth"
    assert channel_family("nowhere", "depth@100ms") == "depth@100ms", "nobody has declared it"


def test_a_parametric_channel_states_the_facts_of_its_own_parameters() -> None:
    minutes, five, month = (Binance.channel(f"kline_{interval}") for interval in ("1m", "5m", "1M"))
    assert minutes is not None
    assert five == msgspec.structs.replace(minutes, name="kline_5m", interval_ns=5 * NS_PER_MINUTE)
    assert month == msgspec.structs.replace(
        minutes, name="kline_1M", interval_ns=0, rule=SequenceRule.NONE
    ), "a month has no fixed length, so no step proves that a bar is missing"
    partial = Binance.channel("depth20@100ms")
    assert partial == Channel(
        "depth20@100ms", Kind.BOOK, SequenceRule.RISING, None, 60.0, family="depth20", depth=20
    )
    for name in ("kline", "kline_", "trade_1m", "depth7@100ms"):
        assert Binance.channel(name) is None, name


@pytest.mark.parametrize("name", names())
def test_a_feed_states_what_every_feed_must(name: str) -> None:
    feed = load(name)
    has_past, tells_figis = bool(feed.history or feed.archive_kinds), bool(feed.figis_path)
    assert feed.websocket_url.startswith("wss://") or ((has_past or tells_figis) and not feed.websocket_url)
    has_records = bool(feed.websocket_url) or has_past
    assert bool(feed.channels) == bool(feed.default_symbols) == has_records
    assert len({channel.name for channel in feed.channels}) == len(feed.channels)
    assert all(why for why in feed.ignored_names.values())
    for channel in feed.default_channels:
        assert feed.channel(channel)
    assert isinstance(feed(), Exchange)
